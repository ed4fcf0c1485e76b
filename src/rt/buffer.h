// Buffers of one core: aligned pieces of 4 KiB to 1 MiB from slabs, within a budget. When the budget is used
// up, acquire() waits in order; nothing fails. Huge pages are used where asked for and never needed.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "rt/io.h"
#include "rt/stop.h"
#include "rt/task.h"

namespace holdfast {

class BufferPool;
class Reactor;

namespace detail {
struct Slab;
}

// Owns one piece until destroyed. Aligned to 4 KiB. Released on the core it came from.
class Buffer {
 public:
  Buffer() noexcept = default;
  Buffer(Buffer&& o) noexcept
      : pool_(std::exchange(o.pool_, nullptr)),
        slab_(o.slab_),
        data_(o.data_),
        size_(std::exchange(o.size_, 0)) {}
  Buffer& operator=(Buffer&& o) noexcept {
    if (this != &o) {
      reset();
      pool_ = std::exchange(o.pool_, nullptr);
      slab_ = o.slab_;
      data_ = o.data_;
      size_ = std::exchange(o.size_, 0);
    }
    return *this;
  }
  ~Buffer() { reset(); }

  void reset() noexcept;
  explicit operator bool() const noexcept { return pool_ != nullptr; }
  std::byte* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }  // as asked for; the piece may be larger
  std::span<std::byte> span() const noexcept { return {data_, size_}; }
  IoVec vec() const noexcept { return {data_, size_}; }

 private:
  friend class BufferPool;
  Buffer(BufferPool& pool, detail::Slab& slab, std::byte* data, std::size_t size) noexcept
      : pool_(&pool), slab_(&slab), data_(data), size_(size) {}

  BufferPool* pool_ = nullptr;
  detail::Slab* slab_ = nullptr;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

class BufferPool {
 public:
  // Where slabs come from. In a huge page a piece is one run of physical memory: one segment of a disk's
  // request, and one look into the page tables, instead of one for each 4 KiB.
  enum class Pages : std::uint8_t { ordinary, huge };

  static constexpr std::size_t piece_bytes_min = 4096;
  static constexpr std::size_t piece_bytes_max = 1 << 20;  // also the size of a slab
  static constexpr std::size_t alignment = 4096;

  // budget_bytes is rounded up to whole slabs of 1 MiB, which are kept; huge pages give two at a time. While pieces of
  // other sizes hold them all, more are made for a while, up to twice the budget: what is out stays within it.
  BufferPool(Reactor& reactor, std::size_t budget_bytes, Pages pages = Pages::ordinary);
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  ~BufferPool();  // every Buffer is back (asserted)

  // 0 < bytes <= piece_bytes_max. Content is whatever was there: callers overwrite it or clear it (P4).
  // An empty Buffer when the budget is used up or others wait.
  Buffer try_acquire(std::size_t bytes) noexcept;
  // Waits for its turn when the budget is used up. An empty Buffer only when the stop was requested.
  Task<Buffer> acquire(std::size_t bytes, StopToken stop = StopToken());

  std::size_t budget_bytes() const noexcept { return slabs_max_ * piece_bytes_max; }
  std::size_t slab_bytes() const noexcept {
    return slabs_.size() * piece_bytes_max;
  }  // taken from the system
  std::size_t used_bytes() const noexcept { return used_bytes_; }
  std::size_t waiting() const noexcept;
  // Gives the memory back to the system although buffers may be out: only for a simulated process that
  // crashed.
  void forget_memory() noexcept;

 private:
  friend class Buffer;
  struct Waits;
  static constexpr std::size_t class_count = 9;
  static constexpr std::size_t class_of(std::size_t bytes) noexcept;

  Buffer take(std::size_t size_class, std::size_t bytes) noexcept;
  detail::Slab* slab_for(std::size_t size_class) noexcept;
  detail::Slab& make_slab();
  void give_back(detail::Slab& slab, std::byte* piece) noexcept;

  const std::size_t slabs_max_;
  const Pages pages_;
  std::vector<std::byte*> huge_pages_;
  std::byte* half_page_ = nullptr;  // of the last one, for the next slab
  std::vector<std::unique_ptr<detail::Slab>> slabs_;
  std::array<std::vector<detail::Slab*>, class_count> partial_;  // slabs of the class with a free piece
  std::vector<detail::Slab*> empty_;                             // slabs with no piece out, of no class
  std::size_t used_bytes_ = 0;
  std::unique_ptr<Waits> waits_;
};

}  // namespace holdfast
