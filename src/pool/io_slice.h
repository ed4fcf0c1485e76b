// IoSlice: a part of an operation's vectors. The memory stays where it is.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "base/assert.h"
#include "rt/io.h"

namespace holdfast::pool {

class IoSlice {
 public:
  IoSlice() = default;
  // `bytes` of `of`, from `skip` on.
  IoSlice(IoVecs of, std::size_t skip, std::size_t bytes) { append(of, skip, bytes); }

  void append(IoVec vec) {
    if (vec.size == 0) return;
    if (count_ < few_.size()) {
      few_[count_++] = vec;
      return;
    }
    if (many_.empty()) many_.assign(few_.begin(), few_.end());
    many_.push_back(vec);
  }
  void append(IoVecs of, std::size_t skip, std::size_t bytes) {
    for (const IoVec& v : of) {
      if (bytes == 0) return;
      if (skip >= v.size) {
        skip -= v.size;
        continue;
      }
      const std::size_t n = std::min(v.size - skip, bytes);
      append(IoVec{v.data + skip, n});
      bytes -= n;
      skip = 0;
    }
    HF_ASSERT(bytes == 0);
  }
  // Valid as long as the slice stays where it is.
  IoVecs vectors() const noexcept {
    return many_.empty() ? IoVecs(few_.data(), count_) : IoVecs(many_.data(), many_.size());
  }

 private:
  std::array<IoVec, 4> few_{};
  std::size_t count_ = 0;
  std::vector<IoVec> many_;  // all of them, once they are more than a few
};

}  // namespace holdfast::pool
