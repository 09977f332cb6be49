/** How messages name things (spec/cloud-protocol.md 5.1 to 5.3, spec/decisions.md C-07). */
import * as z from 'zod';
import type { InstanceFilter, InstanceIdent } from '../core/index.ts';
import { text, Uint } from './values.ts';

/** Kinds of named objects; an unknown one counts as absent. */
export const IDENTITY_TYPES = [
  'service',
  'component',
  'layer',
  'subject',
  'oem',
  'sp',
  'fleet',
  'node',
  'node-subject',
  'runtime',
] as const;

const Id = text(64);
const IdentityType = z.enum(IDENTITY_TYPES).optional().catch(undefined);

const identityShape = {
  id: Id.optional(),
  codename: Id.optional(),
  /** Read as a last resort; AosCore 9.1 does not know it. */
  urn: z.string().optional(),
  type: IdentityType,
  title: z.string().optional(),
};

interface AnyIdentity {
  readonly id?: string | undefined;
  readonly codename?: string | undefined;
  readonly urn?: string | undefined;
}

/** The identifier of something that the cloud named: `id`, else `codename`, else `urn`. */
function cloudId({ id, codename, urn }: AnyIdentity): string {
  return id || codename || urn || '';
}

/** Something that the unit reports: an `id` if the cloud gave it, else a `codename`. */
export const Identity = z
  .object(identityShape)
  .transform(({ id, codename, type, title }) => withoutAbsent({ id, codename, type, title }));
export type Identity = z.output<typeof Identity>;

/** Something that the cloud names: an item, subject or owner. */
export const CloudIdentity = z.object(identityShape).transform((identity, context) => {
  const id = cloudId(identity);
  if (id !== '' && Buffer.byteLength(id) <= 64) {
    return { id, ...withoutAbsent({ type: identity.type, title: identity.title }) };
  }
  context.addIssue({ code: 'custom', message: 'expected an id of at most 64 bytes' });
  return z.NEVER;
});
export type CloudIdentity = z.output<typeof CloudIdentity>;

/** A desired item; its type says how it runs. */
export const ItemIdentity = CloudIdentity.transform((identity, context) => {
  const { type } = identity;
  if (type === 'service' || type === 'component') {
    return { id: identity.id, type, ...withoutAbsent({ title: identity.title }) };
  }
  context.addIssue({ code: 'custom', message: 'expected type service or component' });
  return z.NEVER;
});
export type ItemIdentity = z.output<typeof ItemIdentity>;

/** A node, node type or runtime: `codename`, else `id`. Empty where something has no place. */
export const CodenameIdentity = z
  .object(identityShape)
  .transform(({ id, codename, title }) => ({ codename: codename || id || '', ...withoutAbsent({ title }) }));
export type CodenameIdentity = z.output<typeof CodenameIdentity>;

/** As `CodenameIdentity`, but never empty: what the cloud says about a node. */
export const NodeIdentity = CodenameIdentity.refine(({ codename }) => codename !== '', 'expected a codename');
export type NodeIdentity = z.output<typeof NodeIdentity>;

/** What one member of a filter selects; without any name it selects nothing. */
const SelectedIdentity = z.object(identityShape).transform((identity) => ({ id: cloudId(identity) }));

/** The members that name an instance in messages of the cloud. */
export const namedInstanceShape = {
  item: SelectedIdentity,
  subject: SelectedIdentity,
  instance: Uint.default(0),
};

/** The members that select instances; an absent one means any. */
export const instanceFilterShape = {
  item: SelectedIdentity.optional(),
  subject: SelectedIdentity.optional(),
  instance: Uint.optional(),
};

/** The members that name an instance in messages of the unit. */
export const instanceShape = {
  item: Identity,
  subject: Identity,
  instance: Uint.default(0),
};

/** As `instanceShape`, also reading the older name of `subject` (spec/cloud-protocol.md 13). */
export const aliasedInstanceShape = {
  ...instanceShape,
  subject: Identity.optional(),
  subjectId: z.string().optional(),
};

/** Brings the older name of `subject` to the present one. */
export function subjectOf(message: {
  readonly subject?: Identity | undefined;
  readonly subjectId?: string | undefined;
}): Identity {
  return message.subject ?? { id: message.subjectId ?? '' };
}

/** Members of a message that name the instance: `codename` for what was on the unit before the cloud knew it. */
export function instanceMembers(
  ident: Pick<InstanceIdent, 'itemId' | 'subjectId' | 'instance'> & { readonly preinstalled?: boolean },
): { item: Identity; subject: Identity; instance: number } {
  const name = (id: string): Identity => (ident.preinstalled ? { codename: id } : { id });
  return { item: name(ident.itemId), subject: name(ident.subjectId), instance: ident.instance };
}

/** The filter that the members of a message mean. */
export function instanceFilter(members: {
  readonly item?: { readonly id: string } | undefined;
  readonly subject?: { readonly id: string } | undefined;
  readonly instance?: number | undefined;
}): InstanceFilter {
  return { itemId: members.item?.id, subjectId: members.subject?.id, instance: members.instance };
}

/** The object without its members that are undefined. */
function withoutAbsent<T extends object>(value: T): Partial<T> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as Partial<T>;
}
