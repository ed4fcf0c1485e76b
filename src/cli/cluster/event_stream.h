// Server-sent events, taken apart (WHATWG HTML, section 9.2.6 "Interpreting an event stream").
#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace holdfast::cli {

class EventStream {
 public:
  // `each` gets the data of every event that is complete.
  explicit EventStream(std::function<void(const std::string& data)> each) : each_(std::move(each)) {}

  // The next bytes, cut anywhere. False when an event is longer than anything that makes sense.
  bool feed(std::string_view bytes);

 private:
  void take_line(std::string_view line);

  static constexpr std::size_t event_bytes_max = 1u << 20;

  std::function<void(const std::string&)> each_;
  std::string line_;
  std::string data_;
  bool has_data_ = false;
  bool after_return_ = false;  // a line feed now belongs to the line before
};

}  // namespace holdfast::cli
