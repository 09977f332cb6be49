/** Writes everything that a blank unit has on its disk: identity, trust anchor, configuration, hooks. */
import { existsSync } from 'node:fs';
import { chmod, copyFile, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { UnitLayout } from './layout.ts';
import { UNIT_DNS } from './own-network.ts';
import { softhsmConf } from './token.ts';
import {
  type ConfigOverrides,
  cmConfig,
  iamConfig,
  smConfig,
  type UnitIdentity,
  type UnitPorts,
} from './unit-config.ts';

/** Directories that only root may look into: keys, PIN, databases. */
const PRIVATE_MODE = 0o700;

/**
 * The restart waits a second, so that the answer of FinishProvisioning leaves first (spec/provisioning.md 13).
 * What `systemctl restart aos.target` is on a device, a file that the supervisor watches is here.
 */
const finishHook = (layout: UnitLayout) => `#!/bin/sh
sync
(sleep 1; : >'${layout.restartRequest}') >/dev/null 2>&1 &
`;

/**
 * With \`async\`: blank the node in the background; without: wipe what a blank node must not have, unless a provisioning
 * began in the last 24 hours and waits for its certificates (spec/decisions.md PR-05).
 */
const deprovisionHook = (layout: UnitLayout) => {
  const iam = join(layout.var, 'iam');
  const mark = join(iam, 'provisioning-under-way');
  return `#!/bin/sh
if [ "$1" = async ]; then
  (sleep 1; rm -f '${layout.stateFile}' '${mark}'; : >'${layout.restartRequest}') >/dev/null 2>&1 &
  exit 0
fi
[ -z "$(find '${mark}' -mmin -1440 2>/dev/null)" ] || exit 0
rm -rf '${iam}' '${layout.tokens}'
mkdir -p -m 0700 '${layout.tokens}' '${iam}'
sync
`;
};

/** The namespace has no link to other nodes. */
const OWN_NETWORK = { mode: 'full', vlan: 'off' };

async function writeHook(path: string, text: string): Promise<void> {
  await writeFile(path, text);
  await chmod(path, 0o755);
}

async function writeConfig(path: string, config: object, overrides: object | undefined): Promise<void> {
  await writeFile(path, `${JSON.stringify({ ...config, ...overrides }, null, 2)}\n`);
}

async function writeIdentity(layout: UnitLayout, identity: UnitIdentity): Promise<void> {
  await writeFile(join(layout.etc, 'machine-id'), `${identity.nodeId}\n`);
  await writeFile(layout.systemIdFile, `${identity.systemId}\n`);
  await writeFile(join(layout.etc, 'unit_model'), `${identity.unitModel}\n`);
  await writeFile(join(layout.etc, 'subjects'), identity.subjects.map((subject) => `${subject}\n`).join(''));
}

export interface UnitFiles {
  readonly layout: UnitLayout;
  readonly ports: UnitPorts;
  readonly identity: UnitIdentity;
  /** PEM file that the unit trusts. */
  readonly caFile: string;
  readonly overrides?: ConfigOverrides;
  /** Instances have networks; else each has its loopback interface alone. */
  readonly hasOwnNetwork?: boolean;
}

export async function writeUnitFiles(files: UnitFiles): Promise<void> {
  const { layout, ports, identity, overrides, hasOwnNetwork = false } = files;
  for (const directory of [layout.root, layout.etc, layout.logs, layout.bundles, layout.ociState]) {
    await mkdir(directory, { recursive: true });
  }
  for (const directory of [layout.var, layout.tokens, join(layout.var, 'iam')]) {
    await mkdir(directory, { recursive: true, mode: PRIVATE_MODE });
  }
  await mkdir(join(layout.etc, 'hooks'), { recursive: true });
  // A blank unit gets a new identity at each start, so that a provisioning that broke off needs no repair in the
  // cloud; a provisioned one keeps the identity that its certificates carry.
  if (!existsSync(layout.stateFile)) await writeIdentity(layout, identity);
  await writeFile(join(layout.etc, 'resources.cfg'), '[]\n');
  await copyFile(files.caFile, layout.caFile);
  await writeFile(layout.softhsmConf, softhsmConf(layout));
  await writeHook(join(layout.etc, 'hooks', 'finish-provisioning'), finishHook(layout));
  await writeHook(join(layout.etc, 'hooks', 'deprovision'), deprovisionHook(layout));
  await writeConfig(join(layout.etc, 'iam.cfg'), iamConfig(layout, ports), overrides?.iam);
  await writeConfig(
    join(layout.etc, 'cm.cfg'),
    { ...cmConfig(layout, ports), ...(hasOwnNetwork && { dnsIp: UNIT_DNS }) },
    overrides?.cm,
  );
  await writeConfig(
    join(layout.etc, 'sm.cfg'),
    { ...smConfig(layout, ports), ...(hasOwnNetwork && { network: OWN_NETWORK }) },
    overrides?.sm,
  );
}
