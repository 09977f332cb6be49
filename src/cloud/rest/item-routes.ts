/** Publishing: blobs, then the item that consists of them. */
import * as z from 'zod';
import { AosError, compareVersions, type Digest, parseDigest, readDocument } from '../../core/index.ts';
import { parseImageConfig, parseImageIndex, parseImageManifest, parseItemConfig } from '../../oci/index.ts';
import { type Actor, seesItemsOf } from '../access/roles.ts';
import type { BlobVault } from '../blobs/blob-vault.ts';
import { Uploads } from '../blobs/uploads.ts';
import { wantedOn } from '../domain/facts.ts';
import { piecesOf } from '../http/server.ts';
import type { CloudDatabase } from '../store/cloud-database.ts';
import type { PublishedItem } from '../store/items.ts';
import type { Stores } from '../store/stores.ts';
import { pageOf } from './paging.ts';
import type { RestParts } from './parts.ts';
import type { Router } from './router.ts';

const Name = z.string().min(1).max(64);

const PublishRequest = z.object({
  type: z.enum(['service', 'component'], 'expected "service" or "component"').default('service'),
  title: z.string().max(64).optional(),
  owner: Name.optional(),
  indexDigest: z.string(),
  /** What a deployment gets that says nothing else. */
  defaults: z
    .object({
      numInstances: z.int().min(0).max(10_000).optional(),
      priority: z.int().min(0).max(999_999).optional(),
      labels: z.array(Name).max(16).optional(),
    })
    .prefault({}),
});

const VerificationRequest = z.object({
  state: z.enum(['pending', 'valid', 'rejected'], 'expected "pending", "valid" or "rejected"'),
  reason: z.string().max(256).default(''),
});

/** What becomes status 403 for a service provider who touches items of others. */
function mustOwn({ name, role, scope }: Actor, owner: string): void {
  if (role !== 'serviceProvider' || owner === scope) return;
  throw new AosError('failed', `${name} publishes items of "${scope}", not of "${owner}"`, { fields: { status: 403 } });
}

const MAX_DOCUMENT_BYTES = 1024 * 1024;

