/** Times, sizes and counts of the proxy that no configuration changes (spec/decisions.md 3, 8.2, 8.3). Milliseconds, bytes. */

export const TRANSPORT_RETRY_MS = 3_000;
/** Pause before a broken gRPC stream is opened again, and the time that a connection may take. */
export const STREAM_RETRY_MS = 3_000;
export const CONNECT_TIMEOUT_MS = 3_000;
/** Streams and the transport are renewed so long after the notice of a new certificate (spec/decisions.md C-63). */
export const RENEW_MS = 1_000;
/** A peer asks for the time each minute; two and a half minutes without anything of it, and it is gone. */
export const PEER_SILENT_MS = 150_000;
/** Questions that follow each other faster do not show that more will come. */
export const LEAST_CLOCK_PERIOD_MS = 30_000;
/** A peer that began a TLS handshake finishes it within this time. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;
/** A channel whose data nobody takes for so long is closed, so that it does not hold up the others. */
export const STALL_MS = 30_000;

export const MAX_OPEN_MESSAGE_BYTES = 65_532;
export const MAX_SECURE_MESSAGE_BYTES = 1024 * 1024;
/** What fits into one TLS record with its size; peers derived from the old one take no more. */
export const ONE_RECORD_MESSAGE_BYTES = 16_380;
/** Received and not yet taken, per channel. */
export const CHANNEL_BUFFER_BYTES = 256 * 1024;
/** Bad checksums within a minute after which the connection is given up. */
export const MAX_BAD_CHECKSUMS_PER_MINUTE = 10;

/** Alerts and parts of logs that wait for the CM. */
export const MAX_WAITING_REPORTS = 256;
/** At least one message of any size. */
export const MAX_WAITING_REPORT_BYTES = 4 * 1024 * 1024;

export const DOWNLOAD_PIECE_BYTES = 16_000;
export const MAX_RUNNING_DOWNLOADS = 2;
export const MAX_WAITING_DOWNLOADS = 16;
export const DOWNLOAD_TRIES = 3;
export const DOWNLOAD_PAUSE_FIRST_MS = 1_000;
export const DOWNLOAD_PAUSE_MAX_MS = 5_000;
export const DOWNLOAD_CONNECT_TIMEOUT_MS = 10_000;
export const DOWNLOAD_IDLE_TIMEOUT_MS = 60_000;
/** Addresses that the proxy handed out and accepts again. */
export const MAX_KNOWN_URLS = 4096;

export const MAX_OPEN_CALLS = 16;

export const LOG_IDLE_MS = 10_000;
export const LOG_SWEEP_MS = 5 * 60_000;
export const MAX_OPEN_LOGS = 16;
