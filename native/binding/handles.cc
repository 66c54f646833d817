#include "handles.h"

#include <utility>

#include "../ops/common/dtypes.h"

namespace switchyard {
namespace {

constexpr double kSlots = 67108864.0;          // 2^26
constexpr uint32_t kGenerations = 1u << 27;  // slots times generations fill the 53 bits of a double

int64_t storageBytes(const at::Tensor& tensor) {
  return tensor.defined() && tensor.has_storage() ? static_cast<int64_t>(tensor.storage().nbytes()) : 0;
}

}  // namespace

uint32_t HandleTable::indexOf(double handle) {
  return static_cast<uint32_t>(static_cast<int64_t>(handle) & 0x3ffffff);
}

double HandleTable::add(at::Tensor tensor) {
  uint32_t index;
  if (free_.empty()) {
    index = static_cast<uint32_t>(slots_.size());
    TORCH_CHECK(index < kSlots, "more than ", static_cast<int64_t>(kSlots), " tensors are alive");
    slots_.emplace_back();
  } else {
    index = free_.back();
    free_.pop_back();
  }
  Slot& slot = slots_[index];
  slot.tensor = std::move(tensor);
  slot.used = true;
  slot.scope = static_cast<uint32_t>(scopes_.size());
  live_++;
  const double handle = slot.generation * kSlots + index;
  if (slot.scope == 0) {
    countUnscoped(slot);
  } else {
    scopes_.back().push_back(handle);
  }
  return handle;
}

const HandleTable::Slot* HandleTable::find(double handle) const {
  if (!(handle >= 0)) return nullptr;
  const uint32_t index = indexOf(handle);
  if (index >= slots_.size()) return nullptr;
  const Slot& slot = slots_[index];
  return slot.used && slot.generation * kSlots + index == handle ? &slot : nullptr;
}

const at::Tensor& HandleTable::get(double handle) const {
  const Slot* slot = find(handle);
  if (slot == nullptr) throw DisposedTensor{};
  return slot->tensor;
}

bool HandleTable::alive(double handle) const { return find(handle) != nullptr; }

void HandleTable::release(double handle) {
  Slot* slot = find(handle);
  if (slot == nullptr) return;
  unscopedBytes_ -= std::exchange(slot->countedBytes, 0);
  slot->used = false;
  slot->generation++;
  live_--;
  // A slot whose generations are used up retires, so that no handle ever means two tensors.
  if (slot->generation < kGenerations) free_.push_back(indexOf(handle));
  slot->tensor.reset();
}

void HandleTable::replace(double handle, at::Tensor tensor) {
  Slot* slot = find(handle);
  if (slot == nullptr) throw DisposedTensor{};
  slot->tensor = std::move(tensor);
  if (slot->scope != 0) return;
  unscopedBytes_ -= slot->countedBytes;
  countUnscoped(*slot);
}

bool HandleTable::isInnermost(double handle) const {
  const Slot* slot = find(handle);
  return slot != nullptr && !scopes_.empty() && slot->scope == scopes_.size();
}

void HandleTable::moveTo(Slot& slot, double handle, uint32_t scope) {
  if (slot.scope == scope) return;
  slot.scope = scope;
  if (scope == 0) {
    countUnscoped(slot);
  } else {
    scopes_[scope - 1].push_back(handle);
  }
}

void HandleTable::countUnscoped(Slot& slot) {
  slot.countedBytes = storageBytes(slot.tensor);
  unscopedBytes_ += slot.countedBytes;
}

void HandleTable::persist(double handle) {
  Slot* slot = find(handle);
  if (slot == nullptr) throw DisposedTensor{};
  moveTo(*slot, handle, 0);
}

void HandleTable::openScope() { scopes_.emplace_back(); }

void HandleTable::closeScope(const std::vector<double>& kept) {
  const auto depth = static_cast<uint32_t>(scopes_.size());
  TORCH_CHECK(depth > 0, "no tidy scope is open");
  for (double handle : kept) {
    Slot* slot = find(handle);
    if (slot != nullptr && slot->scope == depth) moveTo(*slot, handle, depth - 1);
  }
  std::vector<double> owned = std::move(scopes_.back());
  scopes_.pop_back();
  for (double handle : owned) {
    const Slot* slot = find(handle);
    if (slot != nullptr && slot->scope == depth) release(handle);
  }
}

std::string describe(const at::Tensor& tensor) {
  if (!tensor.defined()) return "undefined";
  std::string text = dtypeName(tensor.scalar_type()) + "[";
  for (int64_t dim = 0; dim < tensor.dim(); dim++) {
    if (dim > 0) text += ", ";
    text += std::to_string(tensor.size(dim));
  }
  return text + "]" + (tensor.is_cpu() ? "" : " on " + tensor.device().str());
}

}  // namespace switchyard
