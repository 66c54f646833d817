// Many processes as one: meshes of ranks, who is where, what is divided among them, and who is to blame when they cannot go on.

export { Cluster, type ClusterOptions, refuseOtherSize } from './cluster.ts'
export {
  type Division,
  type Divisions,
  divideModel,
  filledWhole,
  partOf,
  whileWhole,
} from './division.ts'
export { ClusterError, explainFailure, tellFailure, untilOthersKnow } from './failure.ts'
export { failureExitCode } from './failure-code.ts'
export {
  batchAxes,
  describeMesh,
  groupRanks,
  type MeshAxis,
  type MeshPlace,
  type MeshSizes,
  meshAxes,
  meshSizes,
  parseMesh,
  placeOf,
  rankAt,
  worldSize,
} from './mesh.ts'
export { type Placing, placingOf } from './placing.ts'
