/** Who the unit is and for whom it works (spec/iam.md 8). */

export interface SystemInfo {
  readonly systemId: string;
  readonly unitModel: string;
  readonly version: string;
}

export interface Identifier {
  /** Throws when the source cannot tell. */
  systemInfo(): Promise<SystemInfo>;
  subjects(): Promise<readonly string[]>;
  /** Tells the complete new list after each real change. Returns the function that ends it. */
  onSubjectsChange(listener: (subjects: readonly string[]) => void): () => void;
  start(): Promise<void>;
  stop(): Promise<void>;
}
