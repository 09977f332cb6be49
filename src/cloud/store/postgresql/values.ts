/** Values of PostgreSQL as the stores know them from SQLite. */

/** Numbers of types, which PostgreSQL never changes. */
const OID = { bool: 16, bytea: 17, int8: 20, int2: 21, int4: 23, float4: 700, float8: 701, numeric: 1700 } as const;

const HEX = /^\\x/;

/** A boolean is a number, as in SQLite; a number that JavaScript cannot hold is none that a store has written. */
const PARSERS: ReadonlyMap<number, (text: string) => unknown> = new Map<number, (text: string) => unknown>([
  [OID.bool, (text) => (text === 't' ? 1 : 0)],
  [OID.bytea, (text) => new Uint8Array(Buffer.from(text.replace(HEX, ''), 'hex'))],
  ...[OID.int8, OID.int2, OID.int4, OID.float4, OID.float8, OID.numeric].map((oid) => [oid, Number] as const),
]);

const asIs = (text: string): string => text;

/** What makes a value of the text that PostgreSQL answers for a type. */
export function parserOf(oid: number): (text: string) => unknown {
  return PARSERS.get(oid) ?? asIs;
}
