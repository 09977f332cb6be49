/** Who works with a cloud, and how a browser gets in. */
import { writeFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { AosError, asAosError } from '../../core/index.ts';
import type { Context } from '../context.ts';
import { parseCount } from '../options.ts';
import { printResult, printRows } from '../output.ts';

type Run = (action: (context: Context) => Promise<void>) => Promise<void>;

interface User {
  readonly name: string;
  readonly role: string;
  readonly scope: string;
}

const path = (name: string) => `/api/users/${encodeURIComponent(name)}`;

/** Never over something that is there: it may be the only way in of somebody else. */
function writeNew(file: string, text: string, mode: number): void {
  try {
    writeFileSync(file, text, { mode, flag: 'wx' });
  } catch (error) {
    throw new AosError('invalidArgument', `cannot write ${file}: ${asAosError(error).message}`, { cause: error });
  }
}

export function peopleCommands(program: Command, run: Run): void {
  program
    .command('login')
    .description('print an address that opens the web page of the cloud, once, within ten minutes')
    .action(() =>
      run(async ({ cloud, output }) => {
        const login = await cloud.send<{ url: string; expiresAt: string }>('POST', '/api/login-tokens');
        printResult(output, login, [login.url]);
      }),
    );

  program
    .command('users')
    .description('people and programs that the cloud knows')
    .action(() =>
      run(async ({ cloud, output }) =>
        printRows(output, await cloud.get<User[]>('/api/users'), {
          user: ({ name }) => name,
          role: ({ role }) => role,
          for: ({ scope }) => scope,
        }),
      ),
    );

  const user = program.command('user').description('let somebody work with the cloud');
  user
    .command('add <name>')
    .description('add somebody, or change what they are')
    .addOption(
      new Option('--role <role>', 'what they may do')
        .choices(['oem', 'serviceProvider', 'fleetOwner'])
        .makeOptionMandatory(),
    )
    .option('--scope <name>', 'owner whose items a service provider publishes, fleet of a fleet owner')
    .action((name: string, options: { role: string; scope?: string }) =>
      run(async ({ cloud, output }) => {
        const added = await cloud.send<User>('PUT', path(name), options);
        printResult(output, added, [`${name} is ${added.role}${added.scope === '' ? '' : ` of ${added.scope}`}`]);
      }),
    );
  user
    .command('certificate <name>')
    .description('a certificate with a new key, for aosctl and browsers')
    .requiredOption('--out <file>', 'writes <file>.pem and <file>-key.pem')
    .action((name: string, { out }: { out: string }) =>
      run(async ({ cloud, output }) => {
        const issued = await cloud.send<{ certificate: string; key: string; notAfter: string }>(
          ...(['POST', `${path(name)}/certificates`] as const),
        );
        const files = { certificate: `${out}.pem`, key: `${out}-key.pem` };
        writeNew(files.key, issued.key, 0o600);
        writeNew(files.certificate, issued.certificate, 0o644);
        printResult(output, { ...files, notAfter: issued.notAfter }, [
          `${files.certificate} and ${files.key} stand for ${name} until ${issued.notAfter}`,
        ]);
      }),
    );
  user
    .command('token <name>')
    .description('a token for a program: Authorization: Bearer <token>')
    .option('--days <count>', 'how long it works', parseCount, 90)
    .action((name: string, options: { days: number }) =>
      run(async ({ cloud, output }) => {
        const issued = await cloud.send<{ token: string }>('POST', `${path(name)}/tokens`, options);
        printResult(output, issued, [issued.token]);
      }),
    );
  user
    .command('remove <name>')
    .description('remove somebody; all their certificates and tokens end at once')
    .action((name: string) =>
      run(async ({ cloud, output }) => {
        await cloud.send('DELETE', path(name));
        printResult(output, { name, state: 'removed' }, [`${name} is removed`]);
      }),
    );

  program
    .command('verify <item>')
    .description('judge a published version: until then only units of a verification set take it')
    .requiredOption('--version <version>', 'which version')
    .option('--reject', 'no unit may have it')
    .option('--reason <text>', 'why')
    .action((itemId: string, options: { version: string; reject?: boolean; reason?: string }) =>
      run(async ({ cloud, output }) => {
        const { version, reject = false, reason = '' } = options;
        const state = reject ? 'rejected' : 'valid';
        await cloud.send(
          ...(['PUT', `/api/items/${encodeURIComponent(itemId)}/${encodeURIComponent(version)}/verification`] as const),
          { state, reason },
        );
        printResult(output, { itemId, version, state }, [`${itemId} ${version} is ${state}`]);
      }),
    );
}
