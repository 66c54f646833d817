// Which operators run, how often, and for how long on the host and on CUDA.

#include "profile.h"

#include <ATen/record_function.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#ifdef SWITCHYARD_CUDA
#include "cuda_event.h"
#endif

#include "errors.h"

namespace switchyard {
namespace {

using Clock = std::chrono::steady_clock;

/** One call of an operator, whose time on the device is known once the device has come so far. */
struct Call {
  std::string name;
  double hostSeconds = 0;  // its own, without the operators that it called
  ssize_t caller = -1;     // index of the call that it is part of
#ifdef SWITCHYARD_CUDA
  CudaEvent begin{true}, end{true};
#endif
};

/** Calls of one profile() in the order of their beginnings; those that have not ended form a stack. */
struct Recorder {
  std::vector<std::unique_ptr<Call>> calls;
  std::vector<std::pair<size_t, Clock::time_point>> open;
  bool onDevice = false;

  void enter(const char* name) {
    auto call = std::make_unique<Call>();
    call->name = name;
    call->caller = open.empty() ? -1 : static_cast<ssize_t>(open.back().first);
#ifdef SWITCHYARD_CUDA
    if (onDevice) call->begin.record(c10::cuda::getCurrentCUDAStream());
#endif
    calls.push_back(std::move(call));
    open.emplace_back(calls.size() - 1, Clock::now());
  }

  void leave() {
    const auto [index, start] = open.back();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    open.pop_back();
    calls[index]->hostSeconds += seconds;
    if (!open.empty()) calls[open.back().first]->hostSeconds -= seconds;
#ifdef SWITCHYARD_CUDA
    if (onDevice) calls[index]->end.record(c10::cuda::getCurrentCUDAStream());
#endif
  }
};

thread_local Recorder* recorder = nullptr;

struct Entered : at::ObserverContext {};

std::unique_ptr<at::ObserverContext> onStart(const at::RecordFunction& function) {
  if (recorder == nullptr) return nullptr;
  recorder->enter(function.name());
  return std::make_unique<Entered>();
}

void onEnd(const at::RecordFunction&, at::ObserverContext* entered) {
  if (recorder != nullptr && entered != nullptr) recorder->leave();
}

/** Listens while it lives. */
class Listening {
 public:
  explicit Listening(Recorder* to)
      : handle_(at::addThreadLocalCallback(
            at::RecordFunctionCallback(onStart, onEnd)
                .scopes({at::RecordScope::FUNCTION, at::RecordScope::BACKWARD_FUNCTION}))) {
    recorder = to;
  }
  ~Listening() {
    recorder = nullptr;
    at::removeCallback(handle_);
  }
  Listening(const Listening&) = delete;
  Listening& operator=(const Listening&) = delete;

 private:
  at::RecordFunctionGuard enabled_;
  at::CallbackHandle handle_;
};

struct Total {
  double calls = 0, hostSeconds = 0, deviceSeconds = 0;
};

std::map<std::string, Total> totals(const Recorder& recorded) {
  std::map<std::string, Total> byName;
  for (const auto& call : recorded.calls) {
    Total& total = byName[call->name];
    total.calls++;
    total.hostSeconds += call->hostSeconds;
  }
#ifdef SWITCHYARD_CUDA
  if (recorded.onDevice) {
    for (const auto& call : recorded.calls) {
      const double seconds = call->end.millisecondsSince(call->begin) / 1e3;
      byName[call->name].deviceSeconds += seconds;
      if (call->caller >= 0) byName[recorded.calls[call->caller]->name].deviceSeconds -= seconds;
    }
  }
#endif
  return byName;
}

/** profile(callback, onDevice) -> [{ name, calls, hostSeconds, deviceSeconds }] */
Napi::Value profile(const Napi::CallbackInfo& info) {
  if (recorder != nullptr) throw ArgumentError("profile() is running already");
  Recorder recorded;
  recorded.onDevice = info[1].ToBoolean();
  {
    const Listening listening(&recorded);
    info[0].As<Napi::Function>().Call({});
  }
  Napi::Array rows = Napi::Array::New(info.Env());
  for (const auto& [name, total] : totals(recorded)) {
    Napi::Object row = Napi::Object::New(info.Env());
    row.Set("name", name);
    row.Set("calls", total.calls);
    row.Set("hostSeconds", total.hostSeconds);
    row.Set("deviceSeconds", total.deviceSeconds);
    rows.Set(rows.Length(), row);
  }
  return rows;
}

}  // namespace

void exportProfile(Napi::Env env, Napi::Object exports) {
  exports.Set("profile", Napi::Function::New(env, guarded<profile>, "profile"));
}

}  // namespace switchyard
