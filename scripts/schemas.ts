/** JSON Schemas of the files that people write, for their editors (spec/beyond.md P-10): from what the daemons check with. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import { CmConfig } from '../src/cm/config.ts';
import { UnitConfigSchema } from '../src/cm/unit-config/index.ts';
import { IamConfig } from '../src/iam/config/iam-config.ts';
import { MpConfig } from '../src/mp/config.ts';
import { ItemConfig } from '../src/oci/index.ts';
import { SmConfig } from '../src/sm/config.ts';

export const SCHEMAS = {
  cm: CmConfig,
  sm: SmConfig,
  iam: IamConfig,
  mp: MpConfig,
  'unit-config': UnitConfigSchema,
  item: ItemConfig,
} as const;

/** A schema by file name: `cm.schema.json`. What is written may be of another type than what is read: a duration is text. */
export function jsonSchemas(): Readonly<Record<string, object>> {
  return Object.fromEntries(
    Object.entries(SCHEMAS).map(([name, schema]) => [
      `${name}.schema.json`,
      { title: `aoscore: ${name}`, ...z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' }) },
    ]),
  );
}

export async function writeSchemas(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  for (const [name, schema] of Object.entries(jsonSchemas())) {
    await writeFile(join(directory, name), `${JSON.stringify(schema, null, 1)}\n`);
  }
}
