// Shapes: N rows, F width, W = 2F when gated, else F.

#include "activation_launch.h"

#include "../common/row_block.cuh"
#include "activation_functions.cuh"

namespace switchyard::cuda {
namespace {

/** `a = act(gate) up`, or `act(hidden)`; zero for rows of no expert. */
template <typename At, typename T, int V>
__global__ void __launch_bounds__(256) activateRows(Activate args, int lanes) {
  const RowLane at(lanes);
  const int64_t row = at.row();
  if (row >= args.rows) return;
  const bool filled = row < args.ends[args.experts - 1];
  const T* gates = static_cast<const T*>(args.hidden) + row * args.width * (args.gated ? 2 : 1);
  T* to = static_cast<T*>(args.activated) + row * args.width;
  for (int64_t column = at.lane * V; column < args.width; column += at.lanes * V) {
    float a[V] = {};
    if (filled) {
      float up[V];
      load(gates + column, a);
      if (args.gated) load(gates + args.width + column, up);
#pragma unroll
      for (int i = 0; i < V; i++) {
        const float value = At::compute(a[i]).value;
        a[i] = args.gated ? value * up[i] : value;
      }
    }
    store(to + column, a);
  }
}

/** One access of a row: what backward reads and writes there. */
template <int V>
struct Columns {
  float gradient[V], gate[V], up[V], weighted[V], dUp[V];

  /** `weighted = w a`, `dUp = w g act(gate)`, and gate becomes `w g up act'(gate)`; returns `<g, a>`. */
  template <typename At>
  __device__ float compute(float weight, bool gated) {
    float sum = 0;
#pragma unroll
    for (int i = 0; i < V; i++) {
      const ValueAndSlope act = At::compute(gate[i]);
      const float factor = gated ? up[i] : 1.0f, d = weight * gradient[i], a = act.value * factor;
      sum += gradient[i] * a;
      weighted[i] = weight * a;
      gate[i] = d * factor * act.slope;
      dUp[i] = d * act.value;
    }
    return sum;
  }
};

template <typename At, typename T, int V>
__global__ void __launch_bounds__(256) activateRowsBackward(ActivateBackward args, int lanes) {
  const Activate& forward = args.forward;
  const RowLane at(lanes);
  const int64_t row = at.row(), width = forward.width, hiddenWidth = width * (forward.gated ? 2 : 1);
  const bool inside = row < forward.rows;
  const bool filled = inside && row < forward.ends[forward.experts - 1];
  const int32_t slot = filled ? args.slotOfRow[row] : 0;
  const float weight = filled ? args.weights[slot] : 0.0f;
  const T* gates = static_cast<const T*>(forward.hidden) + row * hiddenWidth;
  const T* gradients = static_cast<const T*>(args.dActivated) + row * width;
  T* dGates = static_cast<T*>(args.dHidden) + row * hiddenWidth;
  T* weighted = static_cast<T*>(forward.activated) + row * width;
  float sum = 0;
  for (int64_t column = at.lane * V; inside && column < width; column += at.lanes * V) {
    Columns<V> columns{};
    if (filled) {
      load(gradients + column, columns.gradient);
      load(gates + column, columns.gate);
      if (forward.gated) load(gates + width + column, columns.up);
      sum += columns.template compute<At>(weight, forward.gated);
    }
    store(weighted + column, columns.weighted);
    store(dGates + column, columns.gate);
    if (forward.gated) store(dGates + width + column, columns.dUp);
  }
  sum = reduceRow(sum, at.lanes, Sum());
  if (filled && at.lane == 0) args.dWeights[slot] = sum;
}

}  // namespace

void launchActivate(const Activate& args, cudaStream_t stream) {
  withElement(args.element, [&](auto zero) {
    using T = decltype(zero);
    withVector<T>(isWide<T>(args.width, {args.hidden, args.activated}), [&](auto vector) {
      withActivation(args.activation, [&](auto at) {
        const RowShape shape(args.rows, ceilDiv(args.width, vector));
        launch(activateRows<decltype(at), T, vector>, shape.grid(), shape.threads, 0, stream, args, shape.lanes);
      });
    });
  });
}

void launchActivateBackward(const ActivateBackward& args, cudaStream_t stream) {
  const Activate& forward = args.forward;
  withElement(forward.element, [&](auto zero) {
    using T = decltype(zero);
    const bool wide = isWide<T>(forward.width, {forward.hidden, forward.activated, args.dActivated, args.dHidden});
    withVector<T>(wide, [&](auto vector) {
      withActivation(forward.activation, [&](auto at) {
        const RowShape shape(forward.rows, ceilDiv(forward.width, vector));
        launch(activateRowsBackward<decltype(at), T, vector>, shape.grid(), shape.threads, 0, stream, args, shape.lanes);
      });
    });
  });
}

}  // namespace switchyard::cuda
