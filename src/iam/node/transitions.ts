/** Which request a node obeys in which state (spec/iam.md 6, spec/decisions.md IA-04). Pure. */
import { AosError, type NodeState } from '../../core/index.ts';

export type NodeAction = 'startProvisioning' | 'finishProvisioning' | 'pause' | 'resume' | 'deprovision';

interface Rule {
  readonly from: readonly NodeState[];
  readonly to: NodeState;
  readonly words: string;
}

const RULES: Readonly<Record<NodeAction, Rule>> = {
  startProvisioning: { from: ['unprovisioned'], to: 'unprovisioned', words: 'start provisioning' },
  finishProvisioning: { from: ['unprovisioned'], to: 'provisioned', words: 'finish provisioning' },
  pause: { from: ['provisioned'], to: 'paused', words: 'pause' },
  resume: { from: ['paused'], to: 'provisioned', words: 'resume' },
  deprovision: { from: ['provisioned', 'paused'], to: 'unprovisioned', words: 'deprovision' },
};

/** The state after the action. Throws `wrongState` naming the state that there is and those that would do. */
export function nextState(action: NodeAction, state: NodeState): NodeState {
  const { from, to, words } = RULES[action];
  if (from.includes(state)) return to;
  throw new AosError('wrongState', `cannot ${words}: node is ${state}, not ${from.join(' or ')}`);
}
