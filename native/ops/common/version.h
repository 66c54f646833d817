// What differs between libtorch 1 and 2.
#pragma once

#include <torch/version.h>

#define SWITCHYARD_TORCH_AT_LEAST(major, minor) \
  (TORCH_VERSION_MAJOR > (major) || (TORCH_VERSION_MAJOR == (major) && TORCH_VERSION_MINOR >= (minor)))
