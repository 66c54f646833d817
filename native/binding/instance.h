// State of one JavaScript environment (the main thread or one worker). Nothing here is process-global.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/stack.h>
#include <napi.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "handles.h"
#include "operator.h"

namespace switchyard {

/**
 * References to ArrayBuffers that back tensors, and to functions that graphs call. Both may die on any thread (autograd
 * drops some on its own), but a napi_ref may only be deleted on the thread of its environment: it is queued here.
 */
class BufferReleases {
 public:
  void push(napi_ref reference);
  std::vector<napi_ref> take();

 private:
  std::mutex mutex_;
  std::vector<napi_ref> pending_;
  std::atomic<bool> some_{false};  // so that an empty queue costs no lock
};

class Tape;

/** One memory-mapped file; tensors made from it share ownership, the last one unmaps. */
class Mapping;

struct Instance {
  HandleTable handles;
  std::vector<std::unique_ptr<Operator>> operators;  // an operator stays where it is while others are found
  std::unordered_map<std::string, uint32_t> operatorIds;  // "aten::add.Tensor" -> index
  std::unordered_map<uint32_t, at::Generator> generators;  // by numbers that are never used again
  uint32_t nextGenerator = 0;
  std::vector<std::shared_ptr<Mapping>> mappings;
  std::shared_ptr<BufferReleases> buffers = std::make_shared<BufferReleases>();
  torch::jit::Stack stack;  // reused by every operator call
  Tape* tape = nullptr;     // what is being recorded
  Napi::FunctionReference makeError;  // (kind, message, operator, arguments) -> Error
  int64_t reportedBytes = 0;  // what V8 was last told about memory it could free

  /** What can only be done on this thread, now and then: frees buffers, tells V8 of memory it could free. */
  void tidyUp(napi_env env);

  static Instance& of(napi_env env);
};

}  // namespace switchyard
