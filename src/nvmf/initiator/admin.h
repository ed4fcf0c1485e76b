// Admin: the fabrics and admin commands that the initiator sends, one function each, over an admin queue.
// Source: NVMe Base 2.0 sections 3.5 (initialization), 5 (admin commands) and 6 (Fabrics commands).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/uuid.h"
#include "nvme/fabrics.h"
#include "nvme/feature.h"
#include "nvme/identify.h"
#include "nvme/log_page.h"
#include "nvme/property.h"
#include "nvme/vendor.h"
#include "nvmf/initiator/config.h"
#include "nvmf/initiator/queue.h"

namespace holdfast::nvmf::host {

// What Connect of one queue asks for.
struct ConnectArgs {
  std::uint16_t qid = 0;
  std::uint16_t cntlid = nvme::cntlid_dynamic;
  std::uint16_t entries = 32;
  Nanos keep_alive{0};  // admin queue only
  std::string subnqn, hostnqn;
  Uuid hostid;
};

struct Connected {
  std::uint16_t cntlid = 0;
  bool flow_controlled = true;  // the target did not agree to do without SQ flow control
};

// Connects `queue` to a controller. Asks for no SQ flow control first, and again with it where that is
// refused. Errors: with a text that names the status; not_found (no such subsystem or host not allowed),
// busy, not_connected, timed_out.
Task<Result<Connected>> fabrics_connect(Queue& queue, ConnectArgs args, Nanos timeout);

// A command of our own for the namespace (nvme/vendor.h); may be sent more than once.
struct VendorCommand {
  VendorCommand(const char* name, nvme::VendorOpcode opcode, nvme::VendorFunction function) noexcept
      : what(name) {
    sqe.opc = static_cast<std::uint8_t>(opcode);
    sqe.cdw12 = static_cast<std::uint32_t>(function);
  }
  const char* what;           // for messages
  nvme::Sqe sqe{};            // all but nsid and the dwords of data
  std::span<std::byte> data;  // whole dwords, in the direction of the opcode; the caller's
};

// Commands on a connected admin queue. Every function is bounded by `timeout` per command. A command whose data
// was damaged on its way (queue.h) is sent again; when that does not help, the queue is given up. Errors:
// not_connected when the queue ended, timed_out, or the code of the status with a text that names command and
// status.
class Admin {
 public:
  Admin(Queue& queue, Nanos timeout) noexcept : queue_(queue), timeout_(timeout) {}

  Task<Result<std::uint64_t>> property_get(nvme::Property property);
  Task<Status> property_set(nvme::Property property, std::uint64_t value);
  // Fills `into` (4096 bytes).
  Task<Status> identify(nvme::Cns cns, std::uint32_t nsid, std::uint8_t csi, std::span<std::byte> into);
  Task<Status> log_page(nvme::LogPage page, std::uint32_t nsid, std::uint64_t offset, bool retain_event,
                        std::span<std::byte> into);
  // The completion's first dword.
  Task<Result<std::uint32_t>> set_features(nvme::Feature feature, std::uint32_t cdw11);
  // Says that we honour retry delays (host behavior support, ACRE). Controllers that do not know it are left.
  Task<void> accept_retry_delays();
  Task<Status> keep_alive();
  // Asks the target to end a command. ok does not say that it did.
  Task<Status> abort(std::uint16_t sqid, std::uint16_t cid);
  Task<Status> vendor(const VendorCommand& command, std::uint32_t nsid);
  // Waits for the next event, however long that takes.
  Task<Result<nvme::AsyncEvent>> next_event();

  // CC.EN to one and CSTS.RDY, within CAP.TO. Errors: as above, timed_out, io_error (CSTS.CFS).
  Task<Status> enable(const nvme::Cap& cap);
  // CC.EN to zero until CSTS.RDY is zero: afterwards the target executes no command of this association any
  // more (NVMe Base 2.0, section 3.7.2). Within `bound`.
  Task<Status> reset(Nanos bound);
  // Orderly shutdown: CC.SHN, until CSTS.SHST says that it is complete. Within `bound`.
  Task<Status> shut_down(Nanos bound);

  Queue& queue() noexcept { return queue_; }
  // Commands that were sent again: what reading takes out of a log is lost with an answer that was damaged.
  unsigned repeated() const noexcept { return repeated_; }

 private:
  Task<Result<nvme::Cqe>> run(Command& command, const char* what);
  Task<Status> wait_status(Nanos bound, bool (*reached)(const nvme::Csts&), const char* what);

  Queue& queue_;
  Nanos timeout_;
  unsigned repeated_ = 0;
};

// The Error of a command that ended badly on `queue`; `what` names it.
Error command_error(const Queue& queue, const Command& command, const char* what);

}  // namespace holdfast::nvmf::host
