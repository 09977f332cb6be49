/** Who may use which service of the protected server (spec/decisions.md IA-32). Pure. */
import type { IamConfig } from '../config/iam-config.ts';

/** Why a client with these names may not use a service, or undefined. Services without a rule are open to all. */
export function refuseClient(
  rules: IamConfig['authorization'],
  service: string,
  clientNames: readonly string[],
): string | undefined {
  const name = service.split('.').at(-1)!;
  const allowed = Object.hasOwn(rules, name) ? rules[name] : undefined;
  if (!allowed || clientNames.some((clientName) => allowed.includes(clientName))) return undefined;
  return `the certificate "${clientNames[0] ?? ''}" is not authorised for ${name}`;
}
