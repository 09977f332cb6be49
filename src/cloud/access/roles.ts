/** Who works with a cloud (spec/product.md 1, 2.3): three roles, two of them limited to what is theirs. */

export const ROLES = ['oem', 'serviceProvider', 'fleetOwner'] as const;
/**
 * `oem` owns the units and may do everything; `serviceProvider` publishes items of one owner; `fleetOwner` operates the
 * units of one fleet.
 */
export type Role = (typeof ROLES)[number];

export interface Actor {
  readonly name: string;
  readonly role: Role;
  /** The owner of items of a service provider, the fleet of a fleet owner; empty for an OEM. */
  readonly scope: string;
}

/** Who makes a call. */
export interface Caller extends Actor {
  /** When the token ends that was shown, ISO 8601; absent for a certificate. */
  readonly expiresAt?: string;
}

/** Whether things of this fleet ('' is none) are for the actor. */
export function seesFleet({ role, scope }: Actor, fleet: string): boolean {
  return role === 'oem' || (role === 'fleetOwner' && fleet === scope);
}

/** Whether items of this owner are for the actor: a fleet owner deploys what others publish. */
export function seesItemsOf({ role, scope }: Actor, owner: string): boolean {
  return role !== 'serviceProvider' || owner === scope;
}

/** The fleet that something new belongs to: a fleet owner makes things for the own fleet only. */
export function fleetOf(actor: Actor, asked: string | undefined): string {
  return actor.role === 'fleetOwner' ? actor.scope : (asked ?? '');
}
