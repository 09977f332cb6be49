/** Configuration of the proxy and of its peer (spec/mp.md 4, spec/decisions.md 3). Durations in milliseconds. */
import * as z from 'zod';
import { AosError } from '../core/index.ts';
import { MetricsListen } from '../daemon/index.ts';

const Text = z.string().default('');
const Required = z.string('expected a text').min(1, 'expected a text that is not empty');
/** A channel number; 0, the reference's default, means the usual one. */
const Port = (usual: number) =>
  z
    .int()
    .min(0)
    .max(0xffffffff)
    .default(usual)
    .transform((port) => (port === 0 ? usual : port));

/** Local servers of a node that has nothing but the channel; they stand for the main node. */
const Peer = z.object({
  /** `host:port` of the proxy. */
  proxyUrl: Text,
  iamPublicListen: z.string().default('127.0.0.1:8190'),
  iamProtectedListen: z.string().default('127.0.0.1:8189'),
  cmListen: z.string().default('127.0.0.1:8193'),
  fileListen: z.string().default('127.0.0.1:8194'),
  /** Type of the certificate that the local servers show. */
  certStorage: z.string().default('iam'),
  /** Sets the clock of this node by that of the proxy. */
  setClock: z.boolean().default(false),
});

export const MpConfig = z.object({
  /** `proxy`: the side with a network; `peer`: the side without. */
  mode: z.enum(['proxy', 'peer']).default('proxy'),
  caCert: Text,
  certStorage: z.string().default('sm'),
  workingDir: z.string().default('/var/aos/workdirs/mp'),
  imageStoreDir: z.unknown().optional(),
  controlSocket: z.string().optional(),
  iamConfig: z.object({
    iamPublicServerUrl: Required,
    iamMainPublicServerUrl: Text,
    iamMainProtectedServerUrl: Text,
    certStorage: z.string().default('iam'),
    openPort: Port(1),
    securePort: Port(2),
  }),
  cmConfig: z.object({ cmServerUrl: Text, openPort: Port(3), securePort: Port(4) }).prefault({}),
  proxyConfig: z.object({ securePort: Port(5), callPort: Port(6), fileServerUrl: Text }).prefault({}),
  vchan: z
    .object({
      /** Of the other side; for the program of `transport.helper`, as are the paths. */
      domain: z.int().min(0).default(0),
      xsRxPath: Text,
      xsTxPath: Text,
      iamCertStorage: z.string().default('iam'),
      smCertStorage: z.string().default('sm'),
    })
    .prefault({}),
  downloader: z.unknown().optional(),
  logProvider: z
    .object({ maxPartSize: z.int().min(1).default(10_240), maxPartCount: z.int().min(1).default(10) })
    .prefault({}),
  transport: z
    .object({
      listen: z.string().default('0.0.0.0:30001'),
      /** A program with its arguments whose standard input and output are the connection, in place of TCP. */
      helper: z.array(Required).min(1, 'expected a program and its arguments').optional(),
    })
    .prefault({}),
  peer: Peer.prefault({}),
  tls: z.object({ checkHostName: z.boolean().default(true) }).prefault({}),
  metrics: z.object({ listen: MetricsListen }).prefault({}),
});
export type MpConfig = z.output<typeof MpConfig>;

/** What no single key can be blamed for. Throws `invalidArgument`. */
export function checkConfig(config: MpConfig, provisioning: boolean): void {
  const { iamConfig, cmConfig, proxyConfig, transport, peer } = config;
  const missing = (key: string, why: string) => new AosError('invalidArgument', `${key} is missing: ${why}`);
  if (config.mode === 'peer') {
    if (peer.proxyUrl === '' && !transport.helper) {
      throw missing(
        'peer.proxyUrl',
        'it is where the proxy listens; without a network, "transport.helper" is in its place',
      );
    }
  } else {
    if (iamConfig.iamMainPublicServerUrl === '') {
      throw missing('iamConfig.iamMainPublicServerUrl', 'blank peers register there');
    }
    if (!provisioning && iamConfig.iamMainProtectedServerUrl === '') {
      throw missing('iamConfig.iamMainProtectedServerUrl', 'provisioned peers register there');
    }
    if (!provisioning && cmConfig.cmServerUrl === '') throw missing('cmConfig.cmServerUrl', 'it is where the CM is');
  }
  if (!provisioning && config.caCert === '') throw missing('caCert', 'it verifies the other side of secure channels');
  const ports = [
    iamConfig.openPort,
    iamConfig.securePort,
    cmConfig.openPort,
    cmConfig.securePort,
    proxyConfig.securePort,
    proxyConfig.callPort,
  ];
  const twice = ports.find((port, index) => ports.indexOf(port) !== index);
  if (twice !== undefined) throw new AosError('invalidArgument', `two channels have the number ${twice}`);
}
