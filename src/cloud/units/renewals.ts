/** Renews certificates of units in time (spec/product.md W13). */
import { asAosError, type Logger } from '../../core/index.ts';
import type { CertificateRow } from '../store/certificates.ts';
import type { CloudDatabase } from '../store/cloud-database.ts';

const LOOK_EVERY_MS = 6 * 3_600_000;

export interface RenewalParts {
  readonly database: CloudDatabase;
  readonly renewBeforeMs: number;
  readonly isOnline: (systemId: string) => boolean;
  /** Asks an online unit for new certificates of these types. */
  readonly renew: (systemId: string, types: readonly string[]) => Promise<void>;
  readonly now: () => Date;
  readonly logger: Logger;
}

/** The types of certificates that each unit has to renew. Pure. */
export function typesToRenew(rows: readonly CertificateRow[]): ReadonlyMap<string, readonly string[]> {
  const types = new Map<string, string[]>();
  for (const { systemId, type } of rows) {
    if (systemId === null || type === null) continue;
    const known = types.get(systemId) ?? [];
    if (!known.includes(type)) types.set(systemId, [...known, type]);
  }
  return types;
}

export class Renewals {
  readonly #parts: RenewalParts;
  readonly #asked = new Map<string, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(parts: RenewalParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#timer = setInterval(() => this.look(), LOOK_EVERY_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** Asks the units that are online, or one of them that has just come; each at most once between two looks. */
  look(only?: string): void {
    this.#look(only).catch((error) => {
      const { logger } = this.#parts;
      logger.error({ error: asAosError(error).message }, 'it could not be found out which certificates end soon');
    });
  }

  async #look(only: string | undefined): Promise<void> {
    const { database, renewBeforeMs, isOnline, renew, now, logger } = this.#parts;
    const end = new Date(now().getTime() + renewBeforeMs);
    const due = typesToRenew(await database.read(({ certificates }) => certificates.endingBefore(end, only)));
    for (const [systemId, types] of due) {
      if (!isOnline(systemId)) continue;
      const lastMs = this.#asked.get(systemId);
      if (lastMs !== undefined && performance.now() - lastMs < LOOK_EVERY_MS) continue;
      this.#asked.set(systemId, performance.now());
      try {
        await renew(systemId, types);
        logger.info({ systemId, types }, 'certificates of a unit end soon; it is asked to renew them');
      } catch (error) {
        logger.warn({ systemId, error: asAosError(error).message }, 'a unit could not be asked to renew certificates');
      }
    }
  }
}
