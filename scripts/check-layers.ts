/** `npm run layers`: fails when an import breaks a rule of the house (see layers.ts). */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { checkLayers, importsOf } from './layers.ts';

const root = join(import.meta.dirname, '..');
const files = globSync('src/**/*.ts', { cwd: root })
  .filter((path) => !path.startsWith('src/api/gen/'))
  .map((path) => ({ path, imports: importsOf(readFileSync(join(root, path), 'utf8')) }));
const violations = checkLayers(files);
for (const { file, import: specifier, because } of violations) {
  console.error(`${file}: import of '${specifier}': ${because}`);
}
console.log(`layers: ${files.length} files, ${violations.length} violations`);
process.exitCode = violations.length === 0 ? 0 : 1;
