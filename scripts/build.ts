/**
 * Bundles each program into one file, `dist/<name>.mjs`: start-up reads one file instead of hundreds, and a node
 * needs no `node_modules` but the native PKCS#11 binding.
 */
import { existsSync } from 'node:fs';
import { chmod, readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { build, type Plugin, transform } from 'esbuild';
import { PROGRAMS, type ProgramName } from './programs.ts';

/** Modules that are loaded from `node_modules`: native code, and optional parts of `ws` that nobody installs. */
const EXTERNAL = ['pkcs11js', 'bufferutil', 'utf-8-validate'];

/** Short enough that a stack trace names a place. */
const LINE_LENGTH = 160;

/** CommonJS packages inside an ES module bundle need a `require` of their own. */
const REQUIRE =
  "import { createRequire as createRequireOfBundle } from 'node:module';" +
  'const require = createRequireOfBundle(import.meta.url);';

/** Puts what browsers get into the bundle as text: style and script of the web page of aos-cloud. */
const webAssets: Plugin = {
  name: 'web assets',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\/src\/cloud\/web\/assets\.ts$/ }, async ({ path }) => {
      const directory = join(dirname(path), 'client');
      const assets: Record<string, string> = {};
      const watchFiles: string[] = [];
      for (const name of await readdir(directory)) {
        if (name.endsWith('.json')) continue;
        watchFiles.push(join(directory, name));
        const text = await readFile(join(directory, name), 'utf8');
        const loader = name.endsWith('.ts') ? 'ts' : name.endsWith('.css') ? 'css' : undefined;
        assets[name.replace(/\.ts$/, '.js')] = loader
          ? (await transform(text, { loader, target: 'es2024', minify: true })).code
          : text;
      }
      return { contents: `export const loadAssets = () => (${JSON.stringify(assets)});`, loader: 'js', watchFiles };
    }),
};

/**
 * Node's own modules as CommonJS. An ES import of one reads each of its getters first, and that of `node:http` loads
 * a whole second HTTP client: a tenth of the start and megabytes of each daemon for nothing.
 */
const builtinsByRequire: Plugin = {
  name: 'builtins by require',
  setup: ({ onResolve, onLoad }) => {
    onResolve({ filter: /^node:/ }, ({ path, namespace }) =>
      namespace === 'builtin' ? { external: true } : { path, namespace: 'builtin' },
    );
    onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)});`,
      loader: 'js',
    }));
  },
};

/** Of the languages of zod's messages, the one that is used. */
const oneLanguage: Plugin = {
  name: 'one language',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\/zod\/v4\/locales\/index\.js$/ }, () => ({
      contents: "export { default as en } from './en.js';",
      loader: 'js',
    })),
};

async function bundle(root: string, name: string, room: string, directory: string): Promise<void> {
  const outfile = join(directory, `${name}.mjs`);
  await build({
    absWorkingDir: root,
    entryPoints: [join('src', room, 'main.ts')],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    external: EXTERNAL,
    plugins: [webAssets, builtinsByRequire, oneLanguage],
    // V8 keeps the text of a program while it runs, and twice as big when one character is none of Latin-1's.
    charset: 'ascii',
    minifyWhitespace: true,
    minifySyntax: true,
    lineLimit: LINE_LENGTH,
    banner: { js: `#!/usr/bin/env node\n${REQUIRE}` },
    keepNames: true,
    legalComments: 'none',
    logLevel: 'warning',
  });
  await chmod(outfile, 0o755);
}

/** Builds every program whose room has a `main.ts`; answers the names of those built. */
export async function buildPrograms(root: string): Promise<string[]> {
  const ready = PROGRAMS.filter(({ room }) => existsSync(join(root, 'src', room, 'main.ts')));
  await Promise.all(ready.map(({ name, room }) => bundle(root, name, room, join(root, 'dist'))));
  return ready.map(({ name }) => name);
}

/**
 * Builds one program into a directory below the project, where it finds its native module; answers the bundle's path.
 * For tests, which must not run what somebody built yesterday.
 */
export async function buildProgram(root: string, program: ProgramName, directory: string): Promise<string> {
  const { name, room } = PROGRAMS.find((known) => known.name === program)!;
  await bundle(root, name, room, directory);
  return join(directory, `${name}.mjs`);
}

if (import.meta.main) {
  const built = await buildPrograms(join(import.meta.dirname, '..'));
  console.log(`built ${built.join(', ') || 'nothing'}`);
}
