import { SwitchyardError } from '../errors.ts'

/** Training ended because its gradients stayed NaN or infinite. */
export class TrainingDiverged extends SwitchyardError {}
