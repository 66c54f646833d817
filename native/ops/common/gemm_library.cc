#include "gemm_library.h"

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>
#include <dlfcn.h>
#include <omp.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <sstream>

namespace switchyard {
namespace {

constexpr const char* kLibraryNames[] = {"blas", "onednn", "libtorch"};
constexpr const char* kShapeNames[kGemmShapes] = {"thin", "small", "large", "transposed"};

using Choice = std::array<GemmLibrary, kGemmShapes>;

template <typename Function>
Function* find(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_DEFAULT, name));
}

const char* nameOf(GemmLibrary library) { return kLibraryNames[static_cast<int>(library)]; }

std::vector<GemmLibrary> libraries() {
  std::vector<GemmLibrary> found;
  if (oneDnnFunctions().sgemm != nullptr) found.push_back(GemmLibrary::OneDnn);
  if (blasFunctions().sgemm != nullptr) found.push_back(GemmLibrary::Blas);
  found.push_back(GemmLibrary::Libtorch);
  return found;
}

Choice all(GemmLibrary library) { return {library, library, library, library}; }

GemmLibrary parseLibrary(const std::string& name, const char* source) {
  for (const GemmLibrary library : libraries()) {
    if (name == nameOf(library)) return library;
  }
  std::string known;
  for (const std::string& library : gemmLibraries()) known += (known.empty() ? "" : ", ") + library;
  TORCH_CHECK_VALUE(false, source, ": there is no library '", name, "' here; there is ", known);
}

/** A library for all, or `shape=library` for each kind, with commas between. */
Choice parseChoice(const std::string& text, const char* source) {
  if (text.find('=') == std::string::npos) return all(parseLibrary(text, source));
  Choice choice = all(GemmLibrary::Libtorch);
  std::array<bool, kGemmShapes> given{};
  std::stringstream parts(text);
  for (std::string part; std::getline(parts, part, ',');) {
    const size_t equals = part.find('=');
    const auto* shape = std::find(std::begin(kShapeNames), std::end(kShapeNames), part.substr(0, equals));
    TORCH_CHECK_VALUE(shape != std::end(kShapeNames) && equals != std::string::npos, source, ": '", part,
                      "' is not thin, small, large or transposed, = and a library");
    choice[shape - kShapeNames] = parseLibrary(part.substr(equals + 1), source);
    given[shape - kShapeNames] = true;
  }
  for (int i = 0; i < kGemmShapes; i++) TORCH_CHECK_VALUE(given[i], source, ": says nothing of ", kShapeNames[i]);
  return choice;
}

/** Products that stand for a kind: the sizes of a small model's layer. */
struct Sample {
  GemmShape shape;
  int m, n, k;
  bool transposeA, transposeB;
};
constexpr Sample kSamples[] = {
    {GemmShape::Thin, 1, 512, 256, false, true},    {GemmShape::Small, 64, 64, 64, false, true},
    {GemmShape::Small, 64, 64, 64, true, false},    {GemmShape::Large, 128, 512, 256, false, true},
    {GemmShape::Large, 128, 512, 256, false, false}, {GemmShape::Transposed, 512, 256, 256, true, false},
};
constexpr int kLargest = 512 * 256;

constexpr double kNever = 1e9;

