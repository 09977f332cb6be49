/** Looks at this node for `aosctl doctor`. Whatever cannot be looked at is a fact too: nothing here throws. */
import { access, constants, readdir, readFile, stat, statfs } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import { asAosError, isObject, parseJson } from '../../core/index.ts';
import { askControl, CHECK_PATH, type CheckQuestion, type CheckReport, type UnitReport } from '../../daemon/index.ts';
import { checkFile, judgeOf, type Kind, kindOf } from '../check-file.ts';
import { type Context, LOCAL_DAEMONS, type LocalDaemon } from '../context.ts';
import { plainWords } from '../plain-words.ts';
import {
  type CertificateFact,
  type ConfigFact,
  DAEMONS,
  type DaemonFact,
  type DaemonName,
  type Facts,
  type KeyDirectoryFact,
  type MainLinkFact,
  type PlaceFact,
  type TokenFact,
} from './facts.ts';
import { controllers, devices, fileSystems, findPrograms } from './gather-host.ts';
import { keyDirectoriesOf, lookAtKeys } from './gather-keys.ts';
import { lookAtPorts, portsOf } from './gather-ports.ts';
import { lookAtSelinux } from './gather-selinux.ts';
import { lookAtToken, tokensOf } from './gather-tokens.ts';
import { keptCertificates } from './kept-certificates.ts';

/** Directories that the configuration names, and what they are. */
const PLACES: Readonly<Record<string, string>> = {
  workingDir: 'data',
  storageDir: 'storages',
  stateDir: 'states',
};

interface IamAnswer {
  readonly mode: string;
  readonly certificates: readonly CertificateFact[];
  /** On a further node. */
  readonly mainIam?: { readonly state: string; readonly address: string; readonly lastError?: string };
}

interface SmAnswer {
  readonly cm?: { readonly state: string; readonly lastError?: string };
}

export async function gatherFacts(context: Context, configDir: string): Promise<Facts> {
  // Most of the time is that of other processes: all at once.
  const [documents, made, iam, unit, sm, host] = await Promise.all([
    readConfigs(configDir, context),
    devices(),
    ask<IamAnswer>(context, 'iam'),
    ask<UnitReport>(context, 'cm'),
    ask<SmAnswer>(context, 'sm'),
    Promise.all([fileSystems(), controllers(), findPrograms()]),
  ]);
  const places = placesIn(documents);
  const paths = places.map(({ path }) => path);
  const [known, limits, programs] = host;
  const daemons = [iam.fact, unit.fact, sm.fact].map((fact) =>
    hasConfigOf(fact.name, documents) ? fact : { ...fact, isForeign: true as const },
  );
  const [openedTokens, directories, selinux, written, ports, space, setAside] = await Promise.all([
    tokens(documents, iam),
    keyDirectories(documents, iam),
    lookAtSelinux(paths),
    lastWrite(paths),
    lookAtPorts(
      documents.flatMap(({ path, value = {} }) => portsOf(path, value)),
      (daemon) => daemons.some(({ name, state }) => name === daemon && state === 'answers') && !waits(daemon, unit),
    ),
    Promise.all(places.map(lookAt)),
    Promise.all(paths.map(setAsideIn)),
  ]);
  return {
    nowMs: Date.now(),
    ...written,
    isRoot: process.getuid?.() === 0,
    kernel: release(),
    fileSystems: known,
    controllers: limits,
    programs,
    ...(made && { devices: made }),
    ...(selinux && { selinux }),
    daemons,
    mainLinks: mainLinks(iam.answer, sm.answer),
    ...(unit.answer && { unit: unit.answer }),
    ...(iam.answer && { iamMode: iam.answer.mode }),
    certificates: iam.answer?.certificates ?? keptCertificates(openedTokens, directories),
    configs: documents.map(({ value: _value, kind: _kind, ...fact }) => fact),
    ports,
    tokens: openedTokens,
    keyDirectories: directories,
    places: space,
    setAside: setAside.flat(),
  };
}

