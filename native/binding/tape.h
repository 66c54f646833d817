// Operators of a computation of fixed shapes, written down once and run again without the host's work for each call.
#pragma once

#include <ATen/core/stack.h>
#include <napi.h>

#include <string>
#include <unordered_map>
#include <vector>

#include "operator.h"

namespace switchyard {

/** record(), refuseTape(), play() and releaseTape() as JavaScript sees them. */
void exportTape(Napi::Env env, Napi::Object exports);

/**
 * What is being recorded. Tensors that an operator made are known by number; all others are what they were, and are read
 * again when it is played: their memory may change, they may not.
 */
class Tape {
 public:
  /** Before a call: its arguments. */
  void enter(const torch::jit::Stack& arguments) {
    if (refusal_.empty()) arguments_ = arguments;
  }

  /** After it: what it gave. */
  void leave(const Operator& op, const torch::jit::Stack& results);

  /** Notes that numbers came from the host, or went there: they would not the next time. What was recorded is forgotten. */
  void refuse(const std::string& why);

  /** Why it cannot be played; empty: it can. */
  const std::string& refusal() const { return refusal_; }

  /** Ends recording: `results` are what play() gives. */
  void end(const std::vector<at::Tensor>& results);

  /** Runs all operators. Throws what they throw. */
  std::vector<at::Tensor> play();

 private:
  /** An argument, or an element of one, that is the tensor `number`. */
  struct Made {
    size_t argument;
    int64_t element;  // of a list; -1: the argument itself
    size_t number;
  };

  struct Step {
    const Operator* op;
    torch::jit::Stack arguments;
    std::vector<Made> made;
    std::vector<int64_t> results;  // numbers of the tensors that it gives, in order; -1: of no new one
    std::vector<size_t> last;      // of tensors that nothing reads later
  };

  int64_t numberOf(const at::Tensor& tensor) const;
  void note(const at::Tensor& tensor, const std::vector<const c10::TensorImpl*>& given, Step& step);
  void play(Step& step);

  torch::jit::Stack arguments_, stack_;
  std::vector<Step> steps_;
  std::unordered_map<const c10::TensorImpl*, size_t> numbers_;
  std::vector<at::Tensor> tensors_;  // by number; while recording all of them, so that no address is used twice
  std::vector<int64_t> resultNumbers_;
  std::string refusal_;
};

}  // namespace switchyard
