/** A one-node unit under supervision, blank or as an earlier start left it. */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { askControl, type UnitReport } from '../src/daemon/index.ts';
import { type UnitLayout, unitLayout } from './layout.ts';
import { removeLeftovers } from './leftovers.ts';
import { OwnNetwork } from './own-network.ts';
import { choosePorts } from './ports.ts';
import { Supervisor, type SupervisorOptions } from './supervisor.ts';
import { type ConfigOverrides, UNIT_PORTS, type UnitIdentity, type UnitPorts } from './unit-config.ts';
import { writeUnitFiles } from './unit-files.ts';

export interface UnitOptions {
  /** PEM file with the root of the cloud's CA. */
  readonly caFile: string;
  readonly identity?: Partial<UnitIdentity>;
  readonly preferProductPorts?: boolean;
  /** Ports of the cloud: the unit gets a network of its own, with bridges and a firewall for its instances. */
  readonly ownNetwork?: { readonly cloudPorts: readonly number[] };
  readonly config?: ConfigOverrides;
  /** Pause before a daemon that died is started again. Default 500 ms; a device waits 10 s. */
  readonly restartPauseMs?: number;
  readonly verbose?: string;
  readonly env?: SupervisorOptions['env'];
}

export interface Unit {
  readonly layout: UnitLayout;
  readonly systemId: string;
  readonly ports: UnitPorts;
  readonly supervisor: Supervisor;
  /** Network namespace of its daemons; absent: that of the host. */
  readonly namespace: string | undefined;
  /** Where a blank unit takes provisioning calls: `host:port`. */
  readonly provisioningAddress: string;
  /** What the CM says of the unit. */
  status(): Promise<UnitReport>;
  /** Stops the daemons in order and gives everything on the host back. */
  stop(): Promise<void>;
}

const NO_PORTS = { iamProtected: undefined, iamPublic: undefined, cm: undefined, files: undefined };

export async function startUnit(directory: string, options: UnitOptions): Promise<Unit> {
  const layout = unitLayout(directory);
  await removeLeftovers(directory);
  await mkdir(layout.etc, { recursive: true });
  const ports = await choosePorts(layout.ports, options.preferProductPorts ? { ...UNIT_PORTS } : NO_PORTS);
  const identity: UnitIdentity = {
    systemId: `unit-${randomBytes(4).toString('hex')}`,
    nodeId: 'main',
    unitModel: 'aos-dev;1.0.0',
    subjects: [],
    ...options.identity,
  };
  const { config, ownNetwork } = options;
  await writeUnitFiles({
    ...{ layout, ports, identity, caFile: options.caFile, hasOwnNetwork: ownNetwork !== undefined },
    ...(config ? { overrides: config } : {}),
  });
  const network = ownNetwork
    ? await OwnNetwork.create({ layout, inward: ownNetwork.cloudPorts, outward: Object.values(ports) })
    : undefined;
  const supervisor = new Supervisor({
    layout,
    restartPauseMs: options.restartPauseMs ?? 500,
    verbose: options.verbose ?? 'info',
    ...(options.env ? { env: options.env } : {}),
    ...(network ? { namespace: network.namespace } : {}),
  });
  const stop = async () => {
    await supervisor.stop();
    await network?.remove();
    await removeLeftovers(directory);
  };
  try {
    await supervisor.start();
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    layout,
    systemId: (await readFile(layout.systemIdFile, 'utf8')).trim(),
    ports,
    supervisor,
    namespace: network?.namespace,
    provisioningAddress: `localhost:${ports.iamProtected}`,
    status: () => askControl<UnitReport>(layout.sockets.cm, '/status'),
    stop,
  };
}
