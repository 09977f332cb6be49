/** One act that dies where `AOS_FAULT` says: `<directory> <act>`. */
import { type Act, act } from './acts-for-tests.ts';

const [directory = '', what = ''] = process.argv.slice(2);
await act(directory, what as Act);
