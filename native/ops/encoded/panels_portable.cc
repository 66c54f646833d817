// Panel products for any processor.

#include <cmath>
#include <cstring>

#include "../blocks/half.h"
#include "panel_products.h"

namespace switchyard {
namespace portable {
namespace {

constexpr int kTile = 1;
constexpr int kTileRows = 1, kTileOutputs = 1, kLongTile = 1;
constexpr bool kHasWideTiles = false;

struct Floats { float of[kPanel]; };
struct Ints { int32_t of[kPanel]; };
struct Bytes { uint8_t of[4 * kPanel]; };

template <typename To, typename Value>
To each(const Value& value) {
  To result;
  for (int r = 0; r < kPanel; r++) result.of[r] = value(r);
  return result;
}

Floats zeros() { return {}; }
Floats all(float x) { return each<Floats>([&](int) { return x; }); }
Ints all(int32_t x) { return each<Ints>([&](int) { return x; }); }
Floats mul(const Floats& a, const Floats& b) { return each<Floats>([&](int r) { return a.of[r] * b.of[r]; }); }
Ints mul(const Ints& a, const Ints& b) { return each<Ints>([&](int r) { return a.of[r] * b.of[r]; }); }
Ints add(const Ints& a, const Ints& b) { return each<Ints>([&](int r) { return a.of[r] + b.of[r]; }); }
Floats fma(const Floats& a, const Floats& b, const Floats& c) {
  return each<Floats>([&](int r) { return std::fma(a.of[r], b.of[r], c.of[r]); });
}
Floats toFloats(const Ints& x) { return each<Floats>([&](int r) { return static_cast<float>(x.of[r]); }); }
float sumOf(const Floats& x) {
  Floats sums = x;
  for (int half = kPanel / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; i++) sums.of[i] += sums.of[i + half];
  }
  return sums.of[0];
}
Floats floats(const uint8_t* p) {
  Floats result;
  std::memcpy(result.of, p, sizeof result.of);
  return result;
}
Floats widened(const uint8_t* p) {
  return each<Floats>([&](int r) {
    const uint32_t bits = static_cast<uint32_t>(p[2 * r]) << 16 | static_cast<uint32_t>(p[2 * r + 1]) << 24;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  });
}
Floats halves(const uint8_t* p) { return each<Floats>([&](int r) { return halfAt(p + 2 * r); }); }
Floats halfPowers(const uint8_t* p) {
  return each<Floats>([&](int r) { return std::ldexp(1.0f, p[r] - 128); });
}
Ints signedBytes(const uint8_t* p) { return each<Ints>([&](int r) { return static_cast<int8_t>(p[r]); }); }
Floats sixBits(const uint8_t* p, int sub, int min) {
  return each<Floats>([&](int r) {
    const auto byte = [&](int i) { return static_cast<int>(p[kPanel * i + r]); };
    if (sub < 4) return static_cast<float>(byte(sub + min) & 63);
    const int low = min == 0 ? byte(sub + 4) & 15 : byte(sub + 4) >> 4;
    return static_cast<float>(low | (byte(sub - 4 + min) >> 6) << 4);
  });
}
void store(float* to, const Floats& x) { std::memcpy(to, x.of, sizeof x.of); }

Bytes load(const uint8_t* p) {
  Bytes bytes;
  std::memcpy(bytes.of, p, sizeof bytes.of);
  return bytes;
}
template <typename Value>
Bytes eachByte(const Value& value) {
  Bytes result;
  for (int i = 0; i < 4 * kPanel; i++) result.of[i] = static_cast<uint8_t>(value(i));
  return result;
}
Bytes nibbles(const Bytes& x, int high) { return eachByte([&](int i) { return x.of[i] >> 4 * high & 15; }); }
Bytes lookUp(const uint8_t* table, const Bytes& x) { return eachByte([&](int i) { return table[x.of[i]]; }); }
Bytes sixBitValues(const Bytes& low, const Bytes& high, int quarter) {
  return eachByte([&](int i) { return low.of[i] | (high.of[i] >> 2 * quarter & 3) << 4; });
}
Ints dot(const Ints& sum, const Bytes& w, const int8_t* x) {
  return each<Ints>([&](int r) {
    int32_t products = sum.of[r];
    for (int i = 0; i < 4; i++) products += w.of[4 * r + i] * x[i];
    return products;
  });
}
Ints signedStart(int32_t) { return all(0); }
Ints signedDot(const Ints& sum, const Bytes& w, const int8_t* x) {
  return each<Ints>([&](int r) {
    int32_t products = sum.of[r];
    for (int i = 0; i < 4; i++) products += static_cast<int8_t>(w.of[4 * r + i]) * x[i];
    return products;
  });
}

#include "panel_loops.inc"

}  // namespace
}  // namespace portable

const PanelProducts& portableProducts() { return portable::kProducts; }

}  // namespace switchyard