/** The IAM of a further node has a link to that of the main node, and every SM one to the CM. */
function mainLinks(iam: IamAnswer | undefined, sm: SmAnswer | undefined): MainLinkFact[] {
  const link = (daemon: DaemonName, to: string, { state, lastError }: NonNullable<SmAnswer['cm']>): MainLinkFact => ({
    ...{ daemon, to, isConnected: state === 'connected' },
    ...(lastError && { error: lastError }),
  });
  return [
    ...(iam?.mainIam ? [link('aos-iam', `the IAM of the main node at ${iam.mainIam.address}`, iam.mainIam)] : []),
    ...(sm?.cm ? [link('aos-sm', 'aos-cm', sm.cm)] : []),
  ];
}

/** Where no configuration at all could be read, nobody knows. */
const hasConfigOf = (daemon: DaemonName, documents: readonly ConfigDocument[]): boolean =>
  documents.some(({ kind, isDirectory }) => isDirectory || `aos-${kind}` === daemon);

/** The CM answers before it listens for others, while it waits for IAM. */
const waits = (daemon: DaemonName, { answer }: Answer<UnitReport>): boolean =>
  daemon === 'aos-cm' && answer?.waitsFor !== undefined;

/** A blank node has no PINs yet; one whose IAM runs has shown that they are right. */
async function tokens(documents: readonly ConfigDocument[], { answer }: Answer<IamAnswer>): Promise<TokenFact[]> {
  if (answer?.mode === 'provisioning') return [];
  const wanted = documents.flatMap(({ kind, value }) => (value && kind === 'iam' ? tokensOf(value) : []));
  const facts: TokenFact[] = [];
  // One after another: a library takes one user at a time in a process.
  for (const token of wanted) facts.push(await lookAtToken(token, answer === undefined));
  return facts;
}

/** A blank node has no keys yet. */
async function keyDirectories(
  documents: readonly ConfigDocument[],
  { answer }: Answer<IamAnswer>,
): Promise<KeyDirectoryFact[]> {
  if (answer?.mode === 'provisioning') return [];
  const wanted = documents.flatMap(({ kind, value }) => (value && kind === 'iam' ? keyDirectoriesOf(value) : []));
  return Promise.all(wanted.map(lookAtKeys));
}

/** When something in these directories was last written. */
async function lastWrite(directories: readonly string[]): Promise<{ readonly lastWriteMs: number } | undefined> {
  const times = await Promise.all(
    directories.map(async (directory) => {
      try {
        const names = await readdir(directory);
        const found = await Promise.all(names.map((name) => stat(join(directory, name))));
        return found.map(({ mtimeMs }) => mtimeMs);
      } catch {
        // Missing, closed to us, or changing just now: another finding says so, or the next look sees more.
        return [];
      }
    }),
  );
  const all = times.flat();
  return all.length === 0 ? undefined : { lastWriteMs: Math.max(...all) };
}

interface Answer<T> {
  readonly fact: DaemonFact;
  readonly answer?: T;
}

async function ask<T>(context: Context, daemon: LocalDaemon): Promise<Answer<T>> {
  const name = DAEMONS.find((one) => one.endsWith(daemon))!;
  const socket = context.socketOf(daemon);
  try {
    return { fact: { name, socket, state: 'answers' }, answer: await context.askDaemon<T>(daemon, '/status') };
  } catch (error) {
    const { code, message, cause } = asAosError(error);
    const system = (cause as NodeJS.ErrnoException | undefined)?.code;
    const isRefused = system === 'EACCES' || system === 'EPERM';
    const state = isRefused ? 'refused' : code === 'notFound' ? 'absent' : 'failed';
    return { fact: { name, socket, state, error: message } };
  }
}

interface ConfigDocument extends ConfigFact {
  /** Absent: its name does not tell. */
  readonly kind?: Kind;
  readonly value?: Readonly<Record<string, unknown>>;
}

