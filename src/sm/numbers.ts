/** Times and sizes of the SM that no configuration changes (spec/decisions.md 8.2, 8.3). Milliseconds. */

/** The status of all instances goes to the CM at the latest so long after the start (spec/decisions.md C-67). */
export const FIRST_LAUNCH_REPORT_MS = 120_000;
/** A request of the CM is answered at the latest after this time (spec/decisions.md 5.1). */
export const REQUEST_SETTLE_MS = 300_000;
/** While nobody listens at the CM's port it is tried so often, and for so long (spec/decisions.md C-65). */
export const REFUSED_RETRY_MS = 1_000;
export const REFUSED_RETRY_FOR_MS = 10_000;
/** Reconnection after a new certificate (spec/decisions.md C-63). */
export const CERTIFICATE_RECONNECT_MS = 1_000;
/** Without the CM for so long, the node counts as offline (spec/decisions.md 5.5). */
export const CM_LOSS_IS_OFFLINE_MS = 60_000;
/** After the start the node counts as offline if the CM has not said otherwise. */
export const ASSUMED_OFFLINE_MS = 30_000;
/** Alerts and parts of logs that wait for the CM (spec/decisions.md T-02). */
export const MAX_WAITING_REPORTS = 256;
/** How long a question for blobs waits for the CM's stream. */
export const CM_WAIT_MS = 10_000;
/** How long a launch waits for what an instance depends on; later it is started on its own. */
export const DEPENDENCY_WAIT_MS = 60_000;
/** Most instances of a node (spec/decisions.md 8.3). */
export const MAX_INSTANCES = 1024;
/** Stop of the daemon with its instances (spec/decisions.md 8.2). */
export const STOP_TIMEOUT_MS = 75_000;
