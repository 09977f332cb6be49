/** What tests of bad input have around them: a cloud, a directory of files that are good for something, and of nothing. */
import { KeyObject } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TestCloud } from '../cloud/cloud-for-tests.ts';
import { makeCertificate } from '../storage/certificates-for-tests.ts';
import { aosctl } from './program.ts';

export interface Said {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export class BadInputStage {
  readonly directory: string;
  readonly cloud: TestCloud;

  private constructor(directory: string, cloud: TestCloud) {
    this.directory = directory;
    this.cloud = cloud;
  }

  static async open(): Promise<BadInputStage> {
    const directory = await mkdtemp(join(tmpdir(), 'aosctl-bad-'));
    await writeFiles((name) => join(directory, name));
    return new BadInputStage(directory, await TestCloud.start());
  }

  async close(): Promise<void> {
    await this.cloud.close();
    await rm(this.directory, { recursive: true, force: true });
  }

  at(name: string): string {
    return join(this.directory, name);
  }

  /** Runs a command line, in which words in capitals and names of certificates are files of this stage. */
  async run(args: readonly string[]): Promise<Said> {
    const said = { stdout: '', stderr: '' };
    const into = (stream: keyof typeof said) => ({
      write: (text: string) => {
        said[stream] += text;
      },
    });
    const inPlace = args.map((arg) => (/^([A-Z][A-Z-]+|[a-z-]+\.pem)$/.test(arg) ? this.at(arg) : arg));
    const code = await aosctl(inPlace, {
      ...{ stdout: into('stdout'), stderr: into('stderr'), env: {}, signal: new AbortController().signal },
    });
    return { code, ...said };
  }

  /** A socket on which nobody listens. */
  socket(): string[] {
    return ['--socket', this.at('nobody.sock')];
  }

  /** The cloud, as its operator unless another certificate is given. */
  atCloud(
    cert = this.#pki('operator.pem'),
    key = this.#pki('operator-key.pem'),
    url = this.cloud.endpoints.restUrl,
  ): string[] {
    return ['--cloud', url, '--ca', this.#pki('root.pem'), '--cert', cert, '--key', key];
  }

  #pki(name: string): string {
    return join(this.cloud.directory, 'work', 'pki', name);
  }
}

async function writeFiles(at: (name: string) => string): Promise<void> {
  await writeFile(at('NOT-JSON'), 'not json');
  await writeFile(at('GOOD-CONFIG'), '{}');
  await mkdir(at('EMPTY'));
  await mkdir(join(at('SERVICE'), 'src', 'app'), { recursive: true });
  await writeFile(join(at('SERVICE'), 'src', 'app', 'run'), '#!/bin/sh\n', { mode: 0o755 });
  await writeFile(
    join(at('SERVICE'), 'config.yaml'),
    `schemaVersion: 2
items:
  - identity: {codename: web}
    version: 1.0.0
    images: [{sourceFolder: src, archInfo: {architecture: amd64}}]
    configuration: {cmd: /app/run}
`,
  );
  // As much of a bundle as is read before the daemon is asked.
  const { tarOf } = await import('../cm/bundles/bundles-for-tests.ts');
  await writeFile(
    at('BUNDLE'),
    await tarOf([
      ['bundle.json', Buffer.from('{}')],
      ['signature.json', Buffer.from('{}')],
    ]),
  );
  const stranger = await makeCertificate('stranger', {
    notBefore: new Date('2020-01-01'),
    notAfter: new Date('2021-01-01'),
  });
  await writeFile(at('expired.pem'), stranger.pem);
  await writeFile(
    at('expired-key.pem'),
    KeyObject.from(stranger.keys.privateKey as never).export({ type: 'pkcs8', format: 'pem' }),
  );
}
