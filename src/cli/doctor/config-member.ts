/** Reading configurations that nobody has checked yet. */

/** A member whatever the case of its name, as the daemons read it. */
export function member(object: Readonly<Record<string, unknown>>, name: string): unknown {
  return Object.entries(object).find(([key]) => key.toLowerCase() === name.toLowerCase())?.[1];
}
