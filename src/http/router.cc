#include "http/router.h"

#include <algorithm>

#include "base/assert.h"

namespace holdfast::http {
namespace {

std::string join_from(const std::vector<std::string>& segments, std::size_t first) {
  std::string rest = segments[first];
  for (std::size_t i = first + 1; i < segments.size(); ++i) rest += '/' + segments[i];
  return rest;
}

}  // namespace

PathTemplate::Part PathTemplate::parse_part(std::string_view segment) {
  Part part;
  const auto open = segment.find('{');
  part.literal = segment.substr(0, open);
  if (open == std::string_view::npos) return part;
  const auto close = segment.find('}');
  HF_ASSERT(close != std::string_view::npos && close > open);
  std::string_view name = segment.substr(open + 1, close - open - 1);
  std::string_view after = segment.substr(close + 1);
  part.kind = Kind::parameter;
  if (name.ends_with("...")) {
    name.remove_suffix(3);
    part.kind = Kind::rest;
  } else if (after.starts_with("={")) {
    part.value_name = after.substr(2, after.size() - 3);
    part.kind = Kind::key_value;
    after = {};
  }
  HF_ASSERT(after.empty() && !name.empty());
  part.name = name;
  return part;
}

PathTemplate::PathTemplate(std::string_view text) {
  HF_ASSERT(!text.empty() && text.front() == '/');
  text.remove_prefix(1);
  for (;;) {
    const std::string_view segment = text.substr(0, text.find('/'));
    parts_.push_back(parse_part(segment));
    const Kind kind = parts_.back().kind;
    if (segment.size() == text.size()) return;
    HF_ASSERT(kind == Kind::literal || kind == Kind::parameter);
    text.remove_prefix(segment.size() + 1);
  }
}

std::optional<PathParameters> PathTemplate::match(const std::vector<std::string>& segments) const {
  PathParameters parameters;
  const Kind last = parts_.back().kind;
  const bool open_ended = last == Kind::rest || last == Kind::key_value;
  if (segments.size() < parts_.size() || (segments.size() > parts_.size() && !open_ended))
    return std::nullopt;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const Part& part = parts_[i];
    const std::string& segment = segments[i];
    if (part.kind == Kind::literal && segment != part.literal) return std::nullopt;
    if (part.kind == Kind::parameter) {
      if (!segment.starts_with(part.literal) || segment.size() == part.literal.size()) return std::nullopt;
      parameters[part.name] = segment.substr(part.literal.size());
    } else if (part.kind == Kind::rest) {
      parameters[part.name] = join_from(segments, i);
      if (parameters[part.name].empty()) return std::nullopt;
    } else if (part.kind == Kind::key_value) {
      const std::string both = join_from(segments, i);
      const auto equals = both.find('=');
      if (equals == std::string::npos || equals == 0) return std::nullopt;
      parameters[part.name] = both.substr(0, equals);
      parameters[part.value_name] = both.substr(equals + 1);
    }
  }
  return parameters;
}

bool PathTemplate::more_literal_than(const PathTemplate& other) const noexcept {
  for (std::size_t i = 0; i < std::min(parts_.size(), other.parts_.size()); ++i) {
    // Whatever takes the rest of a path is as far from literal as the other.
    const auto rank = [](Kind kind) { return kind == Kind::key_value ? Kind::rest : kind; };
    const Kind ours = rank(parts_[i].kind);
    const Kind theirs = rank(other.parts_[i].kind);
    if (ours != theirs) return ours < theirs;
    if (parts_[i].literal.size() != other.parts_[i].literal.size()) {
      return parts_[i].literal.size() > other.parts_[i].literal.size();
    }
  }
  return false;
}

std::size_t Router::add(std::string method, std::string_view path_template) {
  routes_.push_back({std::move(method), PathTemplate(path_template)});
  return routes_.size() - 1;
}

Router::Outcome Router::find(std::string_view method, const std::vector<std::string>& segments) const {
  const Route* best = nullptr;
  for (const Route& route : routes_) {
    if (route.path.match(segments) && (best == nullptr || route.path.more_literal_than(best->path)))
      best = &route;
  }
  Outcome outcome;
  if (best == nullptr) return outcome;
  for (std::size_t i = 0; i < routes_.size(); ++i) {
    const Route& route = routes_[i];
    const bool as_literal = !best->path.more_literal_than(route.path);
    if (!as_literal) continue;
    auto parameters = route.path.match(segments);
    if (!parameters) continue;
    if (route.method == method) {
      outcome.match = Match{i, std::move(*parameters)};
      outcome.allowed.clear();
      return outcome;
    }
    outcome.allowed.insert(route.method);
  }
  return outcome;
}

}  // namespace holdfast::http
