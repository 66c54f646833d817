#include "cache_rows.h"

#include <algorithm>
#include <type_traits>

namespace switchyard {
namespace {

const RowDecoder* decoderOf(const at::Tensor& cache) {
  switch (cache.scalar_type()) {
    case at::kHalf: return &kHalves;
    case at::kByte: return &kBlocksOfQ8_0;
    default: return nullptr;
  }
}

}  // namespace

template <typename T>
CacheRows<T>::CacheRows(const at::Tensor& cache, at::IntArrayRef pages, int64_t perSequence)
    : cache_(cache), pages_(pages), perSequence_(perSequence), size_(cache.size(2)), decoder_(decoderOf(cache)) {
  const int64_t size = cache.element_size();
  rowBytes_ = cache.size(3) * size;
  width_ = decoder_ == nullptr ? cache.size(3) : rowBytes_ / decoder_->bytes * decoder_->values;
  const int64_t step = std::max(cache.stride(2), cache.size(3));  // a single row may have any stride
  strides_[0] = cache.stride(0) * size, strides_[1] = cache.stride(1) * size, strides_[2] = step * size;
}

template <typename T>
const uint8_t* CacheRows<T>::bytesAt(const CachePlace& place) const {
  const int64_t page = pages_[place.sequence * perSequence_ + place.position / size_];
  return static_cast<const uint8_t*>(cache_.data_ptr()) + page * strides_[0] + place.group * strides_[1] +
         place.position % size_ * strides_[2];
}

template <typename T>
Matrix<T> CacheRows<T>::read(const CachePlace& first, int64_t count, T* tile) const {
  const uint8_t* from = bytesAt(first);
  if constexpr (std::is_same_v<T, float>) {
    if (decoder_ != nullptr) {
      const int64_t blocks = width_ / decoder_->values;
      for (int64_t s = 0; s < count; s++) decoder_->decode(from + s * strides_[2], tile + s * width_, blocks);
      return {tile, width_};
    }
  }
  return {reinterpret_cast<const T*>(from), strides_[2] / static_cast<int64_t>(sizeof(T))};
}

template <typename T>
void CacheRows<T>::fetch(const CachePlace& first, int64_t count) const {
  constexpr int64_t kLine = 64;
  const uint8_t* from = bytesAt(first);
  for (int64_t s = 0; s < count; s++) {
    for (int64_t i = 0; i < rowBytes_; i += kLine) __builtin_prefetch(from + s * strides_[2] + i);
  }
}

template class CacheRows<float>;
template class CacheRows<double>;

}  // namespace switchyard
