#include "panels.h"

#include <c10/util/Exception.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <map>

#include "panel_products.h"

namespace switchyard {
namespace {

const std::map<std::string, PanelType>& table() {
  static const std::map<std::string, PanelType> types = {
      {"Q8_0", {34, -128, {{2, 1}, {4, 8}}, &PanelProducts::q8_0}},
      {"Q4_0", {18, -8, {{2, 1}, {4, 4}}, &PanelProducts::q4_0}},
      {"Q4_K", {144, 1, {{2, 2}, {1, 12}, {4, 32}}, &PanelProducts::q4_k}},
      {"Q6_K", {210, -32, {{4, 48}, {1, 16}, {2, 1}}, &PanelProducts::q6_k}},
      {"MXFP4", {17, -12, {{1, 1}, {4, 4}}, &PanelProducts::mxfp4}},
  };
  return types;
}

struct Level {
  const char* name;
  const PanelProducts& (*products)();
  bool isThere;
};

/** The best last. */
const std::vector<Level>& levels() {
  static const std::vector<Level> all = [] {
    std::vector<Level> found = {{"portable", &portableProducts, true}};
#if defined(SWITCHYARD_HAS_X86_PANELS)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    found.push_back({"avx2", &avx2Products, avx2});
    found.push_back({"avxvnni", &avxVnniProducts, avx2 && __builtin_cpu_supports("avxvnni")});
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vnni");
    found.push_back({"avx512vnni", &avx512VnniProducts, avx512});
    found.push_back({"amx", &amxProducts, avx512 && hasAmx()});
#endif
    return found;
  }();
  return all;
}

const Level& levelOf(const std::string& name) {
  std::string there;
  for (const Level& level : levels()) {
    if (level.isThere && level.name == name) return level;
    if (level.isThere) there += std::string(there.empty() ? "" : ", ") + level.name;
  }
  TORCH_CHECK(false, "this processor has no '", name, "': SWITCHYARD_SIMD is one of ", there);
}

const Level& firstLevel() {
  const char* wanted = std::getenv("SWITCHYARD_SIMD");
  return levelOf(wanted == nullptr ? simdLevels().back() : wanted);
}

std::atomic<const Level*>& currentLevel() {
  static std::atomic<const Level*> level{&firstLevel()};
  return level;
}

/** Calls `move(at, inPanel, bytes)` for each piece of row `lane`: where it is in the row, and where among 16 rows. */
template <typename Move>
void eachPiece(const PanelType& type, int64_t blocks, int64_t lane, const Move& move) {
  int64_t at = 0;
  for (int64_t b = 0; b < blocks; b++) {
    for (const Pieces& pieces : type.pieces) {
      for (int64_t i = 0; i < pieces.count; i++, at += pieces.bytes) {
        move(at, at * kPanel + lane * pieces.bytes, pieces.bytes);
      }
    }
  }
}

inline void copyPiece(uint8_t* to, const uint8_t* from, int64_t bytes) {
  if (bytes == 4) std::memcpy(to, from, 4);
  else if (bytes == 2) std::memcpy(to, from, 2);
  else *to = *from;
}

}  // namespace

std::vector<std::string> panelTypes() {
  std::vector<std::string> names;
  for (const auto& entry : table()) names.push_back(entry.first);
  return names;
}

const PanelType* panelTypeOf(const std::string& name) {
  const auto found = table().find(name);
  return found == table().end() ? nullptr : &found->second;
}

PanelProduct panelProduct(const PanelType& type) { return currentLevel().load()->products().*type.product; }

RowProduct rowProduct(RowProduct PanelProducts::*product) { return currentLevel().load()->products().*product; }

void interleave(const PanelType& type, const uint8_t* rows, int64_t count, int64_t rowBytes, uint8_t* panel) {
  const int64_t blocks = rowBytes / type.blockBytes;
  for (int64_t first = 0; first < count; first += kPanel, panel += kPanel * rowBytes) {
    if (first + kPanel > count) std::memset(panel, 0, kPanel * rowBytes);
    for (int64_t lane = 0; lane < kPanel && first + lane < count; lane++) {
      const uint8_t* row = rows + (first + lane) * rowBytes;
      eachPiece(type, blocks, lane, [&](int64_t at, int64_t inPanel, int64_t bytes) {
        copyPiece(panel + inPanel, row + at, bytes);
      });
    }
  }
}

void extractRow(const PanelType& type, const uint8_t* panels, int64_t index, int64_t rowBytes, uint8_t* row) {
  const uint8_t* panel = panels + index / kPanel * kPanel * rowBytes;
  eachPiece(type, rowBytes / type.blockBytes, index % kPanel, [&](int64_t at, int64_t inPanel, int64_t bytes) {
    copyPiece(row + at, panel + inPanel, bytes);
  });
}

std::vector<std::string> simdLevels() {
  std::vector<std::string> names;
  for (const Level& level : levels()) {
    if (level.isThere) names.push_back(level.name);
  }
  return names;
}

std::string simdChoice() { return currentLevel().load()->name; }

void chooseSimd(const std::string& level) { currentLevel() = &levelOf(level); }

}  // namespace switchyard
