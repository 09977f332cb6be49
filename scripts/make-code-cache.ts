/**
 * Writes what V8 makes of a program to `<program>.cache`, for `start-program.mjs`: `node make-code-cache.ts <program>
 * <words…>`, the program by its absolute path. It runs with the words, and what was compiled by its end is kept.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename } from 'node:path';
import { pathToFileURL } from 'node:url';
import { constants, Script } from 'node:vm';
import { crc32 } from 'node:zlib';

type ProgramFunction = (require: NodeJS.Require, urlOfProgram: string) => void;

const [, , path = '', ...words] = process.argv;
const program = readFileSync(path);
const script = new Script(program.toString('latin1'), {
  // Not where it lies: the same program has the same bytes wherever it was built.
  filename: basename(path),
  importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
});
process.argv = [process.execPath, path, ...words];
process.once('exit', (code) => {
  if (code !== 0) return;
  const data = script.createCachedData();
  const header = Buffer.alloc(8);
  header.writeUInt32LE(crc32(program), 0);
  header.writeUInt32LE(crc32(data), 4);
  writeFileSync(`${path}.cache`, Buffer.concat([header, data]));
});
(script.runInThisContext() as ProgramFunction)(createRequire(path), String(pathToFileURL(path)));
