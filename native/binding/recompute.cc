#include "recompute.h"

#include <c10/core/AutogradState.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>

#include <memory>
#include <thread>

#include "../ops/common/version.h"
#include "errors.h"
#include "instance.h"

namespace switchyard {
namespace {

using torch::autograd::variable_list;

/** A JavaScript function that a graph holds: dropped on any thread, called on its own only. */
class Callback {
 public:
  Callback(Napi::Env env, Napi::Function function)
      : env_(env), thread_(std::this_thread::get_id()), references_(Instance::of(env).buffers) {
    napi_create_reference(env, function, 1, &reference_);
  }

  ~Callback() { references_->push(reference_); }

  Callback(const Callback&) = delete;
  Callback& operator=(const Callback&) = delete;

  /** Throws when JavaScript cannot be called from here. */
  Napi::Env env() const {
    TORCH_CHECK(thread_ == std::this_thread::get_id(),
                "recompute() was reached on a thread of libtorch's own, where no JavaScript can run: this libtorch ",
                TORCH_VERSION, " needs version 2 for that on CUDA; or set recompute: none");
    return env_;
  }

  Napi::Function function() const {
    napi_value value;
    napi_get_reference_value(env_, reference_, &value);
    return Napi::Function(env_, value);
  }

 private:
  Napi::Env env_;
  std::thread::id thread_;
  napi_ref reference_ = nullptr;
  std::shared_ptr<BufferReleases> references_;
};

/** Handles made while it lives are gone with it. */
class HandleScope {
 public:
  explicit HandleScope(HandleTable& handles) : handles_(handles) { handles_.openScope(); }
  ~HandleScope() { handles_.closeScope({}); }

 private:
  HandleTable& handles_;
};

Napi::Array toHandles(Napi::Env env, HandleTable& handles, const variable_list& tensors) {
  Napi::Array list = Napi::Array::New(env, tensors.size());
  for (uint32_t i = 0; i < tensors.size(); i++) {
    list.Set(i, tensors[i].defined() ? Napi::Value(Napi::Number::New(env, handles.add(tensors[i]))) : env.Null());
  }
  return list;
}

variable_list toTensors(const Napi::Value& list, const HandleTable& handles) {
  variable_list tensors;
  const Napi::Array array = list.As<Napi::Array>();
  for (uint32_t i = 0; i < array.Length(); i++) {
    tensors.push_back(handles.get(array.Get(i).As<Napi::Number>().DoubleValue()));
  }
  return tensors;
}

/**
 * Keeps the inputs of a function and computes its backward by running it again on copies of them outside of the graph,
 * whose gradients are then the node's (torch.utils.checkpoint with use_reentrant=True; arXiv:1604.06174).
 */
class Recomputation final : public torch::autograd::Node {
 public:
  Recomputation(const variable_list& inputs, std::unique_ptr<Callback> again) : again_(std::move(again)) {
    for (const at::Tensor& input : inputs) inputs_.emplace_back(input, false);
  }

  std::string name() const override { return "Recomputation"; }

  void release_variables() override {
    for (auto& input : inputs_) input.reset_data();
    isReleased_ = true;
  }

  variable_list apply(variable_list&& gradients) override {
    const Napi::Env env = again_->env();
    checkMode();
    HandleTable& handles = Instance::of(env).handles;
    const Napi::HandleScope values(env);
    const HandleScope scope(handles);
    const variable_list inputs = detachedInputs();
    again_->function().Call({toHandles(env, handles, inputs), toHandles(env, handles, gradients)});
    variable_list result;
    for (const at::Tensor& input : inputs) result.push_back(input.requires_grad() ? input.grad() : at::Tensor());
    return result;
  }

 private:
  void checkMode() const {
    TORCH_CHECK(!isReleased_, "backward went through recompute() already: the first needs retainGraph: true");
    TORCH_CHECK(!c10::GradMode::is_enabled(), "what recompute() runs again has no second derivative: createGraph must "
                "be false");
    TORCH_CHECK(torch::autograd::Engine::get_default_engine().is_checkpoint_valid(),
                "grad() cannot go through recompute(), which adds gradients into its leaves: use backward()");
  }

