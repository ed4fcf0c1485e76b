// A part of a vector of memory pieces, without copying the vector.
#pragma once

#include <algorithm>
#include <cstddef>

#include "base/assert.h"
#include "rt/io.h"

namespace holdfast::nvmf::tcp {

// `bytes` bytes of `vectors` from `skip` on. The vectors belong to somebody who outlives the slice.
class IoSlice {
 public:
  IoSlice() noexcept = default;
  IoSlice(IoVecs vectors, std::size_t skip, std::size_t bytes) noexcept : vectors_(vectors), bytes_(bytes) {
    HF_ASSERT(skip + bytes <= total_bytes(vectors));
    seek(skip);
  }

  std::size_t bytes() const noexcept { return bytes_; }
  bool empty() const noexcept { return bytes_ == 0; }
  // The first piece; at least one byte unless the slice is empty.
  IoVec front() const noexcept {
    if (empty()) return IoVec();
    const IoVec& v = vectors_[index_];
    return IoVec{v.data + offset_, std::min(v.size - offset_, bytes_)};
  }
  // n <= bytes().
  void advance(std::size_t n) noexcept {
    HF_ASSERT(n <= bytes_);
    bytes_ -= n;
    if (bytes_ > 0) seek(n);
  }
  // Calls f(piece) for each piece in order until f answers false.
  template <class F>
  void for_each(F f) const {
    for (IoSlice rest = *this; !rest.empty();) {
      const IoVec piece = rest.front();
      if (!f(piece)) return;
      rest.advance(piece.size);
    }
  }

 private:
  void seek(std::size_t n) noexcept {
    offset_ += n;
    while (index_ < vectors_.size() && offset_ >= vectors_[index_].size) {
      offset_ -= vectors_[index_].size;
      ++index_;
    }
  }

  IoVecs vectors_;
  std::size_t index_ = 0;
  std::size_t offset_ = 0;  // in vectors_[index_]
  std::size_t bytes_ = 0;
};

}  // namespace holdfast::nvmf::tcp
