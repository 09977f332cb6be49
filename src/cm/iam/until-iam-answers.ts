/** IAM may come later than the CM (spec/decisions.md CM-05). */
import { asAosError, Backoff, type Clock, type Logger, throwIfCanceled } from '../../core/index.ts';

const FIRST_PAUSE_MS = 1_000;
const LAST_PAUSE_MS = 3_000;

/** Repeats the attempt until it works; throws `canceled` when the signal aborts. */
export async function untilIamAnswers(
  attempt: () => Promise<void>,
  onWaiting: (because: string) => void,
  { clock, logger, signal }: { readonly clock: Clock; readonly logger: Logger; readonly signal: AbortSignal },
): Promise<void> {
  const backoff = new Backoff({ firstMs: FIRST_PAUSE_MS, maxMs: LAST_PAUSE_MS });
  for (let lastText = ''; ; ) {
    try {
      await attempt();
      return;
    } catch (error) {
      throwIfCanceled(signal);
      const text = asAosError(error).message;
      // The same refusal again is no news.
      if (text !== lastText) logger.warn({ error: text }, 'IAM is not ready; it is asked again until it is');
      lastText = text;
      onWaiting(text);
    }
    await clock.sleep(backoff.next(), signal);
  }
}
