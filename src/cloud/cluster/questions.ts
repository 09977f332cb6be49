/** Questions that wait for their answers; one that is late is none. */
import { randomUUID } from 'node:crypto';

export interface Answer {
  readonly yes: boolean;
  /** Why not. */
  readonly because: string;
}

const NO_ANSWER: Answer = {
  yes: false,
  because: 'the process of this cloud that holds the link of the unit does not answer',
};

export class Questions {
  readonly #open = new Map<string, (answer: Answer) => void>();

  ask(timeoutMs: number, put: (question: string) => void): Promise<Answer> {
    const question = randomUUID();
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.settle(question, NO_ANSWER), timeoutMs);
      this.#open.set(question, (answer) => {
        clearTimeout(timer);
        resolve(answer);
      });
      put(question);
    });
  }

  settle(question: string, answer: Answer): void {
    const resolve = this.#open.get(question);
    this.#open.delete(question);
    resolve?.(answer);
  }

  stop(): void {
    for (const question of this.#open.keys()) this.settle(question, NO_ANSWER);
  }
}
