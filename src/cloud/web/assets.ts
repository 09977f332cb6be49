/**
 * Style and script of the pages, as texts. Run from source they are read from their files; in a bundle this module is
 * replaced by one that holds them (scripts/build.ts).
 */
import { readFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { join } from 'node:path';

const read = (name: string): string => readFileSync(join(import.meta.dirname, 'client', name), 'utf8');

/** Names below `/assets/`. */
export function loadAssets(): Readonly<Record<string, string>> {
  return {
    'style.css': read('style.css'),
    'icon.svg': read('icon.svg'),
    'page.js': stripTypeScriptTypes(read('page.ts')),
    'chart-tips.js': stripTypeScriptTypes(read('chart-tips.ts')),
    'publish.js': stripTypeScriptTypes(read('publish.ts')),
  };
}
