#include "call.h"

#include "errors.h"
#include "values.h"

namespace switchyard {
namespace {

constexpr size_t kMaxArguments = 40;

/** Empties the reused stack whatever happens, so that no tensor outlives the call in it. */
struct StackGuard {
  torch::jit::Stack& stack;
  ~StackGuard() { stack.clear(); }
};

void throwFromCall(napi_env env, const Operator& op, const napi_value* values, size_t count, Instance& instance) {
  std::vector<std::string> arguments;
  size_t known = std::min(count, op.parameters.size());
  napi_valuetype type = napi_undefined;
  while (known > 0 && napi_typeof(env, values[known - 1], &type) == napi_ok && type == napi_undefined) known--;
  for (size_t i = 0; i < known; i++) {
    arguments.push_back(describeArgument(env, values[i], op.parameters[i], instance));
  }
  throwToJs(env, op.name, arguments);
}

void pushArguments(napi_env env, const Operator& op, const napi_value* values, size_t count, Instance& instance) {
  if (count > op.parameters.size()) {
    throw ArgumentError("takes at most " + std::to_string(op.parameters.size()) + " arguments, got " +
                        std::to_string(count));
  }
  for (size_t i = 0; i < count; i++) {
    instance.stack.push_back(toIValue(env, values[i], op.parameters[i], instance));
  }
  for (size_t i = count; i < op.parameters.size(); i++) instance.stack.push_back(defaultOf(op.parameters[i]));
}

napi_value takeResults(napi_env env, const Operator& op, Instance& instance) {
  napi_value result = nullptr;
  const auto& results = instance.stack;
  if (op.returnsSelf || results.empty()) return result;  // undefined: the caller holds the tensor already
  if (results.size() == 1) return fromIValue(env, results[0], instance);
  napi_create_array_with_length(env, results.size(), &result);
  for (uint32_t i = 0; i < results.size(); i++) {
    napi_set_element(env, result, i, fromIValue(env, results[i], instance));
  }
  return result;
}

void freeBuffers(napi_env env, Instance& instance) {
  for (napi_ref reference : instance.buffers->take()) napi_delete_reference(env, reference);
}

/** Tells V8 in steps of 16 MB how much memory its garbage collector could free. */
void reportMemory(napi_env env, Instance& instance) {
  constexpr int64_t kStep = 16 << 20;
  const int64_t change = instance.handles.unscopedBytes() - instance.reportedBytes;
  if (change < kStep && change > -kStep) return;
  int64_t total;
  napi_adjust_external_memory(env, change, &total);
  instance.reportedBytes += change;
}

}  // namespace

napi_value callOperator(napi_env env, napi_callback_info info) {
  napi_value values[kMaxArguments + 1];
  size_t count = kMaxArguments + 1;
  void* data = nullptr;
  napi_get_cb_info(env, info, &count, values, nullptr, &data);
  Instance& instance = *static_cast<Instance*>(data);
  uint32_t id = 0;
  if (count == 0 || count > kMaxArguments || napi_get_value_uint32(env, values[0], &id) != napi_ok ||
      id >= instance.operators.size()) {
    napi_throw_type_error(env, nullptr, "call(operatorId, ...arguments): no such operator");
    return nullptr;
  }
  const Operator& op = instance.operators[id];
  StackGuard guard{instance.stack};
  try {
    pushArguments(env, op, values + 1, count - 1, instance);
    op.handle.callBoxed(instance.stack);
    napi_value result = takeResults(env, op, instance);
    freeBuffers(env, instance);
    reportMemory(env, instance);
    return result;
  } catch (...) {
    throwFromCall(env, op, values + 1, count - 1, instance);
    return nullptr;
  }
}

Napi::Value resolveOperator(const Napi::CallbackInfo& info) {
  Instance& instance = Instance::of(info.Env());
  const std::string name = info[0].As<Napi::String>();
  const std::string overload = info[1].As<Napi::String>();
  const std::string full = name + "." + overload;
  const auto known = instance.operatorIds.find(full);
  if (known != instance.operatorIds.end()) return Napi::Number::New(info.Env(), known->second);
  const auto id = static_cast<uint32_t>(instance.operators.size());
  instance.operators.push_back(findOperator(name, overload));
  instance.operatorIds.emplace(full, id);
  return Napi::Number::New(info.Env(), id);
}

Napi::Value operatorSchema(const Napi::CallbackInfo& info) {
  const Operator& op = Instance::of(info.Env()).operators.at(info[0].As<Napi::Number>().Uint32Value());
  const c10::FunctionSchema& schema = op.handle.schema();
  Napi::Object result = Napi::Object::New(info.Env());
  Napi::Array parameters = Napi::Array::New(info.Env());
  for (uint32_t i = 0; i < op.parameters.size(); i++) {
    const c10::Argument& argument = schema.arguments()[i];
    Napi::Object parameter = Napi::Object::New(info.Env());
    parameter.Set("name", argument.name());
    parameter.Set("type", argument.real_type()->str());
    parameter.Set("required", !op.parameters[i].hasDefault && !op.parameters[i].optional);
    parameter.Set("keywordOnly", argument.kwarg_only());
    parameters.Set(i, parameter);
  }
  Napi::Array returns = Napi::Array::New(info.Env());
  for (uint32_t i = 0; i < schema.returns().size(); i++) returns.Set(i, schema.returns()[i].type()->str());
  result.Set("name", op.name);
  result.Set("text", op.schema);
  result.Set("returnsSelf", op.returnsSelf);
  result.Set("parameters", parameters);
  result.Set("returns", returns);
  return result;
}

Napi::Value operatorNames(const Napi::CallbackInfo& info) {
  Napi::Array names = Napi::Array::New(info.Env());
  uint32_t i = 0;
  for (const c10::OperatorName& op : c10::Dispatcher::singleton().getAllOpNames()) {
    names.Set(i++, op.overload_name.empty() ? op.name : op.name + "." + op.overload_name);
  }
  return names;
}

}  // namespace switchyard
