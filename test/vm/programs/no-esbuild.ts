/** Stands for esbuild in programs that run inside of the machine: what is built there was built before. */
function refuse(): never {
  throw new Error('nothing is built inside of the machine');
}

export { refuse as build, refuse as transform };
