import { expect, test } from 'vitest';
import type { NodeState } from '../../core/index.ts';
import { type NodeAction, nextState } from './transitions.ts';

const STATES: readonly NodeState[] = ['unprovisioned', 'provisioned', 'paused', 'error'];
const ALLOWED: Readonly<Record<NodeAction, Partial<Record<NodeState, NodeState>>>> = {
  startProvisioning: { unprovisioned: 'unprovisioned' },
  finishProvisioning: { unprovisioned: 'provisioned' },
  pause: { provisioned: 'paused' },
  resume: { paused: 'provisioned' },
  deprovision: { provisioned: 'unprovisioned', paused: 'unprovisioned' },
};

const cases = Object.entries(ALLOWED).flatMap(([action, to]) =>
  STATES.map((state) => [action as NodeAction, state, to[state]] as const),
);

test.each(cases)('[IAM-30] %s of a node that is %s gives %s', (action, state, expected) => {
  if (expected) expect(nextState(action, state)).toBe(expected);
  else expect(() => nextState(action, state)).toThrow(`node is ${state}`);
});

test('[IAM-38] a node in error obeys nothing', () => {
  for (const action of Object.keys(ALLOWED) as NodeAction[]) {
    expect(() => nextState(action, 'error')).toThrow(/node is error/);
  }
});
