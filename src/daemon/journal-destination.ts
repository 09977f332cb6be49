/** Lines of the log as the journal reads them: each begins with its priority, which `journalctl -p` and alerts go by. */
import { pino } from 'pino';

const METADATA = Symbol.for('pino.metadata');

/** Priorities of syslog by the level of pino, from the highest. */
const PRIORITIES = [
  { level: 60, priority: 2 },
  { level: 50, priority: 3 },
  { level: 40, priority: 4 },
  { level: 30, priority: 6 },
] as const;
const DEBUG = 7;

/** The priority of syslog, 2 to 7, of a level of pino. */
export function priorityOf(level: number): number {
  return PRIORITIES.find((entry) => level >= entry.level)?.priority ?? DEBUG;
}

interface Destination {
  /** pino tells the level of the line that it is about to write. */
  lastLevel: number;
  write(line: string): void;
}

/** A destination for pino: its lines, each with its priority in front; to the standard output unless another is given. */
export function journalDestination(output: { write(text: string): unknown } = pino.destination(1)): Destination {
  return {
    lastLevel: 0,
    [METADATA]: true,
    write(line) {
      output.write(`<${priorityOf(this.lastLevel)}>${line}`);
    },
  } as Destination;
}
