// Any text is parsed or refused without a fault; what is accepted keeps to its rules and to the injection
// parser.
#include <cstdlib>
#include <string_view>

#include "block/injection.h"
#include "block/uri.h"

using namespace holdfast;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string text;
  for (std::size_t i = 0; i < size; ++i) text += static_cast<char>(data[i]);
  auto parsed = Uri::parse(text);
  if (!parsed.ok()) {
    require(!parsed.error().message().empty());
    return 0;
  }
  const Uri& uri = parsed.value();
  require(uri.text == text && text.size() <= 4096 && !uri.scheme.empty());
  require(uri.path.empty() || uri.path.front() == '/');
  for (const char c : uri.path) require(static_cast<unsigned char>(c) >= 0x20);
  for (const auto& [key, value] : uri.query) {
    auto again = percent_decode(percent_encode(value));
    require(!key.empty() && again.ok() && again.value() == value);
  }
  UriParameters parameters(uri);
  parameters.take_uuid().ok();
  parameters.take_size("size").ok();
  parameters.take_flag("flag").ok();
  auto injection = Injection::parse(uri, parameters);
  if (injection.ok()) require(injection.value().begin < injection.value().end);
  parameters.finish().ok();
  return 0;
}
