import { describe, expect, test } from 'vitest';
import { checkDiffIds, layerOrder, parseImageConfig, stackLayers } from './index.ts';

const plain = { history: undefined };
const built = { history: [{ empty_layer: false }, { empty_layer: true }, { empty_layer: false }] };

describe('the order of layers', () => {
  test('the first layer is on top unless something speaks for the other way', () => {
    expect(layerOrder({}, plain, 2).order).toBe('aos');
    expect(layerOrder({}, { history: [] }, 2).order).toBe('aos');
  });

  test("a standard builder's history of as many layers means the first is at the bottom", () => {
    expect(layerOrder({}, built, 2)).toEqual({ order: 'oci', because: expect.stringContaining('history') });
    expect(layerOrder({}, built, 3).order).toBe('aos');
    expect(layerOrder({}, { history: [{ empty_layer: false }] }, 1).order).toBe('aos');
  });

  test('what the item says wins', () => {
    expect(layerOrder({ layerOrder: 'aos' }, built, 2).order).toBe('aos');
    expect(layerOrder({ layerOrder: 'oci' }, plain, 2).order).toBe('oci');
  });

  test('a stack has the topmost first', () => {
    expect(stackLayers(['a', 'b', 'c'], { order: 'aos' })).toEqual(['a', 'b', 'c']);
    expect(stackLayers(['a', 'b', 'c'], { order: 'oci' })).toEqual(['c', 'b', 'a']);
  });
});

test('as many diff_ids as layers are needed', () => {
  const image = parseImageConfig('{"architecture":"a","rootfs":{"diff_ids":["x","y"]}}');
  expect(() => checkDiffIds(image, 2)).not.toThrow();
  expect(() => checkDiffIds(image, 3)).toThrow('the image has 3 layers and 2 diff_ids, expected one for each');
});
