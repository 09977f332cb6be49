/**
 * A process that starts one instance, says so, and stops it. Tests kill it on the way with a fault point.
 * `node start-and-stop-for-tests.ts <directory> <instance info as JSON>`
 */
import { instanceId } from '../../core/index.ts';
import type { InstanceInfo } from '../model.ts';
import { LOOPBACK, RuntimeWorld, service } from './runtime-for-tests.ts';

const [directory = '', json = ''] = process.argv.slice(2);
const info = JSON.parse(json) as InstanceInfo;
const { runtime } = await RuntimeWorld.at(directory);
await runtime.start({ info, item: service('exec sleep 1000'), network: LOOPBACK }, AbortSignal.timeout(30_000));
console.log('active');
await runtime.stop(instanceId(info.ident), AbortSignal.timeout(30_000));
console.log('stopped');
await runtime.close();
