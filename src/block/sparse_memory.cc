#include "block/sparse_memory.h"

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/assert.h"

namespace holdfast {

namespace {

constexpr std::uintptr_t page_bytes = 4096;

}  // namespace

// Short: the longest thing done inside is a copy of one chunk. Cores spin, they have nobody to hand over to.
class SparseMemory::Lock {
 public:
  Lock(SparseMemory& m, std::uint64_t offset) noexcept
      : flag_(m.shared_ ? &m.locks_[(offset / chunk_bytes) % m.locks_.size()] : nullptr) {
    if (flag_ == nullptr) return;
    while (flag_->test_and_set(std::memory_order_acquire)) {
    }
  }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;
  ~Lock() {
    if (flag_ != nullptr) flag_->clear(std::memory_order_release);
  }

 private:
  std::atomic_flag* flag_;
};

SparseMemory::SparseMemory(bool shared)
    : shared_(shared), table_(static_cast<Chunk*>(std::calloc(chunk_count, sizeof(Chunk)))) {
  HF_ASSERT(table_ != nullptr);
}

SparseMemory::~SparseMemory() {
  for (std::uint64_t i = 0; i < used_end_.load(); ++i) release(table_[i]);
  std::free(table_);
}

bool SparseMemory::allocate(Chunk& c) noexcept {
  c.base = std::calloc(1, chunk_bytes + page_bytes);  // large: fresh pages, which cost nothing until touched
  if (c.base == nullptr) return false;
  const auto address = std::bit_cast<std::uintptr_t>(c.base);
  c.data = static_cast<std::byte*>(c.base) + ((page_bytes - address % page_bytes) % page_bytes);
  return true;
}

void SparseMemory::release(Chunk& c) noexcept {
  std::free(c.base);
  c = Chunk();
}

void SparseMemory::read(std::uint64_t offset, std::byte* to, std::size_t bytes) noexcept {
  while (bytes > 0) {
    const std::uint64_t in_chunk = offset % chunk_bytes;
    const std::size_t n = std::min<std::uint64_t>(bytes, chunk_bytes - in_chunk);
    const Lock lock(*this, offset);
    if (const std::byte* data = chunk(offset).data; data != nullptr) {
      std::memcpy(to, data + in_chunk, n);
    } else {
      std::memset(to, 0, n);
    }
    offset += n;
    to += n;
    bytes -= n;
  }
}

bool SparseMemory::write(std::uint64_t offset, const std::byte* from, std::size_t bytes) noexcept {
  while (bytes > 0) {
    const std::uint64_t in_chunk = offset % chunk_bytes;
    const std::size_t n = std::min<std::uint64_t>(bytes, chunk_bytes - in_chunk);
    const Lock lock(*this, offset);
    Chunk& c = chunk(offset);
    if (c.data == nullptr) {
      if (!allocate(c)) return false;
      const std::uint64_t end = offset / chunk_bytes + 1;
      std::uint64_t seen = used_end_.load();
      while (seen < end && !used_end_.compare_exchange_weak(seen, end)) {
      }
    }
    std::memcpy(c.data + in_chunk, from, n);
    offset += n;
    from += n;
    bytes -= n;
  }
  return true;
}

void SparseMemory::zero(std::uint64_t offset, std::uint64_t bytes) noexcept {
  const std::uint64_t used_bytes = used_end_.load() * chunk_bytes;
  const std::uint64_t end = std::min(offset + bytes, used_bytes);
  while (offset < end) {
    const std::uint64_t in_chunk = offset % chunk_bytes;
    const std::uint64_t n = std::min(end - offset, chunk_bytes - in_chunk);
    const Lock lock(*this, offset);
    Chunk& c = chunk(offset);
    if (n == chunk_bytes) {
      release(c);
    } else if (c.data != nullptr) {
      std::memset(c.data + in_chunk, 0, n);
    }
    offset += n;
  }
}

}  // namespace holdfast
