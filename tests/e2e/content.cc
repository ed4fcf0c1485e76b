#include "e2e/content.h"

#include <algorithm>
#include <utility>

#include "e2e/remote_disk.h"

namespace holdfast::e2e {

namespace {

constexpr std::size_t block_bytes = 4096;  // what is never torn
using Bytes = std::vector<std::byte>;

Bytes wanted(std::size_t place, std::uint32_t generation) {
  if (generation == 0) return Bytes(Content::place_bytes);
  return pattern(Content::offset(place), generation, Content::place_bytes);
}

bool same_block(const Bytes& a, const Bytes& b, std::size_t at) {
  const auto from = static_cast<std::ptrdiff_t>(at);
  return std::equal(a.begin() + from, a.begin() + from + block_bytes, b.begin() + from);
}

std::string list(const std::vector<std::uint32_t>& generations) {
  std::string text;
  for (const std::uint32_t g : generations) text += (text.empty() ? "" : " or ") + std::to_string(g);
  return text;
}

// Block by block.
std::string describe(std::size_t place, const Bytes& data, std::uint32_t last) {
  std::string text;
  std::string before;
  for (std::size_t at = 0; at < data.size(); at += block_bytes) {
    std::string here = "something else";
    for (std::uint32_t g = 0; g <= last; ++g) {
      if (same_block(wanted(place, g), data, at)) here = "generation " + std::to_string(g);
    }
    if (here != before) text += (text.empty() ? "" : "; ") + here + " from " + std::to_string(at);
    before = std::move(here);
  }
  return text;
}

}  // namespace

Content Content::between(const Content& before, const Content& after) {
  Content all(before.places());
  for (std::size_t i = 0; i < before.places(); ++i) {
    const Place& from = before.places_[i];
    const Place& to = after.places_[i];
    all.places_[i] = from;
    for (std::uint32_t g = from.written + 1; g <= to.written; ++g) all.places_[i].may_be.push_back(g);
    all.places_[i].written = to.written;
  }
  return all;
}

void Content::grow(std::size_t places) {
  if (places > places_.size()) places_.resize(places);
}

std::vector<std::byte> Content::begin_write(std::size_t place) {
  Place& p = places_[place];
  p.may_be.push_back(++p.written);
  return pattern(offset(place), p.written, place_bytes);
}

void Content::acknowledge(std::size_t place) {
  Place& p = places_[place];
  p.may_be.assign(1, p.written);
}

std::string Content::read(std::size_t place, const std::vector<std::byte>& data) {
  Place& p = places_[place];
  const auto found = std::find_if(p.may_be.begin(), p.may_be.end(),
                                  [&](std::uint32_t g) { return data == wanted(place, g); });
  if (found == p.may_be.end()) return complaint(place, data);
  p.may_be.assign(1, std::uint32_t(*found));
  return "";
}

std::string Content::read_copy(std::size_t place, const std::vector<std::byte>& data) const {
  std::vector<Bytes> may_be;
  for (const std::uint32_t g : places_[place].may_be) may_be.push_back(wanted(place, g));
  for (std::size_t at = 0; at < data.size(); at += block_bytes) {
    const bool known =
        std::any_of(may_be.begin(), may_be.end(), [&](const Bytes& b) { return same_block(b, data, at); });
    if (!known) return complaint(place, data);
  }
  return "";
}

std::string Content::complaint(std::size_t place, const std::vector<std::byte>& data) const {
  const Place& p = places_[place];
  return "offset " + std::to_string(offset(place)) + " is not what generation " + list(p.may_be) +
         " wrote, but " + describe(place, data, p.written);
}

}  // namespace holdfast::e2e
