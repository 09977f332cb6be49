/** Which overridden variables the nodes have applied, for the cloud (spec/cm.md 4.16). */
import { isDeepStrictEqual } from 'node:util';
import { type ErrorInfo, type InstanceIdent, instanceKey, type Logger } from '../../core/index.ts';
import type { Subscribe } from '../model.ts';
import { Event, type ReportedInstance } from '../nodes/index.ts';

export interface OverrideReport {
  readonly ident: InstanceIdent;
  readonly name: string;
  readonly error?: ErrorInfo | undefined;
}

/** Collects what nodes list and tells the whole of it when it differs from what was told before. */
export class OverrideReports {
  readonly #byNode = new Map<string, readonly OverrideReport[]>();
  readonly #event: Event<readonly OverrideReport[]>;
  #told: readonly OverrideReport[] = [];

  constructor(logger: Logger) {
    this.#event = new Event('overridden variables', logger);
  }

  get subscribe(): Subscribe<readonly OverrideReport[]> {
    return this.#event.subscribe;
  }

  take(nodeId: string, instances: readonly ReportedInstance[]): void {
    const reports = instances.flatMap(({ ident, envVars }) =>
      envVars.map(({ name, error }) => ({ ident, name, ...(error ? { error } : {}) })),
    );
    this.#byNode.set(nodeId, reports);
  }

  /**
   * At the end of an exchange with a node. `identsOf` answers what a node shall run: of an instance that went elsewhere the
   * word of a node that is away does not count any more.
   */
  publish(identsOf: (nodeId: string) => readonly InstanceIdent[]): void {
    const all = [...this.#byNode].flatMap(([nodeId, reports]) => {
      if (reports.length === 0) return [];
      const wanted = new Set(identsOf(nodeId).map(instanceKey));
      return reports.filter(({ ident }) => wanted.has(instanceKey(ident)));
    });
    if (isDeepStrictEqual(all, this.#told)) return;
    this.#told = all;
    this.#event.emit(all);
  }
}
