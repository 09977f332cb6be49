/** Configuration of aos-iam: keys of the product, matched without regard to case (spec/iam.md 3). */
import { normalize } from 'node:path';
import * as z from 'zod';
import { AosError } from '../../core/index.ts';
import { DurationMs, MetricsListen, PeriodMs } from '../../daemon/index.ts';
import { isClearLabel } from '../../platform/token/index.ts';
import {
  MAX_ATTRIBUTE_LENGTH,
  MAX_ATTRIBUTES,
  MAX_CERT_MODULES,
  MAX_CERT_TYPE_LENGTH,
  MAX_CERTS_PER_TYPE,
  MAX_ID_LENGTH,
  MAX_PARTITIONS,
  MAX_TOKEN_LABEL_BYTES,
} from '../limits.ts';

const CommandLine = z.array(z.string()).default([]);

/** A label stands in the URLs of its keys (spec/decisions.md IA-16). */
const TokenLabel = z
  .string()
  .refine(
    (label) => Buffer.byteLength(label) <= MAX_TOKEN_LABEL_BYTES,
    `expected at most ${MAX_TOKEN_LABEL_BYTES} bytes`,
  )
  .refine(isClearLabel, 'expected a label without "id=", "object=", "token=", ";", "?" and "&"');

const Pkcs11Params = z
  .object({
    library: z.string().min(1),
    slotID: z.int().nonnegative().optional(),
    slotIndex: z.int().nonnegative().optional(),
    tokenLabel: TokenLabel.optional(),
    userPinPath: z.string().optional(),
    modulePathInUrl: z.boolean().default(false),
    uid: z.int().nonnegative().default(0),
    gid: z.int().nonnegative().default(0),
  })
  .refine(
    ({ slotID, slotIndex, tokenLabel }) =>
      [slotID, slotIndex, tokenLabel || undefined].filter((x) => x !== undefined).length <= 1,
    'expected at most one of slotID, slotIndex and tokenLabel',
  );
export type Pkcs11Params = z.infer<typeof Pkcs11Params>;

/** `ecc` and `rsa`, or the names of the reference's own enumeration. */
const Algorithm = z
  .enum(['ecc', 'rsa', 'ECDSA', 'RSA'])
  .transform((name) => (name === 'ecc' || name === 'ECDSA' ? ('ec' as const) : ('rsa' as const)));

/** Keys that are files; nobody moves into another directory by a name. */
const SoftwareParams = z.object({
  directory: z
    .string()
    .regex(/^\/[^\0]*[^/\0]$/, 'expected the absolute path of a directory, without a slash at its end')
    .refine((path) => normalize(path) === path, 'expected a path without "." and ".." in it'),
});

const CertType = z.string().min(1).max(MAX_CERT_TYPE_LENGTH);

const COMMON = {
  algorithm: Algorithm,
  maxItems: z.int().min(1).max(MAX_CERTS_PER_TYPE),
  extendedKeyUsage: z
    .array(z.enum(['clientAuth', 'serverAuth']))
    .max(2)
    .default([]),
  alternativeNames: z.array(z.string().min(1).max(253)).max(16).default([]),
  disabled: z.boolean().default(false),
  skipValidation: z.boolean().default(false),
  selfSigned: z.boolean().default(false),
};

const Pkcs11Module = z.object({
  id: CertType,
  plugin: z.literal('pkcs11module'),
  ...COMMON,
  params: Pkcs11Params,
});
export type Pkcs11ModuleConfig = z.infer<typeof Pkcs11Module>;

const SoftwareModule = z.object({
  id: CertType.regex(/^[A-Za-z0-9_-]+$/, 'expected letters, digits, "_" and "-": files are named after it'),
  plugin: z.literal('swmodule'),
  ...COMMON,
  params: SoftwareParams,
});
export type SoftwareModuleConfig = z.infer<typeof SoftwareModule>;

const CertModule = z
  .discriminatedUnion('plugin', [Pkcs11Module, SoftwareModule], {
    error: 'expected "pkcs11module" (any PKCS#11 library, that of a TPM included) or "swmodule" (keys in files)',
  })
  .refine(({ selfSigned, maxItems }) => selfSigned || maxItems >= 2, {
    message: 'expected at least 2: a renewal keeps the old certificate beside the new one',
    path: ['maxItems'],
  });
export type CertModuleConfig = z.infer<typeof CertModule>;

const Text64 = z.string().max(MAX_ID_LENGTH);

const NodeInfoConfig = z.object({
  provisioningStatePath: z.string().default('/var/aos/.provisionstate'),
  cpuInfoPath: z.string().default('/proc/cpuinfo'),
  memInfoPath: z.string().default('/proc/meminfo'),
  nodeIDPath: z.string().default('/etc/machine-id'),
  nodeName: Text64.default(''),
  nodeType: Text64.default(''),
  maxDMIPS: z.int().nonnegative().default(0),
  architecture: z.string().optional(),
  architectureVariant: z.string().optional(),
  os: z.string().optional(),
  osVersion: z.string().optional(),
  attrs: z
    .record(z.string().max(MAX_ID_LENGTH), z.string().max(MAX_ATTRIBUTE_LENGTH))
    .refine((attrs) => Object.keys(attrs).length <= MAX_ATTRIBUTES, `expected at most ${MAX_ATTRIBUTES} attributes`)
    .default({}),
  partitions: z
    .array(z.object({ name: Text64, path: z.string().default(''), types: z.array(z.string()).default([]) }))
    .max(MAX_PARTITIONS)
    .default([]),
});
export type NodeInfoConfig = z.infer<typeof NodeInfoConfig>;

