/** Where everything of a development unit and its cloud lies: one directory each, as the root would on a device. */
import { join, resolve } from 'node:path';

/** Longest path of a Unix socket that Linux takes. */
const MAX_SOCKET_PATH = 107;

export interface UnitLayout {
  readonly root: string;
  readonly etc: string;
  readonly var: string;
  readonly run: string;
  readonly logs: string;
  readonly stateFile: string;
  readonly pinFile: string;
  readonly tokens: string;
  readonly softhsmConf: string;
  readonly caFile: string;
  readonly systemIdFile: string;
  readonly ports: string;
  /** Bundles of running instances; the names in it are instance ids. */
  readonly bundles: string;
  readonly ociState: string;
  /** Created by the hooks to ask for a restart of the target, as `systemctl restart aos.target` would. */
  readonly restartRequest: string;
  readonly sockets: { readonly iam: string; readonly cm: string; readonly sm: string };
}

export function unitLayout(directory: string): UnitLayout {
  const root = resolve(directory);
  const at = (...parts: string[]) => join(root, ...parts);
  const layout: UnitLayout = {
    root,
    etc: at('etc'),
    var: at('var'),
    run: at('run'),
    logs: at('log'),
    stateFile: at('var', '.provisionstate'),
    pinFile: at('var', 'iam', '.usrpin'),
    tokens: at('var', 'tokens'),
    softhsmConf: at('etc', 'softhsm2.conf'),
    caFile: at('etc', 'ca.pem'),
    systemIdFile: at('etc', 'system_id'),
    ports: at('etc', 'ports.json'),
    bundles: at('run', 'runtime'),
    ociState: at('run', 'oci'),
    restartRequest: at('run', 'restart-target'),
    sockets: { iam: at('run', 'iam.sock'), cm: at('run', 'cm.sock'), sm: at('run', 'sm.sock') },
  };
  if (layout.sockets.iam.length > MAX_SOCKET_PATH) {
    throw new Error(
      `${root} is too deep for Unix sockets (${MAX_SOCKET_PATH} characters); set AOS_DEV_DIR to a shorter path`,
    );
  }
  return layout;
}

export interface CloudLayout {
  readonly root: string;
  readonly config: string;
  readonly logs: string;
  readonly ports: string;
  readonly endpoints: string;
  readonly rootCa: string;
  readonly operatorCertificate: string;
  readonly operatorKey: string;
}

export function cloudLayout(directory: string): CloudLayout {
  const root = resolve(directory);
  const at = (...parts: string[]) => join(root, ...parts);
  return {
    root,
    config: at('cloud.cfg'),
    logs: at('log'),
    ports: at('ports.json'),
    endpoints: at('work', 'endpoints.json'),
    rootCa: at('work', 'pki', 'root.pem'),
    operatorCertificate: at('work', 'pki', 'operator.pem'),
    operatorKey: at('work', 'pki', 'operator-key.pem'),
  };
}
