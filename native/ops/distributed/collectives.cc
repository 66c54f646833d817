// On Gloo of libtorch 1.13, which lacks a sum that is scattered and does not know bf16.
#include "collectives.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

namespace switchyard {
namespace {

/** A type that Gloo can add in. */
at::ScalarType summedAs(const at::Tensor& x) {
  return x.scalar_type() == at::kBFloat16 ? at::kFloat : x.scalar_type();
}

/** What is only moved moves as bytes, whatever its type: [R, ...] -> u8 [R, bytes of a row]. */
at::Tensor bytesOf(const at::Tensor& x) {
  const int64_t rows = x.size(0);
  const int64_t width = rows == 0 ? 0 : x.numel() / rows * static_cast<int64_t>(x.element_size());
  return at::from_blob(x.data_ptr(), {rows, width}, at::TensorOptions().dtype(at::kByte));
}

int64_t bytes(const at::Tensor& x) { return static_cast<int64_t>(x.nbytes()); }

/** What each rank sends of n bytes in a ring: its sum goes round twice, what is gathered once. */
int64_t ringBytes(int64_t whole, int64_t rounds, const Group& group) {
  return rounds * whole * (group.size() - 1) / group.size();
}

void addUp(at::Tensor& x, Group& group) {
  std::vector<at::Tensor> one{x};
  World& world = World::current();
  world.count("sum", ringBytes(bytes(x), 2, group));
  world.wait(group.ranks->allreduce(one), "sum", group);
}

}  // namespace

at::Tensor sumOver(const at::Tensor& x, Group& group) {
  at::Tensor sum = x.to(x.options().dtype(summedAs(x)), false, /*copy=*/true).contiguous();
  if (group.size() > 1) addUp(sum, group);
  return sum.to(x.scalar_type());
}

at::Tensor allToAll(const at::Tensor& x, at::IntArrayRef outputs, at::IntArrayRef inputs, Group& group) {
  const auto n = static_cast<size_t>(group.size());
  TORCH_CHECK(outputs.size() == n && inputs.size() == n, "splits of ", outputs.size(), " and ", inputs.size(),
              " ranks for a group of ", n);
  std::vector<int64_t> sizes = x.sizes().vec();
  TORCH_CHECK(!sizes.empty() && c10::multiply_integers(sizes) >= 0, "rows are moved, a scalar has none");
  const int64_t sent = std::accumulate(inputs.begin(), inputs.end(), int64_t{0});
  TORCH_CHECK(sent == sizes[0], "splits are of ", sent, " rows, there are ", sizes[0]);
  sizes[0] = std::accumulate(outputs.begin(), outputs.end(), int64_t{0});
  const at::Tensor from = x.contiguous();
  at::Tensor to = at::empty(sizes, x.options());
  at::Tensor fromBytes = bytesOf(from), toBytes = bytesOf(to);
  std::vector<int64_t> outputSplits = outputs.vec(), inputSplits = inputs.vec();
  World& world = World::current();
  const int64_t kept = inputs[group.rank()];
  world.count("all-to-all", sizes[0] == 0 && sent == 0 ? 0 : (sent - kept) * (sent == 0 ? 0 : bytes(from) / sent));
  world.wait(group.ranks->alltoall_base(toBytes, fromBytes, outputSplits, inputSplits), "all-to-all", group);
  return to;
}

at::Tensor allGather(const at::Tensor& x, Group& group) {
  const int64_t n = group.size();
  std::vector<int64_t> sizes = x.sizes().vec();
  TORCH_CHECK(!sizes.empty(), "rows are gathered, a scalar has none");
  sizes[0] *= n;
  const at::Tensor from = x.contiguous();
  at::Tensor all = at::empty(sizes, x.options());
  if (x.numel() == 0) return all;
  std::vector<at::Tensor> input{bytesOf(from)};
  std::vector<std::vector<at::Tensor>> outputs{bytesOf(all).chunk(n)};
  World& world = World::current();
  world.count("all-gather", ringBytes(bytes(all), 1, group));
  world.wait(group.ranks->allgather(outputs, input), "all-gather", group);
  return all;
}

at::Tensor reduceScatter(const at::Tensor& x, Group& group) {
  const int64_t n = group.size();
  TORCH_CHECK(x.dim() > 0 && x.size(0) % n == 0, "a sum of ", x.sizes(), " is not scattered evenly among ", n);
  std::vector<int64_t> parts = x.sizes().vec();
  parts[0] /= n;
  const std::vector<int64_t> even(n, parts[0]);
  parts.insert(parts.begin(), n);
  return allToAll(x, even, even, group).view(parts).sum(0);  // [n, S, ...] -> [S, ...]
}

void broadcast(const at::Tensor& x, int64_t root, Group& group) {
  TORCH_CHECK(x.is_contiguous(), "what is written to lies in one piece");
  if (x.numel() == 0) return;
  c10d::BroadcastOptions options;
  options.rootRank = root;
  std::vector<at::Tensor> one{bytesOf(x.view({1, -1}))};
  World& world = World::current();
  world.count("broadcast", group.rank() == root ? bytes(x) : 0);
  world.wait(group.ranks->broadcast(one, options), "broadcast", group);
}

int64_t startSum(at::TensorList xs, Group& group) {
  TORCH_CHECK(xs.size() > 0, "a sum of nothing");
  const at::ScalarType type = summedAs(xs[0]);
  std::vector<at::Tensor> flat;
  flat.reserve(xs.size());
  for (const at::Tensor& x : xs) flat.push_back(x.reshape(-1).to(type));
  at::Tensor bucket = at::cat(flat);
  std::vector<at::Tensor> one{bucket};
  const std::vector<at::Tensor> targets = xs.vec();
  World& world = World::current();
  world.count("bucket", ringBytes(bytes(bucket), 2, group));
  return world.begin(group.ranks->allreduce(one), "bucket", group, [bucket, targets] {
    int64_t start = 0;
    for (const at::Tensor& x : targets) {
      x.copy_(bucket.narrow(0, start, x.numel()).view(x.sizes()));
      start += x.numel();
    }
  });
}

int64_t startSend(const at::Tensor& x, int64_t peer, int64_t tag, Group& group) {
  const at::Tensor kept = x.contiguous();
  std::vector<at::Tensor> one{bytesOf(kept.view({1, -1}))};
  World& world = World::current();
  world.count("send", bytes(kept));
  return world.begin(group.ranks->send(one, static_cast<int>(peer), static_cast<int>(tag)), "send", group, [kept] {});
}

int64_t startReceive(const at::Tensor& x, int64_t peer, int64_t tag, Group& group) {
  TORCH_CHECK(x.is_contiguous(), "what is received lies in one piece");
  std::vector<at::Tensor> one{bytesOf(x.view({1, -1}))};
  World& world = World::current();
  world.count("receive", 0);
  return world.begin(group.ranks->recv(one, static_cast<int>(peer), static_cast<int>(tag)), "receive", group,
                     [x] {});
}

}  // namespace switchyard
