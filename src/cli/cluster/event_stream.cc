#include "cli/cluster/event_stream.h"

#include <utility>

namespace holdfast::cli {

bool EventStream::feed(std::string_view bytes) {
  for (const char c : bytes) {
    const bool second_half = std::exchange(after_return_, c == '\r') && c == '\n';
    if (second_half) continue;
    if (c == '\n' || c == '\r') {
      take_line(line_);
      line_.clear();
    } else {
      line_ += c;
    }
    if (line_.size() + data_.size() > event_bytes_max) return false;
  }
  return true;
}

void EventStream::take_line(std::string_view line) {
  if (line.empty()) {
    if (has_data_) each_(data_);
    data_.clear();
    has_data_ = false;
    return;
  }
  const auto colon = line.find(':');
  if (line.substr(0, colon) != "data") return;  // comments, and fields that say nothing here
  std::string_view value = colon == std::string_view::npos ? std::string_view() : line.substr(colon + 1);
  if (value.starts_with(' ')) value.remove_prefix(1);
  if (has_data_) data_ += '\n';
  data_ += value;
  has_data_ = true;
}

}  // namespace holdfast::cli
