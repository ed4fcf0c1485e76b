#include "store/kv.h"

namespace holdfast::store {

KeyRange KeyRange::prefix(std::string text) {
  // The first key after all those: the last byte that can grow grows, what follows it goes.
  std::string end = text;
  while (!end.empty() && static_cast<unsigned char>(end.back()) == 0xff) end.pop_back();
  if (end.empty()) {
    end.assign(1, '\0');
  } else {
    end.back() = static_cast<char>(static_cast<unsigned char>(end.back()) + 1);
  }
  if (text.empty()) text.assign(1, '\0');
  return KeyRange(std::move(text), std::move(end));
}

bool KeyRange::contains(std::string_view k) const noexcept {
  if (is_one_key()) return k == key;
  return k >= key && (!has_end() || k < end);
}

}  // namespace holdfast::store
