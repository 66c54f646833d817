// Graph nodes that run JavaScript again in backward instead of keeping what its first run computed.
#pragma once

#include <napi.h>

namespace switchyard {

/**
 * Makes backward run on the thread that calls it, on every device: JavaScript can be called from no other, and the
 * engine gives CUDA nodes to threads of its own otherwise. A setting of the thread; libtorch 1 has none, and has no such
 * threads for a CPU.
 */
void runBackwardHere();

void exportRecompute(Napi::Env env, Napi::Object exports);

}  // namespace switchyard
