// Giving space back: whole clusters leave the map; so do blocks with nothing behind them; what has something behind
// it, and the edges of blocks, are zeroes.
#include <algorithm>
#include <array>

#include "pool/io_slice.h"
#include "pool/map_writer.h"
#include "pool/volume_core.h"

namespace holdfast::pool {

namespace {

// Of one record, so that applying it does not hold up everything else.
constexpr std::uint32_t unmap_clusters_max = 16384;

}  // namespace

Task<Status> MapWriter::unmap(ByteRange range, Durable durable) {
  if (gate_.paused()) co_return Error(Errc::busy);
  const WriteGate::Inside writing(gate_);
  ++operations_;
  // Also where nothing is to be given back: it may be elsewhere in the mirror.
  HF_CO_CHECK(co_await renew_epoch(range));
  const std::uint64_t cluster_bytes = volume_.cluster_bytes();
  const std::uint64_t end = range.offset + range.length;
  for (std::uint64_t at = range.offset; at < end;) {
    const std::uint64_t in = at % cluster_bytes;
    if (in == 0 && end - at >= cluster_bytes) {
      const auto count =
          static_cast<std::uint32_t>(std::min<std::uint64_t>((end - at) / cluster_bytes, unmap_clusters_max));
      HF_CO_CHECK(co_await unmap_clusters(index_of(at), count, durable));
      at += count * cluster_bytes;
      co_await home_.yield();  // not every disk makes a commit wait
      continue;
    }
    const ByteRange part{at, std::min(end - at, cluster_bytes - in)};
    HF_CO_CHECK(co_await unmap_part(part, durable));
    at += part.length;
  }
  // Where nothing is mapped, either: a write that failed with the journal may be there when the pool is opened again.
  HF_CO_CHECK(parts_.journal.usable());
  // Nor may come back what an earlier operation let go of.
  if (durable == Durable::yes) co_return co_await parts_.journal.flush();
  co_return Status();
}

// The first mapped cluster in [first, end), or end. Leaves that are not there are skipped.
std::uint32_t MapWriter::next_mapped(std::uint32_t first, std::uint32_t end) const noexcept {
  const VolumeMap& map = volume_.map();
  while (first < end) {
    const std::size_t slot = first / Leaf::entries;
    if (slot >= map.leaves()) return end;
    const Leaf* leaf = map.leaf(slot);
    if (leaf != nullptr && leaf->get(first % Leaf::entries).mapped()) return first;
    first = leaf != nullptr ? first + 1 : static_cast<std::uint32_t>((slot + 1) * Leaf::entries);
  }
  return end;
}

Task<Status> MapWriter::unmap_clusters(std::uint32_t first, std::uint32_t count, Durable durable) {
  const RangeLock::Hold hold =
      co_await locks_.acquire(std::uint64_t{first} * blocks_, std::uint64_t{count} * blocks_);
  const std::uint32_t end = first + count;
  const std::uint32_t begin = next_mapped(first, end);
  if (begin == end) co_return Status();
  UnmapRecord unmap;
  unmap.volume = volume_.spec().id;
  unmap.first = begin;
  unmap.count = end - begin;
  std::vector<Record> records;
  records.emplace_back(unmap);
  co_return co_await parts_.journal.commit(std::move(records), durable);
}

// Less than a cluster.
Task<Status> MapWriter::unmap_part(ByteRange range, Durable durable) {
  BlockSpan whole;
  whole.index = index_of(range.offset);
  whole.count = blocks_;
  const RangeLock::Hold hold = co_await lock(whole);
  if (!volume_.map().find(whole.index).mapped()) co_return Status();
  if (volume_.map().find(whole.index).has_behind()) co_return co_await zero_part(range, durable);
  const std::uint64_t cluster_first = whole.index * std::uint64_t{volume_.cluster_bytes()};
  const std::uint64_t begin = range.offset - cluster_first;
  const std::uint64_t end = begin + range.length;
  const std::uint64_t inner_begin = (begin + block_bytes - 1) / block_bytes * block_bytes;
  const std::uint64_t inner_end = end / block_bytes * block_bytes;
  if (inner_begin >= inner_end) co_return co_await zero_part(range, durable);
  const ByteRange head{range.offset, inner_begin - begin};
  const ByteRange inner{cluster_first + inner_begin, inner_end - inner_begin};
  const ByteRange tail{cluster_first + inner_end, end - inner_end};
  HF_CO_CHECK(co_await zero_part(head, durable));
  HF_CO_CHECK(co_await zero_part(tail, durable));
  // The edges may have made a new cluster, with the former one behind it.
  if (volume_.map().find(whole.index).has_behind()) co_return co_await zero_part(inner, durable);
  co_return co_await trim(inner, durable);
}

Task<Status> MapWriter::trim(ByteRange range, Durable durable) {
  const BlockSpan span = span_of(range);
  const ClusterView view = volume_.map().find(span.index);
  const BlockRun all = view.run(span.first, span.count);
  if (all.source == BlockSource::zero && all.blocks == span.count) co_return Status();
  TrimRecord trim;
  trim.volume = volume_.spec().id;
  trim.index = span.index;
  trim.first_block = static_cast<std::uint16_t>(span.first);
  trim.block_count = static_cast<std::uint16_t>(span.count);
  std::vector<Record> records;
  records.emplace_back(trim);
  co_return co_await parts_.journal.commit(std::move(records), durable);
}

// Writes zeroes where something else may be. The whole cluster is locked.
Task<Status> MapWriter::zero_part(ByteRange range, Durable durable) {
  const std::vector<IoVec> data = zero_vectors(range.length);
  const std::uint64_t end = range.offset + range.length;
  for (std::uint64_t at = range.offset; at < end;) {
    const ByteRange rest{at, end - at};
    const BlockSpan span = span_of(rest);
    const BlockRun run = volume_.map().find(span.index).run(span.first, span.count);
    const std::uint64_t run_end = at / block_bytes * block_bytes + std::uint64_t{run.blocks} * block_bytes;
    const ByteRange part{at, std::min(run_end, end) - at};
    at += part.length;
    if (run.source == BlockSource::zero) continue;
    const IoSlice zeroes(data, 0, part.length);
    HF_CO_CHECK(co_await write_locked(part, zeroes.vectors(), durable));
  }
  co_return Status();
}

}  // namespace holdfast::pool
