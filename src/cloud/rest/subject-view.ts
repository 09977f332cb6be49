/** A subject as the REST interface shows it: with where it is, and what it has subscribed to. */
import type { Stores } from '../store/stores.ts';
import type { Subject, Subscription } from '../store/subjects.ts';

export interface SubjectView extends Subject {
  readonly units: readonly string[];
  readonly items: readonly Subscription[];
}

export async function subjectView({ subjects }: Stores, subject: Subject): Promise<SubjectView> {
  return {
    ...subject,
    units: await subjects.units(subject.id),
    items: await subjects.subscriptions(subject.id),
  };
}
