/** Configuration of aos-cloud: one JSON file (spec/decisions.md 8.1). */
import { join } from 'node:path';
import * as z from 'zod';
import { DurationMs, PeriodMs } from '../daemon/index.ts';
import type { RateLimit } from './http/rate-limiter.ts';

const Port = z.int().min(0).max(65_535);

const rateLimit = ({ perSecond, burst }: RateLimit) =>
  z.object({ perSecond: z.number().min(0.01).default(perSecond), burst: z.int().min(1).default(burst) }).prefault({});

export const CloudConfig = z.object({
  /** Certificates, database and blobs; nothing outside of it is written. */
  workingDir: z.string().min(1),
  /**
   * Address of a database in PostgreSQL, which several processes may share; absent: SQLite in the working directory. The
   * password may stand in `PGPASSWORD` or `~/.pgpass` instead.
   */
  database: z
    .string()
    .regex(/^postgres(?:ql)?:\/\//, 'expected something like "postgresql://aos@db.example/cloud"')
    .optional(),
  /** Keys and certificates, when they are not in the working directory; all processes of a cloud use the same. */
  pkiDirectory: z.string().min(1).optional(),
  /** Name under which units and operators reach the cloud; it stands in its certificate and in the operator's. */
  hostName: z.string().min(1).default('localhost'),
  /** Address that the servers listen on; empty: all. */
  listenHost: z.string().default(''),
  /** 0 takes a free one. */
  ports: z
    .object({
      discovery: Port.default(9000),
      webSocket: Port.default(9001),
      blobs: Port.default(9002),
      rest: Port.default(10_000),
    })
    .prefault({}),
  /** Blobs over plain HTTP: for units that trust the roots of their system only. Blobs are encrypted either way. */
  plainBlobs: z.boolean().default(false),
  /** What units put in front of the name of a blob, when a proxy stands before the blob server; absent: its own address. */
  blobsUrl: z.url({ protocol: /^https?$/ }).optional(),
  /**
   * Keeps blobs in a bucket of an S3-compatible store instead of the working directory. Units get them from this cloud
   * either way, unless `blobsUrl` leads elsewhere.
   */
  s3: z
    .object({
      /** Buckets are named in the path: `https://s3.example/<bucket>/…`. */
      endpoint: z.url({ protocol: /^https?$/ }),
      bucket: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'expected the name of a bucket'),
      /** Stands before the name of each object; a cloud shares it with nobody. */
      prefix: z
        .string()
        .regex(/^(?:[A-Za-z0-9._-]+\/)*$/, 'expected nothing, or something like "aos/" or "fleets/north/"')
        .default(''),
      region: z.string().min(1).default('us-east-1'),
      /** JSON file: `accessKeyId`, `secretAccessKey`, and `sessionToken` if there is one. */
      credentialsFile: z.string().min(1),
      /** Certificate authority of the store, PEM, when it is none of the system's. */
      caFile: z.string().min(1).optional(),
    })
    .optional(),
  /** Bytes of one blob that is uploaded, and of all that one service provider has here. */
  blobLimitBytes: z
    .int()
    .min(1)
    .default(5 * 1024 ** 3),
  providerLimitBytes: z
    .int()
    .min(1)
    .default(50 * 1024 ** 3),
  /** Deltas between versions of blobs are made and kept up to so many bytes; 0: units fetch all of each blob. */
  deltaLimitBytes: z
    .int()
    .min(0)
    .default(1024 ** 3),
  /** Owner of items whose publisher names none; instances of one owner share a network. */
  defaultOwner: z.string().min(1).max(64).default('default'),
  /** How long a message waits for its acknowledgement, and how often it is sent before it is given up. */
  ackTimeout: DurationMs.prefault('10s'),
  transmissions: z.int().min(1).default(4),
  /** A unit that is silent for two and a half of these is taken for gone. */
  pingInterval: PeriodMs.prefault('30s'),
  /** Messages that are kept per unit to be looked at. */
  messageLogLimit: z.int().min(10).default(2000),
  /** How long samples of usage are kept, and how many per unit. */
  monitoringRetention: DurationMs.prefault('P14D'),
  monitoringLimit: z.int().min(100).default(200_000),
  /** How long logs that were asked for are kept, and how many bytes per unit, compressed as they came. */
  logRetention: DurationMs.prefault('P30D'),
  logLimitBytes: z
    .int()
    .min(1024 * 1024)
    .default(64 * 1024 * 1024),
  /** Alerts that are kept per unit. */
  alertLimit: z.int().min(10).default(5000),
  /** Items of service providers go to units for verification only, until an OEM has judged them. */
  requireVerification: z.boolean().default(true),
  /** Requests of one person, program or address to the REST interface and the web page. */
  rateLimit: rateLimit({ perSecond: 100, burst: 1000 }),
  /** Requests of one certificate to the discovery: a unit asks before it connects. */
  discoveryRateLimit: rateLimit({ perSecond: 1, burst: 60 }),
  /** Certificates of units are renewed when they have less left. */
  renewBefore: DurationMs.prefault('P30D'),
});

export type CloudConfig = z.output<typeof CloudConfig>;

/** Where the keys and certificates of the authority lie. */
export const pkiDirectory = (config: CloudConfig): string => config.pkiDirectory ?? join(config.workingDir, 'pki');
