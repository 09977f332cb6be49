/** Logs of small nodes arrive as plain pieces; the CM gets compressed parts (spec/mp.md 14, spec/decisions.md 3.1). */
import { gzipSync } from 'node:zlib';
import { create } from '@bufbuild/protobuf';
import { sm } from '../../api/contracts.ts';
import type { Clock, Logger } from '../../core/index.ts';
import { LOG_IDLE_MS, MAX_OPEN_LOGS } from '../numbers.ts';

export interface LogArchivesOptions {
  /** Uncompressed bytes of a part. */
  readonly maxPartSize: number;
  readonly maxPartCount: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Archive {
  readonly parts: Uint8Array[];
  pieces: Uint8Array[];
  sizeBytes: number;
  touchedMs: number;
  hasLost: boolean;
}

const ENDINGS = new Set(['error', 'empty', 'absent']);
const BEST_COMPRESSION = 9;

export class LogArchives {
  readonly #options: LogArchivesOptions;
  readonly #archives = new Map<string, Archive>();

  constructor(options: LogArchivesOptions) {
    this.#options = options;
  }

  /** The messages that go on in place of this one. */
  take(log: sm.LogData): sm.LogData[] {
    const archive = this.#archives.get(log.correlationId);
    const isGzip = log.data[0] === 0x1f && log.data[1] === 0x8b;
    if (isGzip || (log.data.length === 0 && !archive)) return [log];
    const ends = ENDINGS.has(log.status);
    if (log.data.length > 0) this.#add(log);
    return ends ? this.#finish(log) : [];
  }

  /** Forgets archives that nobody has added to for a while. */
  sweep(): void {
    const oldestMs = this.#options.clock.monotonicMs() - LOG_IDLE_MS;
    for (const [id, { touchedMs }] of this.#archives) {
      if (touchedMs >= oldestMs) continue;
      this.#archives.delete(id);
      this.#options.logger.warn({ correlationId: id }, 'a log was discarded: its end never came');
    }
  }

  #add({ correlationId, data }: sm.LogData): void {
    const { maxPartSize, maxPartCount, clock, logger } = this.#options;
    const archive = this.#archives.get(correlationId) ?? this.#begin(correlationId);
    archive.touchedMs = clock.monotonicMs();
    if (archive.sizeBytes > 0 && archive.sizeBytes + data.length > maxPartSize) closePart(archive);
    if (archive.parts.length < maxPartCount) {
      archive.pieces.push(data);
      archive.sizeBytes += data.length;
    } else if (!archive.hasLost) {
      archive.hasLost = true;
      logger.warn({ correlationId, maxPartCount }, 'a log is longer than its parts may be; the rest is lost');
    }
  }

  #begin(correlationId: string): Archive {
    if (this.#archives.size >= MAX_OPEN_LOGS) {
      const oldest = [...this.#archives].sort(([, a], [, b]) => a.touchedMs - b.touchedMs)[0]!;
      this.#archives.delete(oldest[0]);
    }
    const archive = { parts: [], pieces: [], sizeBytes: 0, touchedMs: 0, hasLost: false };
    this.#archives.set(correlationId, archive);
    return archive;
  }

  #finish({ correlationId, error }: sm.LogData): sm.LogData[] {
    const archive = this.#archives.get(correlationId);
    this.#archives.delete(correlationId);
    if (archive) closePart(archive);
    const parts = archive?.parts ?? [];
    const common = { correlationId, partCount: BigInt(Math.max(1, parts.length)), ...(error && { error }) };
    if (parts.length === 0) return [create(sm.LogDataSchema, { ...common, part: 1n, status: 'empty' })];
    return parts.map((data, index) =>
      create(sm.LogDataSchema, { ...common, part: BigInt(index + 1), data: new Uint8Array(data), status: 'ok' }),
    );
  }
}

function closePart(archive: Archive): void {
  if (archive.sizeBytes === 0) return;
  archive.parts.push(gzipSync(Buffer.concat(archive.pieces), { level: BEST_COMPRESSION }));
  archive.pieces = [];
  archive.sizeBytes = 0;
}