const FileIdentifierParams = z.object({
  systemIDPath: z.string().min(1),
  unitModelPath: z.string().min(1),
  subjectsPath: z.string().min(1),
});
export type FileIdentifierParams = z.infer<typeof FileIdentifierParams>;

const VisIdentifierParams = z.object({
  visServer: z.string().regex(/^wss:\/\//, 'expected a wss:// URL'),
  caCertFile: z.string().default(''),
  webSocketTimeout: DurationMs.default(120_000),
});
export type VisIdentifierParams = z.infer<typeof VisIdentifierParams>;

const Identifier = z.union([
  z.object({ plugin: z.literal('fileidentifier'), params: FileIdentifierParams }),
  z.object({ plugin: z.literal('visidentifier'), params: VisIdentifierParams }),
  z.object({ plugin: z.enum(['', 'none']), params: z.unknown().optional() }),
]);

const PROTECTED_SERVICES = [
  'IAMCertificateService',
  'IAMNodesService',
  'IAMPermissionsService',
  'IAMProvisioningService',
] as const;

/** A rule for an unknown service is refused: ignored, it would leave open what was meant to be closed. */
const Authorization = z
  .record(z.string(), z.array(z.string().min(1)))
  .refine(
    (rules) => Object.keys(rules).every((name) => (PROTECTED_SERVICES as readonly string[]).includes(name)),
    `expected names out of ${PROTECTED_SERVICES.join(', ')}`,
  );

export const IamConfig = z.object({
  caCert: z.string().default(''),
  certStorage: z.string().default(''),
  iamPublicServerURL: z.string().min(1),
  iamProtectedServerURL: z.string().min(1),
  mainIAMPublicServerURL: z.string().default(''),
  mainIAMProtectedServerURL: z.string().default(''),
  /** Honoured only when set; 3 s otherwise (spec/decisions.md C-64). */
  nodeReconnectInterval: PeriodMs.optional(),
  startProvisioningCmdArgs: CommandLine,
  diskEncryptionCmdArgs: CommandLine,
  finishProvisioningCmdArgs: CommandLine,
  deprovisionCmdArgs: CommandLine,
  enablePermissionsHandler: z.boolean().default(false),
  workingDir: z.string().min(1),
  /** Where instance secrets survive a restart of IAM but not of the node; a tmpfs. */
  runtimeDir: z.string().default('/run/aos/iam'),
  controlSocket: z.string().optional(),
  metrics: z.object({ listen: MetricsListen }).optional(),
  /** A chain that does not verify against `caCert` is refused instead of reported (spec/decisions.md IA-11). */
  strictChain: z.boolean().default(false),
  /**
   * Which certificates may use a service of the protected server: name of the service, then common names or DNS names.
   * Services that are not named are open to every certificate of the unit (spec/decisions.md IA-32).
   */
  authorization: Authorization.default({}),
  /** Of the reference; our migrations are inside of the program. */
  migration: z.unknown().optional(),
  nodeInfo: NodeInfoConfig,
  identifier: Identifier.optional(),
  certModules: z.array(CertModule).max(MAX_CERT_MODULES).default([]),
  tls: z.object({ checkHostName: z.boolean().default(true) }).default({ checkHostName: true }),
});
export type IamConfig = z.infer<typeof IamConfig>;

/** The attribute, whatever its spelling, that makes a node the main node (spec/iam.md 1). */
export function isMainNode(attrs: Readonly<Record<string, string>>): boolean {
  return Object.keys(attrs).some((name) => name.toLowerCase() === 'mainnode');
}

/** True when this IAM registers at a main IAM. */
export function hasMainIam(config: IamConfig): boolean {
  return config.mainIAMPublicServerURL !== '' && config.mainIAMProtectedServerURL !== '';
}

/** What no single key can be blamed for. Throws `invalidArgument`. */
export function checkConfig(config: IamConfig): void {
  const enabled = config.certModules.filter(({ disabled }) => !disabled);
  const ids = enabled.map(({ id }) => id);
  const twice = ids.find((id, index) => ids.indexOf(id) !== index);
  if (twice !== undefined) throw new AosError('invalidArgument', `certModules has "${twice}" twice`);
  if (
    isMainNode(config.nodeInfo.attrs) &&
    !['fileidentifier', 'visidentifier'].includes(config.identifier?.plugin ?? '')
  ) {
    throw new AosError(
      'invalidArgument',
      'identifier is missing: this is the main node, and the unit has its system id, model and subjects from there',
    );
  }
  const inTokens = enabled.filter((module) => module.plugin === 'pkcs11module');
  for (const module of inTokens) checkSharedToken(module, inTokens);
}

/** One token has one user PIN, so one PIN file. */
function checkSharedToken(module: Pkcs11ModuleConfig, all: readonly Pkcs11ModuleConfig[]): void {
  const other = all.find(
    ({ params }) => tokenKey(params) === tokenKey(module.params) && params.userPinPath !== module.params.userPinPath,
  );
  if (!other) return;
  throw new AosError(
    'invalidArgument',
    `certModules "${module.id}" and "${other.id}" share a token but name different PIN files; a token has one PIN`,
  );
}

/** Equal for modules whose keys are in the same token. */
export function tokenKey({ library, slotID, slotIndex, tokenLabel }: Pkcs11Params): string {
  return JSON.stringify([library, slotID, slotIndex, tokenLabel || 'aos']);
}
