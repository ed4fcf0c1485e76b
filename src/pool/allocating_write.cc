// Writes that need new blocks, or a new cluster.
#include <algorithm>
#include <cstring>

#include "block/leaf_device.h"
#include "pool/io_slice.h"
#include "pool/map_writer.h"
#include "rt/when_all.h"

namespace holdfast::pool {

namespace {

constexpr std::uint64_t block_floor(std::uint64_t byte) noexcept { return byte / block_bytes * block_bytes; }
constexpr std::uint64_t block_ceiling(std::uint64_t byte) noexcept {
  return block_floor(byte + block_bytes - 1);
}

}  // namespace

MapWriter::MapWriter(Volume& volume)
    : volume_(volume),
      parts_(volume.parts()),
      home_(parts_.cores.home()),
      core_(home_.core()),
      blocks_(parts_.state.blocks_per_cluster()),
      locks_(home_),
      completing_(home_),
      gate_(home_) {}

MapWriter::~MapWriter() { HF_ASSERT(picked_.empty()); }

// One writer's part in the cluster that is being filled for an index.
class MapWriter::PickUser {
 public:
  PickUser(MapWriter& writer, std::uint32_t index) : writer_(writer), index_(index) {
    at_ = writer.picked_.try_emplace(index, writer.home_).first;
    Picked& shared = at_->second;
    if (++shared.users > 1) return;
    const ClusterView view = writer.volume_.map().find(index);
    if (!view.mapped()) return;
    shared.former = view.own();
    writer.parts_.state.clusters().hold(*shared.former);
  }
  PickUser(const PickUser&) = delete;
  PickUser& operator=(const PickUser&) = delete;
  ~PickUser() {
    Picked& shared = at_->second;
    if (--shared.users > 0) return;
    if (shared.former) writer_.parts_.state.clusters().release(*shared.former);
    writer_.picked_.erase(at_);
  }
  // Picks, or waits for who does.
  Task<Result<Cluster>> cluster() {
    Picked& shared = at_->second;
    if (shared.users > 1) {
      co_await shared.ready.wait();
    } else {
      auto picked = co_await writer_.parts_.space.pick(writer_.volume_.spec().id, writer_.neighbour(index_));
      if (picked.ok()) {
        shared.pick = std::move(picked).value();
      } else {
        shared.error = picked.error();
      }
      shared.ready.set();
    }
    if (shared.error) co_return *shared.error;
    co_return shared.pick.cluster();
  }

