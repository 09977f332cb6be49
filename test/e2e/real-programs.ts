/**
 * Real programs from Debian packages, each as a service that keeps a number: how their images are made, and how a client
 * writes the number and reads it. All of them confirm a write only when it is on the disk.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Recipe } from '../../devenv/samples.ts';

const run = promisify(execFile);
const MIB = 1024 * 1024;
const MQTT_PORT = 1883;
const HTTP_PORT = 8080;
const PYTHON = '/usr/bin/python3.11';

/** A program on the network of the instance with this process. */
async function inside(pid: number, ...words: readonly string[]): Promise<string> {
  const { stdout } = await run('nsenter', ['--net', '--target', `${pid}`, ...words]);
  return stdout.trim();
}

const HTTP_CLIENT = `
const [method, body] = process.argv.slice(1);
const request = require('node:http').request({ port: ${HTTP_PORT}, path: '/count', method, timeout: 5000 }, (response) => {
  response.pipe(process.stdout);
  response.on('end', () => process.exit(response.statusCode < 300 ? 0 : 1));
});
request.on('error', () => process.exit(1)).on('timeout', () => process.exit(1)).end(body ?? '');`;

const http = (pid: number, method: string, ...body: readonly string[]) =>
  inside(pid, process.execPath, '-e', HTTP_CLIENT, method, ...body);

export interface RealProgram {
  readonly name: string;
  /** Of the image, which says its version in `/etc/version`. */
  readonly recipe: (id: string, version: string) => Recipe;
  /** Throws unless the write is confirmed; answers what the number is then. */
  readonly write: (pid: number, next: number) => Promise<number>;
  readonly read: (pid: number) => Promise<number>;
}

const common = (id: string, version: string) => ({
  id,
  version,
  title: id,
  owner: 'programs',
  exposedPorts: [],
  itemConfig: {
    baseLayerIsNodeRootfs: false,
    quotas: { ramLimit: 128 * MIB, pidsLimit: 32, storageLimit: 64 * MIB, stateLimit: 64, tmpLimit: MIB },
  },
});

const redis: RealProgram = {
  name: 'redis-server',
  recipe: (id, version) => ({
    ...common(id, version),
    // The server goes by the name of a tool that it contains, so that redis-tools alone has it.
    programs: ['/usr/bin/redis-check-rdb'],
    files: {
      'etc/version': version,
      'etc/redis.conf': 'dir /storage\nappendonly yes\nappendfsync always\nsave ""\nbind 127.0.0.1\nport 6379\n',
    },
    links: { 'usr/bin/redis-server': 'redis-check-rdb' },
    command: ['/usr/bin/redis-server', '/etc/redis.conf'],
  }),
  write: async (pid) => Number(await inside(pid, 'redis-cli', '-e', 'INCR', 'count')),
  read: async (pid) => Number(await inside(pid, 'redis-cli', '-e', 'GET', 'count')),
};

const mosquitto: RealProgram = {
  name: 'mosquitto',
  recipe: (id, version) => ({
    ...common(id, version),
    programs: ['/usr/sbin/mosquitto'],
    files: {
      'etc/version': version,
      'etc/mosquitto.conf': `listener ${MQTT_PORT} 127.0.0.1\nallow_anonymous true\nlog_dest stdout\npersistence true\npersistence_location /storage/\nautosave_on_changes true\nautosave_interval 1\n`,
    },
    command: ['/usr/sbin/mosquitto', '-c', '/etc/mosquitto.conf'],
  }),
  write: async (pid, next) => {
    await inside(pid, 'mosquitto_pub', '-p', `${MQTT_PORT}`, '-q', '1', '-r', '-t', 'count', '-m', `${next}`);
    return next;
  },
  read: async (pid) => Number(await inside(pid, 'mosquitto_sub', '-p', `${MQTT_PORT}`, '-C', '1', '-t', 'count')),
};

const nginx: RealProgram = {
  name: 'nginx',
  recipe: (id, version) => ({
    ...common(id, version),
    programs: ['/usr/sbin/nginx'],
    files: {
      'etc/version': version,
      'etc/nginx.conf': `daemon off; pid /tmp/nginx.pid; error_log stderr; worker_processes 1;
events { worker_connections 64; }
http {
  access_log off; client_body_temp_path /storage/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
  server { listen 127.0.0.1:${HTTP_PORT}; root /storage; location / { dav_methods PUT; } }
}
`,
    },
    command: ['/usr/sbin/nginx', '-e', 'stderr', '-c', '/etc/nginx.conf'],
  }),
  write: async (pid, next) => {
    await http(pid, 'PUT', `${next}`);
    return next;
  },
  read: async (pid) => Number(await http(pid, 'GET')),
};

const python: RealProgram = {
  name: 'python3',
  recipe: (id, version) => ({
    ...common(id, version),
    programs: [PYTHON],
    directories: ['/usr/lib/python3.11'],
    files: {
      'etc/version': version,
      'usr/lib/counter.py': `
import http.server, os

class Counter(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(open('/state.dat').read())

    def do_POST(self):
        with open('/state.dat', 'r+') as state:
            count = int(state.read() or 0) + 1
            state.seek(0)
            state.write(str(count))
            state.flush()
            os.fsync(state.fileno())
        self.answer(str(count))

    def answer(self, text):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

http.server.HTTPServer(('127.0.0.1', ${HTTP_PORT}), Counter).serve_forever()
`,
    },
    command: [PYTHON, '-I', '-S', '/usr/lib/counter.py'],
  }),
  write: async (pid) => Number(await http(pid, 'POST')),
  read: async (pid) => Number(await http(pid, 'GET')),
};

export const REAL_PROGRAMS: readonly RealProgram[] = [redis, mosquitto, nginx, python];
