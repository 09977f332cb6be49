/** The judgement of `aosctl doctor`: each finding with its cure (spec/beyond.md P-08). Pure. */
import { PLAUSIBLE_DATE_MS } from '../../core/index.ts';
import { keyDirectory, token } from './diagnose-keys.ts';
import { cloudLink, mainLink } from './diagnose-link.ts';
import type { CertificateFact, DaemonFact, Facts, PlaceFact, PortFact } from './facts.ts';
import { type Finding, fault, ok, told, warning } from './finding.ts';

const MIB = 1024 ** 2;
const DAY_MS = 86_400_000;
/** Renewal begins long before; a certificate this old was not renewed. */
const SOON_DAYS = 14;
const LOW_BYTES = 64 * MIB;
const LOW_PART = 0.05;
const FULL_BYTES = 8 * MIB;
const LEAST_KERNEL = [5, 10] as const;

/** All findings, in the order in which one cause explains the next. */
export function diagnose(facts: Facts): Finding[] {
  return [
    ...host(facts),
    clock(facts),
    ...facts.configs.map(config),
    ...facts.places.flatMap(place),
    ...facts.setAside.map(setAside),
    ...facts.ports.map((one) => port(one, facts)),
    ...facts.tokens.map(token),
    ...facts.keyDirectories.flatMap(keyDirectory),
    ...facts.daemons.map((daemon) => daemonFinding(daemon, facts)),
    ...current(facts).map((one) => certificate(one, facts.nowMs)),
    ...facts.mainLinks.map(mainLink),
    ...unit(facts),
  ];
}

function host({ kernel, fileSystems, controllers, programs, devices, selinux, isRoot }: Facts): Finding[] {
  const has = (name: string) => programs.includes(name);
  const version = kernel.split('.').map(Number) as [number, number];
  const isOld = version[0] < LEAST_KERNEL[0] || (version[0] === LEAST_KERNEL[0] && version[1] < LEAST_KERNEL[1]);
  const missing = ['memory', 'cpu', 'pids'].filter((name) => !controllers.includes(name));
  const programFinding = (name: string, why: string, level: typeof fault, packageName = name) =>
    has(name)
      ? ok(`program ${name}`, 'found')
      : level(`program ${name}`, 'not found in the path of the system', `apt-get install ${packageName}: ${why}`);
  return [
    isRoot
      ? ok('permission', 'we are root')
      : warning('permission', 'we are not root, so some things could not be looked at', 'sudo aosctl doctor'),
    isOld
      ? warning('kernel', kernel, `use ${LEAST_KERNEL.join('.')} or newer: mounts and limits of containers need it`)
      : ok('kernel', kernel),
    fileSystems.includes('overlay')
      ? ok('overlay file system', 'known to the kernel')
      : fault(
          'overlay file system',
          'not known to the kernel',
          'modprobe overlay; build it into the kernel of the board',
        ),
    missing.length === 0
      ? ok('limits', `cgroup controllers ${controllers.join(', ')}`)
      : fault(
          'limits',
          `the kernel has no cgroup controller ${missing.join(', ')}`,
          'add "cgroup_enable=memory" to the command line of the kernel, or build the controllers into it',
        ),
    has('crun') || has('runc')
      ? ok('container runtime', has('crun') ? 'crun' : 'runc')
      : fault('container runtime', 'neither crun nor runc was found', 'apt-get install crun'),
    programFinding('conmon', 'it watches over containers', fault),
    programFinding('nft', 'the firewall between instances is made with it', fault, 'nftables'),
    programFinding('ip', 'networks of instances are made with it', fault, 'iproute2'),
    programFinding('tc', 'rates of instances are limited with it', warning, 'iproute2'),
    programFinding('dnsmasq', 'it tells instances the names of others', warning, 'dnsmasq-base'),
    ...(devices === undefined ? [] : networkDevices(devices)),
    ...(selinux === undefined ? [] : accessControl(selinux)),
  ];
}

