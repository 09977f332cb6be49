/** The filter of system calls of all services, compiled once instead of at each start. */
import type { ContainerEngine } from '../../platform/oci-runtime/index.ts';

/** crun takes base64 of a compiled filter and then leaves the profile aside; other runtimes do not know the key. */
const COMPILED_KEY = 'run.oci.seccomp_bpf_data';

/** Stands for the profile where crun has the compiled filter. Whoever took it by its words would start nothing. */
const REPLACED = { defaultAction: 'SCMP_ACT_ERRNO' };

export class SeccompFilter {
  readonly #profile: unknown;
  readonly #engine: ContainerEngine;
  #compiled: string | undefined;

  constructor(profile: unknown, engine: ContainerEngine) {
    this.#profile = profile;
    this.#engine = engine;
  }

  /** As OCI runtimes read it; undefined: no filter. */
  get profile(): unknown {
    return this.#compiled === undefined ? this.#profile : REPLACED;
  }

  get annotations(): Readonly<Record<string, string>> | undefined {
    return this.#compiled === undefined ? undefined : { [COMPILED_KEY]: this.#compiled };
  }

  /** Takes the compiled filter from a container that was started with the profile. */
  async learnFrom(id: string): Promise<void> {
    if (this.#compiled !== undefined || this.#profile === undefined) return;
    const filter = await this.#engine.compiledSeccomp(id);
    if (filter && filter.length > 0) this.#compiled = Buffer.from(filter).toString('base64');
  }
}
