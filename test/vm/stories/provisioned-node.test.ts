/** What a provisioned node closes: its ports to the outside, and its data to whoever takes the disk. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { keepTraces, unitImage } from '../fixture.ts';
import { Machine } from '../machine.ts';
import { MachineNetwork } from '../network.ts';

const run = promisify(execFile);

let network: MachineNetwork;
let machine: Machine;

/** Which ports the gateway of the machine can open. */
async function openPorts(): Promise<number[]> {
  const address = machine.link!.address.replace(/\/.*/, '');
  const [program, ...words] = network.enter;
  const open: number[] = [];
  for (const port of [8089, 8090]) {
    const probe = ['timeout', '3', 'bash', '-c', `exec 3<>/dev/tcp/${address}/${port}`];
    await run(program!, [...words, ...probe]).then(
      () => open.push(port),
      () => undefined,
    );
  }
  return open;
}

/** A call of IAM in plain text, as JSON. */
const call = (service: string, method: string, request: object) =>
  machine.must(
    `/usr/lib/aoscore/node -e '
const session = require("node:http2").connect("http://127.0.0.1:8089");
const call = session.request({ ":method": "POST", ":path": "/iamanager.v6.${service}/${method}", "content-type": "application/json" });
call.end(JSON.stringify(${JSON.stringify(request)}));
let text = "";
call.on("data", (chunk) => { text += chunk; });
call.on("end", () => { console.log(text); session.close(); });
'`,
  );

beforeAll(async () => {
  network = await MachineNetwork.create();
  machine = await Machine.create({
    image: unitImage(),
    network,
    blankDiskBytes: 256 * 1024 ** 2,
    kernelWords: ['opendisk.target=/dev/vdc'],
  });
  await machine.boot();
  await machine.must(`sed -i 's|^AOS_DATA_DEVICE=.*|AOS_DATA_DEVICE=/dev/vdc|' /etc/default/aoscore
/usr/lib/aoscore/node -e '
const fs = require("node:fs");
const config = JSON.parse(fs.readFileSync("/etc/aos/iam.cfg", "utf8"));
const like = config.certModules.find(({ id }) => id === "iam").params;
config.certModules.push({ id: "diskencryption", plugin: "pkcs11module", algorithm: "rsa", maxItems: 1, selfSigned: true, params: like });
fs.writeFileSync("/etc/aos/iam.cfg", JSON.stringify(config));
'
systemctl restart aos-iam-prov`);
  await machine.until('IAM is ready', 'systemctl is-active aos-iam-prov');
});

keepTraces(() => [machine]);

afterAll(async () => {
  await machine?.close();
  await network?.remove();
});

test('[O-03] provisioning encrypts the data disk with a key that the token protects', async () => {
  const answer = await call('IAMProvisioningService', 'StartProvisioning', { password: 'secret-1' });
  expect(answer).toBe('{}\n');
  expect((await machine.must('lsblk -no TYPE /dev/vdc')).split('\n')).toContain('crypt');
  for (const directory of ['workdirs', 'storages', 'states']) {
    expect(await machine.must(`findmnt -no SOURCE --target /var/aos/${directory}`)).toMatch(/mapper\/aos-data/);
  }
  await machine.must('echo a-secret-of-the-owner >/var/aos/states/kept && sync');
  const { status } = await machine.run('grep -q a-secret-of-the-owner /dev/vdc');
  expect(status).toBe(1);
});

test('[O-03] at the next boot it is open before systemd starts, with what was on it', async () => {
  await machine.must('echo -n provisioned >/var/aos/.provisionstate && sync');
  await machine.reboot();
  await machine.until('it is mounted', 'systemctl is-active aos-disk');
  expect(await machine.must('cat /var/aos/states/kept')).toBe('a-secret-of-the-owner\n');
  expect(await machine.journal('--boot', '--dmesg')).toMatch(/\/dev\/vdc was opened by the initial RAM disk/);
});

test('[O-03] without the PIN it stays closed, and says why', async () => {
  await machine.must('mv /var/aos/iam/.usrpin /var/aos/iam/elsewhere && sync');
  await machine.reboot();
  await machine.until('it was tried', 'systemctl is-failed aos-disk');
  expect((await machine.run('test -e /dev/mapper/aos-data')).status).not.toBe(0);
  expect(await machine.journal('-u', 'aos-disk')).toMatch(/cannot be had from token aoscore/);
  await machine.must('mv /var/aos/iam/elsewhere /var/aos/iam/.usrpin && systemctl restart aos-disk');
  expect(await machine.must('cat /var/aos/states/kept')).toBe('a-secret-of-the-owner\n');
});

test('[O-02] the ports of provisioning are closed to the gateway once the node is provisioned, and open again when it is blank', async () => {
  // IAM in its open mode, so that nothing but the firewall can close its ports.
  await machine.must(
    'systemctl stop aos.target aos-iam aos-provfw && rm /var/aos/.provisionstate && systemctl start aos-iam-prov',
  );
  await machine.until('IAM is ready', 'systemctl is-active aos-iam-prov');
  expect(await openPorts()).toEqual([8089, 8090]);
  await machine.must('echo -n provisioned >/var/aos/.provisionstate && systemctl start aos-provfw');
  expect(await openPorts()).toEqual([]);
  await machine.must('systemctl stop aos-iam-prov && /usr/lib/aoscore/hooks/deprovision now');
  await machine.until('IAM is ready', 'systemctl is-active aos-iam-prov');
  expect(await openPorts()).toEqual([8089, 8090]);
});

test('[O-03] [O-10] a node that was made blank has nothing of the volume left', async () => {
  expect((await machine.run('test -e /dev/mapper/aos-data')).status).not.toBe(0);
  expect(await machine.must('cryptsetup luksDump /dev/vdc 2>&1 || true')).not.toMatch(/luks2\n.*Key:/);
  expect((await machine.run('test -e /var/aos/states/kept')).status).not.toBe(0);
});
