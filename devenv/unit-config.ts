/** The configuration files of a one-node unit: the keys of the product, with every path inside of one directory. */
import { join } from 'node:path';
import type { UnitLayout } from './layout.ts';
import { softhsmLibrary } from './token.ts';

export interface UnitPorts {
  readonly iamProtected: number;
  readonly iamPublic: number;
  readonly cm: number;
  readonly files: number;
}

/** The product's ports. */
export const UNIT_PORTS: UnitPorts = { iamProtected: 8089, iamPublic: 8090, cm: 8093, files: 8094 };

export interface UnitIdentity {
  readonly systemId: string;
  readonly nodeId: string;
  /** `name;version`. */
  readonly unitModel: string;
  readonly subjects: readonly string[];
}

/** Extra or other keys per daemon, put over the defaults of the environment. */
export interface ConfigOverrides {
  readonly iam?: Readonly<Record<string, unknown>>;
  readonly cm?: Readonly<Record<string, unknown>>;
  readonly sm?: Readonly<Record<string, unknown>>;
}

interface CertModule {
  readonly id: string;
  readonly algorithm: 'ecc' | 'rsa';
  readonly maxItems: number;
  readonly tokenLabel: string;
  readonly usages?: readonly string[];
}

const BOTH = ['serverAuth', 'clientAuth'];

const CERT_MODULES: readonly CertModule[] = [
  { id: 'online', algorithm: 'ecc', maxItems: 2, tokenLabel: 'aoscloud' },
  { id: 'offline', algorithm: 'rsa', maxItems: 5, tokenLabel: 'aoscloud' },
  { id: 'iam', algorithm: 'ecc', maxItems: 2, tokenLabel: 'aoscore', usages: BOTH },
  { id: 'sm', algorithm: 'ecc', maxItems: 2, tokenLabel: 'aoscore', usages: BOTH },
  { id: 'cm', algorithm: 'ecc', maxItems: 2, tokenLabel: 'aoscore', usages: BOTH },
];

/** What image configurations call the processor of this host. */
const ARCHITECTURE = process.arch === 'x64' ? 'amd64' : process.arch;

export function iamConfig(layout: UnitLayout, ports: UnitPorts): Record<string, unknown> {
  return {
    caCert: layout.caFile,
    certStorage: 'iam',
    iamPublicServerURL: `127.0.0.1:${ports.iamPublic}`,
    iamProtectedServerURL: `127.0.0.1:${ports.iamProtected}`,
    workingDir: join(layout.var, 'iam'),
    runtimeDir: join(layout.run, 'iam'),
    controlSocket: layout.sockets.iam,
    enablePermissionsHandler: true,
    finishProvisioningCmdArgs: [join(layout.etc, 'hooks', 'finish-provisioning')],
    deprovisionCmdArgs: [join(layout.etc, 'hooks', 'deprovision'), 'async'],
    nodeInfo: {
      provisioningStatePath: layout.stateFile,
      nodeIDPath: join(layout.etc, 'machine-id'),
      nodeName: 'main',
      nodeType: 'main',
      maxDMIPS: 10_000,
      architecture: ARCHITECTURE,
      os: 'linux',
      attrs: { MainNode: '', AosComponents: 'cm,iam,sm' },
      partitions: [
        { name: 'services', types: ['services', 'layers'], path: layout.var },
        { name: 'storages', types: ['storages'], path: layout.var },
        { name: 'states', types: ['states'], path: layout.var },
      ],
    },
    identifier: {
      plugin: 'fileidentifier',
      params: {
        systemIDPath: layout.systemIdFile,
        unitModelPath: join(layout.etc, 'unit_model'),
        subjectsPath: join(layout.etc, 'subjects'),
      },
    },
    certModules: CERT_MODULES.map(({ id, algorithm, maxItems, tokenLabel, usages }) => ({
      id,
      plugin: 'pkcs11module',
      algorithm,
      maxItems,
      ...(usages ? { extendedKeyUsage: usages, alternativeNames: ['localhost'] } : {}),
      params: {
        library: softhsmLibrary(),
        tokenLabel,
        userPinPath: layout.pinFile,
        modulePathInUrl: true,
      },
    })),
  };
}

/** The addresses of IAM as its clients write them; the names are those in its certificate. */
function iamUrls(ports: UnitPorts): Record<string, string> {
  return {
    iamProtectedServerUrl: `localhost:${ports.iamProtected}`,
    iamPublicServerUrl: `localhost:${ports.iamPublic}`,
  };
}

export function cmConfig(layout: UnitLayout, ports: UnitPorts): Record<string, unknown> {
  const work = join(layout.var, 'workdirs', 'cm');
  return {
    caCert: layout.caFile,
    certStorage: 'cm',
    ...iamUrls(ports),
    cmServerUrl: `127.0.0.1:${ports.cm}`,
    fileServerUrl: `localhost:${ports.files}`,
    workingDir: work,
    storageDir: join(layout.var, 'storages'),
    stateDir: join(layout.var, 'states'),
    dnsStoragePath: join(layout.var, 'dns'),
    imageManager: { installPath: join(work, 'install'), downloadPath: join(work, 'download') },
    controlSocket: layout.sockets.cm,
    cloudMessageLog: join(layout.logs, 'cloud-messages.txt'),
  };
}

export function smConfig(layout: UnitLayout, ports: UnitPorts): Record<string, unknown> {
  const work = join(layout.var, 'workdirs', 'sm');
  return {
    caCert: layout.caFile,
    certStorage: 'sm',
    ...iamUrls(ports),
    cmServerUrl: `localhost:${ports.cm}`,
    cmReconnectTimeout: '1s',
    workingDir: work,
    resourcesConfigFile: join(layout.etc, 'resources.cfg'),
    imageManager: { imagePath: join(work, 'images') },
    controlSocket: layout.sockets.sm,
    // Bridges and the firewall belong to the host; several environments may run on one host.
    network: { mode: 'loopback' },
    runtimes: [
      {
        plugin: 'container',
        type: 'crun',
        config: {
          runtimeDir: layout.bundles,
          crunStateRoot: layout.ociState,
          stateDir: join(layout.var, 'states'),
          storageDir: join(layout.var, 'storages'),
        },
      },
    ],
  };
}
