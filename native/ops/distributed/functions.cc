// Worlds, groups and collectives as operators. What each rank computes is a part of one loss, the sum over ranks, or, of what is the
// same on all of them, the whole: this decides what comes back in backward.

#include "../common/functions.h"
#include "collectives.h"

namespace switchyard {
namespace {

Group& named(const std::string& group) { return World::current().group(group); }

/** y = sum over ranks. All go on with y to the same loss, so that what comes back is each summand's gradient as it is. */
struct SumOver : Function<SumOver> {
  static at::Tensor forward(AutogradContext*, const at::Tensor& x, const std::string& group) {
    return sumOver(x, named(group));
  }
  static variable_list backward(AutogradContext*, variable_list gradients) {
    refuseSecondDerivative();
    return {gradients[0], at::Tensor()};
  }
};

/** y = x, which each rank goes on with in its own way: their gradients add up. */
struct SharedOver : Function<SharedOver> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const std::string& group) {
    context->saved_data["group"] = group;
    return x.view_as(x);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    refuseSecondDerivative();
    return {sumOver(gradients[0], named(context->saved_data["group"].toStringRef())), at::Tensor()};
  }
};

/** Gradients go back the way that rows came. */
struct AllToAll : Function<AllToAll> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, at::IntArrayRef outputs,
                            at::IntArrayRef inputs, const std::string& group) {
    context->saved_data["outputs"] = outputs.vec();
    context->saved_data["inputs"] = inputs.vec();
    context->saved_data["group"] = group;
    return allToAll(x, outputs, inputs, named(group));
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    refuseSecondDerivative();
    auto& saved = context->saved_data;
    return {allToAll(gradients[0], saved["inputs"].toIntVector(), saved["outputs"].toIntVector(),
                     named(saved["group"].toStringRef())),
            at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

struct AllGather : Function<AllGather> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const std::string& group) {
    context->saved_data["group"] = group;
    return allGather(x, named(group));
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    refuseSecondDerivative();
    return {reduceScatter(gradients[0], named(context->saved_data["group"].toStringRef())), at::Tensor()};
  }
};

struct ReduceScatter : Function<ReduceScatter> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const std::string& group) {
    context->saved_data["group"] = group;
    return reduceScatter(x, named(group));
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    refuseSecondDerivative();
    return {allGather(gradients[0], named(context->saved_data["group"].toStringRef())), at::Tensor()};
  }
};

using std::chrono::milliseconds;

std::vector<uint8_t> bytesOf(const std::string& text) { return {text.begin(), text.end()}; }
std::string textOf(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

std::string storeGet(std::string key, int64_t timeout) {
  c10d::Store& store = World::current().store();
  store.wait({key}, milliseconds(timeout));
  return textOf(store.get(key));
}

/** The first value of a key stays. */
std::string storeClaim(std::string key, std::string value) {
  return textOf(World::current().store().compareSet(key, {}, bytesOf(value)));
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(switchyard, library) {
  library.def("join_world(str host, int port, bool serves, str prefix, int timeout) -> ()",
              [](std::string host, int64_t port, bool serves, std::string prefix, int64_t timeout) {
                World::join({host, port, serves, prefix, milliseconds(timeout)});
              });
  library.def("leave_world() -> ()", [] { World::leave(); });
  library.def("hang_up() -> ()", [] { World::current().hangUp(); });
  library.def("exit_now(int code) -> ()", [](int64_t code) { _exit(static_cast<int>(code)); });
  library.def("store_set(str key, str value) -> ()",
              [](std::string key, std::string value) { World::current().store().set(key, bytesOf(value)); });
  library.def("store_get(str key, int timeout) -> str", &storeGet);
  library.def("store_has(str key) -> bool", [](std::string key) { return World::current().store().check({key}); });
  library.def("store_claim(str key, str value) -> str", &storeClaim);
  library.def("start_beats(str key, int interval) -> ()", [](std::string key, int64_t interval) {
    World::current().startBeats(key, milliseconds(interval));
  });
  library.def("note_progress(str progress) -> ()", [](std::string progress) { World::current().note(progress); });
  library.def("make_group(str name, int rank, int size, int timeout) -> ()",
              [](std::string name, int64_t rank, int64_t size, int64_t timeout) {
                World::current().makeGroup(name, static_cast<int>(rank), static_cast<int>(size), milliseconds(timeout));
              });
  library.def("traffic() -> str", [] { return World::current().traffic(); });

  library.def("sum_over(Tensor x, str group) -> Tensor",
              [](const at::Tensor& x, std::string group) { return SumOver::apply(x, group); });
  library.def("shared_over(Tensor x, str group) -> Tensor",
              [](const at::Tensor& x, std::string group) { return SharedOver::apply(x, group); });
  library.def("all_to_all(Tensor x, int[] outputs, int[] inputs, str group) -> Tensor",
              [](const at::Tensor& x, at::IntArrayRef outputs, at::IntArrayRef inputs, std::string group) {
                return AllToAll::apply(x, outputs, inputs, group);
              });
  library.def("all_gather(Tensor x, str group) -> Tensor",
              [](const at::Tensor& x, std::string group) { return AllGather::apply(x, group); });
  library.def("reduce_scatter(Tensor x, str group) -> Tensor",
              [](const at::Tensor& x, std::string group) { return ReduceScatter::apply(x, group); });
  library.def("broadcast_from(Tensor(a!) x, int root, str group) -> ()",
              [](const at::Tensor& x, int64_t root, std::string group) { broadcast(x, root, named(group)); });
  library.def("start_sum(Tensor(a!)[] xs, str group) -> int",
              [](at::TensorList xs, std::string group) { return startSum(xs, named(group)); });
  library.def("start_send(Tensor x, int peer, int tag, str group) -> int",
              [](const at::Tensor& x, int64_t peer, int64_t tag, std::string group) {
                return startSend(x, peer, tag, named(group));
              });
  library.def("start_receive(Tensor(a!) x, int peer, int tag, str group) -> int",
              [](const at::Tensor& x, int64_t peer, int64_t tag, std::string group) {
                return startReceive(x, peer, tag, named(group));
              });
  library.def("finish_message(int ticket) -> ()", [](int64_t ticket) { World::current().finish(ticket); });
}

}  // namespace switchyard
