/** PINs that tokens have refused: tokens lock themselves after a few wrong ones (docs/keys.md). */
import { AosError, asAosError } from '../../core/index.ts';
import type { Pkcs11Library, TokenInfo, TokenSession } from './token.ts';

/** CK_RV of a wrong PIN. */
const PIN_INCORRECT = 0xa0;

/** One for the life of a process: a new process, which an operator starts, tries each PIN once more. */
export class RefusedPins {
  readonly #refused = new Set<string>();

  /**
   * Opens a token with the first of these PINs that it takes, without those that it has refused before. Throws what the
   * library throws, and `wrongState` when all were refused before; `source` says where they come from, never the PIN.
   */
  open(
    library: Pkcs11Library,
    { slotId, label }: Pick<TokenInfo, 'slotId' | 'label'>,
    pins: readonly string[],
    source: string,
  ): { readonly session: TokenSession; readonly pin: string } {
    let failure: unknown;
    for (const pin of pins) {
      const key = keyOf(library, label, pin);
      if (this.#refused.has(key)) continue;
      try {
        return { session: library.open(slotId, pin), pin };
      } catch (error) {
        failure = error;
        if (asAosError(error).exitCode === PIN_INCORRECT) this.#refused.add(key);
      }
    }
    if (failure !== undefined) throw failure;
    throw new AosError('wrongState', `token "${label}" has refused the PIN in ${source}; it is not tried again`, {
      exitCode: PIN_INCORRECT,
    });
  }

  /** The token has this PIN now. */
  forget(library: Pkcs11Library, label: string, pin: string): void {
    this.#refused.delete(keyOf(library, label, pin));
  }
}

const keyOf = ({ path }: Pkcs11Library, label: string, pin: string) => `${path}\0${label}\0${pin}`;
