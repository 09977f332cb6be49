/** The software bill of materials of the package, CycloneDX 1.5, from the lock file (`npm sbom` leaves out shared packages). Pure. */

interface LockedPackage {
  readonly version?: string;
  readonly license?: string;
  /** `<algorithm>-<base64>`. */
  readonly integrity?: string;
  readonly dev?: boolean;
  readonly devOptional?: boolean;
  /** Where it can be installed; absent: everywhere. */
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
}

export interface LockFile {
  readonly packages: Readonly<Record<string, LockedPackage>>;
}

export interface BillOptions {
  readonly version: string;
  /** When the sources were made, in seconds since 1970. */
  readonly epochS: number;
  /** Of the package, in the words of npm, such as `x64`. */
  readonly cpu: string;
}

const ALGORITHMS: Readonly<Record<string, string>> = { sha512: 'SHA-512', sha256: 'SHA-256', sha1: 'SHA-1' };

export function billOfMaterials({ packages }: LockFile, { version, epochS, cpu }: BillOptions) {
  const isForOthers = (found: LockedPackage) =>
    found.os?.includes('linux') === false || found.cpu?.includes(cpu) === false;
  const components = Object.entries(packages)
    .filter(([path, found]) => path !== '' && !found.dev && !found.devOptional && !isForOthers(found))
    .map(([path, found]) => componentOf(path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length), found))
    .sort((a, b) => (a.purl < b.purl ? -1 : 1));
  return {
    $schema: 'http://cyclonedx.org/schema/bom-1.5.schema.json',
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: {
      timestamp: new Date(epochS * 1000).toISOString(),
      component: { type: 'application', name: 'aoscore', version, 'bom-ref': `aoscore@${version}` },
    },
    components: components.filter(({ purl }, index) => purl !== components[index - 1]?.purl),
  };
}

function componentOf(name: string, { version = '', license, integrity }: LockedPackage) {
  const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
  return {
    type: 'library',
    name,
    version,
    purl,
    'bom-ref': purl,
    ...(license !== undefined && { licenses: [{ license: { name: license } }] }),
    ...(integrity !== undefined && { hashes: [hashOf(integrity)] }),
  };
}

function hashOf(integrity: string) {
  const [algorithm = '', digest = ''] = integrity.split(' ')[0]!.split(/-(.*)/s);
  return { alg: ALGORITHMS[algorithm] ?? algorithm, content: Buffer.from(digest, 'base64').toString('hex') };
}
