/** Processors as `/proc/cpuinfo` tells them (spec/iam.md 5, spec/decisions.md IA-03). Pure. */
import type { CpuInfo } from '../node-info.ts';

export interface CpuDefaults {
  /** Configured, or the machine name of the running kernel. */
  readonly architecture: string;
  readonly variant?: string | undefined;
}

interface Block {
  physicalId: string | undefined;
  modelName: string;
  cores: number;
  threads: number;
}

/**
 * One CPU per physical id. Kernels that tell none (ARM) list one block per core: then there is one CPU with as many
 * cores and threads as blocks. A text without processors gives one default CPU.
 */
export function parseCpuInfo(text: string, defaults: CpuDefaults): CpuInfo[] {
  const blocks = readBlocks(text);
  const cpu = (modelName: string, numCores: number, numThreads: number): CpuInfo => ({
    modelName,
    numCores,
    numThreads,
    architecture: defaults.architecture,
    variant: defaults.variant,
  });
  if (blocks.length === 0) return [cpu('', 1, 1)];
  if (blocks.every(({ physicalId }) => physicalId === undefined)) {
    return [cpu(blocks.find(({ modelName }) => modelName !== '')?.modelName ?? '', blocks.length, blocks.length)];
  }
  const firstOfEach = new Map<string, Block>();
  for (const block of blocks) {
    const id = block.physicalId ?? '0';
    if (!firstOfEach.has(id)) firstOfEach.set(id, block);
  }
  return [...firstOfEach.values()].map((block) => cpu(block.modelName, block.cores, block.threads));
}

function readBlocks(text: string): Block[] {
  const blocks: Block[] = [];
  let open: Block | undefined;
  for (const line of text.split('\n')) {
    const [key, value, ...more] = line
      .split(':')
      .map((part) => part.trim())
      .filter((part) => part !== '');
    if (key === undefined || value === undefined || more.length > 0) continue;
    if (key === 'processor') {
      open = { physicalId: undefined, modelName: '', cores: 1, threads: 1 };
      blocks.push(open);
    } else if (open) {
      fill(open, key, value);
    }
  }
  return blocks;
}

function fill(block: Block, key: string, value: string): void {
  const number = /^\d+$/.test(value) ? Number(value) : undefined;
  switch (key.toLowerCase()) {
    case 'physical id':
      block.physicalId = value;
      break;
    case 'model name':
      block.modelName = value;
      break;
    case 'cpu cores':
      block.cores = number ?? block.cores;
      break;
    case 'siblings':
      block.threads = number ?? block.threads;
      break;
  }
}
