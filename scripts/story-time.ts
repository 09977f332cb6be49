/**
 * Which stories in virtual machines fit into a bounded time, such as that of CI. Each is left out as a whole, before it
 * has begun: one that is ended in between says nothing, and what fails for want of time hides what is broken. Pure.
 */

export interface Story {
  /** File in `test/vm/stories`, without `.test.ts`. */
  readonly name: string;
  /** How long it takes on a machine that rests and has two stories at work. */
  readonly minutes: number;
}

/** In the order of what they prove that nothing else does. */
export const STORIES: readonly Story[] = [
  { name: 'package', minutes: 1 },
  { name: 'unit', minutes: 5 },
  { name: 'firmware', minutes: 36 },
  { name: 'power-cut', minutes: 15 },
  { name: 'machine', minutes: 1 },
  { name: 'reboot', minutes: 5 },
  { name: 'two-machines', minutes: 2 },
  { name: 'journal', minutes: 1 },
  { name: 'inside', minutes: 3 },
  { name: 'provisioned-node', minutes: 2 },
];

/** The other tests on such a machine. */
const OTHER_TESTS_MINUTES = 25;
/** Making the images of the machines. */
const IMAGES_MINUTES = 2;
/** A machine keeps about one core busy. */
export const STORIES_AT_A_TIME = 2;

/** How many times longer this machine takes than one that rests, from what the other tests took. Never less than 1. */
export function slownessOf(otherTestsMinutes: number): number {
  return Math.max(1, otherTestsMinutes / OTHER_TESTS_MINUTES);
}

/** Minutes that these stories take together. */
export function minutesOf(stories: readonly Story[], slowness: number): number {
  const all = stories.reduce((sum, { minutes }) => sum + minutes, 0);
  const longest = Math.max(0, ...stories.map(({ minutes }) => minutes));
  return slowness * (IMAGES_MINUTES + Math.max(longest, all / STORIES_AT_A_TIME));
}

/** One that does not fit keeps none of those after it out. */
export function storiesThatFit(
  leftMinutes: number,
  slowness: number,
  stories: readonly Story[] = STORIES,
): { readonly chosen: readonly Story[]; readonly left: readonly Story[] } {
  const chosen: Story[] = [];
  for (const story of stories) {
    if (minutesOf([...chosen, story], slowness) <= leftMinutes) chosen.push(story);
  }
  return { chosen, left: stories.filter((story) => !chosen.includes(story)) };
}
