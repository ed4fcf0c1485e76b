// For tests that look at the memory of slabs, which have none where a sanitizer watches every object by itself.
#pragma once

#include <gtest/gtest.h>

#if defined(__SANITIZE_ADDRESS__)
#define HF_NEEDS_SLAB() GTEST_SKIP() << "objects are the sanitizer's"
#else
#define HF_NEEDS_SLAB() static_cast<void>(0)
#endif
