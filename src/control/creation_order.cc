#include "control/creation_order.h"

#include "control/model/record.h"
#include "control/views.h"

namespace holdfast::control {
namespace {

constexpr unsigned spread_bits = 16;

}  // namespace

CreationOrder::Place CreationOrder::place(std::int64_t created, const std::string& id) {
  return {created, static_cast<std::uint16_t>(Digest().add(id).value()), id};
}

std::uint64_t CreationOrder::token_of(const Place& place) noexcept {
  return stable_tokens_from + ((static_cast<std::uint64_t>(place.created) << spread_bits) | place.spread);
}

CreationOrder::Places::const_iterator CreationOrder::after(std::uint64_t token) const {
  if (token < stable_tokens_from) return places_.begin();
  const std::uint64_t next = token - stable_tokens_from + 1;
  Place from;
  from.created = static_cast<std::int64_t>(next >> spread_bits);
  from.spread = static_cast<std::uint16_t>(next);
  return places_.lower_bound(from);
}

}  // namespace holdfast::control
