/**
 * Three nodes of one unit on one host, for `network-manager.test.ts`: each in namespaces of its own, the networks of an owner
 * joined by a plain link, which stands for the VLAN that kernels of build machines lack. Every instance asks every other one.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { type NodeRequest, PORT, type ToldNode } from './one-of-three-nodes.ts';
import { run } from './outside.ts';

const NODES = [1, 2, 3];
const PROGRAM = `${import.meta.dirname}/one-of-three-nodes.ts`;
const SCRIPT =
  'ip link set lo up; mount -t tmpfs tmpfs /run/netns; echo 1 >/proc/sys/net/ipv4/ip_forward; exec "$0" "$@"';

class Node {
  readonly number: number;
  readonly #child;
  readonly #told = Promise.withResolvers<ToldNode>();
  readonly #asked: ((value: unknown) => void)[] = [];

  constructor(number: number) {
    this.number = number;
    const own = ['--net', '--mount', '--propagation', 'private', 'sh', '-c', SCRIPT];
    this.#child = spawn('unshare', [...own, process.execPath, PROGRAM, `${number}`], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      const said = JSON.parse(line) as ToldNode | { readonly id: number; readonly value: unknown };
      if ('id' in said) this.#asked[said.id]?.(said.value);
      else this.#told.resolve(said);
    });
    this.#child.once('exit', () => this.#told.reject(new Error(`node ${number} has ended`)));
  }

  ready(): Promise<ToldNode> {
    return this.#told.promise;
  }

  ask(asked: NodeRequest): Promise<unknown> {
    const id = this.#asked.length;
    this.#child.stdin.write(`${JSON.stringify({ id, ...asked })}\n`);
    return new Promise((resolve) => this.#asked.push(resolve));
  }

  /** Lays a link from here to the medium that an owner's networks share. */
  async link(owner: string): Promise<void> {
    const name = `${owner}-${this.number}`;
    await run('ip', ['link', 'add', name, 'master', owner, 'up', 'type', 'veth', 'peer', 'name', `to-${owner}`]);
    await run('ip', ['link', 'set', `to-${owner}`, 'netns', `${this.#child.pid}`]);
    await this.ask({ do: 'join', owner, link: `to-${owner}` });
  }

  async end(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.stdin.end();
    await gone;
  }
}

async function story(): Promise<Record<string, unknown>> {
  const nodes = NODES.map((number) => new Node(number));
  const told = await Promise.all(nodes.map((node) => node.ready()));
  for (const owner of ['red', 'blue']) {
    await run('ip', ['link', 'add', owner, 'up', 'type', 'bridge']);
    for (const node of nodes) await node.link(owner);
  }
  const [first] = nodes as [Node, ...Node[]];
  await first.ask({ do: 'allow', owner: 'red', ip: told[1]!.instances.blue!.ip });

  const all = nodes.flatMap((node, index) =>
    Object.entries(told[index]!.instances).map(([owner, { ip }]) => ({ node, owner, ip })),
  );
  const name = ({ node, owner }: (typeof all)[number]) => `${owner}-${node.number}`;
  const allowed = new Set(['red-1 blue-2']);
  const talk = await Promise.all(
    all.flatMap((from) =>
      all
        .filter((to) => to !== from)
        .map(async (to) => {
          const pair = `${name(from)} ${name(to)}`;
          const expected = from.owner === to.owner || allowed.has(pair) ? 'yes' : 'no';
          const seenAs = await from.node.ask({ do: 'connect', owner: from.owner, ip: to.ip, expected });
          return seenAs === false ? [] : [pair];
        }),
    ),
  );
  await Promise.all(nodes.map((node) => node.end()));
  return { outcomes: told.map(({ outcomes }) => outcomes), pairs: talk.length, port: PORT, talk: talk.flat().sort() };
}

if (import.meta.main) console.log(JSON.stringify(await story()));
