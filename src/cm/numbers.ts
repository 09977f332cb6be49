/** Every fixed number of the CM, with its place in the specification (spec/decisions.md 8). */

const SECOND_MS = 1000;
const MINUTE_MS = 60 * SECOND_MS;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/** Defaults of configuration keys. */
export const DEFAULTS = {
  unitStatusSendTimeoutMs: 10 * SECOND_MS,
  cloudResponseWaitTimeoutMs: 10 * SECOND_MS,
  cloudReconnectFirstMs: SECOND_MS,
  cloudReconnectLongestMs: 10 * MINUTE_MS,
  monitoringSendPeriodMs: MINUTE_MS,
  alertsSendPeriodMs: 10 * SECOND_MS,
  smConnectionTimeoutMs: MINUTE_MS,
  updateItemTtlMs: 30 * DAY_MS,
  removeOutdatedPeriodMs: 24 * HOUR_MS,
  nodesConnectionTimeoutMs: 10 * MINUTE_MS,
  instanceTtlMs: 30 * DAY_MS,
  checkOverrideEnvVarsPeriodMs: MINUTE_MS,
} as const;

/** The cloud link (spec/decisions.md C-09 … C-16, CM-63). */
export const LINK = {
  reconnectFirstMs: DEFAULTS.cloudReconnectFirstMs,
  reconnectMaxMs: DEFAULTS.cloudReconnectLongestMs,
  reconnectJitter: 0.2,
  /** A session that lasted this long makes the back-off start again. */
  stableSessionMs: MINUTE_MS,
  /** The first attempt after a lost session comes within this time. */
  afterLossMaxMs: SECOND_MS,
  connectTimeoutMs: 15 * SECOND_MS,
  sendTimeoutMs: 30 * SECOND_MS,
  pingIntervalMs: 30 * SECOND_MS,
  deadAfterMs: 75 * SECOND_MS,
  maxInboundFrameBytes: 8 * 1024 * 1024,
  maxRedirects: 3,
  maxDiscoveryAnswerBytes: 64 * 1024,
  transmissions: 4,
  defaultRetryAfterMs: 500,
  maxQueuedMessages: 10_000,
  maxQueuedBytes: 32 * 1024 * 1024,
  rememberedTransactions: 256,
  maxWaitingPerKind: 64,
  /** How long a session waits for the full unit status that opens it. */
  openingTimeoutMs: 5 * SECOND_MS,
  /** After a certificate change: pause before the link is renewed, and how long unacknowledged messages hold it up. */
  renewAfterMs: SECOND_MS,
  renewAtLatestMs: 10 * SECOND_MS,
  maxMessageLogBytes: 16 * 1024 * 1024,
} as const;

/** The unit status (spec/decisions.md CM-16). */
export const STATUS = {
  /** A delta leaves at the latest after so many debounce times. */
  latestFactor: 3,
} as const;

/** The update manager. */
export const UPDATE = {
  /** While instances are activating: longest pause without any change of a status. */
  activatingPauseMs: 10 * MINUTE_MS,
  /** What a full disk does not take is written again after so long. */
  storeAgainMs: 10 * SECOND_MS,
  /** While an update waits for its release: how often the wall clock, which may jump, is looked at. */
  gateLookMs: MINUTE_MS,
  /** Owners that hold updates up at the same time. */
  maxLocks: 16,
  /** Stages that a client of the update scheduler may be behind. */
  maxUntoldStages: 64,
} as const;

/** Images (spec/decisions.md C-02, C-03, 8.2, 8.3). */
export const IMAGES = {
  blobUrlsRetryFirstMs: 2 * SECOND_MS,
  blobUrlsRetryMaxMs: 30 * SECOND_MS,
  downloadRetryFirstMs: 2 * SECOND_MS,
  downloadRetryMaxMs: 60 * SECOND_MS,
  downloadRetryJitter: 0.2,
  mismatchesBeforeFailure: 3,
  progressAlertMs: 30 * SECOND_MS,
  parallelDownloads: 3,
  /** After a start: when all items are looked through for damage, if that is sooner than by `removeOutdatedPeriod`. */
  firstVerifyMs: 10 * MINUTE_MS,
  maxDocumentBytes: 1024 * 1024,
  maxItems: 1024,
} as const;

/** The launcher (spec/decisions.md CM-30, CM-38, CM-42). */
export const LAUNCHER = {
  nodeAnswerTimeoutMs: 10 * MINUTE_MS,
  averageTimeoutMs: 5 * SECOND_MS,
  rebalancePauseMs: 5 * MINUTE_MS,
  /** When a rebalance that failed is tried again. */
  rebalanceAgainMs: MINUTE_MS,
  cacheCheckMs: 24 * HOUR_MS,
  firstId: 5000,
  lastId: 9999,
  /** Active and cached ones together: each has a user id of its own (docs/decisions/0010-instances-and-ids.md). */
  maxInstances: 5000,
  /** A runtime that names no limit takes so many (spec/cm.md 4.6). */
  slotsPerRuntime: 256,
  defaultRatioPercent: 50,
} as const;

/** Nodes. */
export const NODES = {
  maxNodes: 128,
  requestTimeoutMs: 5 * SECOND_MS,
  closeOldStreamsAfterMs: 10 * SECOND_MS,
  maxNodeConfigBytes: 4096,
  maxUnitConfigBytes: 64 * 1024,
  /** Messages to one node that wait for its stream. */
  maxQueuedPerStream: 1024,
} as const;

/** Monitoring and alerts (spec/cm.md 8, spec/decisions.md C-28). */
export const REPORTS = {
  samplesPerEntry: 16,
  alertsInCache: 256,
  alertsPerMessage: 16,
  maxAlertTextBytes: 256,
} as const;

/** Logs (spec/decisions.md 8.2). */
export const LOGS = {
  silentNodeMs: 2 * MINUTE_MS,
} as const;

/** State files (spec/decisions.md C-29). */
export const STATE = {
  debounceMs: SECOND_MS,
  latestMs: 10 * SECOND_MS,
  maxBytes: 64 * 1024,
} as const;

/** The event log: decisions with their reasons. */
export const EVENTS = {
  kept: 5000,
} as const;
