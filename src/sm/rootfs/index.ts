/** Root file systems of containers: what they are made of, and how they come and go. */
export {
  composeRoot,
  type HostEntry,
  type LayerFacts,
  type LayerView,
  type MountPoint,
  mountPoints,
  type RootFacts,
  type RootPlan,
} from './compose-root.ts';
export { ContainerRoots, type PreparedRoot, type RootRequest, type RootsOptions } from './container-roots.ts';
export { networkFiles, type RootNetwork } from './network-files.ts';
