/**
 * Opens the tokens of this node and corrects the database by what they hold. A token that is not there, or a library
 * that fails, is reported and tried again until it works: starting the program anew would not mend it, and would keep
 * the node from telling what is wrong.
 */
import { asAosError, Backoff, type Clock, type Logger } from '../../core/index.ts';
import type { Life } from '../../daemon/index.ts';
import { loadPkcs11, type Pkcs11Library, RefusedPins } from '../../platform/token/index.ts';
import { type IamConfig, tokenKey } from '../config/iam-config.ts';
import { TOKEN_RETRY_FIRST_MS, TOKEN_RETRY_MAX_MS } from '../limits.ts';
import type { IamStore } from '../store/iam-store.ts';
import { CertificateHandler } from './certificate-handler.ts';
import type { CertificateModule } from './certificate-module.ts';
import { FileModule } from './file-module.ts';
import { chainJudge } from './judge-chain.ts';
import { KeyDirectory } from './key-directory.ts';
import { KeyModule } from './key-module.ts';
import { OwnedToken } from './owned-token.ts';

export interface OpenCertificatesOptions {
  readonly config: IamConfig;
  readonly store: IamStore;
  /** PEM of the unit's roots. */
  readonly roots: string | undefined;
  /** Whether the node is a member of a unit: then tokens that certificates are in must be there. */
  readonly provisioned: boolean;
  readonly clock: Clock;
  /** Default: the real library. */
  readonly load?: (path: string) => Pkcs11Library;
}

/** Rejects only when the daemon stops. */
export async function openCertificates(options: OpenCertificatesOptions, life: Life): Promise<CertificateHandler> {
  const backoff = new Backoff({ firstMs: TOKEN_RETRY_FIRST_MS, maxMs: TOKEN_RETRY_MAX_MS });
  // Across tries: a token that is asked again and again with a wrong PIN locks itself.
  const refusedPins = new RefusedPins();
  for (;;) {
    const libraries = new Map<string, Pkcs11Library>();
    const close = () => {
      for (const library of libraries.values()) library.close();
    };
    try {
      const handler = makeHandler(options, libraries, refusedPins, life.logger);
      await handler.start();
      life.use('PKCS#11 libraries', { stop: close });
      return life.use('certificates', handler);
    } catch (error) {
      // A library that is opened anew sees tokens that came meanwhile.
      close();
      const { message } = asAosError(error);
      const retryMs = backoff.next();
      life.logger.error({ error: message, retryMs }, 'the keys of this node cannot be used; trying again');
      life.stillStarting(`waits for its keys: ${message}`);
      await options.clock.sleep(retryMs, life.signal);
    }
  }
}

/** One library per path, one token per selector, however many types use them. */
function makeHandler(
  { config, store, roots, provisioned, clock, load = loadPkcs11 }: OpenCertificatesOptions,
  libraries: Map<string, Pkcs11Library>,
  refusedPins: RefusedPins,
  logger: Logger,
): CertificateHandler {
  const tokens = new Map<string, OwnedToken>();
  const directories = new Map<string, KeyDirectory>();
  const libraryOf = (path: string) => {
    const library = libraries.get(path) ?? load(path);
    libraries.set(path, library);
    return library;
  };
  const modules = config.certModules
    .filter(({ disabled }) => !disabled)
    .map((module): CertificateModule => {
      if (module.plugin === 'swmodule') {
        const { directory } = module.params;
        const place = directories.get(directory) ?? new KeyDirectory(directory);
        directories.set(directory, place);
        return new FileModule(module, place, logger);
      }
      const key = tokenKey(module.params);
      const token =
        tokens.get(key) ??
        new OwnedToken({
          library: libraryOf(module.params.library),
          params: module.params,
          logger,
          teeLoginType: process.env.CKTEEC_LOGIN_TYPE,
          refusedPins,
        });
      tokens.set(key, token);
      return new KeyModule(module, token, logger);
    });
  return new CertificateHandler({
    modules,
    store,
    clock,
    logger,
    judgeChain: chainJudge(roots, () => clock.now()),
    strictChain: config.strictChain,
    tokensMustBeThere: provisioned,
  });
}
