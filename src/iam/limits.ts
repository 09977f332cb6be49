/** Numbers of this room (spec/decisions.md 8). What is above a limit is refused, never cut. */

export const MAX_ID_LENGTH = 64;
export const MAX_NODES = 128;
export const MAX_ATTRIBUTES = 16;
export const MAX_ATTRIBUTE_LENGTH = 1024;
export const MAX_PARTITIONS = 16;
export const MAX_CPUS = 64;
export const MAX_PARTITION_TYPES = 16;
export const MAX_OS_FEATURES = 64;
/** Characters of any other text of a node's description. */
export const MAX_DESCRIPTION_LENGTH = 4096;
export const MAX_SUBJECTS = 256;

export const MAX_CERT_MODULES = 16;
export const MAX_CERT_TYPE_LENGTH = 16;
export const MAX_CERTS_PER_TYPE = 5;
export const MAX_PENDING_KEYS = 5;
export const MAX_CHAIN_CERTIFICATES = 8;
export const MAX_CERTIFICATE_BYTES = 8 * 1024;
export const MAX_CERT_SUBSCRIPTIONS = 256;
export const MAX_SERIAL_BYTES = 20;
export const PENDING_KEY_LIFE_MS = 24 * 3600_000;

export const MAX_PIN_LENGTH = 50;
export const MAX_TOKEN_LABEL_BYTES = 32;

export const MAX_PERMISSION_INSTANCES = 1024;
export const MAX_FUNCTIONAL_SERVERS = 64;
export const MAX_FUNCTIONS = 64;
/** Characters of the name of a functional server, of a function, of a permission. */
export const MAX_PERMISSION_LENGTH = 256;

/** Streams of clients that follow one thing, and streams of nodes: more is somebody who fills us up. */
export const MAX_FOLLOWERS = 256;
export const MAX_NODE_STREAMS = 2 * MAX_NODES;

/** Unprovisioned nodes are anybody on the network: few, slowly, and forgotten when they go. */
export const MAX_UNPROVISIONED_NODES = 16;
export const UNPROVISIONED_LIFE_MS = 5 * 60_000;
export const NEW_NODE_INTERVAL_MS = 1000;
/** What a full disk does not take of the list of nodes is written again after so long. */
export const SAVE_NODES_AGAIN_MS = 10_000;

export const HOOK_TIMEOUT_MS = 5 * 60_000;
export const DISK_ENCRYPTION_TIMEOUT_MS = 30 * 60_000;

/** Streams of clients are ended so long after a new certificate: the answer that applied it leaves first. */
export const CLOSE_OLD_STREAMS_MS = 1000;

export const RELAY_TIMEOUT_MS = 60_000;
export const RELAY_PROVISIONING_TIMEOUT_MS = 5 * 60_000;
export const RELAY_TRIES = 3;
export const RELAY_PAUSE_MS = 10_000;

export const NODE_RECONNECT_MS = 3000;
export const NODE_CONNECT_TIMEOUT_MS = 3000;

/** A token that is not there is looked for again after so long, doubled up to the maximum. */
export const TOKEN_RETRY_FIRST_MS = 1000;
export const TOKEN_RETRY_MAX_MS = 30_000;
/** So often a token that nobody asks is looked for. */
export const TOKEN_WATCH_MS = 60_000;

export const VIS_RECONNECT_MS = 2000;
/** As of the link to the cloud (spec/decisions.md 8.2). */
export const VIS_LIFE = { pingIntervalMs: 30_000, deadAfterMs: 75_000 };
/** A vehicle that does not say goodbye is left without it. */
export const VIS_CLOSE_MS = 1000;
