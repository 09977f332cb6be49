/**
 * Named fault points (spec/beyond.md R-01). A point stands at each durable write and each external command.
 *
 * With `AOS_FAULT=<name>` in the environment the process kills itself the first time it passes that point, as a
 * power cut would; `AOS_FAULT=<name>#<n>` at the n-th passage. Without the variable a point costs one comparison.
 */
const [wantedPoint, wantedPassage = '1'] = (process.env.AOS_FAULT ?? '').split('#');
let passages = 0;

/** Marks a place where the process may die at any moment. Names are `<room>.<what>`. */
export function faultPoint(name: string): void {
  if (name !== wantedPoint) return;
  passages += 1;
  if (passages === Number(wantedPassage)) process.kill(process.pid, 'SIGKILL');
}
