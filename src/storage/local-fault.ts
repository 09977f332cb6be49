/** A failure of the own disk while downloading: no other address helps. The cause says what it was. */
export class LocalFault extends Error {}

/** Marks the failure of work on the own disk. */
export async function local<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw error instanceof LocalFault ? error : new LocalFault('cannot write', { cause: error });
  }
}
