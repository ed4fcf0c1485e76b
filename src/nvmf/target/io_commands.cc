#include "nvmf/target/io_commands.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "nvmf/target/connection.h"

namespace holdfast::nvmf::target {

using nvme::CommandStatus;
using nvme::IoKind;
using nvme::IoOpcode;
using nvme::permanent;
using nvme::StatusCode;

namespace {

// Blocks without write_zeroes of their own get zeroes in pieces of this size.
constexpr std::uint32_t zero_piece_bytes = 128 * 1024;

bool is_offered(IoOpcode opcode) noexcept {
  switch (opcode) {
    case IoOpcode::flush:
    case IoOpcode::write:
    case IoOpcode::read:
    case IoOpcode::compare:
    case IoOpcode::write_zeroes:
    case IoOpcode::dataset_management:
    case IoOpcode::verify:
    case IoOpcode::copy:
    case IoOpcode::reservation_register:
    case IoOpcode::reservation_report:
    case IoOpcode::reservation_acquire:
    case IoOpcode::reservation_release:
      return true;
    case IoOpcode::write_uncorrectable:
    case IoOpcode::fabrics:
      break;
  }
  return false;
}

// Which group of commands it belongs to when the namespace is reserved (NVMe Base 2.0, section 8.19). None:
// reservation commands are judged by what they do.
std::optional<ReservedAccess> access_of(IoOpcode opcode) noexcept {
  switch (opcode) {
    case IoOpcode::read:
    case IoOpcode::compare:
    case IoOpcode::verify:
      return ReservedAccess::read;
    case IoOpcode::flush:
    case IoOpcode::write:
    case IoOpcode::write_uncorrectable:
    case IoOpcode::write_zeroes:
    case IoOpcode::dataset_management:
    case IoOpcode::copy:  // what may write may read
      return ReservedAccess::write;
    case IoOpcode::reservation_register:
    case IoOpcode::reservation_report:
    case IoOpcode::reservation_acquire:
    case IoOpcode::reservation_release:
    case IoOpcode::fabrics:
      break;
  }
  return std::nullopt;
}

}  // namespace

CommandStatus ana_status(nvme::AnaState state) noexcept {
  switch (state) {
    case nvme::AnaState::optimized:
    case nvme::AnaState::non_optimized:
      return {};
    case nvme::AnaState::inaccessible:
      return StatusCode::ana_inaccessible;
    case nvme::AnaState::persistent_loss:
      return StatusCode::ana_persistent_loss;
    case nvme::AnaState::change:
      return StatusCode::ana_transition;
  }
  return StatusCode::internal_path_error;
}

CommandStatus IoCommands::find_namespace(const Request& r, NamespaceView*& ns) noexcept {
  ns = view_->find(r.sqe.nsid);
  if (ns == nullptr) return permanent(StatusCode::invalid_namespace);
  if (const CommandStatus ana = ana_status(ns->ana_state); !ana.ok()) return ana;
  if (!ns->channel) return nvme::to_nvme(ns->open_error, IoKind::other);
  const auto access = access_of(static_cast<IoOpcode>(r.sqe.opc));
  if (access && !ns->allows(host_id_, *access)) {
    return nvme::to_nvme(Errc::reservation_conflict, IoKind::other);
  }
  return {};
}

CommandStatus IoCommands::find_again(const Request& r, NamespaceView*& ns) noexcept {
  const CommandStatus found = find_namespace(r, ns);
  if (ns != nullptr && ns->incarnation != r.incarnation) return permanent(StatusCode::invalid_namespace);
  return found;
}

CommandStatus IoCommands::check_range(const Target& t) const noexcept {
  const std::uint64_t blocks = t.ns->geometry.block_count;
  if (to_blocks(t.first) >= blocks || t.blocks > blocks - to_blocks(t.first)) {
    return permanent(StatusCode::lba_out_of_range);
  }
  return {};
}

NamespaceView* IoCommands::still_there(Request& r) {
  NamespaceView* ns = nullptr;
  const CommandStatus status = find_again(r, ns);
  if (status.ok()) return ns;
  connection_.complete(r, status);
  return nullptr;
}

bool IoCommands::still_valid(Request& r, Target& t) {
  CommandStatus status = r.abort != nullptr ? StatusCode::abort_requested : find_again(r, t.ns);
  if (status.ok()) status = check_range(t);
  if (!status.ok()) connection_.complete(r, status);
  return status.ok();
}

void IoCommands::start(Request& r) {
  const auto opcode = static_cast<IoOpcode>(r.sqe.opc);
  NamespaceView* ns = nullptr;
  const CommandStatus found = find_namespace(r, ns);
  if (!found.ok()) {
    if (!is_offered(opcode)) return connection_.complete(r, permanent(StatusCode::invalid_command_opcode));
    if (opcode == IoOpcode::flush && r.sqe.nsid == nvme::nsid_all) return scope_.spawn(flush_all(r));
    return connection_.complete(r, found);
  }
  r.incarnation = ns->incarnation;
  switch (opcode) {
    case IoOpcode::read:
      return start_read(r, Target(*ns, nvme::io_range(r.sqe)));
    case IoOpcode::write:
    case IoOpcode::compare:
      return start_write(r, Target(*ns, nvme::io_range(r.sqe)));
    case IoOpcode::write_zeroes:
      return start_write_zeroes(r, Target(*ns, nvme::io_range(r.sqe)));
    case IoOpcode::dataset_management:
      return start_dsm(r, *ns);
    case IoOpcode::flush:
      return scope_.spawn(flush(r, *ns));
    case IoOpcode::verify:
      return start_verify(r, Target(*ns, nvme::io_range(r.sqe)));
    case IoOpcode::copy:
      return start_copy(r, *ns);
    case IoOpcode::reservation_register:
    case IoOpcode::reservation_report:
    case IoOpcode::reservation_acquire:
    case IoOpcode::reservation_release:
      return start_reservation(r, *ns);
    // Not offered: identify and the effects log say so.
    case IoOpcode::write_uncorrectable:
    case IoOpcode::fabrics:
      break;
  }
  connection_.complete(r, permanent(StatusCode::invalid_command_opcode));
}

void IoCommands::start_read(Request& r, Target t) {
  if (t.bytes > transfer_bytes_max) return connection_.complete(r, permanent(StatusCode::invalid_field));
  CommandStatus status = check_range(t);
  if (status.ok()) status = connection_.check_reply(r, t.bytes);
  if (!status.ok()) return connection_.complete(r, status);
  scope_.spawn(read(r, t));
  connection_.set_reads_at_once(r.state != Request::State::executing);
}

void IoCommands::start_write(Request& r, Target t) {
  if (t.bytes > transfer_bytes_max) return connection_.complete(r, permanent(StatusCode::invalid_field));
  const bool is_write = r.sqe.opc == static_cast<std::uint8_t>(IoOpcode::write);
  CommandStatus status = check_range(t);
  if (status.ok() && is_write && t.ns->capabilities.read_only) {
    status = permanent(StatusCode::namespace_write_protected);
  }
  if (status.ok()) status = connection_.prepare_host_data(r, t.bytes);
  if (!status.ok()) return connection_.complete(r, status);
  scope_.spawn(is_write ? write(r, t) : compare(r, t));
}

void IoCommands::start_write_zeroes(Request& r, Target t) {
  CommandStatus status = check_range(t);
  if (status.ok() && t.ns->capabilities.read_only) status = permanent(StatusCode::namespace_write_protected);
  if (!status.ok()) return connection_.complete(r, status);
  scope_.spawn(write_zeroes(r, t));
}

// Linux sends room for all 256 ranges, however few there are; what lies behind them means nothing.
void IoCommands::start_dsm(Request& r, NamespaceView& ns) {
  const std::uint32_t ranges = (r.sqe.cdw10 & 0xff) + 1;
  const std::uint32_t bytes = r.sqe.sgl1.length;
  CommandStatus status = connection_.prepare_host_data(r, bytes);
  if (bytes < ranges * sizeof(nvme::DsmRange) || bytes > nvme::dsm_ranges_max * sizeof(nvme::DsmRange)) {
    status = permanent(StatusCode::data_sgl_length_invalid);
  }
  if (status.ok() && ns.capabilities.read_only) status = permanent(StatusCode::namespace_write_protected);
  if (!status.ok()) return connection_.complete(r, status);
  scope_.spawn(deallocate(r, ranges));
}

void IoCommands::finish(Request& r, const Status& status, IoKind kind, std::uint64_t lba,
                        std::uint64_t result) {
  if (status.ok()) return connection_.complete(r, CommandStatus());
  CommandStatus failure = nvme::to_nvme(status.code(), kind);
  if (failure.type() == nvme::StatusType::media || failure.code == StatusCode::internal_error) {
    if (status.code() != Errc::miscompare) {
      failure.more = connection_.report_error(r, failure, lba);
    }
  }
  connection_.complete(r, failure, result);
}

Task<void> IoCommands::read(Request& r, Target t) {
  const auto bytes = static_cast<std::uint32_t>(t.bytes);
  if (!connection_.try_buffer(r, bytes)) {
    const bool got = co_await connection_.wait_buffer(r, bytes);
    if (!got || !still_valid(r, t)) co_return;
  }
  const ChannelGate::Hold hold = t.ns->gate.enter();
  if (t.ns->fence.stops(t.range())) [[unlikely]]
    co_await t.ns->fence.pass(t.range());
  const RangeFence::InFlight in_flight(t.ns->fence, t.range());
  if (durable_of(r.sqe) ==
      Durable::yes) {  // the data must come from the medium (NVM Command Set 1.0, section 3.2.4)
    const Status flushed = co_await t.ns->channel->flush();
    if (!flushed.ok()) co_return finish(r, flushed, IoKind::read, to_blocks(t.first));
  }
  const Status status = co_await t.ns->channel->read(t.first, IoVecs(&r.vec, 1));
  if (!status.ok()) co_return finish(r, status, IoKind::read, to_blocks(t.first));
  connection_.context().stats().read_bytes += t.bytes;
  connection_.complete_with_data(r);
}

Task<void> IoCommands::write(Request& r, Target t) {
  if (!r.sqe.sgl1.is_in_capsule()) {
    const bool got = co_await connection_.fetch_host_data(r, static_cast<std::uint32_t>(t.bytes));
    if (!got || !still_valid(r, t)) co_return;
  }
  const ChannelGate::Hold hold = t.ns->gate.enter();
  if (t.ns->fence.stops(t.range())) [[unlikely]]
    co_await t.ns->fence.pass(t.range());
  const RangeFence::InFlight in_flight(t.ns->fence, t.range());
  const Status status = co_await t.ns->channel->write(t.first, IoVecs(&r.vec, 1), durable_of(r.sqe));
  if (status.ok()) connection_.context().stats().write_bytes += t.bytes;
  finish(r, status, IoKind::write, to_blocks(t.first));
}

Task<void> IoCommands::compare(Request& r, Target t) {
  if (!r.sqe.sgl1.is_in_capsule()) {
    const bool got = co_await connection_.fetch_host_data(r, static_cast<std::uint32_t>(t.bytes));
    if (!got || !still_valid(r, t)) co_return;
  }
  const ChannelGate::Hold hold = t.ns->gate.enter();
  if (t.ns->fence.stops(t.range())) [[unlikely]]
    co_await t.ns->fence.pass(t.range());
  const RangeFence::InFlight in_flight(t.ns->fence, t.range());
  const Status status = co_await compare_with(r, t);
  finish(r, status, IoKind::compare, to_blocks(t.first));
}

Task<Status> IoCommands::compare_with(const Request& r, const Target& t) {
  if (!t.ns->capabilities.compare) co_return co_await compare_by_read(r, t);
  co_return co_await t.ns->channel->compare(t.first, IoVecs(&r.vec, 1));
}

Task<Status> IoCommands::compare_by_read(const Request& r, const Target& t) {
  // Without waiting: a command that holds one buffer and waits for another could wait for its like for ever.
  const Buffer found = connection_.reactor().buffers().try_acquire(t.bytes);
  if (!found) co_return Error(Errc::resource_exhausted);
  const IoVec vec = found.vec();
  HF_CO_CHECK(co_await t.ns->channel->read(t.first, IoVecs(&vec, 1)));
  if (std::memcmp(found.data(), r.vec.data, t.bytes) != 0) co_return Error(Errc::miscompare);
  co_return Status();
}

Task<void> IoCommands::write_zeroes(Request& r, Target t) {
  const Durable durable = durable_of(r.sqe);
  if (!t.ns->capabilities.write_zeroes) {
    const auto piece = static_cast<std::uint32_t>(std::min<std::uint64_t>(t.bytes, zero_piece_bytes));
    if (!connection_.try_buffer(r, piece)) {
      const bool got = co_await connection_.wait_buffer(r, piece);
      if (!got || !still_valid(r, t)) co_return;
    }
    const Status status = co_await zero_by_write(r, t, durable);
    co_return finish(r, status, IoKind::write, to_blocks(t.first));
  }
  const ChannelGate::Hold hold = t.ns->gate.enter();
  if (t.ns->fence.stops(t.range())) [[unlikely]]
    co_await t.ns->fence.pass(t.range());
  const RangeFence::InFlight in_flight(t.ns->fence, t.range());
  const Unmap unmap = (r.sqe.cdw12 & nvme::cdw12_deac) != 0 ? Unmap::yes : Unmap::no;
  const Status status = co_await t.ns->channel->write_zeroes(t.range(), unmap, durable);
  finish(r, status, IoKind::write, to_blocks(t.first));
}

Task<Status> IoCommands::zero_by_write(Request& r, Target t, Durable durable) {
  const ChannelGate::Hold hold = t.ns->gate.enter();
  if (t.ns->fence.stops(t.range())) [[unlikely]]
    co_await t.ns->fence.pass(t.range());
  const RangeFence::InFlight in_flight(t.ns->fence, t.range());
  const std::uint64_t piece = r.vec.size;
  std::memset(r.vec.data, 0, piece);
  for (std::uint64_t done = 0; done < t.bytes; done += piece) {
    if (r.abort != nullptr) co_return Error(Errc::cancelled);
    const IoVec vec{r.vec.data, std::min(piece, t.bytes - done)};
    const Lba first{to_blocks(t.first) + done / t.ns->geometry.block_bytes};
    HF_CO_CHECK(co_await t.ns->channel->write(first, IoVecs(&vec, 1), durable));
  }
  co_return Status();
}

Task<void> IoCommands::deallocate(Request& r, std::uint32_t ranges) {
  const bool got = co_await connection_.fetch_host_data(r, r.sqe.sgl1.length);
  if (!got) co_return;
  NamespaceView* const found = still_there(r);
  if (found == nullptr) co_return;
  NamespaceView& ns = *found;
  const ChannelGate::Hold hold = ns.gate.enter();
  if (ns.fence.stops(RangeFence::anywhere)) [[unlikely]]
    co_await ns.fence.pass(RangeFence::anywhere);
  const RangeFence::InFlight in_flight(ns.fence, RangeFence::anywhere);
  const std::span<const std::byte> data(r.vec.data, r.vec.size);
  const auto range_at = [data](std::uint32_t i) {
    return load<nvme::DsmRange>(data.subspan(i * sizeof(nvme::DsmRange)));
  };
  const std::uint64_t blocks = ns.geometry.block_count;
  for (std::uint32_t i = 0; i < ranges; ++i) {  // all are judged before one is touched
    const nvme::DsmRange range = range_at(i);
    if (range.slba > blocks || range.nlb > blocks - range.slba) {
      co_return connection_.complete(r, permanent(StatusCode::lba_out_of_range));
    }
  }
  // Everything else that the command may say is a hint for media that we do not have.
  const bool wanted = (r.sqe.cdw11 & nvme::cdw11_dsm_deallocate) != 0 && ns.capabilities.deallocate;
  for (std::uint32_t i = 0; wanted && i < ranges; ++i) {
    const nvme::DsmRange range = range_at(i);
    if (range.nlb == 0) continue;
    if (r.abort != nullptr) co_return connection_.complete(r, StatusCode::abort_requested);
    const BlockRange piece{Lba{range.slba.get()}, range.nlb};
    const Status done = co_await ns.channel->deallocate(piece);
    if (!done.ok() && done.code() != Errc::not_supported) {
      co_return finish(r, done, IoKind::other, range.slba);
    }
  }
  connection_.complete(r, CommandStatus());
}

Task<void> IoCommands::flush(Request& r, NamespaceView& ns) {
  const ChannelGate::Hold hold = ns.gate.enter();
  if (!ns.capabilities.flush) co_return connection_.complete(r, CommandStatus());  // nothing is cached
  const Status status = co_await ns.channel->flush();
  finish(r, status, IoKind::other, 0);
}

// Of every namespace that this host can reach now (VWC says that NSID FFFFFFFFh is supported).
Task<void> IoCommands::flush_all(Request& r) {
  for (std::uint32_t nsid = 1; nsid < view_->nsid_end(); ++nsid) {
    NamespaceView* ns = view_->find(nsid);
    if (ns == nullptr || !ana_status(ns->ana_state).ok() || !ns->capabilities.flush) continue;
    if (!ns->channel) co_return finish(r, Error(ns->open_error), IoKind::other, 0);
    if (!ns->allows(host_id_, ReservedAccess::write)) {
      co_return finish(r, Error(Errc::reservation_conflict), IoKind::other, 0);
    }
    const ChannelGate::Hold hold = ns->gate.enter();
    const Status status = co_await ns->channel->flush();
    if (!status.ok()) co_return finish(r, status, IoKind::other, 0);
  }
  connection_.complete(r, CommandStatus());
}

}  // namespace holdfast::nvmf::target