double secondsOf(GemmLibrary library, const Sample& sample, const float* a, const float* b, float* c) {
  const auto start = std::chrono::steady_clock::now();
  const float one = 1, zero = 0;
  const int m = sample.m, n = sample.n, k = sample.k;
  const int strideA = sample.transposeA ? m : k, strideB = sample.transposeB ? k : n;
  if (library == GemmLibrary::OneDnn) {
    const int status = oneDnnFunctions().sgemm(sample.transposeA ? 'T' : 'N', sample.transposeB ? 'T' : 'N', m, n, k, one, a, strideA, b,
                            strideB, zero, c, n);
    if (status != 0) return kNever;
  } else {  // column by column, as gemm.cc says
    blasFunctions().sgemm(sample.transposeB ? "T" : "N", sample.transposeA ? "T" : "N", &n, &m, &k, &one, b, &strideB,
                          a, &strideA, &zero, c, &n);
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/**
 * Of each kind: oneDNN where it is clearly faster on one thread, each at its best of some turns. Near a tie the choice must
 * not hang on the noise of a measurement, since the last bits of every result hang on the choice.
 */
Choice measured() {
  constexpr double kClearly = 1.15;
  const auto& [sgemm, dgemm, setThreads, getThreads] = blasFunctions();
  const int blasThreads = getThreads != nullptr ? getThreads() : 1, threads = at::get_num_threads();
  if (blasThreads != 1) setThreads(1);
  omp_set_num_threads(1);
  const std::vector<float> a(kLargest, 1.0f), b(kLargest, 1.0f);
  std::vector<float> c(kLargest);
  std::array<double, kGemmShapes> blas{}, oneDnn{};
  for (const Sample& sample : kSamples) {
    double best[2] = {kNever, kNever};
    for (int turn = 0; turn < 8; turn++) {  // the first one warms up
      best[0] = std::min(best[0], secondsOf(GemmLibrary::Blas, sample, a.data(), b.data(), c.data()));
      best[1] = std::min(best[1], secondsOf(GemmLibrary::OneDnn, sample, a.data(), b.data(), c.data()));
    }
    blas[static_cast<int>(sample.shape)] += best[0];
    oneDnn[static_cast<int>(sample.shape)] += best[1];
  }
  omp_set_num_threads(threads);
  if (blasThreads != 1) setThreads(blasThreads);
  Choice choice = all(GemmLibrary::Blas);
  for (int i = 0; i < kGemmShapes; i++) {
    if (blas[i] > kClearly * oneDnn[i]) choice[i] = GemmLibrary::OneDnn;
  }
  return choice;
}

Choice initial() {
  const char* wanted = std::getenv("SWITCHYARD_GEMM");
  if (wanted != nullptr && *wanted != '\0') return parseChoice(wanted, "SWITCHYARD_GEMM");
  const std::vector<GemmLibrary> found = libraries();
  return found.size() == 3 ? measured() : all(found.front());
}

std::array<std::atomic<GemmLibrary>, kGemmShapes>& chosen() {
  static std::array<std::atomic<GemmLibrary>, kGemmShapes> choice;
  static const bool isSet = [] {
    const Choice first = initial();
    for (int i = 0; i < kGemmShapes; i++) choice[i] = first[i];
    return true;
  }();
  (void)isSet;
  return choice;
}

}  // namespace

GemmShape gemmShapeOf(int64_t m, int64_t n, int64_t k, bool transposed) {
  constexpr int64_t kThin = 4, kSmall = 1 << 21;
  if (m <= kThin) return GemmShape::Thin;
  if (m * n * k <= kSmall) return GemmShape::Small;
  return transposed ? GemmShape::Transposed : GemmShape::Large;
}

const BlasFunctions& blasFunctions() {
  static const BlasFunctions functions{
      find<BlasFunctions::Gemm<float>>("sgemm_"), find<BlasFunctions::Gemm<double>>("dgemm_"),
      find<void(int)>("openblas_set_num_threads"), find<int()>("openblas_get_num_threads")};
  return functions;
}

const OneDnnFunctions& oneDnnFunctions() {
  static const OneDnnFunctions functions{find<OneDnnFunctions::Gemm<float>>("dnnl_sgemm"),
                                         find<OneDnnFunctions::Gemm<uint16_t>>("dnnl_gemm_bf16bf16f32")};
  return functions;
}

GemmLibrary gemmLibrary(GemmShape shape) {
  return chosen()[static_cast<int>(shape)].load(std::memory_order_relaxed);
}

std::vector<std::string> gemmLibraries() {
  std::vector<std::string> names;
  for (const GemmLibrary library : libraries()) names.emplace_back(nameOf(library));
  return names;
}

std::string gemmChoice() {
  std::string words;
  bool isOne = true;
  for (int i = 0; i < kGemmShapes; i++) {
    const GemmLibrary library = gemmLibrary(static_cast<GemmShape>(i));
    isOne = isOne && library == gemmLibrary(GemmShape::Thin);
    words += std::string(words.empty() ? "" : ",") + kShapeNames[i] + "=" + nameOf(library);
  }
  return isOne ? nameOf(gemmLibrary(GemmShape::Thin)) : words;
}

void chooseGemm(const std::string& choice) {
  const Choice wanted = parseChoice(choice, "choice");
  for (int i = 0; i < kGemmShapes; i++) chosen()[i] = wanted[i];
}

bool hasFastBf16() {
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
  static const bool fast = oneDnnFunctions().bf16 != nullptr && __builtin_cpu_supports("avx512bf16");
  return fast;
#else
  return false;
#endif
}

}  // namespace switchyard
