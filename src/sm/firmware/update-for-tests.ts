/**
 * A process that does what the service manager does in one boot of an update. Tests kill it on the way with a fault point.
 * `node update-for-tests.ts <directory> <efi | uboot | rootfs> <version>`
 */
import { type DiskKind, FirmwareDisk } from './firmware-disk-for-tests.ts';

const [directory = '', kind = '', version = ''] = process.argv.slice(2);
const disk = new FirmwareDisk(directory, kind as DiskKind);
await disk.run(await disk.component(version));
