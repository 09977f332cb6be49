/** A node with firmware and a real aos-sm; IAM and CM are scripted. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { create } from '@bufbuild/protobuf';
import { sm } from '../../src/api/contracts.ts';
import { identMessage } from '../../src/api/index.ts';
import { digestOf, type InstanceIdent, runtimeId } from '../../src/core/index.ts';
import { askControl } from '../../src/daemon/index.ts';
import type { ScriptedStream } from '../../src/sm/client/scripted-cm-for-tests.ts';
import type { FirmwareReport } from '../../src/sm/firmware/index.ts';
import { FirmwareHost } from './firmware-host.ts';
import { SmNode } from './sm-node.ts';
import { until as ask } from './until.ts';

export interface Told {
  readonly state: string;
  readonly version: string;
  readonly message: string;
}

export interface WantedComponent {
  readonly ident: InstanceIdent;
  readonly version: string;
  readonly digest: string;
  readonly runtimeId: string;
}

export interface ImageOptions {
  readonly mediaType?: string;
  /** In place of an image with a file system. */
  readonly content?: Buffer;
}

/** Waits for a fact. */
const until = (what: string, isSo: () => boolean) => ask(what, isSo, Boolean);

const BOOT_IMAGE = 'application/vnd.aos.image.component.full.v1+gzip';

export class FirmwareNode {
  readonly host: FirmwareHost;
  readonly sm: SmNode;
  readonly #blobs: Server;
  /** What is told of each item, the newest word last. */
  readonly told = new Map<string, Told>();
  #isFirst = true;

  private constructor(host: FirmwareHost, node: SmNode, blobs: Server) {
    this.host = host;
    this.sm = node;
    this.#blobs = blobs;
  }

  static async create(bundle: string): Promise<FirmwareNode> {
    const host = await FirmwareHost.create();
    await mkdir(host.at('blobs'));
    const blobs = createServer((request, response) => {
      const content = readFileSync(host.at(`blobs/${request.url?.slice(1)}`));
      response.end(request.method === 'HEAD' ? undefined : content);
    }).listen(0, '127.0.0.1');
    await once(blobs, 'listening');
    return new FirmwareNode(host, await SmNode.create(bundle, host.config), blobs);
  }

  /** Switches the node on. */
  async boot(env: Readonly<Record<string, string>> = {}): Promise<void> {
    if (!this.#isFirst) await this.host.boot();
    this.#isFirst = false;
    await this.sm.start({ ...this.host.env, ...env });
  }

  /** The CM's side: what the node tells from now on is gathered. */
  async connect(): Promise<ScriptedStream> {
    for (;;) {
      const stream = await this.sm.cm.stream();
      try {
        await stream.expect('smInfo');
        const first = await stream.expect('nodeInstancesStatus');
        this.told.clear();
        this.#hear(first.instances);
        this.#listen(stream).catch(() => undefined);
        return stream;
      } catch (error) {
        // Of a boot before this one, in which nobody listened.
        if (!/ended the stream/.test(String(error))) throw error;
      }
    }
  }

  want(stream: ScriptedStream, ...components: readonly WantedComponent[]): void {
    const value = create(sm.UpdateInstancesSchema, {
      startInstances: components.map(({ ident, version, digest, runtimeId: id }) => ({
        ...{ instance: identMessage(ident), version, manifestDigest: digest, ownerId: 'oem', runtimeId: id },
      })),
    });
    stream.say({ case: 'updateInstances', value });
  }

  /** Until the node says this of an item; answers the whole word. */
  async untilTold(itemId: string, state: string): Promise<Told> {
    await until(`${itemId} ${state}`, () => this.told.get(itemId)?.state === state);
    return this.told.get(itemId)!;
  }

  async untilReboot(): Promise<void> {
    await until('a reboot', () => this.host.wantsReboot);
  }

  /** The power goes. */
  async cut(): Promise<void> {
    await this.sm.end('SIGKILL');
  }

  async firmware(type: string): Promise<FirmwareReport> {
    const report = await askControl<{ firmware: FirmwareReport[] }>(this.sm.at('sm.sock'), '/status');
    return report.firmware.find((entry) => entry.type === type)!;
  }

  async bootComponent(version: string, options: ImageOptions = {}): Promise<WantedComponent> {
    const content = options.content ?? gzipSync(await this.host.fileSystem(version));
    return this.#component('fw', version, 'boot', options.mediaType ?? BOOT_IMAGE, content);
  }

  async rootfsComponent(version: string, kind: 'full' | 'inc' = 'full'): Promise<WantedComponent> {
    const mediaType = `application/vnd.aos.image.component.${kind}.v1+squashfs`;
    return this.#component('root', version, 'rootfs', mediaType, Buffer.from(`image of ${version}`));
  }

  async close(): Promise<void> {
    await this.sm.close();
    this.#blobs.closeAllConnections();
    this.#blobs.close();
    await this.host.close();
  }

  async #component(
    itemId: string,
    version: string,
    type: string,
    mediaType: string,
    image: Buffer,
  ): Promise<WantedComponent> {
    const offer = async (content: Buffer, media: string) => {
      const digest = digestOf(content);
      await writeFile(this.host.at(`blobs/${digest}`), content);
      this.sm.cm.blobs.set(digest, `http://127.0.0.1:${(this.#blobs.address() as AddressInfo).port}/${digest}`);
      return { mediaType: media, digest, size: content.length };
    };
    const json = (value: object) => Buffer.from(JSON.stringify(value));
    const config = await offer(
      json({ architecture: 'amd64', os: 'linux' }),
      'application/vnd.oci.image.config.v1+json',
    );
    const aosItemConfig = await offer(
      json({ runtimes: [{ codename: type }] }),
      'application/vnd.aos.item.config.v1+json',
    );
    const layers = [await offer(image, mediaType)];
    const { digest } = await offer(json({ schemaVersion: 2, config, aosItemConfig, layers }), 'manifest');
    const ident = { itemId, subjectId: 'fleet', instance: 0, type: 'component', preinstalled: false } as const;
    return { ident, version, digest, runtimeId: runtimeId(type, this.sm.nodeId) };
  }

  #hear(instances: readonly sm.InstanceStatus[]): void {
    for (const { instance, state, version, error } of instances) {
      this.told.set(instance?.itemId ?? '', { state, version, message: error?.message ?? '' });
    }
  }

  async #listen(stream: ScriptedStream): Promise<void> {
    for (;;) {
      const message = await stream.next();
      if (message.case === 'nodeInstancesStatus' || message.case === 'updateInstancesStatus') {
        this.#hear(message.value.instances);
      }
    }
  }
}
