/** What of the package goes with which program, so that a node gets only what it runs (docs/board.md). Pure. */
import { PROGRAMS, type Program, type ProgramName } from './programs.ts';

/** What a unit can have, in the order of the package's own list. */
export const PACKAGED: readonly Program[] = PROGRAMS.filter(({ name }) => name !== 'aos-cloud');

/** Files below `packaging/` that only one program has a use for; all others are in every package. */
const FILES: Readonly<Partial<Record<ProgramName, readonly string[]>>> = {
  'aos-iam': [
    ...['systemd/aos-iam.service', 'systemd/aos-iam-prov.service'],
    ...['etc/aos/iam.cfg', 'etc/aos/softhsm2.conf', 'etc/aos/subjects', 'etc/aos/unit_model'],
  ],
  'aos-cm': ['systemd/aos-cm.service', 'systemd/aos-dns.service', 'hooks/unit-names', 'etc/aos/cm.cfg'],
  'aos-sm': ['systemd/aos-sm.service', 'systemd/aos-reboot.service', 'etc/aos/sm.cfg', 'etc/aos/resources.cfg'],
  'aos-mp': [
    ...['systemd/aos-mp.service', 'systemd/aos-mp-prov.service'],
    ...['examples/mp.cfg', 'examples/mp-peer.cfg'],
  ],
};

/** Debian packages that only one program needs. */
const NEEDED_BY: Readonly<Record<string, ProgramName>> = {
  conmon: 'aos-sm',
  'crun | runc': 'aos-sm',
  quota: 'aos-sm',
  'dnsmasq-base': 'aos-cm',
  softhsm2: 'aos-iam',
};

/** Whether a file, by its path below `packaging/`, belongs into a package with these programs. */
export function isPackaged(file: string, programs: readonly Program[]): boolean {
  const owner = Object.entries(FILES).find(([, files]) => files.includes(file))?.[0];
  return owner === undefined || programs.some(({ name }) => name === owner);
}

/** A control file without the packages that none of these programs needs. */
export function neededPackages(control: string, programs: readonly Program[]): string {
  return control.replace(/^(Depends|Recommends): (.*)\n/gm, (_, field: string, list: string) => {
    const needed = list.split(', ').filter((name) => {
      const by = NEEDED_BY[name];
      return by === undefined || programs.some((program) => program.name === by);
    });
    return needed.length === 0 ? '' : `${field}: ${needed.join(', ')}\n`;
  });
}

/** The names of all files that some program alone has a use for. */
export const OWNED_FILES: readonly string[] = Object.values(FILES).flat();
