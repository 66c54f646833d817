#include "operator.h"

#include <ATen/core/jit_type.h>

#include <sstream>

namespace switchyard {
namespace {

Kind listKind(const c10::TypePtr& element) {
  switch (element->kind()) {
    case c10::TypeKind::TensorType:
      return Kind::TensorList;
    case c10::TypeKind::OptionalType:
      return element->castRaw<c10::OptionalType>()->getElementType()->kind() == c10::TypeKind::TensorType
                 ? Kind::OptionalTensorList
                 : Kind::Unsupported;
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType:
      return Kind::IntList;
    case c10::TypeKind::FloatType:
      return Kind::FloatList;
    case c10::TypeKind::BoolType:
      return Kind::BoolList;
    default:
      return Kind::Unsupported;
  }
}

Kind kindOf(const c10::TypePtr& type, const c10::TypePtr& realType) {
  switch (type->kind()) {
    case c10::TypeKind::TensorType:
      return Kind::Tensor;
    case c10::TypeKind::NumberType:
      return Kind::Scalar;
    case c10::TypeKind::IntType:
    case c10::TypeKind::SymIntType:
      // The schema parser turns ScalarType into int and keeps the written type apart.
      return realType->str().find("ScalarType") != std::string::npos ? Kind::DType : Kind::Int;
    case c10::TypeKind::FloatType:
      return Kind::Float;
    case c10::TypeKind::BoolType:
      return Kind::Bool;
    case c10::TypeKind::StringType:
      return Kind::String;
    case c10::TypeKind::DeviceObjType:
      return Kind::Device;
    case c10::TypeKind::GeneratorType:
      return Kind::Generator;
    case c10::TypeKind::ListType:
      return listKind(type->castRaw<c10::ListType>()->getElementType());
    default:
      return Kind::Unsupported;
  }
}

Parameter toParameter(const c10::Argument& argument) {
  c10::TypePtr type = argument.type();
  const bool optional = type->kind() == c10::TypeKind::OptionalType;
  if (optional) type = type->castRaw<c10::OptionalType>()->getElementType();
  const auto& fallback = argument.default_value();
  return {argument.name(), kindOf(type, argument.real_type()), optional, fallback.has_value(),
          fallback.has_value() ? *fallback : c10::IValue()};
}

/** In place, as in `add_(Tensor(a!) self, ...) -> Tensor(a!)`: what comes back is the first argument. */
bool returnsFirstArgument(const c10::FunctionSchema& schema) {
  if (schema.arguments().empty() || schema.returns().size() != 1 || schema.name().back() != '_') return false;
  const auto writes = [](const c10::Argument& argument) {
    return argument.alias_info() != nullptr && argument.alias_info()->isWrite();
  };
  return writes(schema.arguments()[0]) && writes(schema.returns()[0]);
}

}  // namespace

Operator findOperator(const std::string& name, const std::string& overload) {
  const std::string full = overload.empty() ? name : name + "." + overload;
  const auto handle = c10::Dispatcher::singleton().findSchema({name, overload});
  TORCH_CHECK(handle.has_value(), "this libtorch has no operator ", full);
  const c10::FunctionSchema& schema = handle->schema();
  std::ostringstream text;
  text << schema;
  std::vector<Parameter> parameters;
  for (const c10::Argument& argument : schema.arguments()) parameters.push_back(toParameter(argument));
  return {full, text.str(), *handle, std::move(parameters), returnsFirstArgument(schema)};
}

}  // namespace switchyard
