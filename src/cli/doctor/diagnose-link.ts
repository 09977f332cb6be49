/** Why a unit is not at its cloud, or a node not at its main node, and what to do about it. Pure. */
import type { UnitReport } from '../../daemon/index.ts';
import type { DaemonName, MainLinkFact } from './facts.ts';
import { type Finding, ok, told, warning } from './finding.ts';

/** How the codes of failures begin, and the way out of each; the first that fits. */
const CURES: readonly (readonly [codes: RegExp, cure: string])[] = [
  [/^CERT_NOT_YET_VALID$/, 'the clock of this node is behind, or that of the cloud ahead: compare "date" on both'],
  [
    /^CERT_HAS_EXPIRED$/,
    'the clock of this node is ahead, or the certificate of the cloud was not renewed: compare "date" on both',
  ],
  [
    /^ERR_TLS_CERT_ALTNAME_INVALID$/,
    'another host than the cloud answers there: check DNS of this node and the address in the configuration',
  ],
  [/^(ENOTFOUND|EAI_)/, 'its name is not known here: check DNS of this node and the address in the configuration'],
  [
    /^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ETIMEDOUT|timeout)$/,
    'it is not reached: check the network, the route and firewalls on the way; services go on meanwhile',
  ],
  [
    /ALERT/,
    'it does not accept the certificate of this unit: "aosctl certs", and in the cloud whether the unit was reset or forgotten',
  ],
  [
    /^(CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|INVALID_CA|ERR_TLS|ERR_SSL|ERR_OSSL|EPROTO)/,
    'its certificate is not trusted, or ours is not: check "caCert" of cm.cfg and the certificates above',
  ],
];

export function cloudLink({ state, url, since, lastError, lastErrorCode = '' }: UnitReport['cloud']): Finding {
  if (state === 'connected') return ok('cloud', `connected to ${url ?? 'it'} since ${since}`);
  const cure = CURES.find(([codes]) => codes.test(lastErrorCode))?.[1];
  return warning(
    'cloud',
    `${state} since ${since}${told(lastError)}`,
    cure ?? 'it connects again by itself; aosctl events tells what happened',
  );
}

/** Where each daemon is told who its partner is. */
const ADDRESSES: Readonly<Partial<Record<DaemonName, string>>> = {
  'aos-iam': '"mainIAMPublicServerURL" and "mainIAMProtectedServerURL" of iam.cfg',
  'aos-sm': '"cmServerUrl" of sm.cfg',
};

export function mainLink({ daemon, to, isConnected, error }: MainLinkFact): Finding {
  const check = `link of ${daemon}`;
  if (isConnected) return ok(check, `connected to ${to}`);
  return warning(
    check,
    `${to} is not reached${told(error)}`,
    `check ${ADDRESSES[daemon]}, the network to the main node, the clocks of both, and whether it runs there; instances run on meanwhile`,
  );
}
