// Tensors seen from JavaScript: plain numbers that index a table of references.
//
// A handle is `generation * 2^26 + slot`. Releasing a slot bumps its generation, so a stale handle is
// recognised instead of reaching whatever tensor took the slot over.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace switchyard {

/** A handle whose tensor was released, by dispose() or by the end of its tidy scope. */
struct DisposedTensor {};

class HandleTable {
 public:
  /** Takes a reference to `tensor`, owned by the innermost open scope, or by the garbage collector outside. */
  double add(at::Tensor tensor);

  /** The tensor behind a handle. Throws DisposedTensor. */
  const at::Tensor& get(double handle) const;

  bool alive(double handle) const;

  /** Drops the reference. A second release does nothing. */
  void release(double handle);

  /** Lets a handle stand for another tensor. Throws DisposedTensor. */
  void replace(double handle, at::Tensor tensor);

  /** Whether the innermost open scope owns it. */
  bool isInnermost(double handle) const;

  /** Takes the tensor out of its scope: it lives until it is released. */
  void persist(double handle);

  void openScope();

  /** Releases what the innermost scope owns, except `kept`, which moves to the scope around it. */
  void closeScope(const std::vector<double>& kept);

  size_t live() const { return live_; }

  size_t depth() const { return scopes_.size(); }

  /** Storage bytes of the tensors that only garbage collection will free (a view counts its whole storage). */
  int64_t unscopedBytes() const { return unscopedBytes_; }

 private:
  struct Slot {
    at::Tensor tensor;
    uint32_t generation = 0;
    uint32_t scope = 0;       // 0: not in a scope
    int64_t countedBytes = 0;  // of its storage, when it counts as unscoped: setData() may change the storage later
    bool used = false;
  };

  static uint32_t indexOf(double handle);
  const Slot* find(double handle) const;
  Slot* find(double handle) { return const_cast<Slot*>(static_cast<const HandleTable*>(this)->find(handle)); }
  void moveTo(Slot& slot, double handle, uint32_t scope);
  void countUnscoped(Slot& slot);

  std::vector<Slot> slots_;
  std::vector<uint32_t> free_;
  std::vector<std::vector<double>> scopes_;
  size_t live_ = 0;
  int64_t unscopedBytes_ = 0;
};

/** `f32[2, 3]`, as errors and messages show a tensor. */
std::string describe(const at::Tensor& tensor);

}  // namespace switchyard
