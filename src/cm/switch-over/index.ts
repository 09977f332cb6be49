/** From the C++ communication manager to this one. */
export { takeOver } from './take-over.ts';
