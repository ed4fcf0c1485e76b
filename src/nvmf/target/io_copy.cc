// Copy and Verify (NVM Command Set 1.0, sections 3.2.2 and 3.2.5): commands that move data below the wire, in
// pieces, so that one of them holds little memory however much it covers.
#include <algorithm>
#include <vector>

#include "nvmf/target/connection.h"
#include "nvmf/target/io_commands.h"

namespace holdfast::nvmf::target {

using nvme::CommandStatus;
using nvme::IoKind;
using nvme::permanent;
using nvme::StatusCode;

namespace {

constexpr std::uint64_t piece_bytes_max = 128 * KiB;

}  // namespace

void IoCommands::start_verify(Request& r, Target t) {
  const CommandStatus status = check_range(t);
  if (!status.ok()) return connection_.complete(r, status);
  scope_.spawn(verify(r, t));
}

// Nothing here has protection information: data that can be read is good.
Task<void> IoCommands::verify(Request& r, Target t) {
  const auto piece = static_cast<std::uint32_t>(std::min(t.bytes, piece_bytes_max));
  const bool got = co_await connection_.replace_buffer(r, piece);
  if (!got || !still_valid(r, t)) co_return;
  const ChannelGate::Hold hold = t.ns->gate.enter();
  if (t.ns->fence.stops(t.range())) [[unlikely]]
    co_await t.ns->fence.pass(t.range());
  const RangeFence::InFlight in_flight(t.ns->fence, t.range());
  for (std::uint64_t done = 0; done < t.bytes; done += piece) {
    if (r.abort != nullptr) co_return connection_.complete(r, StatusCode::abort_requested);
    const IoVec vec{r.vec.data, std::min<std::uint64_t>(piece, t.bytes - done)};
    const Lba first{to_blocks(t.first) + done / t.ns->geometry.block_bytes};
    const Status status = co_await t.ns->channel->read(first, IoVecs(&vec, 1));
    if (!status.ok()) co_return finish(r, status, IoKind::read, to_blocks(first));
  }
  connection_.complete(r, CommandStatus());
}

void IoCommands::start_copy(Request& r, NamespaceView& ns) {
  const std::uint32_t ranges = (r.sqe.cdw12 & nvme::cdw12_copy_ranges) + 1;
  const std::uint32_t bytes = r.sqe.sgl1.length;
  CommandStatus status = connection_.prepare_host_data(r, bytes);
  if (bytes < ranges * sizeof(nvme::CopyRange) || bytes > 256 * sizeof(nvme::CopyRange)) {
    status = permanent(StatusCode::data_sgl_length_invalid);
  }
  if (ranges > copy_ranges_max) status = permanent(nvme::command_size_limit_exceeded);
  if ((r.sqe.cdw12 & nvme::cdw12_copy_format) != 0) status = permanent(StatusCode::invalid_field);
  if (status.ok() && ns.capabilities.read_only) status = permanent(StatusCode::namespace_write_protected);
  if (!status.ok()) return connection_.complete(r, status);
  scope_.spawn(copy(r, ranges));
}

CommandStatus IoCommands::judge_copy(const NamespaceView& ns, const std::vector<BlockRange>& from,
                                     Lba to) const noexcept {
  std::uint64_t total = 0;
  for (const BlockRange& range : from) {
    total += range.count;
    if (range.count * ns.geometry.block_bytes > copy_range_bytes_max) {
      return permanent(nvme::command_size_limit_exceeded);
    }
    if (!holdfast::check_range(ns.geometry, range).ok()) return permanent(StatusCode::lba_out_of_range);
  }
  if (total * ns.geometry.block_bytes > copy_bytes_max) return permanent(nvme::command_size_limit_exceeded);
  if (!holdfast::check_range(ns.geometry, BlockRange{to, total}).ok()) {
    return permanent(StatusCode::lba_out_of_range);
  }
  return {};
}

// The result of a command that failed is how many ranges were copied before.
Task<void> IoCommands::copy(Request& r, std::uint32_t ranges) {
  const bool got_ranges = co_await connection_.fetch_host_data(r, r.sqe.sgl1.length);
  if (!got_ranges) co_return;
  std::vector<BlockRange> from(ranges);
  for (std::uint32_t i = 0; i < ranges; ++i) {
    const std::span<const std::byte> data(r.vec.data, r.vec.size);
    const auto range = load<nvme::CopyRange>(data.subspan(i * sizeof(nvme::CopyRange)));
    from[i] = BlockRange{Lba{range.slba.get()}, range.nlb.get() + 1u};
  }
  const bool got_memory = co_await connection_.replace_buffer(r, piece_bytes_max);
  if (!got_memory) co_return;
  NamespaceView* ns = nullptr;
  Lba to{nvme::io_range(r.sqe).slba};
  CommandStatus status = find_again(r, ns);
  if (status.ok()) status = judge_copy(*ns, from, to);
  if (!status.ok()) co_return connection_.complete(r, status);
  const ChannelGate::Hold hold = ns->gate.enter();
  if (ns->fence.stops(RangeFence::anywhere)) [[unlikely]]
    co_await ns->fence.pass(RangeFence::anywhere);
  const RangeFence::InFlight in_flight(ns->fence, RangeFence::anywhere);
  for (std::uint32_t i = 0; i < ranges; ++i) {
    const Status copied = co_await copy_range(r, *ns, from[i], to);
    if (!copied.ok()) co_return finish(r, copied, IoKind::write, to_blocks(to), i);
    to = Lba{to_blocks(to) + from[i].count};
  }
  connection_.complete(r, CommandStatus());
}

Task<Status> IoCommands::copy_range(Request& r, NamespaceView& ns, BlockRange from, Lba to) {
  const std::uint64_t piece = r.vec.size / ns.geometry.block_bytes;
  for (std::uint64_t done = 0; done < from.count; done += piece) {
    if (r.abort != nullptr) co_return Error(Errc::cancelled);
    const IoVec vec{r.vec.data, std::min(piece, from.count - done) * ns.geometry.block_bytes};
    const Lba source{to_blocks(from.first) + done}, destination{to_blocks(to) + done};
    HF_CO_CHECK(co_await ns.channel->read(source, IoVecs(&vec, 1)));
    HF_CO_CHECK(co_await ns.channel->write(destination, IoVecs(&vec, 1), durable_of(r.sqe)));
  }
  co_return Status();
}

}  // namespace holdfast::nvmf::target