/** The policy is the image's; what we see is whether it is in force, and whether it can know our files. */
function accessControl({ isEnforced, unlabelled }: NonNullable<Facts['selinux']>): Finding[] {
  return [
    isEnforced
      ? ok('SELinux', 'its policy is enforced')
      : warning(
          'SELinux',
          'its policy is not enforced: what it forbids is done, and logged',
          '"ausearch -m avc" shows what was logged; with nothing of ours in it the image may enforce (docs/board.md)',
        ),
    ...unlabelled.map((path) =>
      warning(`label of ${path}`, 'it has none, so the policy cannot tell whose it is', `restorecon -R ${path}`),
    ),
  ];
}

function networkDevices(devices: readonly string[]): Finding[] {
  const finding = (name: string, module: string, missing: (cure: string) => Finding) =>
    devices.includes(name) ? ok(`network device ${name}`, 'can be made') : missing(`modprobe ${module}`);
  const cannot = 'the kernel cannot make one';
  return [
    ...['bridge', 'veth'].map((name) =>
      finding(name, name, (cure) => fault(`network device ${name}`, cannot, `${cure}: networks of instances need it`)),
    ),
    finding('vlan', '8021q', (cure) =>
      warning('network device vlan', cannot, `${cure}: needed by networks over several nodes only`),
    ),
  ];
}

const current = ({ certificates }: Facts): CertificateFact[] => certificates.filter((one) => one.current);

/** Nobody here knows the time; what is certain is that it does not run backwards, and that not all ends at once. */
function clock(facts: Facts): Finding {
  const { nowMs, lastWriteMs } = facts;
  const now = new Date(nowMs).toISOString();
  const set = 'set it, or start time synchronisation';
  if (nowMs < PLAUSIBLE_DATE_MS)
    return fault('clock', `it says ${now}`, `${set}: no certificate is valid at that time`);
  if (lastWriteMs !== undefined && lastWriteMs > nowMs + DAY_MS) {
    const then = new Date(lastWriteMs).toISOString();
    return fault(
      'clock',
      `it says ${now}, and files of the daemons are from ${then}: it is behind, or was ahead then`,
      set,
    );
  }
  const used = current(facts);
  if (used.length > 1 && used.every(({ notAfter }) => Date.parse(notAfter) < nowMs)) {
    return warning('clock', `it says ${now}, when every certificate has expired: it may be ahead`, `date; ${set}`);
  }
  return ok('clock', now);
}

function port({ daemon, key, port, holder }: PortFact, { daemons }: Facts): Finding {
  const check = `port ${port}`;
  const answers = daemons.some(({ name, state }) => name === daemon && state === 'answers');
  if (holder ? holder.command.includes(daemon) : answers) return ok(check, `${daemon} listens on it`);
  const who = holder ? `${holder.command.slice(0, 60)} (pid ${holder.pid})` : 'another process';
  return fault(
    check,
    `${daemon} needs it ("${key}"), and ${who} listens on it`,
    `${holder ? 'end that process' : `ss -ltnp "sport = :${port}" tells which; end it`}, or give ${daemon} another port`,
  );
}

function config({ path, problem, isDirectory }: Facts['configs'][number]): Finding {
  const check = `configuration ${path}`;
  if (problem === undefined) return ok(check, 'can be read');
  return isDirectory
    ? fault(check, problem, 'is aoscore installed on this machine? another directory: --config-dir')
    : fault(check, problem, 'mend the file and restart the daemon; "aosctl config check" tells more');
}

function place({ what, path, space }: PlaceFact): Finding[] {
  const check = `${what} ${path}`;
  if (!space) return [fault(check, 'does not exist', `create it, or mount what belongs there: mkdir -p ${path}`)];
  const { totalBytes, freeBytes, freeFiles, isWritable, hasQuotas } = space;
  const free = `${Math.floor(freeBytes / MIB)} of ${Math.floor(totalBytes / MIB)} MiB free`;
  const cure = 'make room: "aosctl items" lists what is installed, the journal and old files in it may go';
  const room = !isWritable
    ? fault(
        check,
        'is mounted read-only',
        `mount -o remount,rw the file system of ${path}; look for disk errors in dmesg`,
      )
    : freeBytes < FULL_BYTES || freeFiles < 0.01
      ? fault(check, freeFiles < 0.01 ? 'no more files can be made' : free, cure)
      : freeBytes < LOW_BYTES || freeBytes < totalBytes * LOW_PART
        ? warning(check, free, cure)
        : ok(check, free);
  const needsQuotas = what === 'storages' || what === 'states';
  if (!needsQuotas || hasQuotas) return [room];
  return [
    room,
    warning(
      `quotas of ${what}`,
      'the file system does not limit how much an instance writes',
      'mount it with usrquota (docs/install.md); without it limits of storage and state are not enforced',
    ),
  ];
}

