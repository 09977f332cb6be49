/** `./dev up`: a cloud, a provisioned unit, a sample service that is active; in the foreground until Ctrl-C. */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Cloud, startCloud } from './cloud.ts';
import { startTimeOf } from './daemon-process.ts';
import { aosctl, type EnvironmentLayout, environmentLayout, runningUp } from './environment.ts';
import { buildSamples, type Sample } from './samples.ts';
import { startUnit, type Unit } from './unit.ts';

/** The samples that are deployed at once; the others are published only. The second one talks to the first. */
const DEPLOYED_SAMPLES = ['mosquitto', 'mosquitto-client'];
const ACTIVE_WITHIN_S = 120;
const READY_TIMEOUT_MS = 60_000;
const LOOK_AGAIN_MS = 100;

const say = (text: string) => console.log(`• ${text}`);

/** Runs aosctl; its failure ends `up` with its own words above. */
async function must(layout: EnvironmentLayout, ...args: string[]): Promise<void> {
  const code = await aosctl(layout, args);
  if (code !== 0) throw new Error(`aosctl ${args[0]} ended with code ${code}`);
}

async function writeProfile(layout: EnvironmentLayout, cloud: Cloud, unit: Unit): Promise<void> {
  const profile = {
    cloud: cloud.endpoints.restUrl,
    ca: cloud.layout.rootCa,
    cert: cloud.layout.operatorCertificate,
    key: cloud.layout.operatorKey,
    unit: unit.systemId,
    socket: unit.layout.sockets.cm,
    configDir: unit.layout.etc,
    logDir: unit.layout.logs,
  };
  await writeFile(layout.profile, `${JSON.stringify(profile, null, 2)}\n`);
}

async function provision(layout: EnvironmentLayout, unit: Unit): Promise<void> {
  say('provisioning the unit');
  const since = unit.supervisor.history.length;
  await must(layout, 'provision', unit.provisioningAddress);
  for (const program of ['aos-iam', 'aos-cm', 'aos-sm']) {
    await unit.supervisor.waitFor(
      (event) => event.kind === 'ready' && event.program === program,
      READY_TIMEOUT_MS,
      since,
    );
  }
}

/** Until the node has joined its unit again: before that what ran is without a place, and each deployment fails. */
async function untilJoined(unit: Unit): Promise<void> {
  const deadline = performance.now() + READY_TIMEOUT_MS;
  while (performance.now() < deadline) {
    // Right after its start the CM may not answer yet.
    const report = await unit.status().catch(() => undefined);
    if (report?.cloud.state === 'connected' && report.nodes.some(({ connected }) => connected)) return;
    await sleep(LOOK_AGAIN_MS);
  }
  throw new Error(`the node did not join its unit within ${READY_TIMEOUT_MS / 1000} s`);
}

async function deploySamples(layout: EnvironmentLayout, samples: readonly Sample[]): Promise<void> {
  for (const sample of samples) {
    say(`publishing ${sample.id} ${sample.version}`);
    await must(
      layout,
      ...['publish', sample.image, '--config', sample.itemConfig],
      ...['--id', sample.id, '--version', sample.version, '--title', sample.title, '--owner', sample.owner],
    );
  }
  for (const { id, version } of samples.filter((sample) => DEPLOYED_SAMPLES.includes(sample.id))) {
    say(`deploying ${id} ${version}`);
    await must(layout, 'deploy', id, '--version', version, '--wait', String(ACTIVE_WITHIN_S));
  }
}

function tell(cloud: Cloud, unit: Unit): void {
  const path = (absolute: string) => relative(process.cwd(), absolute) || '.';
  console.log(`
It runs. Ctrl-C ends it.

  cloud    ${cloud.endpoints.restUrl} (REST), ${cloud.endpoints.discoveryUrl} (discovery)
  unit     ${unit.systemId}
  logs     ${path(unit.layout.logs)}, ${path(cloud.layout.logs)}
  config   ${path(unit.layout.etc)}

In another terminal:

  ./dev ctl status
  ./dev ctl instances --json
  ./dev ctl items --published
  ./dev ctl undeploy ${DEPLOYED_SAMPLES[0]} --wait 30

The instances are in the network namespace of the unit: nsenter --net=/run/netns/${unit.namespace} ip address
`);
}

async function up(layout: EnvironmentLayout, stopped: AbortSignal): Promise<void> {
  const parts: { readonly name: string; readonly stop: () => Promise<void> }[] = [];
  /** A signal ends the way up at the next step; what has been started is stopped below. */
  const step = async <T>(work: Promise<T>): Promise<T> => {
    const value = await work;
    stopped.throwIfAborted();
    return value;
  };
  try {
    say('starting the cloud');
    const cloud = await startCloud(layout.cloud, { preferProductPorts: true });
    parts.push({ name: 'the cloud', stop: () => cloud.stop() });
    stopped.throwIfAborted();
    say('starting the unit');
    const unit = await startUnit(layout.unit, {
      caFile: cloud.layout.rootCa,
      preferProductPorts: true,
      ownNetwork: { cloudPorts: cloud.ports },
    });
    parts.push({ name: 'the unit', stop: () => unit.stop() });
    await step(writeProfile(layout, cloud, unit));
    if (!unit.supervisor.provisioned) await step(provision(layout, unit));
    const samples = await step(buildSamples(layout.images, say));
    await step(untilJoined(unit));
    await step(deploySamples(layout, samples));
    await step(must(layout, 'status'));
    tell(cloud, unit);
    say('this address opens the web page, once, within ten minutes (another one: ./dev ctl login):');
    await step(must(layout, 'login'));
    await new Promise((resolve) => stopped.addEventListener('abort', resolve, { once: true }));
  } finally {
    for (const { name, stop } of parts.reverse()) {
      say(`stopping ${name}`);
      await stop();
    }
  }
}

const layout = environmentLayout();
const other = runningUp(layout);
if (other !== undefined) {
  console.error(`./dev up is running already in ${layout.root} (pid ${other})`);
  process.exit(1);
}
await mkdir(layout.root, { recursive: true });
await writeFile(layout.pidFile, JSON.stringify({ pid: process.pid, startTime: startTimeOf(process.pid) }));

const abort = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => {
    if (!abort.signal.aborted) console.log(`\n${signal}: stopping`);
    abort.abort();
  });
}
try {
  await up(layout, abort.signal);
} catch (error) {
  if (!abort.signal.aborted) {
    console.error(
      `./dev up failed: ${(error as Error).message}\nThe logs are in ${layout.unit}/log and ${layout.cloud}/log.`,
    );
    process.exitCode = 1;
  }
} finally {
  await rm(layout.pidFile, { force: true });
  if (abort.signal.aborted) say('nothing is left running');
}
