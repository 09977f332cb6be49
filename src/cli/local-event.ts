/** An event as the CM of this node tells it. */
export interface LocalEvent {
  /** Counts up, over restarts too. */
  readonly seq: number;
  /** ISO 8601. */
  readonly at: string;
  readonly about: { readonly kind: string; readonly id: string };
  readonly what: string;
  readonly because: string;
}
