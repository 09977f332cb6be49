import { expect, test } from 'vitest';
import { withoutContradictions } from './contradictions.ts';
import { mergeDesired } from './desired.ts';
import { desiredStatus } from './desired-for-tests.ts';
import { NOTHING_DESIRED } from './desired-model.ts';
import { reportedItems } from './refusals.ts';
import { runRequests } from './run-requests.ts';

const twice = desiredStatus({ web: '1', other: '1' });
const [web, other] = twice.items!;
const [webInstance, otherInstance] = twice.instances!;

test('[CM-34] of two versions of one item the first counts; the second has its own error, and others run', () => {
  const desired = mergeDesired({ ...twice, items: [web!, other!, { ...web!, version: '2' }] });
  expect(desired.items).toEqual([web, other]);
  const items = [{ itemId: 'web', version: '1', type: 'service', state: 'installed' }] as const;
  const error = { aosCode: 6, message: expect.stringMatching(/also named in version 1/) };
  expect(reportedItems(items, desired.refusals)).toMatchObject([
    { version: '1', state: 'installed' },
    { itemId: 'web', version: '2', state: 'failed', error },
  ]);
  expect(runRequests(desired, items).requests.map(({ itemId, version }) => `${itemId} ${version}`)).toEqual([
    'web 1',
    'other 1',
  ]);
});

test('one item under two types or digests in one version is a contradiction too', () => {
  const { items, refusals } = mergeDesired({
    ...twice,
    items: [web!, { ...web!, item: { id: 'web', type: 'component' } }, other!],
  });
  expect(items).toEqual([web, other]);
  expect(refusals?.items).toHaveLength(1);
});

test('two entries for the same instances: the first counts, the second is told, and both ends agree how many there are', () => {
  const desired = mergeDesired({
    ...twice,
    instances: [webInstance!, { ...webInstance!, numInstances: 3, labels: ['rear'] }, otherInstance!],
  });
  expect(desired.instances).toEqual([webInstance, otherInstance]);
  expect(desired.refusals?.instances).toMatchObject([{ itemId: 'web', subjectId: 'subject' }]);
});

test('the same entry again is no contradiction', () => {
  const desired = mergeDesired({
    ...twice,
    items: [web!, web!, other!],
    instances: [webInstance!, otherInstance!, otherInstance!],
  });
  expect(desired).toEqual(mergeDesired(twice));
  expect(desired.refusals).toBeUndefined();
});

test('what says nothing twice stays the very same', () => {
  expect(withoutContradictions(NOTHING_DESIRED)).toBe(NOTHING_DESIRED);
});
