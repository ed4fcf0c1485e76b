// Completion: a cluster with another one behind it gets the rest of the former content, so that reads need one place
// again and the one behind can go when its snapshots go.
#include <algorithm>
#include <cstring>

#include "block/leaf_device.h"
#include "pool/map_writer.h"
#include "pool/volume_core.h"

namespace holdfast::pool {

namespace {

constexpr std::uint32_t copy_blocks_max = 64;  // 256 KiB at once
constexpr std::uint32_t leaves_per_look = 64;

}  // namespace

bool MapWriter::can_complete(std::uint32_t index) const noexcept {
  const ClusterView view = volume_.map().find(index);
  return view.mapped() && view.has_behind() && parts_.state.exclusive(view);
}

// Goes on where the last call ended; looks at a bounded part of the map.
std::optional<std::uint32_t> MapWriter::next_to_complete() {
  const VolumeMap& map = volume_.map();
  if (map.behinds() == 0) return std::nullopt;
  const std::size_t slots = map.leaves();
  for (std::uint32_t looked = 0; looked < std::min<std::size_t>(leaves_per_look, slots) + 1; ++looked) {
    const std::size_t slot = complete_cursor_ / Leaf::entries;
    if (slot >= slots) {
      complete_cursor_ = 0;
      continue;
    }
    const Leaf* leaf = map.leaf(slot);
    for (std::uint32_t at = complete_cursor_ % Leaf::entries; leaf != nullptr && at < Leaf::entries; ++at) {
      const auto index = static_cast<std::uint32_t>(slot * Leaf::entries + at);
      if (!leaf->get(at).has_behind() || !can_complete(index)) continue;
      if (!locks_.free(std::uint64_t{index} * blocks_, blocks_)) continue;
      complete_cursor_ = index + 1;
      return index;
    }
    complete_cursor_ = static_cast<std::uint32_t>((slot + 1) * Leaf::entries);
  }
  return std::nullopt;
}

Task<bool> MapWriter::complete_one() {
  const Gate::Hold hold = completing_.enter();
  if (!hold) co_return false;
  const auto index = next_to_complete();
  if (!index) co_return false;
  const Status done = co_await complete(*index);
  co_return done.ok();
}

Task<Status> MapWriter::complete(std::uint32_t index) {
  BlockSpan whole;
  whole.index = index;
  whole.count = blocks_;
  const RangeLock::Hold hold = co_await lock(whole);
  if (!can_complete(index)) co_return Status();
  const Cluster own = volume_.map().find(index).own();
  HF_CO_CHECK(co_await copy_behind(index, own));
  WriteGate& gate = volume_.home_gate();
  while (gate.paused()) co_await gate.open();
  const WriteGate::Inside writing(gate);
  // A snapshot may have been taken meanwhile. What was copied does no harm: nobody reads those blocks.
  // After a revert it may be another cluster, which was not copied.
  if (!can_complete(index) || volume_.map().find(index).own() != own) co_return Status();
  CompleteRecord complete;
  complete.volume = volume_.spec().id;
  complete.index = index;
  std::vector<Record> records;
  records.emplace_back(complete);
  co_return co_await parts_.journal.commit(std::move(records), Durable::no);
}

// Own blocks stay: other cores may be writing them. The whole cluster is locked, so that no block becomes own.
Task<Status> MapWriter::copy_behind(std::uint32_t index, Cluster own) {
  // Inside: whatever becomes of the clusters meanwhile, they are not used again before this has ended.
  const CoreGuard::Slot::Inside inside(parts_.guard.at(core_));
  const ScratchBuffer buffer(home_, std::min(copy_blocks_max, blocks_) * block_bytes);
  for (std::uint32_t block = 0; block < blocks_;) {
    const ClusterView view = volume_.map().find(index);
    if (!view.mapped() || view.own() != own) co_return Error(Errc::cancelled);  // reverted meanwhile
    const BlockRun run = view.run(block, std::min(copy_blocks_max, blocks_ - block));
    const std::uint32_t at = block;
    block += run.blocks;
    if (run.source == BlockSource::own) continue;
    BlockSpan span;
    span.index = index;
    span.first = at;
    span.count = run.blocks;
    HF_CO_CHECK(co_await read_blocks(span, buffer.data()));
    const IoVec part{buffer.data(), std::size_t{run.blocks} * block_bytes};
    const IoVecs vecs(&part, 1);
    HF_CO_CHECK(co_await parts_.disks.write(core_, own, at * block_bytes, vecs, Durable::no));
  }
  co_return Status();
}

Task<void> MapWriter::close() { co_await completing_.close(); }

}  // namespace holdfast::pool