  variable_list detachedInputs() {
    variable_list inputs;
    for (const auto& saved : inputs_) {
      const at::Tensor input = saved.unpack();
      inputs.push_back(input.detach());
      inputs.back().set_requires_grad(input.requires_grad());
    }
    return inputs;
  }

  std::vector<torch::autograd::SavedVariable> inputs_;
  std::unique_ptr<Callback> again_;
  bool isReleased_ = false;
};

/** How the graph holds its nodes: libtorch went from std::shared_ptr to a pointer that counts within the node. */
using NodePointer = decltype(torch::autograd::Edge::function);

template <typename Pointer>
Pointer owned(torch::autograd::Node* node) {
  if constexpr (std::is_same_v<Pointer, std::shared_ptr<torch::autograd::Node>>) {
    // Found where it exists, as the argument's own namespace is searched; it takes long chains apart without recursion.
    return Pointer(node, [](auto* each) { deleteNode(each); });
  } else {
    return Pointer::unsafe_steal_from_new(node);
  }
}

/** isRecording(handles): whether something computed from these tensors would be part of a graph */
Napi::Value isRecording(const Napi::CallbackInfo& info) {
  const variable_list tensors = toTensors(info[0], Instance::of(info.Env()).handles);
  const bool some = std::any_of(tensors.begin(), tensors.end(), [](const auto& each) { return each.requires_grad(); });
  return Napi::Boolean::New(info.Env(), c10::GradMode::is_enabled() && some);
}

/**
 * recomputed(inputs, outputs, again) -> whether each output now has a gradient: it was made in the innermost scope, and
 * is of a type that can have one. Its handle then stands for the output in the graph. Backward calls
 * again(inputs, gradients), gradients of those outputs, null for one that nothing depends on.
 */
Napi::Value recomputed(const Napi::CallbackInfo& info) {
  HandleTable& handles = Instance::of(info.Env()).handles;
  const variable_list inputs = toTensors(info[0], handles);
  const Napi::Array outputs = info[1].As<Napi::Array>();
  auto again = std::make_unique<Callback>(info.Env(), info[2].As<Napi::Function>());
  const auto node = owned<NodePointer>(new Recomputation(inputs, std::move(again)));
  node->set_next_edges(torch::autograd::collect_next_edges(inputs));
  Napi::Array result = Napi::Array::New(info.Env(), outputs.Length());
  for (uint32_t i = 0; i < outputs.Length(); i++) {
    const double handle = outputs.Get(i).As<Napi::Number>().DoubleValue();
    const at::Tensor& output = handles.get(handle);
    const bool connects = handles.isInnermost(handle) && torch::autograd::isDifferentiableType(output.scalar_type());
    result.Set(i, connects);
    if (!connects) continue;
    at::Tensor connected = output.detach();
    torch::autograd::set_history(connected, node);
    handles.replace(handle, connected);
  }
  return result;
}

/** backwardFrom(outputs, gradients): backward of several outputs at once */
Napi::Value backwardFrom(const Napi::CallbackInfo& info) {
  const HandleTable& handles = Instance::of(info.Env()).handles;
  torch::autograd::backward(toTensors(info[0], handles), toTensors(info[1], handles));
  return info.Env().Undefined();
}

}  // namespace

void runBackwardHere() {
#if SWITCHYARD_TORCH_AT_LEAST(2, 0)
  c10::AutogradState::get_tls_state().set_multithreading_enabled(false);
#endif
}

void exportRecompute(Napi::Env env, Napi::Object exports) {
  exports.Set("isRecording", Napi::Function::New(env, guarded<isRecording>, "isRecording"));
  exports.Set("recomputed", Napi::Function::New(env, guarded<recomputed>, "recomputed"));
  exports.Set("backwardFrom", Napi::Function::New(env, guarded<backwardFrom>, "backwardFrom"));
}

}  // namespace switchyard
