/** Logs and alerts where there is a real journal: under systemd, with containers that write to journald. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { bundled, keepTraces, unitImage } from '../fixture.ts';
import { Machine } from '../machine.ts';
import type { JournalStory } from '../programs/journal-story.ts';

/** Generous: the machine has no hardware virtualisation, and others may use the processors. */
const STORY_MS = 420_000;
const PROGRAM_S = 300;

let machine: Machine;
let story: JournalStory;

beforeAll(async () => {
  const program = await bundled('journal-story');
  machine = await Machine.create({ image: unitImage(), name: 'journal' });
  await machine.boot();
  await machine.must('grep -qw localhost /etc/hosts || echo 127.0.0.1 localhost >>/etc/hosts');
  await machine.copyIn(program, '/usr/lib/aoscore/journal-story.mjs');
  const told = await machine.must(
    'cd /tmp && /usr/lib/aoscore/node /usr/lib/aoscore/journal-story.mjs /usr/lib/aoscore/aos-sm.mjs',
    { timeoutS: PROGRAM_S },
  );
  story = JSON.parse(told) as JournalStory;
}, STORY_MS);

keepTraces(() => [machine]);
afterAll(() => machine?.close());

test('[SM-55] the log of an instance comes from the journal: both streams, each line with its time, a long line whole', () => {
  const lines = story.instanceLog.split('\n');
  expect(lines[0]).toMatch(/^\d{14}Z hello $/);
  expect(lines).toContainEqual(expect.stringMatching(/^\d{14}Z error $/));
  expect(lines).toContainEqual(expect.stringMatching(/^\d{14}Z x{20000} $/));
});

test('[SM-55] a time in which nothing was written has an empty log', () => {
  expect(story.emptyLog).toBe('empty');
});

test('[SM-56] the crash log is what the instance wrote from its start to its crash', () => {
  expect(story.crashLog).toMatch(/^\d{14}Z hello $/m);
  expect(story.crashLog.match(/hello/g)).toHaveLength(1);
});

test('[SM-54] the system log of a time has the lines of all units, each with its unit', () => {
  expect(story.systemLog).toMatch(/^\d{14}Z disk-watch\.service the disk is on fire$/m);
  expect(story.systemLog).toMatch(/^\d{14}Z chatty\.service all is well$/m);
});

test('[SM-53] what is heavy enough is an alert, of the system or of a core component; filtered and light lines are none', () => {
  expect(story.alerts).toContain('system: the disk is on fire');
  expect(story.alerts).toContain('core CM: the cloud is gone');
  expect(story.alerts.join()).not.toMatch(/noise|all is well|hello|xxx/);
});

test('[SM-53] after a restart alerts go on where they stopped: nothing is lost, nothing comes twice', () => {
  expect(story.alertsAfterRestart).toContain('system: nobody looks');
  expect(story.alertsAfterRestart).toContain('system: end of the second act');
  expect(story.alertsAfterRestart.join()).not.toMatch(/disk is on fire|first act/);
});
