/** Traffic in network namespaces: servers, clients, questions for names, and a host with a public address. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';

export const run = promisify(execFile);

/** The rest of the world: a host with a public address behind the default route of this one, with a name server. */
export const OUTSIDE = { netns: 'outside', ip: '198.51.100.2', us: '198.51.100.1', subnet: '198.51.100.0/24' };

export async function makeOutside(): Promise<void> {
  const { netns, ip, us } = OUTSIDE;
  const script = `
    ip netns add ${netns}
    ip link add uplink type veth peer name eth0 netns ${netns}
    ip address add ${us}/24 dev uplink
    ip link set uplink up
    ip route add default via ${ip}
    ip -n ${netns} link set lo up
    ip -n ${netns} address add ${ip}/24 dev eth0
    ip -n ${netns} link set eth0 up
    ip -n ${netns} route add default via ${us}
    ip netns exec ${netns} dnsmasq --conf-file=/dev/null --no-hosts --no-resolv --user=root --pid-file= \\
      --address=/example.org/198.51.100.9`;
  await run('sh', ['-e', '-c', script]);
}

const inside = (netns: string, script: string) =>
  run('ip', ['netns', 'exec', netns, process.execPath, '-e', script], { maxBuffer: 1024 * 1024 });

/** A server in a namespace: tells whoever asks under which address it is seen, then sends as many bytes as are asked. */
export async function serve(netns: string, port: number): Promise<() => void> {
  const script = `
    require('net').createServer((socket) => {
      socket.on('error', () => {});
      socket.write(socket.remoteAddress + String.fromCharCode(10));
      socket.on('data', (line) => socket.end(Buffer.alloc(Number(line))));
    }).listen(${port}, '::', () => console.log('ready'))`;
  const child = spawn('ip', ['netns', 'exec', netns, process.execPath, '-e', script]);
  await Promise.race([
    once(child.stdout, 'data'),
    once(child, 'exit').then(() => Promise.reject(new Error(`no server in ${netns}`))),
  ]);
  return () => child.kill('SIGKILL');
}

/** A packet that is dropped is waited for in vain; one that passes may take long on a busy machine. */
const PATIENCE_MS = { yes: 15_000, no: 700 };

const CLIENT = (ip: string, port: number, timeoutMs: number, onSeen: string) => `
    const socket = require('net').connect({ host: '${ip}', port: ${port}, timeout: ${timeoutMs} });
    let seen = '';
    socket.on('data', (text) => { if (seen === '') { seen = String(text).split(String.fromCharCode(10))[0]; ${onSeen} } });
    socket.on('end', () => { console.log(seen); process.exit(0); });
    socket.on('error', () => process.exit(1));
    socket.on('timeout', () => process.exit(1));`;

/** Connects, and asks for so many bytes. Under which address the server saw us; false: no connection came about. */
export async function connects(
  netns: string,
  ip: string,
  port: number,
  expected: 'yes' | 'no' = 'yes',
  bytes = 0,
): Promise<string | false> {
  try {
    const { stdout } = await inside(netns, CLIENT(ip, port, PATIENCE_MS[expected], `socket.write('${bytes}');`));
    return stdout.trim().replace('::ffff:', '');
  } catch {
    return false;
  }
}

/** A connection that stands until it is finished; whether it still carried something then. */
export async function hold(netns: string, ip: string, port: number): Promise<() => Promise<boolean>> {
  const onSeen = `console.log('connected'); process.stdin.once('data', () => socket.write('1000'));`;
  const script = CLIENT(ip, port, PATIENCE_MS.yes * 4, onSeen);
  const child = spawn('ip', ['netns', 'exec', netns, process.execPath, '-e', script], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const exit = once(child, 'exit');
  await Promise.race([once(child.stdout, 'data'), exit]);
  return async () => {
    child.stdin.end('finish');
    return ((await exit) as [number | null])[0] === 0;
  };
}

/** What a name server answers, or the code of its refusal. */
export async function resolve(netns: string, server: string, name: string, type: 'A' | 'AAAA' = 'A'): Promise<string> {
  const script = `
    const resolver = new (require('dns').promises.Resolver)({ timeout: 5000, tries: 2 });
    resolver.setServers(['${server}']);
    resolver.resolve('${name}', '${type}').then((all) => console.log(all.join(' ')), (error) => console.log(error.code));`;
  return (await inside(netns, script)).stdout.trim();
}
