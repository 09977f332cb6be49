/** One try of a probe, from inside of the container or of its network namespace. */
import { AosError } from '../../core/index.ts';
import type { ContainerEngine } from '../../platform/oci-runtime/index.ts';
import { execProgram, quote } from '../../platform/program/index.ts';
import type { ProbeWay } from '../supervision/index.ts';

/** The caller's signal ends a try earlier. */
const TRY_MS = 60_000;
const MAX_GOOD_STATUS = 399;

/** Programs for another process, since a socket belongs to the network namespace of its process. */
const CONNECT = `
const socket = require('node:net').connect({ host: '127.0.0.1', port: Number(process.argv[1]) });
socket.on('connect', () => process.exit(0));
socket.on('error', (error) => { console.log(error.message); process.exit(1); });
`;
const GET = `
const request = require('node:http').get({ host: '127.0.0.1', port: Number(process.argv[1]), path: process.argv[2] });
request.on('response', (response) => {
  if (response.statusCode >= 200 && response.statusCode <= ${MAX_GOOD_STATUS}) process.exit(0);
  console.log('HTTP status ' + response.statusCode);
  process.exit(1);
});
request.on('error', (error) => { console.log(error.message); process.exit(1); });
`;

export class ContainerProbes {
  readonly #engine: ContainerEngine;

  constructor(engine: ContainerEngine) {
    this.#engine = engine;
  }

  /** Throws what a person should read when the instance is not ready. */
  readonly once = async (
    id: string,
    netnsPath: string | undefined,
    way: ProbeWay,
    signal: AbortSignal,
  ): Promise<void> => {
    if ('exec' in way) {
      const { exitCode, output } = await this.#engine.exec(id, way.exec, signal);
      if (exitCode !== 0) throw new AosError('failed', `exit code ${exitCode}: ${quote(output)}`);
      return;
    }
    if (netnsPath === undefined) {
      throw new AosError('notSupported', 'the instance has no network that a probe could use');
    }
    const words = 'tcp' in way ? [CONNECT, String(way.tcp.port)] : [GET, String(way.http.port), way.http.path];
    const args = [`--net=${netnsPath}`, process.execPath, '-e', ...words];
    const { exitCode, output } = await execProgram('nsenter', args, { signal, timeoutMs: TRY_MS });
    if (exitCode !== 0) throw new AosError('failed', quote(output));
  };
}
