/** What can be seen of TLS without a key: where records begin, and that a peer begins anew (RFC 8446, 5.1). Pure. */

const RECORD_HEADER_BYTES = 5;
const CHANGE_OF_CIPHER = 20;
const HANDSHAKE = 22;
const APPLICATION_DATA = 23;
const CLIENT_HELLO = 1;

/**
 * Cuts what TLS wrote into its records, one frame each, as old peers want it. Bytes of a record that is not complete
 * are a piece of their own: no border has a meaning for readers that wait for the rest.
 */
export function splitRecords(bytes: Buffer, maxBytes: number): Buffer[] {
  const pieces: Buffer[] = [];
  let start = 0;
  while (start < bytes.length) {
    const rest = bytes.length - start;
    const record = rest < RECORD_HEADER_BYTES ? rest : RECORD_HEADER_BYTES + bytes.readUInt16BE(start + 3);
    const length = Math.min(record, rest, maxBytes);
    pieces.push(bytes.subarray(start, start + length));
    start += length;
  }
  return pieces;
}

/** True for the first bytes of a client that begins a session. */
export function isClientHello(data: Buffer): boolean {
  return data.length > RECORD_HEADER_BYTES && data[0] === HANDSHAKE && data[1] === 3 && data[5] === CLIENT_HELLO;
}

/** True for what a client says after its hello was accepted; the server may still ask for another hello, behind 20. */
export function goesOnFromHello(data: Buffer): boolean {
  return data.length > 0 && data[0] !== CHANGE_OF_CIPHER && !isClientHello(data);
}

/** True for bytes that only make sense within a session. */
export function isApplicationData(data: Buffer): boolean {
  return data.length > 0 && data[0] === APPLICATION_DATA;
}
