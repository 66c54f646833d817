// What native libraries read from the environment when they are loaded.

/**
 * Sets what makes their threads get along, unless the user has set it. A worker has only a copy of the environment, so that
 * who starts workers which will load the addon calls this before, in the main thread.
 */
export function prepareEnvironment(): void {
  // libgomp reads this once, when libtorch pulls it in. Spinning OpenMP threads would fight with BLAS's own.
  process.env.OMP_WAIT_POLICY ??= 'passive'
  // OpenBLAS's threads look for work for 2^n cycles before they sleep. Its 2^26 last 20 ms, which are taken from the
  // OpenMP threads that run meanwhile: a quarter of a training step on two cores.
  process.env.OPENBLAS_THREAD_TIMEOUT ??= '16'
  // c10d tells of every address that it tries; what comes of it is in its errors.
  process.env.TORCH_CPP_LOG_LEVEL ??= 'FATAL'
  process.env.GLOG_minloglevel ??= '3' // the same for a libtorch with glog, as Debian's
}
