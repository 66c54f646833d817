// What TypeScript sees of the CUDA runtime, in a build with CUDA: memory, streams, events, graphs, pinned memory.
#pragma once

#include <napi.h>

namespace switchyard {

/** Sets `exports.cuda`; in a build without CUDA it is left out. */
void exportCuda(Napi::Env env, Napi::Object exports);

}  // namespace switchyard
