#!/usr/bin/env node
// Starts the program beside this file, with what V8 made of it when it was built (docs/decisions/0021-code-cache.md).
const { readFileSync } = process.getBuiltinModule('node:fs');
const { createRequire } = process.getBuiltinModule('node:module');
const { constants, Script } = process.getBuiltinModule('node:vm');
const { crc32 } = process.getBuiltinModule('node:zlib');

// Checksums of the program and of what follows: V8 itself compares no more than lengths.
const HEADER_BYTES = 8;

const filename = import.meta.filename.replace(/\.mjs$/, '.js');
const program = readFileSync(filename);

// Undefined when it is absent, of another text of the program, or damaged; V8 refuses that of another version of its own.
function cachedData() {
  let file;
  try {
    file = readFileSync(`${filename}.cache`);
  } catch {
    return undefined;
  }
  if (file.length <= HEADER_BYTES) return undefined;
  const data = file.subarray(HEADER_BYTES);
  return file.readUInt32LE(0) === crc32(program) && file.readUInt32LE(4) === crc32(data) ? data : undefined;
}

// The build writes ASCII only.
const script = new Script(program.toString('latin1'), {
  filename,
  cachedData: cachedData(),
  importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
});
script.runInThisContext()(createRequire(filename), import.meta.url);
