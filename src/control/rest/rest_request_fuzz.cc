// Any request line and any body is taken apart or refused without a fault; what is refused has a kind and a text, and
// what is taken apart keeps to its rules.
//
// Input: "PUT /target\n" and then the body, which every parser of bodies gets.
#include <cstdlib>
#include <string>
#include <string_view>

#include "control/model/kind.h"
#include "control/rest/bodies.h"
#include "control/rest/operations.h"
#include "http/router.h"
#include "http/target.h"

using namespace holdfast;
using namespace holdfast::control;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

const http::Router& router() {
  static const http::Router routes = [] {
    http::Router made;
    for (const auto& operation : rest::all_operations()) made.add(operation.method, operation.path);
    return made;
  }();
  return routes;
}

void check_refusal(const Error& error) {
  require(kind_of(error) == Kind::deserialize && !error.message().empty());
}

template <class T>
void check(const Result<T>& parsed) {
  if (!parsed.ok()) check_refusal(parsed.error());
}

void read_parameters(const http::Target& target, const http::PathParameters& path) {
  rest::Parameters parameters(path, target.query);
  for (const auto& [name, value] : path) {
    require(http::is_utf8(value));
    check(parameters.uuid(name));
    check(parameters.number(name, 255));
    check(parameters.protocol(name));
  }
  check(parameters.page());
  check(parameters.query_flag("force", false));
  check(parameters.query_uuid("volume_id"));
  check(parameters.finish());
}

void read_target(std::string_view method, std::string_view text) {
  const auto target = http::Target::parse(text);
  if (!target.ok()) return require(!target.error().message().empty());
  require(!target.value().segments.empty());
  for (const auto& segment : target.value().segments) {
    require(http::decode(http::encode(segment), false).value() == segment);
  }
  const auto found = router().find(method, target.value().segments);
  require(!found.match || found.allowed.empty());
  if (found.match) read_parameters(target.value(), found.match->parameters);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::string_view line = text.substr(0, text.find('\n'));
  const auto space = line.find(' ');
  if (space != std::string_view::npos) read_target(line.substr(0, space), line.substr(space + 1));
  const std::string_view body = line.size() == size ? std::string_view() : text.substr(line.size() + 1);
  check(rest::parse_create_pool(body));
  check(rest::parse_create_replica(body));
  check(rest::parse_create_nexus(body));
  check(rest::parse_create_volume(body));
  check(rest::parse_publish_volume(body));
  check(rest::parse_resize_volume(body));
  check(rest::parse_volume_property(body));
  check(rest::parse_register_app_node(body));
  check(rest::parse_move_replica(body));
  const auto json = rest::parse_json(body);
  check(json);
  if (json.ok()) check(rest::parse_json(rest::to_text(json.value())));
  return 0;
}
