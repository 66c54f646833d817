// The process around libtorch: version, devices, threads, BLAS, random generators.
#pragma once

#include <napi.h>

namespace switchyard {

/** Loads libtorch's CUDA library when it lies beside the CPU one; nothing links to it by symbol. */
void loadCuda();

void exportRuntime(Napi::Env env, Napi::Object exports);

}  // namespace switchyard
