#include "engine/stacking.h"

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/split.h"
#include "block/inject_device.h"
#include "block/uri.h"
#include "engine/engine.h"

namespace holdfast::engine {
namespace {

// What a URI names; of an inject device or a nexus that is still to be made, what it will lie on.
void name_devices(Engine& engine, const std::string& text, std::vector<const BlockDevice*>& found) {
  if (const BlockDevice* const device = engine.devices().find(text)) {
    found.push_back(device);
    return;
  }
  const auto parsed = Uri::parse(text);
  if (!parsed.ok()) return;
  const Uri& uri = parsed.value();
  const auto children = uri.query.find("children");
  if (uri.scheme == "inject") {
    const auto target = inject_target(uri);
    if (target.ok()) name_devices(engine, target.value(), found);
  } else if (uri.scheme == "nexus" && children != uri.query.end()) {
    for (const auto& child : split_at_commas(children->second)) name_devices(engine, child, found);
  }
}

// The devices right below one.
std::vector<const BlockDevice*> below(Engine& engine, const BlockDevice& device) {
  constexpr std::string_view inject = "-inject";
  const std::string_view name = device.name();
  std::vector<const BlockDevice*> found;
  if (engine.pools().is_volume(device)) {
    const auto volume = engine.pools().find_volume(device.identity().uuid);
    if (!volume) return found;
    const auto view = volume->known->pool->view();
    for (const auto& disk : view.disks) found.push_back(engine.devices().find(disk.device));
  } else if (const auto* nexus = dynamic_cast<const nexus::Nexus*>(&device)) {
    const auto view = nexus->view();
    for (const auto& child : view.children) {  // also one that is offline: it may come back
      name_devices(engine, child.device_name.empty() ? child.uri : child.device_name, found);
    }
  } else if (name.ends_with(inject)) {
    found.push_back(engine.devices().find(name.substr(0, name.size() - inject.size())));
  }
  return found;
}

}  // namespace

bool reaches(Engine& engine, const std::string& uri, const std::function<bool(const BlockDevice&)>& is_it) {
  std::set<const BlockDevice*> seen;
  std::vector<const BlockDevice*> todo;
  name_devices(engine, uri, todo);
  while (!todo.empty()) {
    const BlockDevice* const next = todo.back();
    todo.pop_back();
    if (next == nullptr || !seen.insert(next).second) continue;
    if (is_it(*next)) return true;
    for (const BlockDevice* d : below(engine, *next)) todo.push_back(d);
  }
  return false;
}

}  // namespace holdfast::engine
