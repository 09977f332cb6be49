import { describe, expect, test } from 'vitest';
import { digestOf } from '../../core/index.ts';
import { chooseImages } from './choose-images.ts';

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';

const entry = (name: string, more: object = {}) => ({ mediaType: MANIFEST, digest: digestOf(name), size: 1, ...more });
const tagged = (name: string, tag: string, more: object = {}) =>
  entry(name, { annotations: { 'org.opencontainers.image.ref.name': tag }, ...more });
const index = (...manifests: object[]) => JSON.stringify({ schemaVersion: 2, manifests });
const none = () => Promise.reject(new Error('nothing to read'));

describe('chooseImages', () => {
  test('the images of all platforms, in the order of the index', async () => {
    const chosen = await chooseImages(
      index(entry('arm', { platform: { architecture: 'arm64', os: 'linux' } }), entry('x86')),
      undefined,
      none,
    );
    expect(chosen).toEqual([{ digest: digestOf('arm') }, { digest: digestOf('x86') }]);
  });

  test('an index inside of the index, as builders for several platforms write it, without its attestations', async () => {
    const inner = index(
      entry('arm'),
      entry('statement', { annotations: { 'vnd.docker.reference.type': 'attestation-manifest' } }),
      entry('unknown', { platform: { architecture: 'unknown', os: 'unknown' } }),
    );
    const outer = index(tagged('inner', 'latest', { mediaType: INDEX }));
    const read = (digest: string) => Promise.resolve(digest === digestOf('inner') ? inner : '');
    expect(await chooseImages(outer, undefined, read)).toEqual([{ digest: digestOf('arm') }]);
  });

  test('of several tags one is to be named', async () => {
    const text = index(tagged('a', 'one'), tagged('b', 'two'));
    await expect(chooseImages(text, undefined, none)).rejects.toThrow(/choose one with --tag: one, two/);
    expect(await chooseImages(text, 'two', none)).toEqual([{ digest: digestOf('b') }]);
    await expect(chooseImages(text, 'three', none)).rejects.toThrow(/no tag "three"; it has one, two/);
  });

  test('an index without images is refused', async () => {
    await expect(chooseImages(index(), undefined, none)).rejects.toThrow(/names no manifest/);
  });
});
