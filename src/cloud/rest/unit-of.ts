/** The unit that the path of a call names. */
import type { Stores } from '../store/stores.ts';
import type { Call } from './router.ts';

/** Throws `notFound`. */
export async function unitOf({ units }: Stores, call: Call): Promise<string> {
  return (await units.get(call.param('unit'))).systemId;
}