async function readConfigs(directory: string, context: Context): Promise<ConfigDocument[]> {
  let names: string[];
  try {
    names = (await readdir(directory)).filter((name) =>
      /(cm|sm|iam|mp|communication|service|manager|proxy)\w*\.cfg$|^resources\.cfg$/.test(name),
    );
  } catch (error) {
    return [{ path: directory, isDirectory: true, problem: problemOf(directory, error) }];
  }
  if (names.length === 0) {
    return [{ path: directory, isDirectory: true, problem: 'no configuration of a daemon is there' }];
  }
  return Promise.all(names.sort().map((name) => readConfig(join(directory, name), context)));
}

/** Without the path, which the finding names. */
const problemOf = (path: string, error: unknown): string =>
  plainWords(asAosError(error, path).message).slice(`${path}: `.length);

async function readConfig(path: string, context: Context): Promise<ConfigDocument> {
  let kind: Kind | undefined;
  try {
    kind = kindOf(path);
    const text = await readFile(path, 'utf8');
    const { problem } = (await askWhoRuns(context, kind, path, text)) ?? (await checkFile(path, kind));
    if (problem !== undefined) return { path, kind, problem };
    const value = parseJson(text, path);
    return isObject(value) ? { path, kind, value } : { path, kind };
  } catch (error) {
    return { path, ...(kind && { kind }), problem: problemOf(path, error) };
  }
}

/** What the daemon that reads such a file says of it while it runs, which is sooner than a new process of it does. */
async function askWhoRuns(context: Context, kind: Kind, path: string, text: string): Promise<CheckReport | undefined> {
  const [program, what] = judgeOf(kind) ?? [];
  const daemon = LOCAL_DAEMONS.find((one) => `aos-${one}` === program);
  if (daemon === undefined || what === undefined) return undefined;
  try {
    const question: CheckQuestion = { kind: what, path, text };
    return await askControl<CheckReport>(context.socketOf(daemon), CHECK_PATH, question);
  } catch {
    // It does not run, or is of a time before this question: another finding says so.
    return undefined;
  }
}

/** Each directory once. */
function placesIn(documents: readonly ConfigDocument[]): { readonly what: string; readonly path: string }[] {
  const found = new Map<string, string>();
  for (const { value = {} } of documents) {
    for (const [key, path] of Object.entries(value)) {
      const what = Object.entries(PLACES).find(([name]) => name.toLowerCase() === key.toLowerCase())?.[1];
      if (what !== undefined && typeof path === 'string' && !found.has(path)) found.set(path, what);
    }
  }
  return [...found].map(([path, what]) => ({ what, path }));
}

async function lookAt({ what, path }: { readonly what: string; readonly path: string }): Promise<PlaceFact> {
  try {
    const { bsize, blocks, bavail, files, ffree } = await statfs(path);
    const isWritable = await access(path, constants.W_OK).then(
      () => true,
      (error: NodeJS.ErrnoException) => error.code !== 'EROFS',
    );
    const space = {
      totalBytes: bsize * blocks,
      freeBytes: bsize * bavail,
      freeFiles: files === 0 ? 1 : ffree / files,
      isWritable,
      hasQuotas: /\b(usrquota|uquota|usrjquota|prjquota)\b/.test(await mountOptions(path)),
    };
    return { what, path, space };
  } catch {
    // It is not there, which is what the finding says.
    return { what, path };
  }
}

/** Options of the mount that a directory lies on. */
async function mountOptions(path: string): Promise<string> {
  const lines = (await readFile('/proc/self/mountinfo', 'utf8')).split('\n').filter(Boolean);
  const mounts = lines.map((line) => {
    const [own, file] = line.split(' - ') as [string, string];
    const fields = own.split(' ');
    return { point: fields[4]!, options: `${fields[5]} ${file.split(' ')[2]}` };
  });
  const below = mounts.filter(({ point }) => point === '/' || path === point || path.startsWith(`${point}/`));
  return below.sort((a, b) => b.point.length - a.point.length)[0]?.options ?? '';
}

async function setAsideIn(directory: string): Promise<string[]> {
  try {
    const names = await readdir(directory);
    return names.filter((name) => /\.corrupt-\d+$/.test(name)).map((name) => join(directory, name));
  } catch {
    // The directory is missing or closed to us, which another finding says.
    return [];
  }
}
