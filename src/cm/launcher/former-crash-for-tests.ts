/** Removes all former instances and dies where `AOS_FAULT` says: `<directory>`. */
import { withFormer } from './former-for-tests.ts';

const [directory = ''] = process.argv.slice(2);
await withFormer(directory, 0, ({ former }) => former.removeExpired());
