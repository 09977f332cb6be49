/** An item whose files on this node are damaged, told to the cloud (spec/product.md SM-08). */
import { timestampMessage } from '../../api/index.ts';
import { type ItemIdent, shortenMessage } from '../../core/index.ts';
import type { OutgoingMessage } from '../client/index.ts';

const COMPONENT = 'SM';
/** Longest text of an alert that twins take. */
const MAX_TEXT_BYTES = 255;

export function damageAlert({ itemId, version }: ItemIdent, because: string, now: Date): OutgoingMessage {
  return {
    case: 'alert',
    value: {
      timestamp: timestampMessage(now),
      AlertItem: {
        case: 'coreAlert',
        value: {
          coreComponent: COMPONENT,
          message: shortenMessage(`item ${itemId} ${version} is damaged on the disk: ${because}`, MAX_TEXT_BYTES),
        },
      },
    },
  };
}
