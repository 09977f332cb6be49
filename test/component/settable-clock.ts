/**
 * A wall clock of its own for a process: a library that is loaded before all others adds to the date what a file says at
 * that moment. The monotonic clock, and with it all waiting, stays that of the kernel.
 */
import { execFile } from 'node:child_process';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const FILE_VARIABLE = 'TEST_CLOCK_FILE';

const SOURCE = `
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Seconds; shared with whoever sets the clock. */
static volatile long long *ahead;

__attribute__((constructor)) static void find_clock(void) {
  const char *path = getenv("${FILE_VARIABLE}");
  int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  if (file < 0) return;
  void *memory = mmap(0, sizeof *ahead, PROT_READ, MAP_SHARED, file, 0);
  close(file);
  if (memory != MAP_FAILED) ahead = memory;
}

int clock_gettime(clockid_t id, struct timespec *at) {
  int result = syscall(SYS_clock_gettime, id, at);
  if (result == 0 && ahead && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) at->tv_sec += *ahead;
  return result;
}

int gettimeofday(struct timeval *at, void *zone) {
  struct timespec now;
  (void)zone;
  int result = clock_gettime(CLOCK_REALTIME, &now);
  at->tv_sec = now.tv_sec;
  at->tv_usec = now.tv_nsec / 1000;
  return result;
}

time_t time(time_t *at) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (at) *at = now.tv_sec;
  return now.tv_sec;
}
`;

export class SettableClock {
  /** For the environment of the process. */
  readonly env: Readonly<Record<string, string>>;
  readonly #file: string;

  private constructor(library: string, file: string) {
    this.env = { LD_PRELOAD: library, [FILE_VARIABLE]: file };
    this.#file = file;
  }

  /** Needs a C compiler. Its files lie in the directory. */
  static async create(directory: string): Promise<SettableClock> {
    const at = (name: string) => join(directory, name);
    await writeFile(at('clock.c'), SOURCE);
    await run('cc', ['-shared', '-fPIC', '-O1', '-o', at('clock.so'), at('clock.c')]);
    await writeFile(at('clock'), Buffer.alloc(8));
    return new SettableClock(at('clock.so'), at('clock'));
  }

  /** The date of the process is so many seconds ahead of the true one, from now on. */
  async set(aheadSeconds: number): Promise<void> {
    const value = Buffer.alloc(8);
    value.writeBigInt64LE(BigInt(aheadSeconds));
    const file = await open(this.#file, 'r+');
    try {
      await file.write(value, 0, value.length, 0);
    } finally {
      await file.close();
    }
  }
}
