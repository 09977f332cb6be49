import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { digestOf } from '../../core/index.ts';
import { layerOrder, parseImageConfig, parseImageManifest, parseItemConfig } from '../../oci/index.ts';
import { imageIndexOf, itemConfigFor, repackImage } from './repack-image.ts';

const GZIP = 'application/vnd.oci.image.layer.v1.tar+gzip';

const layer = (name: string, mediaType = GZIP) => ({ mediaType, digest: digestOf(name), size: name.length });

function image(names: readonly string[], more: object = {}, mediaType = GZIP) {
  const config = {
    ...{ created: '2026-01-01T00:00:00Z', architecture: 'arm64', variant: 'v8', os: 'linux', config: { Cmd: ['/a'] } },
    rootfs: { type: 'layers', diff_ids: names.map((name) => digestOf(`tar of ${name}`)) },
    history: names.map((name) => ({ created_by: name })),
    ...more,
  };
  const manifest = {
    ...{ schemaVersion: 2, config: layer('config'), layers: names.map((name) => layer(name, mediaType)) },
    annotations: { made: 'by a builder' },
  };
  return { manifest: JSON.stringify(manifest), config: JSON.stringify(config) };
}

const repack = (names: readonly string[], itemConfig = itemConfigFor('service', undefined)) => {
  const { manifest, config } = image(names);
  return repackImage('service', manifest, config, itemConfig);
};

describe('repackImage', () => {
  test('[P-06] the lowest layer of an OCI image becomes the last one, with its diff_id, and the history goes', () => {
    const { layers, imageConfig, manifest } = repack(['base', 'middle', 'top']);
    expect(layers.map(({ digest }) => digest)).toEqual(['top', 'middle', 'base'].map(digestOf));
    const written = JSON.parse(imageConfig.text) as Record<string, unknown>;
    expect(written).toMatchObject({
      ...{ created: '2026-01-01T00:00:00Z', architecture: 'arm64', config: { Cmd: ['/a'] } },
      rootfs: { diff_ids: ['top', 'middle', 'base'].map((name) => digestOf(`tar of ${name}`)) },
    });
    expect(written).not.toHaveProperty('history');
    expect(parseImageManifest(manifest.text).aosItemConfig?.digest).toMatch(/^sha256:/);
  });

  test('layers that their author has ordered stay as they are', () => {
    const itemConfig = itemConfigFor('service', '{"layerOrder": "aos"}');
    const { layers } = repack(['top', 'base'], itemConfig);
    expect(layers.map(({ digest }) => digest)).toEqual(['top', 'base'].map(digestOf));
    expect(itemConfig.document.text).not.toMatch(/layerOrder/i);
  });

  test('units stack a repacked image as its builder did', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 8 }), (names) => {
        const itemConfig = itemConfigFor('service', undefined);
        const { imageConfig, layers } = repack(names, itemConfig);
        const read = parseImageConfig(imageConfig.text);
        const order = layerOrder(parseItemConfig(itemConfig.document.text), read, layers.length);
        expect(order.order).toBe('aos');
        expect(layers.map(({ digest }) => digest)).toEqual(names.toReversed().map(digestOf));
        expect(read.rootfs.diff_ids).toEqual(names.toReversed().map((name) => digestOf(`tar of ${name}`)));
      }),
    );
  });

  test("Docker's name of a gzipped tar becomes the OCI one", () => {
    const { manifest, config } = image(['a'], {}, 'application/vnd.docker.image.rootfs.diff.tar.gzip');
    const { layers } = repackImage('service', manifest, config, itemConfigFor('service', undefined));
    expect(layers[0]!.mediaType).toBe(GZIP);
  });

  test('what no unit could unpack is refused', () => {
    const squashed = image(['a'], {}, 'application/vnd.example.squashfs');
    const itemConfig = itemConfigFor('service', undefined);
    expect(() => repackImage('service', squashed.manifest, squashed.config, itemConfig)).toThrow(/is of type/);
    const unmatched = image(['a', 'b'], { rootfs: { type: 'layers', diff_ids: ['x'] } });
    expect(() => repackImage('service', unmatched.manifest, unmatched.config, itemConfig)).toThrow(/2 layers and 1/);
  });

  test('a component keeps its layers, and has no root file system', () => {
    const type = 'application/vnd.aos.image.component.full.v1+squashfs';
    const { manifest, config } = image(['first', 'second'], {}, type);
    const itemConfig = itemConfigFor('component', '{"runtimes": [{"codename": "rootfs"}]}');
    const { layers, imageConfig } = repackImage('component', manifest, config, itemConfig);
    expect(layers.map(({ digest }) => digest)).toEqual(['first', 'second'].map(digestOf));
    expect(JSON.parse(imageConfig.text)).not.toHaveProperty('rootfs');
    expect(itemConfig.document.text).not.toMatch(/baseLayerIsNodeRootfs/);
  });

  test('the same image gives the same index, so that publishing again changes nothing', () => {
    expect(imageIndexOf([repack(['a', 'b'])])).toEqual(imageIndexOf([repack(['a', 'b'])]));
  });
});

describe('itemConfigFor', () => {
  test('nothing of the node lies under a complete image, unless its author says so', () => {
    expect(JSON.parse(itemConfigFor('service', undefined).document.text)).toEqual({ baseLayerIsNodeRootfs: false });
    const text = '{"hostname": "x", "baseLayerIsNodeRootfs": true}';
    expect(JSON.parse(itemConfigFor('service', text).document.text)).toEqual(JSON.parse(text));
  });

  test('what a unit would refuse is refused before anything is uploaded', () => {
    expect(() => itemConfigFor('service', '{"balancingPolicy": "often"}')).toThrow(/balancingPolicy.*often/);
    expect(() => itemConfigFor('component', '{}')).toThrow(/must name its "runtimes"/);
  });

  test('keys that nobody reads are named', () => {
    expect(itemConfigFor('service', '{"hostnam": "x"}').warnings.join()).toMatch(/did you mean "hostname"/);
  });
});
