/** Tables of a cloud. Times are ISO 8601 in UTC; JSON is stored as text. */
import type { Migration } from '../../storage/index.ts';

export const MIGRATIONS: readonly Migration[] = [
  `
  CREATE TABLE units (
    systemId TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    modelName TEXT NOT NULL,
    modelVersion TEXT NOT NULL,
    -- The nodes as the provisioning tool described them.
    nodes TEXT NOT NULL,
    -- Passwords of the nodes, exactly as the tool wrote them.
    secureData TEXT NOT NULL,
    -- Digest of the registration request and its answer, for a tool that asks again.
    registration TEXT NOT NULL,
    answer TEXT NOT NULL,
    provisionedAt TEXT NOT NULL,
    lastSeen TEXT,
    -- The picture of the unit from its statuses.
    picture TEXT NOT NULL DEFAULT '{}',
    -- Wanted unit configuration, environment and node states.
    unitConfig TEXT,
    envVars TEXT,
    nodeStates TEXT NOT NULL DEFAULT '{}'
  ) STRICT;

  CREATE TABLE certificates (
    fingerprint TEXT PRIMARY KEY,
    serial TEXT NOT NULL,
    role TEXT NOT NULL,
    systemId TEXT,
    nodeId TEXT,
    type TEXT,
    notAfter TEXT NOT NULL,
    issuedAt TEXT NOT NULL,
    installedAt TEXT,
    revokedAt TEXT
  ) STRICT;
  CREATE INDEX certificatesOfUnit ON certificates (systemId);

  CREATE TABLE tokens (
    hash TEXT PRIMARY KEY,
    systemId TEXT NOT NULL REFERENCES units ON DELETE CASCADE,
    expiresAt TEXT NOT NULL
  ) STRICT;

  CREATE TABLE blobs (
    digest TEXT PRIMARY KEY,
    sizeBytes INTEGER NOT NULL,
    -- Name of the encrypted file.
    file TEXT NOT NULL UNIQUE,
    fileBytes INTEGER NOT NULL,
    fileSha3 TEXT NOT NULL,
    key BLOB NOT NULL,
    iv BLOB NOT NULL,
    signature BLOB NOT NULL,
    -- Chain of the signature.
    chainName TEXT NOT NULL,
    signedAt TEXT NOT NULL
  ) STRICT;

  -- Certificates by which blobs were signed; they stay after the signer was renewed.
  CREATE TABLE chains (
    name TEXT PRIMARY KEY,
    certificates TEXT NOT NULL
  ) STRICT;

  CREATE TABLE items (
    itemId TEXT NOT NULL,
    version TEXT NOT NULL,
    type TEXT NOT NULL,
    title TEXT NOT NULL,
    owner TEXT NOT NULL,
    indexDigest TEXT NOT NULL,
    publishedAt TEXT NOT NULL,
    PRIMARY KEY (itemId, version)
  ) STRICT;

  CREATE TABLE itemBlobs (
    itemId TEXT NOT NULL,
    version TEXT NOT NULL,
    digest TEXT NOT NULL REFERENCES blobs,
    PRIMARY KEY (itemId, version, digest),
    FOREIGN KEY (itemId, version) REFERENCES items ON DELETE CASCADE
  ) STRICT;
  CREATE INDEX itemsOfBlob ON itemBlobs (digest);

  CREATE TABLE deployments (
    systemId TEXT NOT NULL REFERENCES units ON DELETE CASCADE,
    itemId TEXT NOT NULL,
    version TEXT NOT NULL,
    subject TEXT NOT NULL,
    numInstances INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    labels TEXT NOT NULL,
    PRIMARY KEY (systemId, itemId),
    FOREIGN KEY (itemId, version) REFERENCES items
  ) STRICT;

  CREATE TABLE messages (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    systemId TEXT NOT NULL REFERENCES units ON DELETE CASCADE,
    at TEXT NOT NULL,
    direction TEXT NOT NULL,
    messageType TEXT,
    txn TEXT,
    -- received, refused; sent, acknowledged, unacknowledged, dropped
    outcome TEXT NOT NULL,
    detail TEXT,
    data TEXT
  ) STRICT;
  CREATE INDEX messagesOfUnit ON messages (systemId, id);
  CREATE INDEX messagesByTxn ON messages (systemId, direction, txn);

  -- Logs that were asked for, as they came: one row per part.
  CREATE TABLE logParts (
    systemId TEXT NOT NULL REFERENCES units ON DELETE CASCADE,
    correlationId TEXT NOT NULL,
    nodeId TEXT NOT NULL,
    part INTEGER NOT NULL,
    partsCount INTEGER NOT NULL,
    status TEXT NOT NULL,
    error TEXT,
    -- gzip
    content BLOB NOT NULL,
    receivedAt TEXT NOT NULL,
    PRIMARY KEY (systemId, correlationId, nodeId, part)
  ) STRICT;

  CREATE TABLE instanceStates (
    systemId TEXT NOT NULL REFERENCES units ON DELETE CASCADE,
    itemId TEXT NOT NULL,
    subjectId TEXT NOT NULL,
    instance INTEGER NOT NULL,
    checksum TEXT NOT NULL,
    state TEXT NOT NULL,
    receivedAt TEXT NOT NULL,
    PRIMARY KEY (systemId, itemId, subjectId, instance)
  ) STRICT;
  `,
  `
  -- What a deployment gets that says nothing else: JSON of numInstances, priority, labels.
  ALTER TABLE items ADD COLUMN defaults TEXT NOT NULL DEFAULT '{}';
  `,
  `
  -- The version before the last change, for a way back.
  ALTER TABLE deployments ADD COLUMN formerVersion TEXT;
  `,
  `
  -- Groups of units, delegated to fleet owners; '' is none.
  ALTER TABLE units ADD COLUMN fleet TEXT NOT NULL DEFAULT '';
  -- Judgement of the OEM: pending, valid, rejected. What was published before there were judgements counts as valid.
  ALTER TABLE items ADD COLUMN verification TEXT NOT NULL DEFAULT 'valid';
  ALTER TABLE items ADD COLUMN verificationReason TEXT;
  -- Whom an operator's certificate stands for; none: the operator of the first hour, an OEM.
  ALTER TABLE certificates ADD COLUMN userName TEXT;

  CREATE TABLE users (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    -- Owner of items of a service provider, fleet of a fleet owner.
    scope TEXT NOT NULL,
    createdAt TEXT NOT NULL
  ) STRICT;
  CREATE TABLE accessTokens (
    hash TEXT PRIMARY KEY,
    userName TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
    -- login (once), session, bearer
    kind TEXT NOT NULL,
    expiresAt TEXT NOT NULL
  ) STRICT;

  CREATE TABLE unitSets (
    name TEXT PRIMARY KEY,
    fleet TEXT NOT NULL,
    -- 1: its members take versions that are not verified yet.
    verification INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE unitSetMembers (
    name TEXT NOT NULL REFERENCES unitSets ON DELETE CASCADE,
    systemId TEXT NOT NULL REFERENCES units ON DELETE CASCADE,
    PRIMARY KEY (name, systemId)
  ) STRICT;
  CREATE INDEX unitSetsOfUnit ON unitSetMembers (systemId);

  CREATE TABLE subjects (
    id TEXT PRIMARY KEY,
    -- group, user
    type TEXT NOT NULL,
    title TEXT NOT NULL,
    fleet TEXT NOT NULL,
    priority INTEGER NOT NULL,
    -- 1: its instances run only while the unit itself reports the subject.
    reported INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE subjectUnits (
    subjectId TEXT NOT NULL REFERENCES subjects ON DELETE CASCADE,
    systemId TEXT NOT NULL REFERENCES units ON DELETE CASCADE,
    PRIMARY KEY (subjectId, systemId)
  ) STRICT;
  CREATE INDEX subjectsOfUnit ON subjectUnits (systemId);
  CREATE TABLE subscriptions (
    subjectId TEXT NOT NULL REFERENCES subjects ON DELETE CASCADE,
    itemId TEXT NOT NULL,
    version TEXT NOT NULL,
    numInstances INTEGER NOT NULL,
    -- NULL: that of the subject.
    priority INTEGER,
    labels TEXT NOT NULL,
    PRIMARY KEY (subjectId, itemId),
    FOREIGN KEY (itemId, version) REFERENCES items
  ) STRICT;

  CREATE TABLE campaigns (
    id TEXT PRIMARY KEY,
    itemId TEXT NOT NULL,
    version TEXT NOT NULL,
    -- JSON: names of unit sets, one stage after the other.
    stages TEXT NOT NULL,
    automatic INTEGER NOT NULL,
    fleet TEXT NOT NULL,
    -- running, stopped, completed
    state TEXT NOT NULL,
    stage INTEGER NOT NULL,
    reason TEXT NOT NULL,
    createdBy TEXT NOT NULL,
    createdAt TEXT NOT NULL,
    changedAt TEXT NOT NULL
  ) STRICT;
  -- What a campaign has given to whom; it stays when the campaign is stopped.
  CREATE TABLE campaignUnits (
    campaignId TEXT NOT NULL REFERENCES campaigns ON DELETE CASCADE,
    systemId TEXT NOT NULL REFERENCES units ON DELETE CASCADE,
    stage INTEGER NOT NULL,
    formerVersion TEXT,
    givenAt TEXT NOT NULL,
    PRIMARY KEY (campaignId, systemId)
  ) STRICT;
  -- The version of a subscribed item that a campaign has brought to a unit.
  CREATE TABLE releases (
    systemId TEXT NOT NULL REFERENCES units ON DELETE CASCADE,
    itemId TEXT NOT NULL,
    version TEXT NOT NULL,
    PRIMARY KEY (systemId, itemId),
    FOREIGN KEY (itemId, version) REFERENCES items
  ) STRICT;

  -- Unit configurations of many units: model:<name> or set:<unit set>.
  CREATE TABLE targetConfigs (
    target TEXT PRIMARY KEY,
    config TEXT NOT NULL
  ) STRICT;
  `,
  `
  -- Usage of resources; a series is node:<id> or instance:<item>/<subject>/<index>. Times in ms since 1970.
  CREATE TABLE samples (
    systemId TEXT NOT NULL REFERENCES units ON DELETE CASCADE,
    series TEXT NOT NULL,
    at INTEGER NOT NULL,
    cpu REAL NOT NULL,
    ram INTEGER NOT NULL,
    download INTEGER NOT NULL,
    upload INTEGER NOT NULL,
    -- JSON: bytes used of each partition.
    partitions TEXT NOT NULL,
    PRIMARY KEY (systemId, series, at)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX samplesByAge ON samples (at);

  CREATE TABLE alerts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    systemId TEXT NOT NULL REFERENCES units ON DELETE CASCADE,
    at INTEGER NOT NULL,
    tag TEXT NOT NULL,
    data TEXT NOT NULL
  ) STRICT;
  CREATE INDEX alertsOfUnit ON alerts (systemId, at);

  CREATE TABLE logRequests (
    systemId TEXT NOT NULL REFERENCES units ON DELETE CASCADE,
    correlationId TEXT NOT NULL,
    at TEXT NOT NULL,
    request TEXT NOT NULL,
    PRIMARY KEY (systemId, correlationId)
  ) STRICT;

  CREATE TABLE unitEvents (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    systemId TEXT NOT NULL,
    at TEXT NOT NULL,
    event TEXT NOT NULL,
    data TEXT NOT NULL
  ) STRICT;
  CREATE INDEX eventsOfUnit ON unitEvents (systemId, id);

  -- Who has changed what, and why.
  CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    userName TEXT NOT NULL,
    role TEXT NOT NULL,
    method TEXT NOT NULL,
    path TEXT NOT NULL,
    why TEXT NOT NULL
  ) STRICT;
  `,
  `
  -- Files of blobs that are on their way in or out: what is here after a crash is removed.
  CREATE TABLE leftoverFiles (
    file TEXT PRIMARY KEY
  ) STRICT, WITHOUT ROWID;
  `,
  `
  -- The service provider who has uploaded a blob; '' for others, and for what was there before.
  ALTER TABLE blobs ADD COLUMN provider TEXT NOT NULL DEFAULT '';
  `,
  `
  -- The unit that a user has left and not arrived at another yet: its states wait there.
  CREATE TABLE departures (
    subjectId TEXT PRIMARY KEY REFERENCES subjects ON DELETE CASCADE,
    systemId TEXT NOT NULL REFERENCES units ON DELETE CASCADE
  ) STRICT, WITHOUT ROWID;
  `,
];
