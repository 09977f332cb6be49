/** Texts of identity as files and vehicles write them (spec/iam.md 8.1, spec/decisions.md IA-07). Pure. */
import { AosError } from '../../core/index.ts';
import { MAX_ID_LENGTH, MAX_SUBJECTS } from '../limits.ts';

/** A system id without the white space around it. `source` names where it is from. */
export function parseSystemId(text: string, source: string): string {
  const id = text.trim();
  if (id === '' || id.length > MAX_ID_LENGTH) {
    throw new AosError(
      'invalidArgument',
      `the system id in ${source} has ${id.length} characters, expected 1 to ${MAX_ID_LENGTH}`,
    );
  }
  return id;
}

/** `name;version`. */
export function parseUnitModel(text: string, source: string): { readonly unitModel: string; readonly version: string } {
  const parts = text.split(';').map((part) => part.trim());
  const [unitModel, version] = parts;
  if (parts.length !== 2 || !unitModel || !version) {
    throw new AosError('invalidArgument', `the unit model in ${source} is "${text.trim()}", expected name;version`);
  }
  return { unitModel, version };
}

/** One subject per line; empty lines and carriage returns do not count. Throws for too many or too long ones. */
export function parseSubjects(text: string, source: string): string[] {
  return checkSubjects(
    text
      .split('\n')
      .map((line) => line.replace(/\r$/, ''))
      .filter((line) => line !== ''),
    source,
  );
}

export function checkSubjects(subjects: readonly string[], source: string): string[] {
  if (subjects.length > MAX_SUBJECTS) {
    throw new AosError('noMemory', `${source} has ${subjects.length} subjects, at most ${MAX_SUBJECTS}`);
  }
  const long = subjects.find((subject) => subject.length > MAX_ID_LENGTH);
  if (long !== undefined) {
    throw new AosError('noMemory', `a subject in ${source} has ${long.length} characters, at most ${MAX_ID_LENGTH}`);
  }
  return [...subjects];
}
