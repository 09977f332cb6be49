/** Ports for a development environment: the product's own if they are free, else others; kept for the next start. */
import { existsSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { writeFileAtomic } from '../src/storage/index.ts';

/** Below the range that the kernel gives to outgoing connections, so that nobody gets one of ours by accident. */
const FIRST_PORT = 20_000;
const LAST_PORT = 32_000;
const MAX_TRIES = 1000;

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  try {
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, '0.0.0.0', resolve));
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}

async function choosePort(preferred: number | undefined, taken: ReadonlySet<number>): Promise<number> {
  if (preferred !== undefined && !taken.has(preferred) && (await isFree(preferred))) return preferred;
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const port = FIRST_PORT + Math.floor(Math.random() * (LAST_PORT - FIRST_PORT));
    if (!taken.has(port) && (await isFree(port))) return port;
  }
  throw new Error(`no free port between ${FIRST_PORT} and ${LAST_PORT} after ${MAX_TRIES} tries`);
}

/**
 * The ports of an environment by name. The first time they are chosen, preferring the given ones, and written to
 * `file`; later they are what the file says, because certificates and configurations carry them.
 */
export async function choosePorts<Name extends string>(
  file: string,
  preferred: Readonly<Record<Name, number | undefined>>,
): Promise<Record<Name, number>> {
  if (existsSync(file)) return JSON.parse(readFileSync(file, 'utf8')) as Record<Name, number>;
  const ports = {} as Record<Name, number>;
  for (const [name, port] of Object.entries(preferred) as [Name, number | undefined][]) {
    ports[name] = await choosePort(port, new Set(Object.values<number>(ports)));
  }
  await writeFileAtomic(file, `${JSON.stringify(ports, null, 2)}\n`);
  return ports;
}
