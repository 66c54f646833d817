#include "tape.h"

#include <ATen/autocast_mode.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include <algorithm>

#include "errors.h"
#include "instance.h"
#include "tensors.h"

namespace switchyard {
namespace {

/** Calls `use(tensor, element)` for the tensors of a value, `element` being -1 outside of lists. */
template <typename Use>
void eachTensor(const c10::IValue& value, const Use& use) {
  if (value.isTensor()) {
    if (value.toTensor().defined()) use(value.toTensor(), int64_t{-1});
  } else if (value.isTensorList()) {
    const c10::List<at::Tensor> list = value.toTensorList();
    for (size_t i = 0; i < list.size(); i++) use(list.get(i), static_cast<int64_t>(i));
  } else if (value.isOptionalTensorList()) {
    const auto list = value.toOptionalTensorList();
    for (size_t i = 0; i < list.size(); i++) {
      const c10::optional<at::Tensor> element = list.get(i);
      if (element.has_value() && element->defined()) use(*element, static_cast<int64_t>(i));
    }
  }
}

/** A list of its own with one element replaced. */
void setElement(c10::IValue& value, int64_t element, const at::Tensor& tensor) {
  if (value.isTensorList()) {
    c10::List<at::Tensor> list = value.toTensorList().copy();
    list.set(element, tensor);
    value = list;
  } else {
    auto list = value.toOptionalTensorList().copy();
    list.set(element, tensor);
    value = list;
  }
}

}  // namespace

void Tape::refuse(const std::string& why) {
  if (refusal_.empty()) refusal_ = why;
  arguments_.clear();
  steps_.clear();
  tensors_.clear();
  numbers_.clear();
}

int64_t Tape::numberOf(const at::Tensor& tensor) const {
  const auto found = numbers_.find(tensor.unsafeGetTensorImpl());
  return found == numbers_.end() ? -1 : static_cast<int64_t>(found->second);
}

/** A result is a new tensor, or one that was given: then it is known already, or always the same. */
void Tape::note(const at::Tensor& tensor, const std::vector<const c10::TensorImpl*>& given, Step& step) {
  const c10::TensorImpl* impl = tensor.unsafeGetTensorImpl();
  const bool wasGiven = std::find(given.begin(), given.end(), impl) != given.end();
  int64_t number = numberOf(tensor);
  if (number < 0 && !wasGiven) {
    number = static_cast<int64_t>(tensors_.size());
    tensors_.push_back(tensor);
    numbers_[impl] = number;
  }
  step.results.push_back(number);
}

void Tape::leave(const Operator& op, const torch::jit::Stack& results) {
  if (!refusal_.empty()) return;
  const auto isTensors = [](const c10::IValue& result) { return result.isTensor() || result.isTensorList(); };
  if (op.handle.hasTag(at::Tag::dynamic_output_shape) || op.handle.hasTag(at::Tag::data_dependent_output) ||
      !std::all_of(results.begin(), results.end(), isTensors)) {
    return refuse("shapes or numbers follow from data");
  }
  const bool isDrawn = std::any_of(arguments_.begin(), arguments_.end(), [](const auto& value) { return value.isGenerator(); });
  if (isDrawn || op.handle.hasTag(at::Tag::nondeterministic_seeded)) return refuse("random numbers are drawn");
  if (at::autocast::is_cpu_enabled() || at::autocast::is_enabled()) return refuse("precision is mixed");
  Step step{&op, std::move(arguments_), {}, {}, {}};
  std::vector<const c10::TensorImpl*> given;
  for (size_t i = 0; i < step.arguments.size(); i++) {
    eachTensor(step.arguments[i], [&](const at::Tensor& tensor, int64_t element) {
      given.push_back(tensor.unsafeGetTensorImpl());
      const int64_t number = numberOf(tensor);
      if (number >= 0) step.made.push_back({i, element, static_cast<size_t>(number)});
    });
  }
  for (const c10::IValue& result : results) {
    eachTensor(result, [&](const at::Tensor& tensor, int64_t) { note(tensor, given, step); });
  }
  steps_.push_back(std::move(step));
}

void Tape::end(const std::vector<at::Tensor>& results) {
  if (!refusal_.empty()) return;
  for (const at::Tensor& result : results) {
    resultNumbers_.push_back(numberOf(result));
    if (resultNumbers_.back() < 0) return refuse("a result is not computed");
  }
  std::vector<bool> isRead(tensors_.size());
  for (const int64_t number : resultNumbers_) {
    if (number >= 0) isRead[number] = true;
  }
  for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
    const auto last = [&](size_t number) {
      if (!isRead[number]) step->last.push_back(number);
      isRead[number] = true;
    };
    for (const int64_t number : step->results) {
      if (number >= 0) last(number);
    }
    for (const Made& made : step->made) last(made.number);
    // What is played is made anew: the tensors of the recording are not kept.
    for (const Made& made : step->made) {
      if (made.element < 0) step->arguments[made.argument] = c10::IValue();
      else setElement(step->arguments[made.argument], made.element, at::Tensor());
    }
  }
  const size_t count = tensors_.size();
  tensors_.clear();
  tensors_.resize(count);
  numbers_.clear();
}

