// The loops of attention over cached keys, row by row.
// Shapes: D and E widths of keys and values, R rows, S positions.
#pragma once

#include <cstdint>

#include "../common/gemm.h"

namespace switchyard {

/**
 * Turns a row's `count` scores into `exp(score - largest)`, adds them to `sum`, and brings what was gathered before,
 * `mixed` [width] and `sum`, to the same new `largest`.
 */
void gatherRow(float* scores, int64_t count, float* mixed, int64_t width, float& largest, float& sum);
void gatherRow(double* scores, int64_t count, double* mixed, int64_t width, double& largest, double& sum);

/** `scores [R, S] = queries [R, D] keys^T`, for few rows, with `stride` numbers from row to row of scores. */
void scoreFew(const float* queries, int64_t rows, Matrix<float> keys, int64_t count, int64_t width, float* scores,
              int64_t stride);
void scoreFew(const double* queries, int64_t rows, Matrix<double> keys, int64_t count, int64_t width, double* scores,
              int64_t stride);

/** `mixed [R, E] += p [R, S] values`, for few rows, with `stride` numbers from row to row of p. */
void mixFew(const float* p, int64_t stride, int64_t rows, Matrix<float> values, int64_t count, int64_t width,
            float* mixed);
void mixFew(const double* p, int64_t stride, int64_t rows, Matrix<double> values, int64_t count, int64_t width,
            double* mixed);

}  // namespace switchyard
