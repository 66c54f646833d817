// Planning a mesh: memory, communication and time before anything is started.

export { checkBatch, checkCluster, checkMesh } from './check.ts'
export { type Collective, type Traffic, trafficOf, trafficSeconds } from './collectives.ts'
export type { Exchange } from './communication.ts'
export { type Cluster, type Hardware, hardware, type Link, parseCluster } from './hardware.ts'
export { type RankMemory, rankBytes } from './memory.ts'
export { type MeshPlan, type PlanOptions, planMesh, type StagePlan, type StepTime } from './plan.ts'
export { defaultSettings, type PlanSettings } from './settings.ts'
export { suggestMesh } from './suggest.ts'
