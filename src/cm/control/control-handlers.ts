/** What the control socket of the CM answers. */
import * as z from 'zod';
import { AosError, type Clock, isObject, readDocument } from '../../core/index.ts';
import type { ControlHandlers, NetworkReport, PlanReport, UnitReport, WhyReport } from '../../daemon/index.ts';
import { decodeCloudMessage, PROTOCOL_VERSION } from '../../protocol/index.ts';
import type { BundleDesk } from '../bundles/index.ts';
import type { EventLog } from '../events/index.ts';
import type { Launcher } from '../launcher/index.ts';
import type { NetworkInstance, NetworkManager } from '../networks/index.ts';
import { type StatusSources, unitReport } from '../status/index.ts';
import { LockRequest, type UpdateGate, type UpdateLock, type UpdateManager } from '../updates/index.ts';
import { planReport } from './plan-report.ts';
import { whyReport } from './why-report.ts';

const EventQuery = z
  .object({
    kind: z.enum(['item', 'instance', 'node', 'update', 'link', 'unit-config']).optional(),
    id: z.string().optional(),
    after: z.int().min(0).optional(),
    limit: z.int().min(1).max(5000).optional(),
  })
  .default({});

const WhyQuery = z.object({ name: z.string('expected the name of an instance, an item or a node, or "update"') });
const Head = z.object({
  manifest: z.base64('expected the list of a bundle in base64'),
  signature: z.base64('expected the signature of a bundle in base64'),
});
const Unlock = z.object({ owner: z.string('expected the name of the owner') });
const Start = z.object({ kind: z.enum(['sota', 'fota'], 'expected "sota" or "fota"').default('sota') });

/** Everything that the answers are made of, once the CM knows who it is. */
export interface ControlFacts {
  readonly systemId: string;
  readonly unitModel: string;
  readonly link: { readonly state: UnitReport['cloud'] };
  readonly sources: StatusSources;
  readonly updates: Pick<UpdateManager, 'state' | 'desired' | 'consider'>;
  readonly gate: Pick<UpdateGate, 'waitsBecause' | 'locks' | 'lock' | 'unlock' | 'release'>;
  readonly launcher: Pick<Launcher, 'explain' | 'statuses'>;
  readonly networks: Pick<NetworkManager, 'instances'>;
  readonly bundles: Pick<BundleDesk, 'open' | 'apply'>;
}

/** Answers from the first moment on: while the CM waits for IAM, what it waits for. */
export class ControlDesk {
  readonly #events: Pick<EventLog, 'list' | 'follow'>;
  readonly #since: string;
  #waitsFor = 'the start of its modules';
  #facts: ControlFacts | undefined;

  constructor(events: Pick<EventLog, 'list' | 'follow'>, clock: Clock) {
    this.#events = events;
    this.#since = clock.now().toISOString();
  }

  waitFor(what: string): void {
    this.#waitsFor = what;
  }

  open(facts: ControlFacts): void {
    this.#facts = facts;
  }

  handlers(): ControlHandlers {
    return {
      '/status': () => this.status(),
      '/events': (body) => this.#events.list(read(EventQuery, body)),
      '/events/follow': (body, signal) => this.#events.follow(read(EventQuery, body), signal),
      '/networks': () => this.#opened().networks.instances().map(networkReport),
      '/plan': (body) => this.#plan(readDesired(body)),
      '/bundle/plan': (body) => {
        const { manifest, signature } = read(Head, body);
        const bytes = { manifest: Buffer.from(manifest, 'base64'), signature: Buffer.from(signature, 'base64') };
        return this.#plan({ message: this.#opened().bundles.open(bytes).desired, refused: [] });
      },
      '/bundle/apply': { upload: async (source, signal) => this.#opened().bundles.apply(source, signal) },
      '/why': (body) => this.#why(read(WhyQuery, body).name),
      '/update/lock': (body) => lockReport(this.#opened().gate.lock(read(LockRequest, body))),
      '/update/unlock': (body) => this.#opened().gate.unlock(read(Unlock, body).owner),
      '/update/start': (body) => this.#opened().gate.release(read(Start, body).kind, 'somebody on this machine'),
    };
  }

  #opened(): ControlFacts {
    if (this.#facts) return this.#facts;
    throw new AosError('wrongState', `aos-cm is not ready; it waits for ${this.#waitsFor}`);
  }

  /** What is known now. */
  status(): UnitReport {
    if (!this.#facts) return this.#waiting();
    const { systemId, unitModel, link, sources } = this.#facts;
    return unitReport({
      systemId,
      unitModel,
      cloud: link.state,
      update: this.#update(this.#facts),
      unitConfig: sources.unitConfig(),
      nodes: sources.nodes(),
      items: sources.items(),
      instances: sources.instances(),
    });
  }

  #waiting(): UnitReport {
    const since = this.#since;
    return {
      waitsFor: this.#waitsFor,
      systemId: '',
      unitModel: '',
      cloud: { state: 'stopped', since },
      update: { state: 'none', since },
      unitConfig: { state: 'absent' },
      nodes: [],
      items: [],
      instances: [],
    };
  }

  #update({ updates, gate }: ControlFacts): UnitReport['update'] {
    const { waitsBecause } = gate;
    const locks = gate.locks().map(lockReport);
    return {
      ...updates.state,
      ...(waitsBecause !== undefined && { waitsFor: waitsBecause }),
      ...(locks.length > 0 && { locks }),
    };
  }

  async #plan({ message, refused }: ReturnType<typeof readDesired>): Promise<PlanReport> {
    const { updates, launcher, sources } = this.#opened();
    const { wanted, decision, requests } = updates.consider(message, refused);
    return planReport({
      wanted,
      decision,
      placements: await launcher.explain(requests),
      items: sources.items(),
      instances: launcher.statuses(),
    });
  }

  async #why(name: string): Promise<WhyReport> {
    const facts = this.#opened();
    const { link, sources, updates, launcher } = facts;
    return whyReport(name, {
      cloud: link.state,
      desired: updates.desired,
      update: this.#update(facts),
      items: sources.items(),
      instances: sources.instances(),
      nodes: sources.nodes(),
      subjects: sources.subjects(),
      placements: await launcher.explain(),
      events: (kind, id) => this.#events.list({ kind, id }),
    });
  }
}

function read<S extends z.ZodType>(schema: S, body: unknown): z.output<S> {
  return readDocument(schema, body, { what: 'the question' }).value;
}

function networkReport({ ident, networkId, nodeId, ip, exposedPorts, hosts }: NetworkInstance): NetworkReport {
  const { itemId, subjectId, instance } = ident;
  return { networkId, nodeId, itemId, subjectId, instance, ip, hosts, exposedPorts };
}

function lockReport({ owner, reason, expiresAtMs }: UpdateLock) {
  return { owner, reason, until: new Date(expiresAtMs).toISOString() };
}

/** A whole message of the cloud, its `data`, or only the sections that it would have. */
function readDesired(body: unknown) {
  if (!isObject(body)) throw new AosError('invalidArgument', 'expected a desired status as a JSON object');
  const data = isObject(body.data) ? body.data : body;
  const message = {
    header: { version: PROTOCOL_VERSION, systemId: '' },
    data: { ...data, messageType: 'desiredStatus' },
  };
  const { data: read, refused } = decodeCloudMessage(Buffer.from(JSON.stringify(message)));
  if (read.messageType !== 'desiredStatus') throw new AosError('invalidArgument', 'expected a desired status');
  return { message: read, refused };
}
