#include "rt/buffer.h"

#include <algorithm>
#include <bit>
#include <new>

#include "base/assert.h"
#include "base/page_memory.h"
#include "base/units.h"
#include "rt/wait.h"

namespace holdfast {

namespace detail {

// 1 MiB cut into equal pieces. Free pieces are a stack of indices.
struct Slab {
  std::byte* memory = nullptr;
  bool is_own = false;  // else it is a part of a huge page
  std::size_t size_class = 0;
  std::size_t piece_bytes = 0;
  std::vector<std::uint16_t> free;

  explicit Slab(std::byte* part_of_page) noexcept : memory(part_of_page) {}
  Slab()
      : memory(static_cast<std::byte*>(
            ::operator new(BufferPool::piece_bytes_max, std::align_val_t(BufferPool::alignment)))),
        is_own(true) {}
  Slab(const Slab&) = delete;
  Slab& operator=(const Slab&) = delete;
  ~Slab() { drop(); }
  void drop() noexcept {
    if (is_own && memory != nullptr) ::operator delete(memory, std::align_val_t(BufferPool::alignment));
    memory = nullptr;
  }
  // All pieces are free. Nothing to do when they have that size already: a lone buffer that comes and goes
  // would otherwise cut a slab each time.
  void cut(std::size_t cls) {
    if (piece_bytes == BufferPool::piece_bytes_min << cls) return;
    size_class = cls;
    piece_bytes = BufferPool::piece_bytes_min << cls;
    free.clear();
    for (std::size_t i = pieces(); i > 0; --i) free.push_back(static_cast<std::uint16_t>(i - 1));
  }
  std::size_t pieces() const noexcept { return BufferPool::piece_bytes_max / piece_bytes; }
};

}  // namespace detail

using detail::Slab;

void Buffer::reset() noexcept {
  if (auto* pool = std::exchange(pool_, nullptr)) pool->give_back(*slab_, data_);
  size_ = 0;
}

// One acquirer at a time stands at the head of the line and hears of every release; the others queue behind
// it.
struct BufferPool::Waits {
  explicit Waits(Reactor& r) : line(r, 1), released(r) {}
  Semaphore line;
  WaitQueue released;
  std::size_t count = 0;
};

BufferPool::BufferPool(Reactor& reactor, std::size_t budget_bytes, Pages pages)
    : slabs_max_(std::max<std::size_t>(1, round_up(budget_bytes, piece_bytes_max) / piece_bytes_max)),
      pages_(pages),
      waits_(std::make_unique<Waits>(reactor)) {}

std::size_t BufferPool::waiting() const noexcept { return waits_->count; }

BufferPool::~BufferPool() {
  HF_ASSERT(used_bytes_ == 0);
  forget_memory();
}

constexpr std::size_t BufferPool::class_of(std::size_t bytes) noexcept {
  const std::size_t piece = std::bit_ceil(std::max(bytes, piece_bytes_min));
  return static_cast<std::size_t>(std::countr_zero(piece) - std::countr_zero(piece_bytes_min));
}

Buffer BufferPool::try_acquire(std::size_t bytes) noexcept {
  HF_ASSERT(bytes > 0 && bytes <= piece_bytes_max);
  if (waits_->count > 0) return Buffer();  // those who wait come first
  return take(class_of(bytes), bytes);
}

Task<Buffer> BufferPool::acquire(std::size_t bytes, StopToken stop) {
  HF_ASSERT(bytes > 0 && bytes <= piece_bytes_max);
  const std::size_t size_class = class_of(bytes);
  if (waits_->count == 0) {
    if (Buffer b = take(size_class, bytes)) co_return b;
  }
  ++waits_->count;
  Buffer got;
  {
    const Semaphore::Permit turn = co_await waits_->line.acquire(no_deadline, stop);
    while (turn && !stop.stop_requested()) {
      got = take(size_class, bytes);
      if (got) break;
      co_await waits_->released.wait(no_deadline, stop);
    }
  }
  --waits_->count;
  co_return got;
}

Slab* BufferPool::slab_for(std::size_t size_class) noexcept {
  auto& partial = partial_[size_class];
  if (!partial.empty()) return partial.back();
  Slab* slab = nullptr;
  if (!empty_.empty()) {
    slab = empty_.back();
    empty_.pop_back();
  } else {
    // What the budget has room for may lie in slabs of other sizes, of each of which somebody keeps a piece for good.
    if (slabs_.size() >= 2 * slabs_max_ + class_count) return nullptr;
    slab = &make_slab();
  }
  slab->cut(size_class);
  partial.push_back(slab);
  return slab;
}

// Where the budget has room for one slab only, or the system has no such run, ordinary pages serve.
Slab& BufferPool::make_slab() {
  static_assert(page_memory_alignment == 2 * piece_bytes_max);
  std::byte* part = std::exchange(half_page_, nullptr);
  if (part == nullptr && pages_ == Pages::huge && slabs_.size() + 2 <= slabs_max_) {
    part = map_pages(page_memory_alignment);
    if (part != nullptr) {
      huge_pages_.push_back(part);
      half_page_ = part + piece_bytes_max;
    }
  }
  slabs_.push_back(part != nullptr ? std::make_unique<Slab>(part) : std::make_unique<Slab>());
  return *slabs_.back();
}

Buffer BufferPool::take(std::size_t size_class, std::size_t bytes) noexcept {
  if (used_bytes_ + (piece_bytes_min << size_class) > budget_bytes()) return Buffer();
  Slab* slab = slab_for(size_class);
  if (slab == nullptr) return Buffer();
  const std::size_t index = slab->free.back();
  slab->free.pop_back();
  if (slab->free.empty()) std::erase(partial_[size_class], slab);
  used_bytes_ += slab->piece_bytes;
  return Buffer(*this, *slab, slab->memory + index * slab->piece_bytes, bytes);
}

void BufferPool::give_back(Slab& slab, std::byte* piece) noexcept {
  used_bytes_ -= slab.piece_bytes;
  auto& partial = partial_[slab.size_class];
  if (slab.free.empty()) partial.push_back(&slab);
  slab.free.push_back(
      static_cast<std::uint16_t>(static_cast<std::size_t>(piece - slab.memory) / slab.piece_bytes));
  if (slab.free.size() == slab.pieces()) {
    std::erase(partial, &slab);
    const bool too_many = slabs_.size() > slabs_max_ && slab.is_own && !empty_.empty();
    if (too_many) {
      std::erase_if(slabs_, [&slab](const auto& s) { return s.get() == &slab; });
    } else {
      empty_.push_back(&slab);
    }
  }
  if (waits_->count > 0) waits_->released.wake_one();
}

void BufferPool::forget_memory() noexcept {
  for (auto& slab : slabs_) slab->drop();
  for (std::byte* page : huge_pages_) unmap_pages(page, page_memory_alignment);
  huge_pages_.clear();
  half_page_ = nullptr;
}

}  // namespace holdfast
