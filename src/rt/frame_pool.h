// Memory of coroutine frames: a free list per thread and size class, so that a coroutine on the I/O path
// costs no call of the general allocator. A frame is freed on the thread that made it (tasks never change
// core).
#pragma once

#include <cstddef>

namespace holdfast::frame_pool {

void* allocate(std::size_t bytes);
void release(void* frame, std::size_t bytes) noexcept;

}  // namespace holdfast::frame_pool
