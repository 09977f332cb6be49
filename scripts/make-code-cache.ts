/**
 * Writes what V8 makes of a program to `<program>.cache`, for `start-program.mjs`: `node make-code-cache.ts <program>
 * <words…>`, the program by its absolute path. It runs with the words, and what was compiled by its end is kept. With
 * `start cm` in place of words it is started as on a device, and ended when it has been ready for a moment.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename } from 'node:path';
import { pathToFileURL } from 'node:url';
import { constants, Script } from 'node:vm';
import { crc32 } from 'node:zlib';
import { prepareStart, type WarmDaemon } from './warm-up.ts';

type ProgramFunction = (require: NodeJS.Require, urlOfProgram: string) => void;

/** By then all that a start sets going is done, and nothing is due again. */
const SETTLED_AFTER_MS = 500;

const [, , path = '', ...args] = process.argv;
const words = args[0] === 'start' ? await prepareStart(args[1] as WarmDaemon) : args;
const program = readFileSync(path);
const script = new Script(program.toString('latin1'), {
  // Not where it lies: the same program has the same bytes wherever it was built.
  filename: basename(path),
  importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
});
process.argv = [process.execPath, path, ...words];
// How a daemon tells that it is ready.
process.send = () => {
  setTimeout(() => process.exit(0), SETTLED_AFTER_MS);
  return true;
};
process.once('exit', (code) => {
  if (code !== 0) return;
  const data = script.createCachedData();
  const header = Buffer.alloc(8);
  header.writeUInt32LE(crc32(program), 0);
  header.writeUInt32LE(crc32(data), 4);
  writeFileSync(`${path}.cache`, Buffer.concat([header, data]));
});
(script.runInThisContext() as ProgramFunction)(createRequire(path), String(pathToFileURL(path)));
