// Levels that reading and writing share.
#pragma once

#include <array>

namespace switchyard {

/** Of IQ4, by code (ggml-common.h, kvalues_iq4nl). */
constexpr std::array<float, 16> nonLinear{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

}  // namespace switchyard