void Tape::play(Step& step) {
  stack_.assign(step.arguments.begin(), step.arguments.end());
  for (const Made& made : step.made) {
    if (made.element < 0) stack_[made.argument] = tensors_[made.number];
    else setElement(stack_[made.argument], made.element, tensors_[made.number]);
  }
  step.op->handle.callBoxed(stack_);
  size_t next = 0;
  for (const c10::IValue& result : stack_) {
    eachTensor(result, [&](const at::Tensor& tensor, int64_t) {
      const int64_t number = next < step.results.size() ? step.results[next++] : -1;
      if (number >= 0) tensors_[number] = tensor;
    });
  }
  for (const size_t number : step.last) tensors_[number].reset();
}

std::vector<at::Tensor> Tape::play() {
  TORCH_CHECK(!steps_.empty(), "the tape was given back");
  const c10::impl::ExcludeDispatchKeyGuard asRecorded(c10::autocast_dispatch_keyset);
  try {
    for (Step& step : steps_) play(step);
  } catch (...) {
    stack_.clear();
    for (at::Tensor& tensor : tensors_) tensor.reset();
    throw;
  }
  stack_.clear();
  std::vector<at::Tensor> results;
  for (const int64_t number : resultNumbers_) results.push_back(tensors_[number]);
  for (const int64_t number : resultNumbers_) tensors_[number].reset();
  return results;
}

namespace {

/** record(callback) -> a tape that gives the tensors whose handles the callback returned; or why there can be none. */
Napi::Value record(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  Instance& instance = Instance::of(env);
  if (instance.tape != nullptr) throw ArgumentError("a recording is under way already");
  auto tape = std::make_unique<Tape>();
  if (!c10::InferenceMode::is_enabled()) tape->refuse("gradients may be asked for");
  instance.tape = tape.get();
  Napi::Value returned;
  try {
    returned = info[0].As<Napi::Function>().Call({});
  } catch (...) {
    instance.tape = nullptr;
    throw;
  }
  instance.tape = nullptr;
  const auto handles = returned.As<Napi::Array>();
  std::vector<at::Tensor> results;
  for (uint32_t i = 0; i < handles.Length(); i++) {
    results.push_back(instance.handles.get(handles.Get(i).As<Napi::Number>().DoubleValue()));
  }
  tape->end(results);
  if (!tape->refusal().empty()) return Napi::String::New(env, tape->refusal());
  return Napi::External<Tape>::New(env, tape.release(), [](Napi::Env, Tape* held) { delete held; });
}

/** refuseTape(why): what is being recorded, if anything, cannot be played. */
Napi::Value refuseTape(const Napi::CallbackInfo& info) {
  if (Tape* tape = Instance::of(info.Env()).tape) tape->refuse(info[0].As<Napi::String>().Utf8Value());
  return info.Env().Undefined();
}

/** releaseTape(tape): gives back all tensors that it knows. */
Napi::Value releaseTape(const Napi::CallbackInfo& info) {
  *info[0].As<Napi::External<Tape>>().Data() = Tape();
  return info.Env().Undefined();
}

/** play(tape) -> handles */
Napi::Value play(const Napi::CallbackInfo& info) {
  const std::vector<at::Tensor> results = info[0].As<Napi::External<Tape>>().Data()->play();
  Napi::Array handles = Napi::Array::New(info.Env(), results.size());
  for (uint32_t i = 0; i < results.size(); i++) handles.Set(i, newHandle(info.Env(), results[i]));
  return handles;
}

}  // namespace

void exportTape(Napi::Env env, Napi::Object exports) {
  exports.Set("record", Napi::Function::New(env, guarded<record>, "record"));
  exports.Set("refuseTape", Napi::Function::New(env, guarded<refuseTape>, "refuseTape"));
  exports.Set("releaseTape", Napi::Function::New(env, guarded<releaseTape>, "releaseTape"));
  exports.Set("play", Napi::Function::New(env, guarded<play>, "play"));
}

}  // namespace switchyard
