/** What a process of a cloud does for the others: with the links that it has. */
import type { AccessChanges } from '../access/access-changes.ts';
import type { Member, Order } from '../cluster/cluster.ts';
import type { UnitEvent, UnitEvents } from '../model/unit-events.ts';
import type { Fleet } from './fleet.ts';

export class FleetMember implements Member {
  readonly #fleet: Fleet;
  readonly #events: UnitEvents;
  readonly #access: AccessChanges;

  constructor(fleet: Fleet, events: UnitEvents, access: AccessChanges) {
    this.#fleet = fleet;
    this.#events = events;
    this.#access = access;
  }

  isAlive(systemId: string, probeMs: number): Promise<boolean> {
    return this.#fleet.isAlive(systemId, probeMs);
  }

  obey(systemId: string, order: Order): Promise<void> {
    return this.#fleet.obey(systemId, order);
  }

  hear(event: UnitEvent): void {
    this.#events.receive(event);
  }

  accessChanged(): void {
    this.#access.receive();
  }

  lose(systemIds: readonly string[] | 'all'): void {
    this.#fleet.lose(systemIds);
  }

  orphan(systemIds: readonly string[]): void {
    for (const systemId of systemIds) {
      if (this.#fleet.isOnline(systemId)) continue;
      this.#events.publish(systemId, 'disconnected', { reason: 'the process of this cloud that had its link is gone' });
    }
  }

  catchUp(): void {
    this.#fleet.tellAll();
    this.#access.receive();
  }
}
