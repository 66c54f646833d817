#include "values.h"

#include <ATen/core/jit_type.h>
#include <c10/core/Device.h>

#include <cmath>

#include "../ops/common/dtypes.h"
#include "errors.h"

namespace switchyard {
namespace {

constexpr double kMaxSafeInteger = 9007199254740991.0;

const char* kindName(Kind kind) {
  switch (kind) {
    case Kind::Tensor:
      return "a Tensor";
    case Kind::Scalar:
      return "a number";
    case Kind::Int:
      return "an integer";
    case Kind::DType:
      return "a dtype";
    case Kind::Float:
      return "a number";
    case Kind::Bool:
      return "a boolean";
    case Kind::String:
      return "a string";
    case Kind::Device:
      return "a device";
    case Kind::Generator:
      return "a Generator";
    case Kind::TensorList:
    case Kind::OptionalTensorList:
      return "an array of Tensors";
    case Kind::IntList:
      return "an array of integers";
    case Kind::FloatList:
      return "an array of numbers";
    case Kind::BoolList:
      return "an array of booleans";
    case Kind::Unsupported:
      return "a kind of argument that has no JavaScript form";
  }
  return "?";
}

napi_valuetype typeOf(napi_env env, napi_value value) {
  napi_valuetype type = napi_undefined;
  napi_typeof(env, value, &type);
  return type;
}

std::string describeJs(napi_env env, napi_value value) {
  bool isArray = false;
  napi_is_array(env, value, &isArray);
  if (isArray) return "an array";
  switch (typeOf(env, value)) {
    case napi_undefined:
      return "undefined";
    case napi_null:
      return "null";
    case napi_object:
      return "an object";
    case napi_function:
      return "a function";
    case napi_string:
      return "'" + toText(env, value) + "'";
    default: {
      napi_value text;
      if (napi_coerce_to_string(env, value, &text) == napi_ok) return toText(env, text);
      return "a symbol";
    }
  }
}

[[noreturn]] void wrongType(napi_env env, napi_value value, Kind kind) {
  throw ArgumentError(std::string("must be ") + kindName(kind) + ", got " + describeJs(env, value));
}

int64_t toInt(napi_env env, napi_value value, Kind kind) {
  double number;
  if (napi_get_value_double(env, value, &number) == napi_ok) {
    if (std::trunc(number) != number || std::abs(number) > kMaxSafeInteger) wrongType(env, value, kind);
    return static_cast<int64_t>(number);
  }
  int64_t integer;
  bool lossless = false;
  if (napi_get_value_bigint_int64(env, value, &integer, &lossless) == napi_ok && lossless) return integer;
  bool flag;
  if (napi_get_value_bool(env, value, &flag) == napi_ok) return flag ? 1 : 0;
  wrongType(env, value, kind);
}

c10::Scalar toScalar(napi_env env, napi_value value) {
  double number;
  if (napi_get_value_double(env, value, &number) == napi_ok) {
    // JavaScript has one number type: whole numbers count as integers, as in Python's `x * 2`.
    if (std::trunc(number) == number && std::abs(number) <= kMaxSafeInteger) {
      return static_cast<int64_t>(number);
    }
    return number;
  }
  bool flag;
  if (napi_get_value_bool(env, value, &flag) == napi_ok) return flag;
  if (typeOf(env, value) == napi_bigint) return toInt(env, value, Kind::Scalar);
  wrongType(env, value, Kind::Scalar);
}

bool toBool(napi_env env, napi_value value, Kind kind) {
  bool flag;
  if (napi_get_value_bool(env, value, &flag) != napi_ok) wrongType(env, value, kind);
  return flag;
}

double toDouble(napi_env env, napi_value value, Kind kind) {
  double number;
  if (napi_get_value_double(env, value, &number) != napi_ok) wrongType(env, value, kind);
  return number;
}

const at::Tensor& toTensor(napi_env env, napi_value value, Kind kind, Instance& instance) {
  double handle;
  if (napi_get_value_double(env, value, &handle) != napi_ok) wrongType(env, value, kind);
  return instance.handles.get(handle);
}

/** Calls `take` for each element. A single value stands for a list of one, as in `sum(0)`. */
template <typename Take>
void forEach(napi_env env, napi_value value, Kind kind, Take take) {
  bool isArray = false;
  napi_is_array(env, value, &isArray);
  if (!isArray) {
    if (typeOf(env, value) == napi_object) wrongType(env, value, kind);
    take(value);
    return;
  }
  uint32_t length = 0;
  napi_get_array_length(env, value, &length);
  for (uint32_t i = 0; i < length; i++) {
    napi_value element;
    if (napi_get_element(env, value, i, &element) != napi_ok) throw ArgumentError("has an element that cannot be read");
    take(element);
  }
}

c10::List<at::Tensor> toTensorList(napi_env env, napi_value value, Instance& instance) {
  c10::List<at::Tensor> list;
  forEach(env, value, Kind::TensorList,
          [&](napi_value item) { list.push_back(toTensor(env, item, Kind::TensorList, instance)); });
  return list;
}

/** Tensor?[] as a generic list, since optional is a different C++ type in libtorch 1 and 2. */
c10::impl::GenericList toOptionalTensorList(napi_env env, napi_value value, Instance& instance) {
  c10::impl::GenericList list(c10::OptionalType::ofTensor());
  forEach(env, value, Kind::OptionalTensorList, [&](napi_value item) {
    if (typeOf(env, item) == napi_null) {
      list.push_back(c10::IValue());
    } else {
      list.push_back(toTensor(env, item, Kind::OptionalTensorList, instance));
    }
  });
  return list;
}

c10::Device toDevice(napi_env env, napi_value value) {
  if (typeOf(env, value) != napi_string) wrongType(env, value, Kind::Device);
  return c10::Device(toText(env, value));
}

const at::Generator& toGenerator(napi_env env, napi_value value, Instance& instance) {
  const int64_t id = toInt(env, value, Kind::Generator);
  const auto found = id < 0 ? instance.generators.end() : instance.generators.find(static_cast<uint32_t>(id));
  if (found == instance.generators.end()) throw ArgumentError("must be a Generator that is not disposed");
  return found->second;
}

c10::IValue convert(napi_env env, napi_value value, Kind kind, Instance& instance) {
  switch (kind) {
    case Kind::Tensor:
      return toTensor(env, value, kind, instance);
    case Kind::Scalar:
      return toScalar(env, value);
    case Kind::Int:
      return toInt(env, value, kind);
    case Kind::DType:
      return static_cast<int64_t>(toScalarType(env, value));
    case Kind::Float:
      return toDouble(env, value, kind);
    case Kind::Bool:
      return toBool(env, value, kind);
    case Kind::String:
      if (typeOf(env, value) != napi_string) wrongType(env, value, kind);
      return toText(env, value);
    case Kind::Device:
      return toDevice(env, value);
    case Kind::Generator:
      return toGenerator(env, value, instance);
    case Kind::TensorList:
      return toTensorList(env, value, instance);
    case Kind::OptionalTensorList:
      return toOptionalTensorList(env, value, instance);
    case Kind::IntList:
      return toSizes(env, value);
    case Kind::FloatList: {
      c10::List<double> list;
      forEach(env, value, kind, [&](napi_value item) { list.push_back(toDouble(env, item, kind)); });
      return list;
    }
    case Kind::BoolList: {
      c10::List<bool> list;
      forEach(env, value, kind, [&](napi_value item) { list.push_back(toBool(env, item, kind)); });
      return list;
    }
    case Kind::Unsupported:
      break;
  }
  wrongType(env, value, kind);
}

template <typename List, typename Convert>
napi_value toArray(napi_env env, const List& list, Convert convertItem) {
  napi_value array;
  napi_create_array_with_length(env, list.size(), &array);
  uint32_t i = 0;
  for (const auto& item : list) napi_set_element(env, array, i++, convertItem(item));
  return array;
}

napi_value fromInt(napi_env env, int64_t value) {
  napi_value result;
  if (std::abs(static_cast<double>(value)) <= kMaxSafeInteger) {
    napi_create_int64(env, value, &result);
  } else {
    napi_create_bigint_int64(env, value, &result);
  }
  return result;
}

napi_value fromDouble(napi_env env, double value) {
  napi_value result;
  napi_create_double(env, value, &result);
  return result;
}

napi_value fromTensor(napi_env env, const at::Tensor& tensor, Instance& instance) {
  napi_value result;
  if (!tensor.defined()) {
    napi_get_null(env, &result);
  } else {
    napi_create_double(env, instance.handles.add(tensor), &result);
  }
  return result;
}

}  // namespace

std::string toText(napi_env env, napi_value value) {
  size_t length = 0;
  napi_get_value_string_utf8(env, value, nullptr, 0, &length);
  std::string text(length, '\0');
  napi_get_value_string_utf8(env, value, text.data(), length + 1, &length);
  return text;
}

c10::ScalarType toScalarType(napi_env env, napi_value value) {
  if (typeOf(env, value) != napi_string) wrongType(env, value, Kind::DType);
  c10::ScalarType type;
  if (!parseDType(toText(env, value), &type)) wrongType(env, value, Kind::DType);
  return type;
}

std::vector<int64_t> toSizes(napi_env env, napi_value value) {
  std::vector<int64_t> sizes;
  forEach(env, value, Kind::IntList, [&](napi_value item) { sizes.push_back(toInt(env, item, Kind::IntList)); });
  return sizes;
}

c10::IValue toIValue(napi_env env, napi_value value, const Parameter& parameter, Instance& instance) {
  const napi_valuetype type = typeOf(env, value);
  if (type == napi_undefined) return defaultOf(parameter);
  if (type == napi_null && parameter.optional) return c10::IValue();
  try {
    return convert(env, value, parameter.kind, instance);
  } catch (const ArgumentError& error) {
    throw ArgumentError("'" + parameter.name + "' " + error.what());
  }
}

const c10::IValue& defaultOf(const Parameter& parameter) {
  static const c10::IValue none;
  if (parameter.hasDefault) return parameter.defaultValue;
  if (parameter.optional) return none;
  throw ArgumentError("'" + parameter.name + "' is missing (" + kindName(parameter.kind) + ")");
}

napi_value fromIValue(napi_env env, const c10::IValue& value, Instance& instance) {
  napi_value result;
  if (value.isTensor()) return fromTensor(env, value.toTensor(), instance);
  if (value.isTensorList()) {
    return toArray(env, value.toTensorVector(),
                   [&](const at::Tensor& item) { return fromTensor(env, item, instance); });
  }
  if (value.isInt()) return fromInt(env, value.toInt());
  if (value.isDouble()) return fromDouble(env, value.toDouble());
  if (value.isBool()) {
    napi_get_boolean(env, value.toBool(), &result);
    return result;
  }
  if (value.isString()) {
    const std::string& text = value.toStringRef();
    napi_create_string_utf8(env, text.data(), text.size(), &result);
    return result;
  }
  if (value.isIntList()) {
    return toArray(env, value.toIntVector(), [&](int64_t item) { return fromInt(env, item); });
  }
  if (value.isDoubleList()) {
    return toArray(env, value.toDoubleVector(), [&](double item) { return fromDouble(env, item); });
  }
  if (value.isList() || value.isTuple()) {
    const auto items = value.isTuple() ? value.toTupleRef().elements().vec() : value.toListRef().vec();
    return toArray(env, items, [&](const c10::IValue& item) { return fromIValue(env, item, instance); });
  }
  if (value.isNone()) {
    napi_get_null(env, &result);
    return result;
  }
  throw ArgumentError("returned a " + value.tagKind() + ", which has no JavaScript form");
}

std::string describeArgument(napi_env env, napi_value value, const Parameter& parameter, Instance& instance) {
  double handle;
  if (parameter.kind == Kind::Tensor && napi_get_value_double(env, value, &handle) == napi_ok) {
    return instance.handles.alive(handle) ? describe(instance.handles.get(handle)) : "disposed";
  }
  bool isArray = false;
  napi_is_array(env, value, &isArray);
  if (!isArray) return describeJs(env, value);
  Parameter element = parameter;
  if (parameter.kind == Kind::TensorList || parameter.kind == Kind::OptionalTensorList) element.kind = Kind::Tensor;
  uint32_t length = 0;
  napi_get_array_length(env, value, &length);
  std::string text = "[";
  for (uint32_t i = 0; i < length; i++) {
    if (i == 4) return text + ", ... " + std::to_string(length) + " items]";
    napi_value item;
    if (napi_get_element(env, value, i, &item) != napi_ok) return text + "?]";
    text += (i > 0 ? ", " : "") + describeArgument(env, item, element, instance);
  }
  return text + "]";
}

}  // namespace switchyard
