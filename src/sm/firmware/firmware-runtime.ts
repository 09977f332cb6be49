/** What both runtimes of firmware do alike: who they are, and whom they tell (spec/sm.md 6). */
import { AosError, instanceId, instanceKey, runtimeId } from '../../core/index.ts';
import type { InstalledItem, InstanceInfo, NodeInfo, RuntimeInfo } from '../model.ts';
import type { Component } from './firmware-model.ts';
import type { FirmwareChange, FirmwareReport, FirmwareStart, StandingInstance } from './firmware-parts.ts';

/** Firmware is on a node once (spec/sm.md 6). */
const MAX_INSTANCES = 1;

export abstract class FirmwareRuntime {
  readonly runtimeId: string;
  readonly type: string;
  readonly runs = 'components';
  protected readonly node: NodeInfo;
  /** Idents that the CM wants here, by instance id. */
  protected readonly wanted = new Map<string, InstanceInfo>();
  readonly #changes = new Set<(change: FirmwareChange) => void>();
  readonly #reboots = new Set<(because: string) => void>();
  readonly #standings = new Set<() => void>();

  protected constructor(type: string, node: NodeInfo) {
    this.type = type;
    this.node = node;
    this.runtimeId = runtimeId(type, node.nodeId);
  }

  /** Throws `invalidArgument` when the node has no processors to describe. */
  info(): RuntimeInfo {
    const cpu = this.node.cpus[0];
    if (cpu === undefined) throw new AosError('invalidArgument', 'the node information of IAM names no processor');
    const { runtimeId: id, type, node } = this;
    return { runtimeId: id, type, maxInstances: MAX_INSTANCES, os: node.os, arch: cpu.arch };
  }

  onChange(listener: (change: FirmwareChange) => void): () => void {
    this.#changes.add(listener);
    return () => this.#changes.delete(listener);
  }

  onReboot(listener: (because: string) => void): () => void {
    this.#reboots.add(listener);
    return () => this.#reboots.delete(listener);
  }

  onStanding(listener: () => void): () => void {
    this.#standings.add(listener);
    return () => this.#standings.delete(listener);
  }

  /** Nothing is uninstalled: the firmware stays, and is the node's own from now on (spec/sm.md 6). */
  async stop(id: string): Promise<void> {
    this.wanted.delete(id);
  }

  /** Nothing of firmware runs beside it. */
  holds(id: string): boolean {
    return this.wanted.has(id);
  }

  forget(id: string): void {
    this.wanted.delete(id);
  }

  abstract adopt(
    known: readonly InstanceInfo[],
    items: ReadonlyMap<string, InstalledItem>,
    signal: AbortSignal,
  ): Promise<readonly FirmwareChange[]>;
  abstract start(request: FirmwareStart, signal: AbortSignal): Promise<void>;
  /** Versions that are on the node without being wanted by the CM under their own name. */
  abstract standing(): readonly StandingInstance[];
  abstract report(): FirmwareReport;
  /** Resolves when nothing goes on beside any more. */
  abstract settled(): Promise<void>;
  abstract close(): Promise<void>;

  protected want(info: InstanceInfo): void {
    this.wanted.set(instanceId(info.ident), info);
  }

  /** The CM wants exactly this. */
  protected isWanted({ ident, version, manifestDigest }: Component): boolean {
    const info = this.wanted.get(instanceId(ident));
    return (
      info !== undefined &&
      instanceKey(info.ident) === instanceKey(ident) &&
      info.version === version &&
      info.manifestDigest === manifestDigest
    );
  }

  protected emit(change: FirmwareChange): void {
    for (const listener of this.#changes) listener(change);
  }

  protected tellStanding(): void {
    for (const listener of this.#standings) listener();
  }

  protected requestReboot(because: string): void {
    for (const listener of this.#reboots) listener(because);
  }
}
