/**
 * A run that is going to be killed: switches a machine on and says which process it is. A process of its own; its
 * argument is the image, as JSON.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { MachineImage } from './image.ts';
import { Machine } from './machine.ts';

const image = JSON.parse(process.argv[2]!) as MachineImage;
const machine = await Machine.create({ image, name: 'orphan' });
const booted = machine.boot();
while (machine.pid === undefined) await Promise.race([booted, sleep(20)]);
console.log(JSON.stringify({ pid: machine.pid, directory: machine.directory }));
await booted;
