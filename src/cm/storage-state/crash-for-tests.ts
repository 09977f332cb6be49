/** One act that dies where `AOS_FAULT` says: `<directory> <act> <state>`. */
import { type Act, act } from './acts-for-tests.ts';

const [directory = '', what = '', state = ''] = process.argv.slice(2);
await act(directory, what as Act, state);
