/** Whether the keys of a node can be used, in tokens or in files (docs/keys.md). Pure. */
import type { KeyDirectoryFact, KeyFact, TokenFact } from './facts.ts';
import { type Finding, fault, ok, told, warning } from './finding.ts';

/** What a person does about a token that cannot be opened. */
export function token({ name, library, pinFile, state, detail }: TokenFact): Finding {
  const check = `token ${name}`;
  const again = 'the keys are lost without it: restore the file from a backup, or provision the node again';
  switch (state) {
    case 'fine':
      return ok(check, `its PIN is in ${pinFile}`);
    case 'closed pin':
      return warning(check, `we may not read ${pinFile}`, 'sudo aosctl doctor');
    case 'no pin':
      return fault(check, `its PIN is missing: ${pinFile} does not exist`, again);
    case 'empty pin':
      return fault(check, `its PIN is missing: ${pinFile} is empty`, again);
    case 'wrong pin':
      return fault(check, `the PIN in ${pinFile} is wrong`, `stop aos-iam before the token locks itself; ${again}`);
    case 'locked pin':
      return fault(
        check,
        'its PIN is locked after too many wrong ones',
        'unlock it as its maker says, or provision the node again',
      );
    case 'no library':
      return fault(
        check,
        `${library} cannot be loaded${told(detail)}`,
        'install what it belongs to (SoftHSM: apt-get install softhsm2)',
      );
    case 'no token':
      return fault(
        check,
        `it is not there${told(detail)}`,
        'check the device, and SOFTHSM2_CONF in /etc/default/aoscore',
      );
    case 'failed':
      return fault(check, `it cannot be opened${told(detail)}`, 'journalctl -u aos-iam tells more; check the device');
  }
}

/** The directory itself, and each key in it that is no good. */
export function keyDirectory(fact: KeyDirectoryFact): Finding[] {
  const { path, types, state, keys } = fact;
  const check = `keys ${path}`;
  const lost = 'when it was wiped for good, deprovision the node and provision it again';
  switch (state.is) {
    case 'absent':
      return [fault(check, 'the directory does not exist', `is its disk mounted? ${lost}`)];
    case 'closed':
      return [warning(check, 'we may not look into the directory', 'sudo aosctl doctor')];
    case 'no directory':
      return [fault(check, 'it is no directory', `see what lies there, and move it away; ${lost}`)];
    case 'shared':
      return [
        fault(
          check,
          `the directory has mode ${state.mode}: others could put keys of theirs into it`,
          `chmod 700 ${path}, then look who was there, and renew the keys`,
        ),
      ];
    case 'foreign':
      return [
        fault(
          check,
          `the directory belongs to user ${state.uid}, who could put keys of his own into it`,
          `chown root: ${path}, then renew the keys`,
        ),
      ];
    case 'fine': {
      const bad = keys.filter((key) => key.state.is !== 'fine').map((key) => keyFinding(key));
      const without = types
        .filter((type) => !keys.some((key) => key.type === type))
        .map((type) => fault(`key ${type}`, `there is none in ${path}`, `aosctl certs tells what IAM has; ${lost}`));
      const good = keys.length - bad.length;
      return [
        ...(bad.length + without.length === 0 ? [ok(check, `${good} keys of ${types.join(', ')}`)] : []),
        ...bad,
        ...without,
      ];
    }
  }
}

function keyFinding({ type, path, state }: KeyFact): Finding {
  const check = `key ${type}`;
  const renew = `have the cloud renew it: aosctl renew --unit <system id> ${type}`;
  switch (state.is) {
    case 'fine':
      return ok(check, path);
    case 'absent':
      return fault(check, `${path} is missing, its certificate is there`, `restore it from a backup, or ${renew}`);
    case 'exposed':
      return fault(
        check,
        `${path} has mode ${state.mode}: others may have copied it`,
        `chmod 600 it, so that IAM takes it; then ${renew}`,
      );
    case 'foreign':
      return fault(
        check,
        `${path} belongs to user ${state.uid}, so IAM refuses it`,
        `chown root: ${path}; then ${renew}`,
      );
    case 'no file':
      return fault(check, `${path} is a link or no file, so IAM refuses it`, `put the file itself there, or ${renew}`);
    case 'unreadable':
      return fault(check, `${path} cannot be read${told(state.detail)}`, 'look for disk errors in dmesg');
    case 'damaged':
      return fault(check, `${path} holds no key${told(state.detail)}`, `restore it from a backup, or ${renew}`);
    case 'other certificate':
      return fault(check, `${path} is not the key of the certificate beside it`, renew);
  }
}
