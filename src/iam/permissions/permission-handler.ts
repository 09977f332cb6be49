/**
 * Secrets and permissions of running instances of this node (spec/iam.md 17, spec/decisions.md IA-27). They live as
 * long as the node runs: a file in a tmpfs carries them over a restart of IAM, nothing carries them over a reboot.
 */
import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import {
  AosError,
  asAosError,
  type InstanceIdent,
  instanceKey,
  instanceName,
  type Logger,
  readDocument,
} from '../../core/index.ts';
import { ensureDirectory, removeTemporaryFiles, writeFileAtomic } from '../../storage/index.ts';
import {
  MAX_FUNCTIONAL_SERVERS,
  MAX_FUNCTIONS,
  MAX_ID_LENGTH,
  MAX_PERMISSION_INSTANCES,
  MAX_PERMISSION_LENGTH,
} from '../limits.ts';

/** Function → permission, opaque here. */
export type Permissions = Readonly<Record<string, string>>;
/** Functional server → its permissions. */
export type ServerPermissions = Readonly<Record<string, Permissions>>;

interface Registration {
  readonly ident: InstanceIdent;
  readonly secret: string;
  readonly permissions: ServerPermissions;
}

const StoredRegistrations = z.array(
  z.object({
    ident: z.object({
      itemId: z.string(),
      subjectId: z.string(),
      instance: z.int(),
      type: z.enum(['service', 'component']),
      preinstalled: z.boolean(),
    }),
    secret: z.string(),
    permissions: z.record(z.string(), z.record(z.string(), z.string())),
  }),
);

const FILE_NAME = 'permissions.json';
const SECRET_MODE = 0o600;

export class PermissionHandler {
  readonly #path: string;
  readonly #registrations: Map<string, Registration>;
  #saving: Promise<void> = Promise.resolve();

  private constructor(path: string, registrations: readonly Registration[]) {
    this.#path = path;
    this.#registrations = new Map(registrations.map((entry) => [instanceKey(entry.ident), entry]));
  }

  /** Takes over what an earlier run of this boot has registered; a file that cannot be read voids it. */
  static async open(runtimeDir: string, logger: Logger): Promise<PermissionHandler> {
    const path = join(runtimeDir, FILE_NAME);
    await ensureDirectory(runtimeDir, 0o700);
    await removeTemporaryFiles(runtimeDir, FILE_NAME);
    try {
      const stored: unknown = JSON.parse(await readFile(path, 'utf8'));
      return new PermissionHandler(path, readDocument(StoredRegistrations, stored, { what: path }).value);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        // Without its text: it may quote the file.
        logger.warn(
          { path, code: asAosError(error).code },
          'registered permissions are lost; instances register again',
        );
      }
      return new PermissionHandler(path, []);
    }
  }

  /** The secret of the instance: a new one, or the one it has, with the permissions replaced. */
  async register(ident: InstanceIdent, permissions: ServerPermissions): Promise<string> {
    checkIdent(ident);
    checkSize(permissions);
    const key = instanceKey(ident);
    const known = this.#registrations.get(key);
    if (!known && this.#registrations.size >= MAX_PERMISSION_INSTANCES) {
      throw new AosError('noMemory', `${MAX_PERMISSION_INSTANCES} instances have permissions already`);
    }
    const secret = known?.secret ?? randomUUID();
    this.#registrations.set(key, { ident, secret, permissions });
    await this.#save();
    return secret;
  }

  /** Throws `notFound` for an instance that is not registered. */
  async unregister(ident: InstanceIdent): Promise<void> {
    if (!this.#registrations.delete(instanceKey(ident))) {
      throw new AosError('notFound', `instance ${instanceName(ident)} has no permissions registered`);
    }
    await this.#save();
  }

  /** Who has the secret and what it may do at a server. Throws `notFound`, without telling which of both is wrong. */
  get(secret: string, functionalServer: string): { readonly ident: InstanceIdent; readonly permissions: Permissions } {
    const wanted = digest(secret);
    // All are compared, each in constant time, so that the time tells nothing.
    const found = [...this.#registrations.values()].filter((entry) => timingSafeEqual(digest(entry.secret), wanted))[0];
    const permissions =
      found && Object.hasOwn(found.permissions, functionalServer) && found.permissions[functionalServer];
    if (!found || !permissions) {
      const server = functionalServer.slice(0, MAX_PERMISSION_LENGTH);
      throw new AosError('notFound', `no instance with this secret has permissions for "${server}"`);
    }
    return { ident: found.ident, permissions };
  }

  /** How many instances are registered. */
  get size(): number {
    return this.#registrations.size;
  }

  async stop(): Promise<void> {
    await this.#saving;
  }

  #save(): Promise<void> {
    const done = this.#saving.then(() =>
      writeFileAtomic(this.#path, JSON.stringify([...this.#registrations.values()]), {
        mode: SECRET_MODE,
        faultName: 'iam.permissions',
      }),
    );
    this.#saving = done.catch(() => undefined);
    return done;
  }
}

/** What is registered is asked for by others: an identity that cannot be one would never be found again. */
function checkIdent({ itemId, subjectId, instance }: InstanceIdent): void {
  for (const [what, id, least] of [
    ['item id', itemId, 1],
    ['subject id', subjectId, 0],
  ] as const) {
    if (id.length >= least && id.length <= MAX_ID_LENGTH) continue;
    throw new AosError(
      'invalidArgument',
      `the ${what} has ${id.length} characters, expected ${least} to ${MAX_ID_LENGTH}`,
    );
  }
  if (!Number.isSafeInteger(instance) || instance < 0) {
    throw new AosError('invalidArgument', `${instance} is no number of an instance`);
  }
}

function checkSize(permissions: ServerPermissions): void {
  const servers = Object.entries(permissions);
  if (servers.length > MAX_FUNCTIONAL_SERVERS) {
    throw new AosError(
      'noMemory',
      `permissions name ${servers.length} functional servers, at most ${MAX_FUNCTIONAL_SERVERS}`,
    );
  }
  for (const [server, functions] of servers) {
    const count = Object.keys(functions).length;
    if (count > MAX_FUNCTIONS) {
      throw new AosError('noMemory', `permissions for "${server}" name ${count} functions, at most ${MAX_FUNCTIONS}`);
    }
    checkLength('name of a functional server', server);
    for (const [name, permission] of Object.entries(functions)) {
      checkLength('name of a function', name);
      checkLength('permission', permission);
    }
  }
}

function checkLength(what: string, text: string): void {
  if (text.length <= MAX_PERMISSION_LENGTH) return;
  throw new AosError('noMemory', `a ${what} has ${text.length} characters, at most ${MAX_PERMISSION_LENGTH}`);
}

function digest(secret: string): Buffer {
  return createHash('sha256').update(secret).digest();
}