 private:
  MapWriter& writer_;
  const std::uint32_t index_;
  std::map<std::uint32_t, Picked>::iterator at_;
};

BlockSpan MapWriter::span_of(ByteRange range) const noexcept {
  const std::uint64_t in = range.offset % volume_.cluster_bytes();
  BlockSpan span;
  span.index = index_of(range.offset);
  span.first = static_cast<std::uint32_t>(in / block_bytes);
  span.count = static_cast<std::uint32_t>((in + range.length + block_bytes - 1) / block_bytes) - span.first;
  return span;
}

Task<RangeLock::Hold> MapWriter::lock(BlockSpan span) {
  return locks_.acquire(std::uint64_t{span.index} * blocks_ + span.first, span.count);
}

// Where the cluster before this one lies: what follows it on the disk suits best.
std::optional<Cluster> MapWriter::neighbour(std::uint32_t index) const noexcept {
  if (index == 0) return std::nullopt;
  const auto picked = picked_.find(index - 1);
  if (picked != picked_.end() && picked->second.pick) return picked->second.pick.cluster();
  const ClusterView before = volume_.map().find(index - 1);
  return before.mapped() ? std::optional(before.own()) : std::nullopt;
}

bool MapWriter::owned_in(Cluster cluster, std::uint32_t index, std::uint32_t block) const noexcept {
  const ClusterView view = volume_.map().find(index);
  return view.mapped() && view.own() == cluster && view.owns(block, 1);
}

bool MapWriter::any_owned_in(Cluster cluster, BlockSpan span) const noexcept {
  const ClusterView view = volume_.map().find(span.index);
  if (!view.mapped() || view.own() != cluster) return false;
  for (std::uint32_t done = 0; done < span.count;) {
    const BlockRun run = view.run(span.first + done, span.count - done);
    if (run.source == BlockSource::own) return true;
    done += run.blocks;
  }
  return false;
}

MapWriter::Way MapWriter::way_of(BlockSpan span) const noexcept {
  const ClusterView view = volume_.map().find(span.index);
  if (const auto picked = picked_.find(span.index); picked != picked_.end()) {
    const Space::Pick& pick = picked->second.pick;
    const bool mapped = pick && view.mapped() && view.own() == pick.cluster();
    return mapped && view.owns(span.first, span.count) ? Way::own : Way::fresh;
  }
  if (!view.mapped()) return Way::fresh;
  const Leaf* leaf = volume_.map().leaf(span.index / Leaf::entries);
  const bool alone = leaf->owners() == 1 && parts_.state.clusters().count(view.own()) == 1;
  // Nor may another map have the leaf back, until what let go of it is durable.
  const bool fresh_alone = alone && !view.leaf_shared() && parts_.fresh.alone_holds(view.own());
  if (parts_.state.exclusive(view) || fresh_alone)
    return view.owns(span.first, span.count) ? Way::own : Way::more;
  return alone ? Way::wait : Way::fresh;
}

bool MapWriter::must_rewrite(std::uint32_t index) const noexcept {
  return !picked_.contains(index) && volume_.map().find(index).has_behind();
}

Task<Status> MapWriter::write(ByteRange range, IoVecs from, Durable durable) {
  if (gate_.paused()) co_return Error(Errc::busy);
  const WriteGate::Inside writing(gate_);
  ++operations_;
  const BlockSpan span = span_of(range);
  RangeLock::Hold hold = co_await lock(span);
  for (bool all = span.count == blocks_;; all = true) {
    if (way_of(span) == Way::wait) co_await parts_.space.settled();
    // Before it is decided what has to be locked: those who filled the cluster with us may end meanwhile.
    HF_CO_CHECK(co_await settle(span));
    const Way way = way_of(span);
    const bool alone_needed = way == Way::fresh || way == Way::wait;
    if (all || !alone_needed || !must_rewrite(span.index)) break;
    hold.release();
    BlockSpan whole;
    whole.index = span.index;
    whole.count = blocks_;
    hold = co_await lock(whole);
  }
  co_return co_await write_locked(range, from, durable);
}

Task<Status> MapWriter::settle(BlockSpan span) {
  for (;;) {
    std::optional<Cluster> into;
    const auto picked = picked_.find(span.index);
    if (picked != picked_.end()) {
      if (picked->second.pick) into = picked->second.pick.cluster();
    } else if (const Way way = way_of(span); way == Way::own || way == Way::more) {
      into = volume_.map().find(span.index).own();
    }
    if (!into || !parts_.fresh.has(*into, span.first, span.count)) co_return Status();
    HF_CO_CHECK(co_await parts_.fresh.settle());
  }
}

// The range's blocks are locked; all of the cluster's where it has to be rewritten.
Task<Status> MapWriter::write_locked(ByteRange range, IoVecs from, Durable durable) {
  if (volume_.refuses_writes()) co_return Error(Errc::io_error);
  const BlockSpan span = span_of(range);
  HF_CO_CHECK(co_await settle(span));
  switch (way_of(span)) {
    case Way::own:
      co_return co_await write_own(range, from, durable);
    case Way::more:
      co_return co_await fill_and_record(volume_.map().find(span.index).own(), span, range, from, durable);
    case Way::fresh:
    case Way::wait:  // it did not become exclusive: a new cluster is right all the same
      co_return co_await write_fresh(range, from, durable);
  }
  panic("no such way");
}

Task<Status> MapWriter::write_own(ByteRange range, IoVecs from, Durable durable) {
  HF_CO_CHECK(co_await renew_epoch(range));
  const Cluster cluster = volume_.map().find(index_of(range.offset)).own();
  const auto in = static_cast<std::uint32_t>(range.offset % volume_.cluster_bytes());
  HF_CO_CHECK(co_await parts_.disks.write(core_, cluster, in, from, durable));
  // As VolumeCore::write_in_place: the mapping, too.
  if (durable == Durable::yes) co_return co_await parts_.journal.flush();
  co_return Status();
}

Task<Status> MapWriter::write_fresh(ByteRange range, IoVecs from, Durable durable) {
  BlockSpan blocks = span_of(range);
  const bool rewrite = must_rewrite(blocks.index);
  PickUser user(*this, blocks.index);
  HF_CO_TRY(const Cluster cluster, co_await user.cluster());
  if (rewrite) {
    blocks.first = 0;
    blocks.count = blocks_;
  }
  co_return co_await fill_and_record(cluster, blocks, range, from, durable);
}

Task<Status> MapWriter::fill_and_record(Cluster cluster, BlockSpan blocks, ByteRange range, IoVecs from,
                                        Durable durable) {
  WriteRecord write;
  write.volume = volume_.spec().id;
  write.index = blocks.index;
  write.cluster = cluster;
  write.first_block = static_cast<std::uint16_t>(blocks.first);
  write.block_count = static_cast<std::uint16_t>(blocks.count);
  const bool overwrites = any_owned_in(cluster, blocks);
  // Other cores may be writing what is own already: nothing of that may come back after a crash.
  const bool whole_blocks = range.length == std::uint64_t{blocks.count} * block_bytes;
  // The commit that failed may have made these blocks own: what is filled is seen then, without its epoch.
  HF_CO_CHECK(parts_.journal.usable());
  if (whole_blocks && !overwrites && parts_.fresh.carries(cluster, range.length))
    co_return co_await carry(write, range, from, durable);
  if (overwrites) HF_CO_CHECK(co_await renew_epoch(range));
  HF_CO_CHECK(co_await fill(cluster, blocks, range, from));
  std::vector<Record> records;
  records.emplace_back(write);
  const Durable needed = add_epochs(range, records, durable);
  co_return co_await parts_.journal.commit(std::move(records), needed);
}

Task<Status> MapWriter::carry(const WriteRecord& write, ByteRange range, IoVecs from, Durable durable) {
  WriteDataRecord carrying;
  carrying.write = write;
  carrying.data.resize(range.length);
  copy_from_vectors(from, 0, carrying.data.data(), range.length);
  std::vector<Record> records;
  records.emplace_back(std::move(carrying));
  const Durable needed = add_epochs(range, records, durable);
  Journal::Alongside in_place(home_);
  std::vector<Task<Status>> both;
  both.push_back(put_in_place(write, from, in_place));
  both.push_back(parts_.journal.commit(std::move(records), needed, &in_place));
  co_return co_await when_all_ok(std::move(both));
}

Task<Status> MapWriter::put_in_place(const WriteRecord& write, IoVecs from, Journal::Alongside& done) {
  const auto in = std::uint32_t{write.first_block} * block_bytes;
  const Status written = co_await parts_.disks.write(core_, write.cluster, in, from, Durable::no);
  if (!written.ok()) done.error = written.error();
  done.ended.set();
  co_return Status();  // the commit says it
}

Task<Status> MapWriter::fill(Cluster cluster, BlockSpan blocks, ByteRange range, IoVecs from) {
  const std::uint64_t in = range.offset % volume_.cluster_bytes();
  const std::uint64_t end = in + range.length;
  std::uint64_t begin_all = std::uint64_t{blocks.first} * block_bytes;
  std::uint64_t end_all = begin_all + std::uint64_t{blocks.count} * block_bytes;
  // What is own at the edges stays: another core may be writing there.
  if (owned_in(cluster, blocks.index, blocks.first)) begin_all = in;
  if (owned_in(cluster, blocks.index, blocks.first + blocks.count - 1)) end_all = end;
  const std::uint64_t head_end = begin_all == in ? in : block_ceiling(in);
  const std::uint64_t tail_begin = end_all == end ? end : std::max(head_end, block_floor(end));
  const std::uint64_t middle_end = std::max(head_end, std::min(end, tail_begin));
  std::optional<ScratchBuffer> head;
  std::optional<ScratchBuffer> tail;
  IoSlice out;
  if (head_end > begin_all) {
    head.emplace(home_, head_end - begin_all);
    BlockSpan before = blocks;
    before.count = static_cast<std::uint32_t>(head->size() / block_bytes);
    HF_CO_CHECK(co_await read_blocks(before, head->data()));
    copy_from_vectors(from, 0, head->data() + (in - begin_all), std::min(end, head_end) - in);
    out.append(head->vec());
  }
  if (middle_end > head_end) out.append(from, head_end - in, middle_end - head_end);
  if (end_all > tail_begin) {
    tail.emplace(home_, end_all - tail_begin);
    BlockSpan after = blocks;
    after.first = static_cast<std::uint32_t>(tail_begin / block_bytes);
    after.count = static_cast<std::uint32_t>(tail->size() / block_bytes);
    HF_CO_CHECK(co_await read_blocks(after, tail->data()));
    if (end > tail_begin) copy_from_vectors(from, tail_begin - in, tail->data(), end - tail_begin);
    out.append(tail->vec());
  }
  co_return co_await parts_.disks.write(core_, cluster, static_cast<std::uint32_t>(begin_all), out.vectors(),
                                        Durable::no);
}

// What the volume has there. The blocks are locked, so it stays.
Task<Status> MapWriter::read_blocks(BlockSpan blocks, std::byte* into) {
  const std::uint32_t end = blocks.first + blocks.count;
  for (std::uint32_t block = blocks.first; block < end;) {
    const BlockRun run = volume_.map().find(blocks.index).run(block, end - block);
    IoVec part{into, std::size_t{run.blocks} * block_bytes};
    if (run.source == BlockSource::zero) {
      std::memset(part.data, 0, part.size);
    } else {
      const IoVecs vecs(&part, 1);
      HF_CO_CHECK(co_await parts_.disks.read(core_, run.cluster, block * block_bytes, vecs));
    }
    block += run.blocks;
    into += part.size;
  }
  co_return Status();
}

}  // namespace holdfast::pool
