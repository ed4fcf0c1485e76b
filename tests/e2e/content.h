// What a disk may hold whose every byte is known: it is cut into places, each written as a whole with a pattern of its
// generation (remote_disk.h). What was acknowledged has to be there; a write without an answer may have happened or not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace holdfast::e2e {

class Content {
 public:
  static constexpr std::size_t place_bytes = 64 << 10;
  // As a disk is made: zeroes.
  explicit Content(std::size_t places = 0) : places_(places) {}
  // What a copy may hold that was made at some moment between the two.
  static Content between(const Content& before, const Content& after);

  std::size_t places() const noexcept { return places_.size(); }
  // At least so many; new ones are as they were made.
  void grow(std::size_t places);
  static std::uint64_t offset(std::size_t place) noexcept { return place * place_bytes; }

  // A write begins: what it writes. Until it is acknowledged it may have happened or not. One at a time for a place.
  std::vector<std::byte> begin_write(std::size_t place);
  void acknowledge(std::size_t place);  // the last one that began
  // What was read while nothing was written there, which settles what had no answer: empty, or what is wrong with it.
  std::string read(std::size_t place, const std::vector<std::byte>& data);
  // The same of a copy, whose writes may have been cut off at a block: nothing is settled.
  std::string read_copy(std::size_t place, const std::vector<std::byte>& data) const;

 private:
  struct Place {
    std::vector<std::uint32_t> may_be{0};
    std::uint32_t written = 0;
  };
  std::string complaint(std::size_t place, const std::vector<std::byte>& data) const;

  std::vector<Place> places_;
};

}  // namespace holdfast::e2e
