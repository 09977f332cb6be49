/** Memory of processes, as the kernel counts it. */
import { readFileSync } from 'node:fs';

export interface Memory {
  /** Proportional set size: shared pages are divided among those who share them. */
  readonly pssBytes: number;
  /** Private pages only. */
  readonly privateBytes: number;
}

const KIB = 1024;

export function memoryOf(pid: number): Memory {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const read = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0) * KIB;
  return { pssBytes: read('Pss'), privateBytes: read('Private_Clean') + read('Private_Dirty') };
}
