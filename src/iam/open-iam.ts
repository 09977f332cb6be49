/** Builds the parts of aos-iam from its configuration, in the order of spec/iam.md 2.4. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AosError, asAosError, type Clock, type Logger } from '../core/index.ts';
import type { Life } from '../daemon/index.ts';
import { ensureDirectory } from '../storage/index.ts';
import type { CertificateHandler } from './certificates/certificate-handler.ts';
import { hasMainIam, type IamConfig } from './config/iam-config.ts';
import { NODE_RECONNECT_MS } from './limits.ts';
import type { LocalNode } from './node/local-node.ts';
import { MainLink } from './nodes/main-link.ts';
import { IamStore } from './store/iam-store.ts';
import { readFormerNodes } from './store/read-former-nodes.ts';

/** Reconnection waits so long after a new certificate: its servers are renewed at the same time. */
const RENEW_LINK_MS = 1000;

/** Roots of the unit; a blank unit may do without, a provisioned one not. */
export async function readRoots(config: IamConfig, required: boolean, logger: Logger): Promise<string | undefined> {
  try {
    if (config.caCert === '') throw new AosError('notFound', 'the configuration has no caCert');
    return await readFile(config.caCert, 'utf8');
  } catch (error) {
    if (required) throw asAosError(error, 'cannot read the root certificates');
    logger.warn({ path: config.caCert, error: String(error) }, 'there are no root certificates');
    return undefined;
  }
}

export async function openStore(config: IamConfig, life: Life): Promise<IamStore> {
  await ensureDirectory(config.workingDir, 0o755);
  const store = life.use('store', await IamStore.open(join(config.workingDir, 'aos-iam.db'), life.logger));
  store.importNodes(() => readFormerNodes(join(config.workingDir, 'iamanager.db'), life.logger));
  return store;
}

/** The stream to the main IAM, on nodes that have one (spec/iam.md 15). */
export function openMainLink(
  config: IamConfig,
  provisioning: boolean,
  node: LocalNode,
  certificates: CertificateHandler,
  roots: string | undefined,
  clock: Clock,
  life: Life,
): MainLink | undefined {
  if (!hasMainIam(config)) return undefined;
  const { checkHostName } = config.tls;
  const byServerCertificate = { tls: true, material: () => ({ ca: roots!, checkHostName }) };
  const link = new MainLink({
    address: provisioning ? config.mainIAMPublicServerURL : config.mainIAMProtectedServerURL,
    credentials: provisioning
      ? [{ tls: false, material: () => undefined }, ...(roots === undefined ? [] : [byServerCertificate])]
      : [
          {
            tls: true,
            material: () => ({ ca: roots!, checkHostName, identity: certificates.identity(config.certStorage) }),
          },
        ],
    node,
    clock,
    logger: life.logger,
    reconnectMs: config.nodeReconnectInterval ?? NODE_RECONNECT_MS,
  });
  life.use('link to the main IAM', link);
  if (!provisioning) {
    let renewing: NodeJS.Timeout | undefined;
    const unsubscribe = certificates.subscribe(config.certStorage, () => {
      clearTimeout(renewing);
      renewing = setTimeout(() => link.renew(), RENEW_LINK_MS);
    });
    life.use('renewal of the link', {
      stop: () => {
        unsubscribe();
        clearTimeout(renewing);
      },
    });
  }
  link.start();
  return link;
}