function setAside(path: string): Finding {
  return warning(
    'damaged database',
    `${path} was set aside`,
    'look for disk errors in dmesg; the unit goes on without it, delete the file when nobody needs it any more',
  );
}

function daemonFinding({ name, socket, state, error, isForeign }: DaemonFact, { iamMode }: Facts): Finding {
  const check = `daemon ${name}`;
  if (state === 'answers') return ok(check, `answers on ${socket}`);
  if (state === 'refused') return fault(check, `we may not open ${socket}`, 'sudo aosctl doctor');
  if (state === 'failed') {
    return fault(check, error ?? 'it does not answer', `systemctl restart ${name}; its log: journalctl -u ${name}`);
  }
  if (isForeign) return ok(check, 'is not one of this node, which has no configuration of it');
  if (name !== 'aos-iam' && iamMode === 'provisioning') {
    return warning(check, 'does not run: the node is blank', 'aosctl provision, from where the cloud is reached');
  }
  return fault(check, `nobody listens on ${socket}`, `systemctl status ${name}; its log: journalctl -u ${name}`);
}

function certificate({ type, notAfter }: CertificateFact, nowMs: number): Finding {
  const check = `certificate ${type}`;
  const days = Math.floor((Date.parse(notAfter) - nowMs) / DAY_MS);
  if (days < 0) {
    return fault(
      check,
      `expired on ${notAfter}`,
      `aosctl renew --unit <system id> ${type}; when the unit is not online any more, make it blank and provision it again (docs/provisioning.md)`,
    );
  }
  return days < SOON_DAYS
    ? warning(
        check,
        `valid until ${notAfter}, ${days} days`,
        'look in the cloud why it is not renewed; the unit must be online',
      )
    : ok(check, `valid for ${days} days`);
}

function unit({ unit: report }: Facts): Finding[] {
  if (!report) return [];
  if (report.waitsFor !== undefined) {
    return [fault('unit', `aos-cm waits: ${report.waitsFor}`, 'mend what it waits for; it goes on by itself')];
  }
  const { cloud, nodes, items, instances, unitConfig, update } = report;
  const failed = instances.filter(({ state }) => state === 'failed');
  const badItems = items.filter(({ state, error }) => state === 'failed' || error !== undefined);
  return [
    cloudLink(cloud),
    ...nodes.map(({ nodeId, state, connected, error }) =>
      connected && state === 'provisioned'
        ? ok(`node ${nodeId}`, 'connected')
        : warning(
            `node ${nodeId}`,
            `${connected ? state : `its aos-sm is not connected (${state})`}${told(error?.message)}`,
            connected
              ? `aosctl why ${nodeId}`
              : 'look at aos-sm on that node: systemctl status aos-sm, and at its network',
          ),
    ),
    ...(unitConfig.error
      ? [
          fault(
            'unit configuration',
            unitConfig.error.message,
            'correct it in the cloud; "aosctl config check" checks a file',
          ),
        ]
      : []),
    ...(update.waitsFor === undefined
      ? []
      : [warning('update', `is ${update.state} and waits: ${update.waitsFor}`, 'aosctl why update')]),
    ...badItems.map(({ itemId, version, state, error }) =>
      warning(`item ${itemId}`, `version ${version} is ${state}${told(error?.message)}`, `aosctl why ${itemId}`),
    ),
    ...failed.map(({ itemId, subjectId, instance, nodeId, error }) =>
      warning(
        `instance ${itemId}/${subjectId}/${instance}`,
        `failed${told(error?.message)}`,
        // What has no place has written nothing.
        `aosctl why ${itemId}/${subjectId}/${instance}${nodeId === '' ? '' : `; aosctl logs ${itemId}`}`,
      ),
    ),
  ];
}
