/**
 * Traffic of instances and of the node: counted, kept over restarts, cut at its limit (spec/sm.md 7.8). The statements
 * for the firewall are made here and carried out by whoever changes it, in the same transaction as its own.
 */
import type { Clock } from '../../core/index.ts';
import { trafficChains } from './names.ts';
import { count, newRow, type TrafficPeriod, type TrafficRow } from './traffic-count.ts';
import type { TrafficRows } from './traffic-rows.ts';
import {
  addCounting,
  type Direction,
  fillCounting,
  newTable,
  removeCounting,
  SYSTEM_CHAINS,
  type TrafficTable,
} from './traffic-script.ts';

/** Bytes per period; absent or 0: no limit. */
export interface TrafficLimits {
  readonly in?: number | undefined;
  readonly out?: number | undefined;
}

export interface TrafficTarget {
  readonly id: string;
  readonly name: string;
  readonly ip: string;
  readonly limits: TrafficLimits;
}

/** The link to the cloud counts here each minute, also where nothing happens. */
const OF_THE_NODE: ReadonlySet<string> = new Set(Object.values(SYSTEM_CHAINS));
const DIRECTIONS: readonly Direction[] = ['in', 'out'];

export class Traffic {
  readonly #rows: TrafficRows;
  readonly #period: TrafficPeriod;
  readonly #clock: Pick<Clock, 'now'>;
  /** Ids of what is counted now. */
  #counted: ReadonlySet<string> = new Set();

  constructor(rows: TrafficRows, period: TrafficPeriod, clock: Pick<Clock, 'now'>) {
    this.#rows = rows;
    this.#period = period;
    this.#clock = clock;
  }

  /** Bytes since the period began; without an id those of the node. Undefined: nobody counts. */
  bytes(instanceId: string | undefined): { readonly download: number; readonly upload: number } | undefined {
    if (instanceId !== undefined && !this.#counted.has(instanceId)) return undefined;
    const chains = instanceId === undefined ? SYSTEM_CHAINS : trafficChains(instanceId);
    const of = (direction: Direction) => this.#rows.get(chains[direction])?.bytes ?? 0;
    return { download: of('in'), upload: of('out') };
  }

  /**
   * What makes the table count exactly these, from what it is now; undefined: there is none. What the counters say is
   * remembered before any of them goes. A direction that was over its limit is closed from the beginning (T-55).
   */
  change(targets: readonly TrafficTarget[], table: TrafficTable | undefined): string[] {
    const present = new Map([...(table?.addresses ?? [])].filter(([chain]) => chain.startsWith('in_')));
    const isRight = (target: TrafficTarget) => present.get(trafficChains(target.id).in) === target.ip;
    const right = new Set(targets.filter(isRight).map(({ id }) => trafficChains(id).in));
    const gone = [...present].filter(([chain]) => !right.has(chain));
    const coming = targets.filter((target) => !isRight(target));

    const nowMs = this.#clock.now().getTime();
    const counted = this.#count(table, targets, nowMs);
    const begun = [
      ...(table ? [] : Object.values(SYSTEM_CHAINS).map((chain) => this.#begin(chain, undefined, counted, nowMs))),
      ...coming.flatMap(({ id, limits }) =>
        DIRECTIONS.map((direction) => this.#begin(trafficChains(id)[direction], limits[direction], counted, nowMs)),
      ),
    ];
    this.#rows.put([...counted, ...begun], (chain) => !OF_THE_NODE.has(chain));
    this.#counted = new Set(targets.map(({ id }) => id));
    const isBlocked = (chain: string) => this.#rows.get(chain)?.isBlocked === true;
    const goneChains = new Set(gone.flatMap(([chain]) => chainsOf(chain)));
    return [
      ...(table ? [] : newTable()),
      ...gone.flatMap(([chain, ip]) => removeCounting({ id: chain.slice('in_'.length), ip })),
      ...coming.flatMap((target) => {
        const chains = trafficChains(target.id);
        return addCounting({ ...target, isBlocked: { in: isBlocked(chains.in), out: isBlocked(chains.out) } });
      }),
      ...counted
        .filter(({ chain, isBlocked: wanted }) => !goneChains.has(chain) && wanted !== table?.blocked.has(chain))
        .flatMap(({ chain, isBlocked: wanted }) =>
          fillCounting({ chain, isBlocked: wanted, direction: chain.startsWith('in_') ? 'in' : 'out' }),
        ),
    ];
  }

  /** What is remembered of instances that are gone for good. */
  forget(ids: readonly string[]): void {
    this.#rows.forget(ids.flatMap((id) => Object.values(trafficChains(id))));
  }

  /** The rows after the counters were read. */
  #count(table: TrafficTable | undefined, targets: readonly TrafficTarget[], nowMs: number): TrafficRow[] {
    const limits = new Map<string, number | undefined>();
    for (const { id, limits: own } of targets) {
      for (const direction of DIRECTIONS) limits.set(trafficChains(id)[direction], own[direction]);
    }
    return [...(table?.counters ?? [])].map(([chain, counter]) =>
      count(this.#rows.get(chain) ?? newRow(chain, nowMs), counter, {
        nowMs,
        period: this.#period,
        limit: limits.get(chain),
      }),
    );
  }

  /** A counter that begins at 0, with the bytes of before if the period is the same. */
  #begin(chain: string, limit: number | undefined, counted: readonly TrafficRow[], nowMs: number): TrafficRow {
    const before = counted.find((row) => row.chain === chain) ?? this.#rows.get(chain) ?? newRow(chain, nowMs);
    return count({ ...before, counter: 0 }, 0, { nowMs, period: this.#period, limit });
  }
}

/** Both chains of the instance whose incoming one this is. */
function chainsOf(incoming: string): string[] {
  return [incoming, `out_${incoming.slice('in_'.length)}`];
}
