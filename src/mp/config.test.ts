import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readDocument } from '../core/index.ts';
import { checkConfig, MpConfig } from './config.ts';

const example = (name: string) =>
  JSON.parse(readFileSync(join(import.meta.dirname, '../../packaging/examples', name), 'utf8')) as object;
const read = (value: object) => readDocument(MpConfig, value, { what: 'mp.cfg' });

describe('configuration', () => {
  test.each(['mp.cfg', 'mp-peer.cfg'])('the example %s is read without a complaint', (name) => {
    const { value, warnings } = read(example(name));
    expect(warnings).toEqual([]);
    expect(() => checkConfig(value, false)).not.toThrow();
    expect(() => checkConfig(value, true)).not.toThrow();
  });

  test('a configuration of the reference is taken: keys in any case, downloads unused, ports of 0 are the usual ones', () => {
    const { value, warnings } = read({
      CACert: '/ca.pem',
      CertStorage: 'sm',
      ImageStoreDir: '/images',
      WorkingDir: '/work',
      IAMConfig: {
        IAMPublicServerURL: 'localhost:8090',
        IAMMainPublicServerURL: 'main:8090',
        IAMMainProtectedServerURL: 'main:8089',
        CertStorage: 'iam',
        OpenPort: 1,
        SecurePort: 0,
      },
      CMConfig: { CMServerURL: 'main:8093', OpenPort: 3, SecurePort: 4 },
      VChan: { Domain: 1, XSRXPath: 'rx', XSTXPath: 'tx', IAMCertStorage: 'iam', SMCertStorage: 'sm' },
      Downloader: { DownloadDir: '/tmp', MaxConcurrentDownloads: 5, RetryDelay: '1s', MaxRetryDelay: '30s' },
      LogProvider: { MaxPartSize: 100, MaxPartCount: 2 },
    });
    expect(warnings).toEqual([]);
    expect(value.iamConfig.securePort).toBe(2);
    expect(value.logProvider).toEqual({ maxPartSize: 100, maxPartCount: 2 });
    expect(value.transport.listen).toBe('0.0.0.0:30001');
    expect(value.vchan).toMatchObject({ domain: 1, xsRxPath: 'rx', xsTxPath: 'tx' });
    expect(() => checkConfig(value, false)).not.toThrow();
  });

  test('[MP-02] a helper program is in the place of an address, and a helper of no words is refused', () => {
    const base = example('mp-peer.cfg') as { peer: object };
    const { proxyUrl: _, ...peer } = base.peer as { proxyUrl: string };
    expect(() => checkConfig(read({ ...base, peer }).value, false)).toThrow(
      'peer.proxyUrl is missing: it is where the proxy listens; without a network, "transport.helper" is in its place',
    );
    const { value } = read({ ...base, peer, transport: { helper: ['/usr/lib/vchan-link', '-v'] } });
    expect(() => checkConfig(value, false)).not.toThrow();
    for (const helper of [[], '/usr/lib/vchan-link', ['']]) {
      expect(() => read({ ...base, transport: { helper } })).toThrow(/transport\.helper/);
    }
  });

  test('two channels of one number, and a missing address, are refused by name', () => {
    const base = example('mp.cfg') as { iamConfig: object };
    const twice = read({ ...base, iamConfig: { ...base.iamConfig, openPort: 2 } }).value;
    expect(() => checkConfig(twice, false)).toThrow(/two channels have the number 2/);
    const without = read({ ...base, cmConfig: {} }).value;
    expect(() => checkConfig(without, false)).toThrow(/cmConfig.cmServerUrl is missing/);
    expect(() => checkConfig(without, true)).not.toThrow();
  });
});
