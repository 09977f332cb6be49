/** The identifier that the configuration names. */
import type { Logger } from '../../core/index.ts';
import type { IamConfig } from '../config/iam-config.ts';
import { FileIdentifier } from './file-identifier.ts';
import type { Identifier } from './identifier.ts';

/** Undefined for a node that has none, which is every node but the main one. */
export async function makeIdentifier(config: IamConfig['identifier'], logger: Logger): Promise<Identifier | undefined> {
  switch (config?.plugin) {
    case 'fileidentifier':
      return new FileIdentifier(config.params, logger);
    case 'visidentifier': {
      // Few units have a vehicle behind them; the others do not load its client.
      const { VisIdentifier } = await import('./vis-identifier.ts');
      return new VisIdentifier(config.params, logger);
    }
    default:
      return undefined;
  }
}
