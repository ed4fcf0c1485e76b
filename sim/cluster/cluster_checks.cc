// What has to be true of the copies of the volume, while faults strike and at the end.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "nexus/layout.h"
#include "sim/cluster/cluster.h"
#include "sim/cluster/engines.h"
#include "sim/reactor.h"

namespace holdfast::sim {

// A record that says so promises that nothing has to be copied, and that no cache matters any more.
void Cluster::check_clean_end() {
  const nexus::Record* now = record();
  if (now == nullptr || !now->clean_shutdown || history_ == nullptr) return;
  history_->end_flush(history_->begin_flush(), true);
  if (swarm_.pools) return;
  const Replica* first = nullptr;
  for (const Replica& r : replicas_) {
    if (r.dead || r.suspect || !recorded_healthy(r)) continue;
    for (std::uint64_t block = 0; block < history_->block_count(); ++block) {
      const Value there = on_disk(r, block);
      if (history_->may_hold(block, there) && (first == nullptr || on_disk(*first, block) == there)) continue;
      return fail(fmt::format("P1: a clean end, and {} has {} in block {} ({})", r.node->name(),
                              to_string(there), block, history_->describe(block)));
    }
    if (first == nullptr) first = &r;
  }
}

void Cluster::lost_cache(Replica& r) {
  if (!recorded_healthy(r) || history_ == nullptr) return;
  r.suspect = true;
  check_suspects();
}

// Copies that lost their caches are all there is: what no flush covered may be gone, and nobody promised it.
void Cluster::check_suspects() {
  const auto sound = [&](const Replica& other) {
    if (!recorded_healthy(other) || other.suspect) return false;
    return nexus_ == nullptr || !nexus_->up() || nexus_->uses(other);
  };
  const auto lost = [&](const Replica& r) { return recorded_healthy(r) && r.suspect; };
  if (std::none_of(replicas_.begin(), replicas_.end(), lost)) return;
  if (std::any_of(replicas_.begin(), replicas_.end(), sound)) return;
  note("the only copies lost their caches: unflushed writes may be gone");
  history_->lose_unflushed();
}

Value Cluster::on_disk(const Replica& r, std::uint64_t block) const {
  if (swarm_.pools) return r.content[block];
  std::vector<std::byte> content(swarm_.block_bytes);
  r.node->disk(r.disk_path).peek(nexus::data_offset_bytes + block * swarm_.block_bytes, content);
  return read_stamp(content, block);
}

void Cluster::check_acknowledged(std::uint64_t first, std::uint64_t count, Value value) {
  if (swarm_.pools) return;  // where a block lies is the pool's affair: only the end tells
  for (const Replica& r : replicas_) {
    // After lost power the nexus needs a moment to notice; what it acknowledges from then on is checked.
    if (!recorded_healthy(r) || r.suspect || r.dead) continue;
    for (std::uint64_t block = first; block < first + count; ++block) {
      const Value there = on_disk(r, block);
      if (there == value || history_->may_hold(block, there)) continue;
      fail(fmt::format("P1: {} to block {} is acknowledged, {} is called healthy and has {} ({})",
                       to_string(value), block, r.node->name(), to_string(there), history_->describe(block)));
      return;
    }
  }
}

void Cluster::watch_record(const nexus::Record& before, const nexus::Record& now) {
  note("record: " + nexus::to_json(now));
  for (Replica& r : replicas_) {
    const nexus::ChildRecord* was = before.find(r.uuid);
    const nexus::ChildRecord* is = now.find(r.uuid);
    const bool healthy = is != nullptr && is->healthy;
    if (!healthy) r.suspect = false;
    if (healthy && history_ != nullptr && (was == nullptr || !was->healthy)) check_joined(r);
  }
  if (history_ != nullptr) check_suspects();
  const auto healthy = [](const nexus::ChildRecord& c) { return c.healthy; };
  if (std::none_of(now.children.begin(), now.children.end(), healthy)) {
    fail("the membership record calls no child healthy");
  }
}

void Cluster::check_joined(const Replica& r) {
  if (r.suspect || r.dead || swarm_.pools) return;
  for (std::uint64_t block = 0; block < history_->block_count(); ++block) {
    const Value there = on_disk(r, block);
    if (history_->may_hold(block, there)) continue;
    fail(fmt::format("P1: {} is recorded healthy and has {} in block {} ({})", r.node->name(),
                     to_string(there), block, history_->describe(block)));
    return;
  }
  for (const Replica& other : replicas_) {
    if (&other != &r && recorded_healthy(other) && !check_equal(r, other)) return;
  }
}

// What the host has no operation under way on, and knows the outcome of, is the same on both.
bool Cluster::check_equal(const Replica& joined, const Replica& other) {
  if (other.suspect || other.dead) return true;
  for (std::uint64_t block = 0; block < history_->block_count(); ++block) {
    if (!history_->quiet(block) || on_disk(joined, block) == on_disk(other, block)) continue;
    fail(fmt::format("P1: {} is recorded healthy and has {} in block {}, {} has {} ({})", joined.node->name(),
                     to_string(on_disk(joined, block)), block, other.node->name(),
                     to_string(on_disk(other, block)), history_->describe(block)));
    return false;
  }
  return true;
}

// nullopt: its engine is down, and nobody can tell.
std::optional<std::vector<bool>> Cluster::changed_since(const Replica& r, std::uint64_t epoch) const {
  const auto since = static_cast<std::uint32_t>(epoch);
  if (!swarm_.pools) return r.table.changed_since(since);
  if (r.engine == nullptr || !r.engine->up()) return std::nullopt;
  return r.engine->changed_since(since);
}

// Promise: after a crash, and for a child that is back, at most the regions are copied that were touched since the
// seal that both agree on.
void Cluster::expect_copy(const nexus::NexusView& view, const nexus::RebuildRecord& rebuild) {
  copy_bytes_max_.erase(rebuild.child_uri);
  const auto replica_of = [&](const std::string& uri) {
    return std::find_if(replicas_.begin(), replicas_.end(), [&](const Replica& r) { return r.uri == uri; });
  };
  const auto at = replica_of(rebuild.child_uri);
  const nexus::ChildRecord* known = record() == nullptr ? nullptr : record()->find(at->uuid);
  // Zero: nothing was ever sealed with it.
  if (at->local || known == nullptr || known->healthy || known->in_sync_through == 0) return;
  const std::uint64_t since = known->in_sync_through;
  auto touched = changed_since(*at, since);
  bool has_source = false;
  for (const nexus::ChildView& other : view.children) {
    const auto source = replica_of(other.uri);
    if (source->local || other.state != nexus::ChildState::online || !touched) continue;
    const auto there = changed_since(*source, since);
    has_source = has_source || there.has_value();
    for (std::size_t i = 0; there && i < touched->size(); ++i) (*touched)[i] = (*touched)[i] || (*there)[i];
  }
  if (!has_source) return;
  const auto regions = static_cast<std::uint64_t>(std::count(touched->begin(), touched->end(), true));
  copy_bytes_max_[rebuild.child_uri] = regions * (swarm_.pools ? MiB : EpochTable::region_bytes);
  if (!rebuild.is_partial) fail(fmt::format("{} is copied in full", at->node->name()));
}

std::string Cluster::unsealed() const {
  if (nexus_ == nullptr || !nexus_->up()) return "all: the nexus is down";
  const std::uint64_t last = nexus_->volume()->view().sealed_epoch;
  std::string text;
  for (const Replica& r : replicas_) {
    if (r.dead || r.local || !recorded_healthy(r)) continue;
    const auto changed = changed_since(r, last);
    const auto regions = changed ? std::count(changed->begin(), changed->end(), true) : -1;
    if (regions != 0) text += fmt::format("{} regions on {} since epoch {}; ", regions, r.node->name(), last);
  }
  return text;
}

void Cluster::check_snapshots() {
  for (const Snapshot& s : snapshots_) {
    if (!check_snapshot(s)) return;
  }
}

bool Cluster::check_snapshot(const Snapshot& s) {
  std::vector<Value> first;
  for (const auto& [index, uuid] : s.parts) {
    Replica& r = replicas_[index];
    std::vector<Value> there;
    const bool read =
        world_.run(r.node->process()->core(0),
                   r.engine->read_snapshot(uuid, nexus::data_offset_bytes, s.legal.size(), there));
    if (!read) {
      fail(fmt::format("P3: a snapshot on {} cannot be read", r.node->name()));
      return false;
    }
    for (std::size_t b = 0; b < there.size(); ++b) {
      const auto& legal = s.legal[b];
      const bool is_legal =
          std::any_of(legal.begin(), legal.end(), [&](Value v) { return v == there[b] || v == value_any; });
      if (is_legal && (first.empty() || first[b] == there[b])) continue;
      fail(fmt::format("P3: a snapshot on {} has {} in block {}{}", r.node->name(), to_string(there[b]), b,
                       is_legal ? ", another one has not" : ""));
      return false;
    }
    if (first.empty()) first = std::move(there);
  }
  return true;
}

void Cluster::check_copied(const nexus::RebuildRecord& record) {
  const auto expected = copy_bytes_max_.extract(record.child_uri);
  if (expected.empty()) return;
  const std::uint64_t copied = record.blocks_transferred * record.block_size;
  ++copies_checked_;
  note(fmt::format("copied {} of at most {} bytes to {}", copied, expected.mapped(), record.child_uri));
  if (copied > expected.mapped()) {
    fail(fmt::format("{} bytes were copied to {}; the regions touched since the last seal have {}", copied,
                     record.child_uri, expected.mapped()));
  }
}

void Cluster::check_replicas() {
  for (Replica& r : replicas_) {
    if (!swarm_.pools || r.local) continue;
    const std::uint64_t blocks = history_->block_count();
    const bool read = world_.run(r.node->process()->core(0),
                                 r.engine->read_all(nexus::data_offset_bytes, blocks, r.content));
    if (!read) return fail(fmt::format("at the end {} cannot be read", r.node->name()));
  }
  for (std::uint64_t block = 0; block < history_->block_count(); ++block) {
    const Replica* first = nullptr;
    for (const Replica& r : replicas_) {
      if (r.dead || !recorded_healthy(r)) continue;
      const Value there = on_disk(r, block);
      if (!history_->may_hold(block, there)) {
        fail(fmt::format("at the end {} has {} in block {} ({})", r.node->name(), to_string(there), block,
                         history_->describe(block)));
        return;
      }
      if (first != nullptr && on_disk(*first, block) != there) {
        fail(fmt::format("at the end {} and {} differ in block {}", first->node->name(), r.node->name(),
                         block));
        return;
      }
      first = &r;
    }
  }
}

}  // namespace holdfast::sim
