#include "engine/stacking.h"

#include <set>
#include <string_view>
#include <vector>

#include "engine/engine.h"

namespace holdfast::engine {
namespace {

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
  } else if (const auto nexus = engine.nexuses().find(name); nexus.ok()) {
    const auto view = nexus.value()->view();
    for (const auto& child : view.children) {  // also one that is offline: it may come back
      found.push_back(engine.devices().find(child.device_name.empty() ? child.uri : child.device_name));
    }
  } else if (name.ends_with(inject)) {
    found.push_back(engine.devices().find(name.substr(0, name.size() - inject.size())));
  }
  return found;
}

}  // namespace

bool reaches(Engine& engine, const BlockDevice& device,
             const std::function<bool(const BlockDevice&)>& is_it) {
  std::set<const BlockDevice*> seen;
  std::vector<const BlockDevice*> todo(1, &device);
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
