// Image: the bytes of a State, for checkpoints. Layout: docs/format/pool.md. The bytes carry no checksum; whoever
// stores them does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "base/error.h"
#include "pool/state.h"

namespace holdfast::pool {

// The state as it is when the writer is made, piece by piece, while it goes on to change. Home core; one at a time
// per State, which outlives it.
class ImageWriter {
 public:
  explicit ImageWriter(State& state);
  ~ImageWriter();  // finish() was called
  ImageWriter(const ImageWriter&) = delete;
  ImageWriter& operator=(const ImageWriter&) = delete;

  // Bytes of the image, put at the front of `to`: how many. Fewer than fit when the image has ended, and when it
  // has worked for about a millisecond, so that others get their turn before it is called again.
  std::size_t next(std::span<std::byte> to);
  bool done() const noexcept;  // all of it was given
  // Lets go of the state, at any time. What changed meanwhile and was kept for the image goes to the effects.
  void finish(Effects& effects);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// Takes the bytes of an image as they come. Errors of both: bad_format, saying what and at which byte, or the head's;
// resource_exhausted, when that takes too much memory; nothing can be fed afterwards.
class ImageReader {
 public:
  // Sees the state when it has its disks and segments, before memory is taken for what lies in their clusters.
  using Head = std::function<Status(const State&)>;
  // map_bytes_max: see MemoryLimit.
  explicit ImageReader(Head head = Head(), std::uint64_t map_bytes_max = 0);
  ~ImageReader();
  ImageReader(const ImageReader&) = delete;
  ImageReader& operator=(const ImageReader&) = delete;

  Status feed(std::span<const std::byte> bytes);
  // The image has ended: the state, with every invariant (check_invariants).
  Result<std::unique_ptr<State>> finish();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace holdfast::pool
