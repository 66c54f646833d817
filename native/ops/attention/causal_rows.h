// The loops of causal attention, row by row.
#pragma once

#include <cstdint>

namespace switchyard {

/** Softmax of `count` scores in place; returns their logsumexp. */
float softmaxRow(float* scores, int64_t count);
double softmaxRow(double* scores, int64_t count);

/** `p = exp(scores - logSum)`, then `gradient = p (gradient - delta)`; both in place. */
void backwardRow(float* scores, float* gradient, float logSum, float delta, int64_t count);
void backwardRow(double* scores, double* gradient, double logSum, double delta, int64_t count);

/** Turns pairs (x_i, x_{i + width/2}) by their angles, scaled. */
void rotateRow(const float* x, const float* cos, const float* sin, float scale, float* to, int64_t width);
void rotateRow(const double* x, const double* cos, const double* sin, double scale, double* to, int64_t width);

/** The transpose of rotateRow(): what gradients go through. */
void unrotateRow(const float* d, const float* cos, const float* sin, float scale, float* to, int64_t width);
void unrotateRow(const double* d, const double* cos, const double* sin, double scale, double* to, int64_t width);

float dotRow(const float* a, const float* b, int64_t width);
double dotRow(const double* a, const double* b, int64_t width);

}  // namespace switchyard
