// What ranks of a group do together. n ranks; results are new tensors.
#pragma once

#include "world.h"

namespace switchyard {

/** The sum over ranks, the same bits on each. */
at::Tensor sumOver(const at::Tensor& x, Group& group);

/** Rows of dimension 0 to the rank that each is for: `inputs[r]` of them to rank r, of which `outputs[r]` come. */
at::Tensor allToAll(const at::Tensor& x, at::IntArrayRef outputs, at::IntArrayRef inputs, Group& group);

/** [S, ...] of each rank, after each other: [n S, ...]. */
at::Tensor allGather(const at::Tensor& x, Group& group);

/** The sum over ranks, of which each has a part: [n S, ...] -> [S, ...]. */
at::Tensor reduceScatter(const at::Tensor& x, Group& group);

void broadcast(const at::Tensor& x, int64_t root, Group& group);

/** Sums that go on meanwhile, as one message; `finish` writes them into the tensors. */
int64_t startSum(at::TensorList xs, Group& group);
int64_t startSend(const at::Tensor& x, int64_t peer, int64_t tag, Group& group);
int64_t startReceive(const at::Tensor& x, int64_t peer, int64_t tag, Group& group);

}  // namespace switchyard
