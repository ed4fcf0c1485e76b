#include "pool/slab.h"

#include <new>

#include "base/assert.h"
#include "base/page_memory.h"

#if defined(__SANITIZE_ADDRESS__)
#define HF_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HF_ADDRESS_SANITIZER 1
#endif
#endif

namespace holdfast::pool {

// At the front of the chunk, which is aligned to its size: so an object knows it.
struct Slab::Chunk {
  struct Free {
    Free* next;
  };
  Slab* slab;  // nullptr: gone
  Chunk* previous = nullptr;
  Chunk* next = nullptr;
  Free* free = nullptr;     // given back
  std::size_t begun = 0;    // objects that were given out once
  std::size_t objects = 0;  // live
  std::byte* at(std::size_t offset) noexcept { return reinterpret_cast<std::byte*>(this) + offset; }
};

namespace {

constexpr std::size_t alignment = 8;
constexpr std::size_t header_bytes = 64;

// A slab would hide use after free from the sanitizer.
#ifdef HF_ADDRESS_SANITIZER
constexpr bool each_on_its_own = true;
#else
constexpr bool each_on_its_own = false;
#endif

}  // namespace

void Slab::List::add(Chunk& chunk) noexcept {
  chunk.previous = nullptr;
  chunk.next = first;
  if (first != nullptr) first->previous = &chunk;
  first = &chunk;
  ++count;
}

void Slab::List::remove(Chunk& chunk) noexcept {
  (chunk.previous != nullptr ? chunk.previous->next : first) = chunk.next;
  if (chunk.next != nullptr) chunk.next->previous = chunk.previous;
  --count;
}

Slab::Slab(std::size_t object_bytes) noexcept
    : object_bytes_(round_up(object_bytes, alignment)),
      objects_per_chunk_((chunk_bytes - header_bytes) / object_bytes_) {
  static_assert(sizeof(Chunk) <= header_bytes);
  HF_ASSERT(object_bytes > 0 && object_bytes <= object_bytes_max);
}

Slab::~Slab() {
  for (Chunk* chunk = empty_.first; chunk != nullptr;) {
    Chunk* const next = chunk->next;
    unmap_pages(chunk->at(0), chunk_bytes);
    chunk = next;
  }
  for (const List* list : {&full_, &partly_}) {
    for (Chunk* chunk = list->first; chunk != nullptr; chunk = chunk->next) chunk->slab = nullptr;
  }
}

void* Slab::allocate() {
  if constexpr (each_on_its_own) return ::operator new(object_bytes_);
  Chunk& chunk = chunk_with_room();
  if (++chunk.objects == objects_per_chunk_) {
    partly_.remove(chunk);
    full_.add(chunk);
  }
  if (Chunk::Free* const free = chunk.free; free != nullptr) {
    chunk.free = free->next;
    return free;
  }
  return chunk.at(header_bytes + chunk.begun++ * object_bytes_);
}

void Slab::release(void* object) noexcept {
  if constexpr (each_on_its_own) return ::operator delete(object);
  const auto address = reinterpret_cast<std::uintptr_t>(object);
  auto& chunk = *reinterpret_cast<Chunk*>(address - address % chunk_bytes);
  chunk.free = ::new (object) Chunk::Free{chunk.free};
  --chunk.objects;
  Slab* const slab = chunk.slab;
  if (slab == nullptr) {
    if (chunk.objects == 0) unmap_pages(chunk.at(0), chunk_bytes);
    return;
  }
  const bool was_full = chunk.objects + 1 == slab->objects_per_chunk_;
  if (!was_full && chunk.objects > 0) return;
  (was_full ? slab->full_ : slab->partly_).remove(chunk);
  (chunk.objects > 0 ? slab->partly_ : slab->empty_).add(chunk);
}

// What is partly in use first, so that the others become empty.
Slab::Chunk& Slab::chunk_with_room() {
  if (partly_.first != nullptr) return *partly_.first;
  Chunk* chunk = empty_.first;
  if (chunk != nullptr) {
    empty_.remove(*chunk);
  } else {
    std::byte* const memory = map_small_pages(chunk_bytes);
    if (memory == nullptr) panic("out of memory");
    chunk = ::new (memory) Chunk{this};
    ++chunks_;
  }
  partly_.add(*chunk);
  return *chunk;
}

std::size_t Slab::trim(std::size_t most) noexcept {
  std::size_t trimmed = 0;
  for (; trimmed < most && spare() > 0; ++trimmed) {
    Chunk& chunk = *empty_.first;
    empty_.remove(chunk);
    unmap_pages(chunk.at(0), chunk_bytes);
    --chunks_;
  }
  return trimmed;
}

}  // namespace holdfast::pool
