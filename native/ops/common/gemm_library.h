// Which library computes matrix products. No library is the fastest at all of them, so that each kind of shape has its own:
// found once per process by a measurement of some milliseconds; SWITCHYARD_GEMM says it instead.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace switchyard {

enum class GemmLibrary {
  Blas,     // the BLAS that libtorch's own products use
  OneDnn,   // which Debian's libtorch links; has code for each vector extension, chosen at run time
  Libtorch  // its mm: where neither can be called, as in pip's builds with everything inside
};

/** Kinds of f32 products `a b`, by what a library finds hard about them. */
enum class GemmShape {
  Thin,       // few rows: a token's way through a layer
  Small,      // fits the first caches: a block of attention
  Large,      // a layer's forward, and the gradients of its inputs
  Transposed  // large, with `a` transposed: gradients of weights
};
constexpr int kGemmShapes = 4;

GemmShape gemmShapeOf(int64_t m, int64_t n, int64_t k, bool transposed);

/** BLAS's functions; null where the process has none to call. */
struct BlasFunctions {
  template <typename T>
  using Gemm = void(const char*, const char*, const int*, const int*, const int*, const T*, const T*, const int*,
                    const T*, const int*, const T*, T*, const int*);
  Gemm<float>* sgemm;
  Gemm<double>* dgemm;
  void (*setThreads)(int);  // of OpenBLAS alone
  int (*getThreads)();
};

struct OneDnnFunctions {
  template <typename T>
  using Gemm = int(char, char, int64_t, int64_t, int64_t, float, const T*, int64_t, const T*, int64_t, float, float*,
                   int64_t);
  Gemm<float>* sgemm;
  Gemm<uint16_t>* bf16;
};

const BlasFunctions& blasFunctions();
const OneDnnFunctions& oneDnnFunctions();

/** What computes f32 products of a kind. Throws c10::Error when SWITCHYARD_GEMM says what cannot be. */
GemmLibrary gemmLibrary(GemmShape shape);

/** Libraries that this process has: `onednn`, `blas`, `libtorch`. */
std::vector<std::string> gemmLibraries();

/** The choice in words: one library for all, or `thin=onednn,small=onednn,large=blas,transposed=blas`. */
std::string gemmChoice();

/** From now on it is this one, in the same words. Throws c10::Error for what cannot be. */
void chooseGemm(const std::string& choice);

/** Whether products of bf16 are faster than those of f32 here: the processor multiplies them itself and oneDNN is there. */
bool hasFastBf16();

}  // namespace switchyard
