export { type Message, ProcessGroup, type ProcessGroupOptions } from './process-group.ts'
export {
  exitNow,
  hangUp,
  hasDistributed,
  joinWorld,
  leaveWorld,
  type Meeting,
  noteProgress,
  startBeats,
  type Traffic,
  traffic,
  worldStore,
} from './world.ts'
