/** What provisioning tools ask for (spec/provisioning.md 7). */
import type { UnitRow } from '../store/units.ts';
import { RegistrationRequest, registerUnit } from '../units/registration.ts';
import type { RestParts } from './parts.ts';
import type { Router } from './router.ts';

/** Older tools use the former number; the calls are the same. */
const VERSIONS = ['v10', 'v11'];
/** The tool must be newer than this. */
const SOFTWARE = [{ name: 'aos-provisioning', min_version: '4.0.0' }];

const ROLE_NAMES = { oem: 'oem', serviceProvider: 'sp', fleetOwner: 'fleet owner' } as const;

const describe = ({ systemId, status, modelName, modelVersion }: UnitRow) => ({
  ...{ id: systemId, system_uid: systemId, status },
  ...{ model_name: modelName, model_version: modelVersion },
});

export function provisioningRoutes(router: Router, parts: RestParts): void {
  const { database, hostName } = parts;
  for (const version of VERSIONS) {
    const at = (path: string) => `/api/${version}/${path}`;
    router.on('GET', at('users/me'), ({ actor: { name, role } }) => ({
      status: 200,
      value: { username: name, role: ROLE_NAMES[role], oem: { title: hostName } },
    }));
    router.on('GET', at('units/provisioning/supported-software'), () => ({
      status: 200,
      value: { software: SOFTWARE },
    }));
    router.on('GET', at('units'), async (call) => {
      const systemId = call.query('system_uid');
      const all = await database.read(({ units }) => units.list());
      const units = all.filter((unit) => systemId === undefined || unit.systemId === systemId);
      return { status: 200, value: { items: units.map(describe), total: units.length } };
    });
    router.on(
      ...(['POST', at('units/provisioning')] as const),
      async (call) => ({
        status: 201,
        value: await registerUnit(parts, await call.read(RegistrationRequest, 'the registration')),
      }),
      RegistrationRequest,
    );
  }
}
