#include "call.h"

#include "errors.h"
#include "tape.h"
#include "values.h"

namespace switchyard {
namespace {

constexpr size_t kMaxArguments = 40;

/**
 * The stack of one call. Its memory is reused from call to call; it is taken, not shared, since reading an argument may
 * run a getter that calls another operator.
 */
class CallStack {
 public:
  explicit CallStack(Instance& instance) : instance_(instance), values(std::exchange(instance.stack, {})) {}

  ~CallStack() {
    values.clear();  // no tensor outlives the call in it
    instance_.stack = std::move(values);
  }

 private:
  Instance& instance_;

 public:
  torch::jit::Stack values;
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

void pushArguments(napi_env env, const Operator& op, const napi_value* values, size_t count, Instance& instance,
                   torch::jit::Stack& stack) {
  if (count > op.parameters.size()) {
    throw ArgumentError("takes at most " + std::to_string(op.parameters.size()) + " arguments, got " +
                        std::to_string(count));
  }
  for (size_t i = 0; i < count; i++) {
    stack.push_back(toIValue(env, values[i], op.parameters[i], instance));
  }
  for (size_t i = count; i < op.parameters.size(); i++) stack.push_back(defaultOf(op.parameters[i]));
}

napi_value takeResults(napi_env env, const Operator& op, Instance& instance, const torch::jit::Stack& results) {
  napi_value result = nullptr;
  if (op.returnsSelf || results.empty()) return result;  // undefined: the caller holds the tensor already
  if (results.size() == 1) return fromIValue(env, results[0], instance);
  napi_create_array_with_length(env, results.size(), &result);
  for (uint32_t i = 0; i < results.size(); i++) {
    napi_set_element(env, result, i, fromIValue(env, results[i], instance));
  }
  return result;
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
  const Operator& op = *instance.operators[id];
  CallStack stack(instance);
  try {
    pushArguments(env, op, values + 1, count - 1, instance, stack.values);
    if (instance.tape != nullptr) instance.tape->enter(stack.values);
    op.handle.callBoxed(stack.values);
    if (instance.tape != nullptr) instance.tape->leave(op, stack.values);
    napi_value result = takeResults(env, op, instance, stack.values);
    instance.tidyUp(env);
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
  instance.operators.push_back(std::make_unique<Operator>(findOperator(name, overload)));
  instance.operatorIds.emplace(full, id);
  return Napi::Number::New(info.Env(), id);
}

Napi::Value operatorSchema(const Napi::CallbackInfo& info) {
  const Operator& op = *Instance::of(info.Env()).operators.at(info[0].As<Napi::Number>().Uint32Value());
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
