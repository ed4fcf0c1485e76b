#include "sim/node.h"

#include <algorithm>
#include <utility>

#include "base/assert.h"
#include "sim/net.h"
#include "sim/reactor.h"

namespace holdfast::sim {

Process::Process(World& world, Node& node, unsigned core_count, std::size_t buffer_budget_bytes) {
  HF_ASSERT(core_count > 0);
  std::vector<Reactor*> all;
  for (unsigned core = 0; core < core_count; ++core) {
    reactors_.push_back(std::make_unique<SimReactor>(world, node, core, buffer_budget_bytes));
    all.push_back(reactors_.back().get());
  }
  cores_ = std::make_unique<Cores>(all);
}

Process::~Process() = default;

bool Process::owns(const SimReactor& r) const noexcept {
  return std::any_of(reactors_.begin(), reactors_.end(), [&](const auto& mine) { return mine.get() == &r; });
}

Node::Node(World& world, unsigned index, std::string name)
    : world_(world),
      index_(index),
      name_(std::move(name)),
      ipv4_("10.0.0." + std::to_string(index + 1)),
      ipv6_("fd00::" + std::to_string(index + 1)) {}

Node::~Node() { HF_ASSERT(process_ == nullptr); }

bool Node::has_address(std::string_view address) const noexcept {
  return address == ipv4_ || address == ipv6_ || address == "127.0.0.1" || address == "::1" ||
         address == "0.0.0.0" || address == "::";
}

SimDisk& Node::add_disk(std::string path, const DiskOptions& options) {
  auto& disk = disks_[std::move(path)];
  HF_ASSERT(disk == nullptr);
  disk = std::make_shared<SimDisk>(world_, options);
  return *disk;
}

void Node::add_path(std::string path, std::string_view of) {
  const auto found = disks_.find(of);
  HF_ASSERT(found != disks_.end());
  found->second->have_paths();
  disks_[std::move(path)] = found->second;
}

SimDisk* Node::find_disk(std::string_view path) noexcept {
  const auto found = disks_.find(path);
  return found == disks_.end() ? nullptr : found->second.get();
}

Process& Node::start(unsigned core_count, std::size_t buffer_budget_bytes) {
  HF_ASSERT(process_ == nullptr);
  if (!std::exchange(powered_, true)) world_.net().node_up(*this);
  process_ = std::make_unique<Process>(world_, *this, core_count, buffer_budget_bytes);
  return *process_;
}

void Node::stop() {
  HF_ASSERT(process_ != nullptr);
  world_.net().assert_closed(*process_);
  process_.reset();
}

void Node::crash(CrashKind kind) {
  if (kind == CrashKind::power) powered_ = false;
  if (process_ != nullptr) {
    HF_ASSERT(world_.current() == nullptr || !process_->owns(*world_.current()));
    for (auto& [path, disk] : disks_) disk->process_died(*process_);
    world_.net().process_died(*process_, kind);
    for (unsigned core = 0; core < process_->core_count(); ++core) process_->core(core).die();
    bury(process_.release());
  }
  if (kind == CrashKind::process) return;
  for (auto& [path, disk] : disks_) disk->lose_power();
}

void Node::freeze(Nanos duration) {
  if (process_ == nullptr) return;
  const Nanos until = world_.now() + duration;
  for (unsigned core = 0; core < process_->core_count(); ++core) process_->core(core).freeze(until);
}

}  // namespace holdfast::sim
