// An operator looked up once, with what is needed to convert its arguments quickly.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <string>
#include <vector>

namespace switchyard {

enum class Kind : uint8_t {
  Tensor,
  Scalar,
  Int,
  DType,
  Float,
  Bool,
  String,
  Device,
  Generator,
  TensorList,
  OptionalTensorList,
  IntList,
  FloatList,
  BoolList,
  Unsupported,
};

struct Parameter {
  std::string name;
  Kind kind;
  bool optional;  // may be null
  bool hasDefault;
  c10::IValue defaultValue;
};

struct Operator {
  std::string name;  // "aten::add.Tensor"
  std::string schema;
  c10::OperatorHandle handle;
  std::vector<Parameter> parameters;
  bool returnsSelf;  // in place on its first argument
};

/** Looks `name` ("aten::add") and `overload` ("Tensor") up. Throws c10::Error when this libtorch lacks it. */
Operator findOperator(const std::string& name, const std::string& overload);

}  // namespace switchyard
