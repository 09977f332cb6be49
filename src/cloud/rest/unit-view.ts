/** A unit as the REST interface shows it: the words of its own status, and what the cloud knows. */
import type { UnitPicture } from '../model/unit-picture.ts';
import type { UnitRow } from '../store/units.ts';

export interface UnitView extends UnitPicture {
  readonly systemId: string;
  readonly online: boolean;
  readonly lastSeen?: string;
  readonly status: UnitRow['status'];
  readonly model: { readonly name: string; readonly version: string };
  readonly provisionedAt: string;
  /** '' for none. */
  readonly fleet: string;
}

export function unitView(unit: UnitRow, picture: UnitPicture, online: boolean): UnitView {
  const { systemId, status, modelName, modelVersion, provisionedAt, lastSeen, fleet } = unit;
  return {
    ...{ systemId, online },
    ...(lastSeen !== null && { lastSeen }),
    ...{ status, model: { name: modelName, version: modelVersion }, provisionedAt, fleet },
    ...picture,
  };
}
