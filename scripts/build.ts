/**
 * Bundles each program into one file, `dist/<name>.js`, with what V8 made of it, `dist/<name>.js.cache`, and what is
 * started, `dist/<name>.mjs`: a start reads two files instead of hundreds and compiles little, and a node needs no
 * `node_modules` but native code (docs/decisions/0021-code-cache.md).
 */
import { execFile } from 'node:child_process';
import { chmod, copyFile, readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { build, type Plugin, transform } from 'esbuild';
import { chosenPrograms, PROGRAMS, type Program, type ProgramName } from './programs.ts';

/** Native code: loaded from `node_modules`. Of `pg` nobody asks for it. */
const EXTERNAL = ['pkcs11js', 'koffi', 'pg-native'];

/**
 * So that the same sources make the same code: without chance in hashes and in what runs beside what; and with room for
 * everything, since V8 writes unused bytes of its objects, too, which are zero until memory is used a second time.
 */
const REPRODUCIBLE = ['--predictable', '--min-semi-space-size=128', '--max-semi-space-size=128'];
const WARM_UP_TIMEOUT_MS = 60_000;

/** Short enough that a stack trace names a place. */
const LINE_LENGTH = 160;

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

/** Of the languages of zod's messages, the one that is used. */
const oneLanguage: Plugin = {
  name: 'one language',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\/zod\/v4\/locales\/index\.js$/ }, () => ({
      contents: "export { default as en } from './en.js';",
      loader: 'js',
    })),
};

/** Gives aosctl the judgement of the daemons, which a process of each would need ten times as long for. */
const daemonChecks: Plugin = {
  name: 'checks of the daemons',
  setup: ({ onLoad }) =>
    onLoad({ filter: /\/src\/cli\/daemon-checks\.ts$/ }, () => ({
      contents: "export const loadDaemonChecks = async () => (await import('../../scripts/daemon-checks.ts')).CHECKS;",
      resolveDir: join(import.meta.dirname, '..', 'src', 'cli'),
      loader: 'js',
    })),
};

async function bundle(root: string, { name, room, warmUp }: Program, directory: string): Promise<void> {
  const outfile = join(directory, `${name}.js`);
  await build({
    absWorkingDir: root,
    entryPoints: [join('src', room, 'main.ts')],
    outfile,
    bundle: true,
    format: 'cjs',
    platform: 'node',
    target: 'node24',
    external: EXTERNAL,
    plugins: [webAssets, oneLanguage, daemonChecks],
    // V8 keeps the text of a program while it runs, and twice as big when one character is none of Latin-1's.
    charset: 'ascii',
    minifyWhitespace: true,
    minifySyntax: true,
    lineLimit: LINE_LENGTH,
    banner: { js: `(function(require,urlOfProgram){'use strict';` },
    footer: { js: '})' },
    define: {
      'import.meta.url': 'urlOfProgram',
      // Optional parts of `ws` that nobody installs: looking for them takes time.
      'process.env.WS_NO_BUFFER_UTIL': '"1"',
      'process.env.WS_NO_UTF_8_VALIDATE': '"1"',
    },
    inject: [join('src', 'api', 'light-headers.ts')],
    legalComments: 'none',
    logLevel: 'warning',
  });
  const entry = join(directory, `${name}.mjs`);
  await copyFile(join(import.meta.dirname, 'start-program.mjs'), entry);
  await chmod(entry, 0o755);
  const maker = join(import.meta.dirname, 'make-code-cache.ts');
  const words = [...REPRODUCIBLE, maker, outfile, ...warmUp];
  await promisify(execFile)(process.execPath, words, { cwd: root, timeout: WARM_UP_TIMEOUT_MS });
}

/** Builds programs into `dist`, every one unless some are named; answers their names. */
export async function buildPrograms(root: string, programs: readonly Program[] = PROGRAMS): Promise<string[]> {
  await Promise.all(programs.map((program) => bundle(root, program, join(root, 'dist'))));
  return programs.map(({ name }) => name);
}

/**
 * Builds one program into a directory below the project, where it finds its native module; answers the path of what is started.
 * For tests, which must not run what somebody built yesterday.
 */
export async function buildProgram(root: string, program: ProgramName, directory: string): Promise<string> {
  await bundle(root, PROGRAMS.find(({ name }) => name === program)!, directory);
  return join(directory, `${program}.mjs`);
}

if (import.meta.main) {
  try {
    const built = await buildPrograms(join(import.meta.dirname, '..'), chosenPrograms(process.argv.slice(2)));
    console.log(`built ${built.join(', ')}`);
  } catch (error) {
    console.error((error as Error).message);
    process.exitCode = 1;
  }
}
