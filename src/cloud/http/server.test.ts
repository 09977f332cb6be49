import { mkdtemp, rm } from 'node:fs/promises';
import { get } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { expect, test } from 'vitest';
import { Authority } from '../pki/authority.ts';
import { fingerprintOf, x509 } from '../pki/x509.ts';
import { RunningServer, shownCertificate, tlsOptions } from './server.ts';

test.each(['open', 'openFrugal'] as const)(
  'what a client shows above its certificate stays with its connection: %s',
  async (open) => {
    const directory = await mkdtemp(join(tmpdir(), 'aos-server-'));
    try {
      const authority = await Authority.open({
        directory,
        hostName: 'localhost',
        otherNames: [],
        now: () => new Date(),
      });
      const seen: (string | undefined)[] = [];
      const server = await RunningServer[open](
        tlsOptions(authority, 'required'),
        (request, response) => {
          const { issuerCertificate } = (request.socket as TLSSocket).getPeerCertificate(true);
          seen.push(shownCertificate(request), issuerCertificate?.subject.CN as string | undefined);
          response.end();
        },
        ...([0, '127.0.0.1'] as const),
      );
      const { chain: cert, key } = authority.operator;
      const ask = () =>
        new Promise((resolve, reject) => {
          const options = {
            ca: authority.rootPem,
            cert,
            key,
            agent: false,
            port: server.port,
            servername: 'localhost',
          };
          get({ ...options, host: '127.0.0.1' }, (response) => response.resume().on('end', resolve)).on(
            'error',
            reject,
          );
        });
      await ask();
      await ask();
      await server.stop();
      const shown = fingerprintOf(new Uint8Array(new x509.X509Certificate(cert).rawData));
      expect(seen.slice(-2)).toEqual([shown, 'unit CA']);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  },
);
