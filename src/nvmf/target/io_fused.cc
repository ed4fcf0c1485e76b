// Compare and Write, the one fused operation (NVM Command Set 1.0, section 2.1.3; NVMe Base 2.0,
// section 3.4.2): the write happens when the compare held, and nothing else touches the blocks in between.
#include "nvmf/target/connection.h"
#include "nvmf/target/controller.h"
#include "nvmf/target/io_commands.h"
#include "nvmf/target/subsystem.h"
#include "rt/cross_core.h"

namespace holdfast::nvmf::target {

using nvme::CommandStatus;
using nvme::IoKind;
using nvme::IoOpcode;
using nvme::permanent;
using nvme::StatusCode;

void IoCommands::fail_fused(Request& first, Request& second, CommandStatus status) {
  connection_.complete(first, status);
  connection_.complete(second, StatusCode::aborted_failed_fused);
}

void IoCommands::start_fused(Request& first, Request& second) {
  const nvme::IoRange range = nvme::io_range(first.sqe), other = nvme::io_range(second.sqe);
  const bool match = first.sqe.nsid == second.sqe.nsid && range.slba == other.slba &&
                     range.blocks == other.blocks &&
                     second.sqe.opc == static_cast<std::uint8_t>(IoOpcode::write);
  if (!match) {
    connection_.complete(first, permanent(StatusCode::invalid_field));
    return connection_.complete(second, permanent(StatusCode::invalid_field));
  }
  NamespaceView* ns = nullptr;
  CommandStatus status = find_namespace(second, ns);  // who may write may compare
  if (!status.ok()) return fail_fused(first, second, status);
  second.incarnation = ns->incarnation;
  const Target t(*ns, range);
  status = check_range(t);
  if (status.ok() && t.bytes > fused_bytes_max) status = permanent(StatusCode::atomic_write_unit_exceeded);
  if (status.ok() && ns->capabilities.read_only) status = permanent(StatusCode::namespace_write_protected);
  if (status.ok()) status = connection_.prepare_host_data(first, t.bytes);
  if (status.ok()) status = connection_.prepare_host_data(second, t.bytes);
  if (!status.ok()) return fail_fused(first, second, status);
  scope_.spawn(compare_and_write(first, second, t));
}

// A command that holds memory must not wait for more: the half that comes second fails instead.
Task<bool> IoCommands::fetch_fused(Request& first, Request& second, std::uint32_t bytes) {
  // Nor does what lies in the reserve wait for data: a capsule that needs the reserve may come before that data.
  const bool in_capsules = first.sqe.sgl1.is_in_capsule() && second.sqe.sgl1.is_in_capsule();
  if ((first.reserve || second.reserve) && !in_capsules) {
    fail_fused(first, second, StatusCode::command_interrupted);
    co_return false;
  }
  const auto wait =
      second.sqe.sgl1.is_in_capsule() ? Connection::ForBuffer::fail : Connection::ForBuffer::wait;
  const bool got_first = co_await connection_.fetch_host_data(first, bytes, wait);
  if (!got_first) {
    connection_.complete(second, StatusCode::aborted_failed_fused);
    co_return false;
  }
  const bool got_second = co_await connection_.fetch_host_data(second, bytes, Connection::ForBuffer::fail);
  if (!got_second) connection_.complete(first, StatusCode::aborted_failed_fused);
  co_return got_second;
}

Task<void> IoCommands::compare_and_write(Request& first, Request& second, Target t) {
  const bool got = co_await fetch_fused(first, second, static_cast<std::uint32_t>(t.bytes));
  if (!got) co_return;
  CommandStatus status = find_again(second, t.ns);
  if (status.ok()) status = check_range(t);
  if (!status.ok()) co_return fail_fused(first, second, status);
  const ChannelGate::Hold hold = t.ns->gate.enter();
  Subsystem& subsystem = connection_.controller().subsystem();
  Reactor& here = connection_.reactor();
  Reactor& home = subsystem.registry().home();
  const std::uint32_t nsid = t.ns->nsid;
  const BlockRange range = t.range();
  auto raise = [&]() -> Task<bool> { return subsystem.fence(nsid, range); };
  const bool fenced = co_await run_on(here, home, raise);
  if (!fenced) co_return fail_fused(first, second, permanent(StatusCode::invalid_namespace));
  auto lift = [&]() -> Task<void> { return subsystem.lift_fence(nsid); };
  const Status compared = co_await compare_with(first, t);
  if (!compared.ok()) {
    co_await run_on(here, home, lift);
    finish(first, compared, IoKind::compare, to_blocks(t.first));
    co_return connection_.complete(second, StatusCode::aborted_failed_fused);
  }
  const IoVecs data(&second.vec, 1);
  const Status written = co_await t.ns->channel->write(t.first, data, durable_of(second.sqe));
  co_await run_on(here, home, lift);
  connection_.complete(first, CommandStatus());
  if (written.ok()) connection_.context().stats().write_bytes += t.bytes;
  finish(second, written, IoKind::write, to_blocks(t.first));
}

}  // namespace holdfast::nvmf::target
