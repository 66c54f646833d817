// Shapes: B sequences, T positions, H heads, D head width, R rotated dimensions.

#include "rotate_launch.h"

#include "../common/row_block.cuh"

namespace switchyard::cuda {
namespace {

/** `y_i = x_i cos_i - x_j sin_i`, `y_j = x_j cos_j + x_i sin_j` for j = i + R / 2; dimensions from R on are copied. */
template <typename T, int V>
__global__ void __launch_bounds__(256) rotateRows(Rotate args, uint32_t rows, int lanes) {
  const RowLane at(lanes);
  if (at.row() >= rows) return;
  const uint32_t row = static_cast<uint32_t>(at.row()), heads = static_cast<uint32_t>(args.heads);
  const uint32_t head = row % heads, both = row / heads;
  const uint32_t position = both % static_cast<uint32_t>(args.positions);
  const uint32_t sequence = both / static_cast<uint32_t>(args.positions);
  const T* x = static_cast<const T*>(args.x) + sequence * args.strides[0] + position * args.strides[1] +
               head * args.strides[2];
  T* y = static_cast<T*>(args.y) + static_cast<int64_t>(row) * args.width;
  const int64_t angle = sequence * args.angleStride + position * args.rotated, half = args.rotated / 2;
  const float sign = args.inverse ? -1.0f : 1.0f;
  for (int64_t i = at.lane * V; i < half; i += at.lanes * V) {
    float first[V], second[V], cosFirst[V], sinFirst[V], cosSecond[V], sinSecond[V];
    load(x + i, first);
    load(x + i + half, second);
    load(args.cos + angle + i, cosFirst);
    load(args.sin + angle + i, sinFirst);
    load(args.cos + angle + i + half, cosSecond);
    load(args.sin + angle + i + half, sinSecond);
#pragma unroll
    for (int v = 0; v < V; v++) {
      const float before = first[v];
      first[v] = before * cosFirst[v] - sign * second[v] * sinFirst[v];
      second[v] = second[v] * cosSecond[v] + sign * before * sinSecond[v];
    }
    store(y + i, first);
    store(y + i + half, second);
  }
  for (int64_t i = args.rotated + at.lane * V; i < args.width; i += at.lanes * V) {
    storePack(y + i, loadPack<T, V>(x + i));
  }
}

template <typename T>
bool areAllWide(const Rotate& args) {
  const int64_t vector = kVector<T>;
  const bool aligned = isWide<T>(args.width, {args.x, args.y, args.cos, args.sin});
  return aligned && args.rotated % (2 * vector) == 0 && args.strides[0] % vector == 0 &&
         args.strides[1] % vector == 0 && args.strides[2] % vector == 0;
}

}  // namespace

void launchRotate(const Rotate& args, cudaStream_t stream) {
  const int64_t rows = args.batch * args.positions * args.heads;
  withElement(args.element, [&](auto zero) {
    using T = decltype(zero);
    withVector<T>(areAllWide<T>(args), [&](auto vector) {
      const int64_t turned = args.rotated / 2, kept = args.width - args.rotated;
      const RowShape shape(rows, ceilDiv(turned > kept ? turned : kept, vector));
      launch(rotateRows<T, vector>, gridOf(ceilDiv(rows, shape.rowsPerBlock())), shape.threads, 0, stream, args,
             static_cast<uint32_t>(rows), shape.lanes);
    });
  });
}

}  // namespace switchyard::cuda
