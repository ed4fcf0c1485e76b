#include "rt/frame_pool.h"

#include <array>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#define HF_FRAME_POOL_OFF 1  // a pooled frame would hide use after free
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HF_FRAME_POOL_OFF 1
#endif
#endif

namespace holdfast::frame_pool {

#ifdef HF_FRAME_POOL_OFF

void* allocate(std::size_t bytes) { return ::operator new(bytes); }
void release(void* frame, std::size_t) noexcept { ::operator delete(frame); }

#else

namespace {

constexpr std::size_t class_bytes = 64;
constexpr std::size_t class_count = 32;  // frames up to 2 KiB; larger ones are rare and go to the allocator
constexpr std::size_t kept_per_class = 4096;

struct FreeFrame {
  FreeFrame* next;
};

class ThreadPool {
 public:
  ThreadPool() = default;
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool() {
    for (auto& list : lists_) {
      while (list.head != nullptr) ::operator delete(pop(list));
    }
  }

  void* allocate(std::size_t index) {
    auto& list = lists_[index];
    return list.head != nullptr ? pop(list) : ::operator new((index + 1) * class_bytes);
  }
  void release(void* frame, std::size_t index) noexcept {
    auto& list = lists_[index];
    if (list.count >= kept_per_class) return ::operator delete(frame);
    list.head = ::new (frame) FreeFrame{list.head};
    ++list.count;
  }

 private:
  struct List {
    FreeFrame* head = nullptr;
    std::size_t count = 0;
  };
  static void* pop(List& list) noexcept {
    FreeFrame* frame = list.head;
    list.head = frame->next;
    --list.count;
    return frame;
  }
  std::array<List, class_count> lists_{};
};

ThreadPool& pool() {
  thread_local ThreadPool p;
  return p;
}

constexpr std::size_t class_of(std::size_t bytes) noexcept { return (bytes - 1) / class_bytes; }

}  // namespace

void* allocate(std::size_t bytes) {
  const auto index = class_of(bytes);
  return index < class_count ? pool().allocate(index) : ::operator new(bytes);
}

void release(void* frame, std::size_t bytes) noexcept {
  const auto index = class_of(bytes);
  if (index < class_count) {
    pool().release(frame, index);
  } else {
    ::operator delete(frame);
  }
}

#endif

}  // namespace holdfast::frame_pool
