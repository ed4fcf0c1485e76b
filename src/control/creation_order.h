// CreationOrder: the order in which the specs of one kind were created, which others coming and going does not change:
// that of the pages of a list.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <tuple>

namespace holdfast::control {

class CreationOrder {
 public:
  // Those that one change of the store created are told apart by a hash, so that one number stands for almost every
  // place. It has less than 53 bits, which every JSON reader takes.
  struct Place {
    std::int64_t created = 0;  // revision
    std::uint16_t spread = 0;
    std::string id;
    bool operator<(const Place& o) const noexcept {
      return std::tie(created, spread, id) < std::tie(o.created, o.spread, o.id);
    }
  };
  using Places = std::set<Place>;

  void add(std::int64_t created, const std::string& id) { places_.insert(place(created, id)); }
  void remove(std::int64_t created, const std::string& id) { places_.erase(place(created, id)); }
  void clear() noexcept { places_.clear(); }
  const Places& places() const noexcept { return places_; }

  // At least stable_tokens_from (views.h), and larger for what comes later, or the same in rare cases.
  static std::uint64_t token_of(const Place& place) noexcept;
  // The first place whose token is larger; the end for one that can be no token.
  Places::const_iterator after(std::uint64_t token) const;

 private:
  static Place place(std::int64_t created, const std::string& id);

  Places places_;
};

}  // namespace holdfast::control