export function itemRoutes(router: Router, parts: RestParts): void {
  const { database, vault, fleet, defaultOwner, requireVerification, now } = parts;
  const uploads = new Uploads({ database, vault, limits: parts.uploadLimits, now });

  const seen = (actor: Actor, items: PublishedItem[]) => items.filter(({ owner }) => seesItemsOf(actor, owner));

  router.on('GET', '/api/items', async (call) => {
    const part = call.query('q');
    const all = await database.read(({ items }) => items.list());
    const found = seen(call.actor, all).filter(({ id }) => part === undefined || id.includes(part));
    return { status: 200, value: pageOf(call, found, ({ id, version }) => `${id} ${version}`) };
  });

  router.on('GET', '/api/items/:id', async (call) => {
    const versions = await database.read(({ items }) => items.versions(call.param('id')));
    return { status: 200, value: seen(call.actor, versions) };
  });

  router.on(
    'PUT',
    '/api/items/:id/:version',
    async (call) => {
      const request = await call.read(PublishRequest, 'the item');
      const { value: id } = readDocument(Name, call.param('id'), { what: 'the id of the item' });
      const version = call.param('version');
      // Also tells whether it is one.
      compareVersions(version, version);
      if (version.length > 32) throw new AosError('invalidArgument', `version ${version} is longer than 32 characters`);
      const { hex } = parseDigest(request.indexDigest);
      const { role, scope } = call.actor;
      const isProvider = role === 'serviceProvider';
      const owner = request.owner ?? (isProvider ? scope : defaultOwner);
      mustOwn(call.actor, owner);
      const verification = isProvider && requireVerification ? ('pending' as const) : ('valid' as const);
      const item = {
        ...{ id, version, type: request.type, title: request.title ?? id, owner, verification },
        verificationReason: null,
        indexDigest: `sha256:${hex}`,
        publishedAt: now().toISOString(),
        defaults: request.defaults,
      };
      const blobs = await collectBlobs(vault, database, item.indexDigest, request.type);
      const { added, published } = await database.write(async ({ items }) => {
        for (const known of await items.versions(id)) mustOwn(call.actor, known.owner);
        // One that no item needed may have been removed with another item meanwhile.
        await mustHave(items, 'blob', blobs);
        const isNew = await items.add(item, blobs);
        return { added: isNew, published: await items.get(id, version) };
      }, 'cloud.item');
      return { status: added ? 201 : 200, value: published };
    },
    PublishRequest,
  );

  router.on('DELETE', '/api/items/:id/:version', async (call) => {
    const files = await database.write(async ({ items, deployments, subjects, campaigns }) => {
      const { id, version, owner } = await items.get(call.param('id'), call.param('version'));
      mustOwn(call.actor, owner);
      const users = [
        ...(await deployments.unitsOf(id, version)),
        ...(await subjects.subscribersOf(id, version)).map((subject) => `subject ${subject}`),
        ...(await campaigns.usersOf(id, version)),
      ];
      if (users.length > 0) {
        // A service provider sees neither units nor subjects.
        const where = call.actor.role === 'serviceProvider' ? 'by those who operate units' : `on ${users.join(', ')}`;
        throw new AosError('wrongState', `${id} ${version} is deployed ${where}; remove it there first`);
      }
      return items.remove(id, version);
    }, 'cloud.item-removal');
    await vault.remove(files);
    return { status: 204 };
  });

  router.on(
    'PUT',
    '/api/items/:id/:version/verification',
    async (call) => {
      const value = await call.read(VerificationRequest, 'the verification');
      const { judged, users } = await database.write(async (stores) => {
        const { id, version } = await stores.items.get(call.param('id'), call.param('version'));
        await stores.items.setVerification(id, version, value.state, value.reason);
        const wanting: string[] = [];
        for (const { systemId } of await stores.units.list()) {
          if ((await wantedOn(stores, systemId)).some(({ itemId }) => itemId === id)) wanting.push(systemId);
        }
        return { judged: await stores.items.get(id, version), users: wanting };
      });
      // Units that verify may have it, or must not have it any more.
      for (const systemId of users) fleet.desiredChanged(systemId);
      return { status: 200, value: judged };
    },
    VerificationRequest,
  );

  router.on('HEAD', '/api/blobs/:digest', async (call) => {
    const { hex } = parseDigest(call.param('digest'));
    const blob = await database.read(({ items }) => items.blob(`sha256:${hex}`));
    return { status: blob ? 200 : 404 };
  });

  router.on('PUT', '/api/blobs/:digest', async (call) => {
    const { hex } = parseDigest(call.param('digest'));
    const digest = `sha256:${hex}`;
    if (await database.read(({ items }) => items.blob(digest))) {
      call.request.resume();
      return { status: 200, value: { digest } };
    }
    const { request, actor } = call;
    await uploads.take({
      digest,
      provider: actor.role === 'serviceProvider' ? actor.scope : '',
      declaredBytes: Number(request.headers['content-length'] ?? 0),
      source: piecesOf(request),
    });
    return { status: 201, value: { digest } };
  });
}

/**
 * All blobs that an index leads to. Whatever a unit would refuse is refused here: a document that cannot be read, a
 * manifest without item configuration, a blob that was not uploaded.
 */
async function collectBlobs(
  vault: BlobVault,
  database: CloudDatabase,
  indexDigest: Digest,
  type: 'service' | 'component',
): Promise<Digest[]> {
  const index = parseImageIndex(await vault.readText(indexDigest, MAX_DOCUMENT_BYTES));
  if (index.manifests.length === 0) throw new AosError('invalidArgument', 'the image index names no manifest');
  const digests = [indexDigest];
  for (const { digest } of index.manifests) {
    const manifest = parseImageManifest(await vault.readText(digest, MAX_DOCUMENT_BYTES));
    if (!manifest.aosItemConfig) {
      throw new AosError('invalidArgument', `manifest ${digest} has no aosItemConfig; no unit could run it`);
    }
    const image = parseImageConfig(await vault.readText(manifest.config.digest, MAX_DOCUMENT_BYTES));
    parseItemConfig(await vault.readText(manifest.aosItemConfig.digest, MAX_DOCUMENT_BYTES));
    if (type === 'service' && image.rootfs.diff_ids.length !== manifest.layers.length) {
      throw new AosError(
        'invalidArgument',
        `manifest ${digest} has ${manifest.layers.length} layers, its image configuration ${image.rootfs.diff_ids.length} diff_ids`,
      );
    }
    const layers = manifest.layers.map((layer) => layer.digest);
    await database.read(({ items }) => mustHave(items, 'layer', layers));
    digests.push(...[digest, manifest.config.digest, manifest.aosItemConfig.digest], ...layers);
  }
  return digests;
}

/** Throws `invalidArgument` when one of the blobs is not there. */
async function mustHave(items: Stores['items'], what: string, digests: readonly Digest[]): Promise<void> {
  for (const digest of digests) {
    if (!(await items.blob(digest))) throw new AosError('invalidArgument', `${what} ${digest} was not uploaded`);
  }
}
