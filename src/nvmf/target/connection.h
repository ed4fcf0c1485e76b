// Connection: one NVMe/TCP connection, which after Connect is one queue of a controller.
//
// Lives on one core, in one coroutine (receive()) plus one per command under way. The receiving coroutine
// judges PDUs, places data, and starts commands; commands answer through complete(). It stops reading, and so
// pushes back, while it has no free Request, no memory for in-capsule data, or too much queued.
//
// Memory: the staging buffer (small, but of I/O queues while there is plenty), Requests as far as they were
// ever needed at once (at most the queue's entries and a few), and data buffers as CoreContext::may_hold()
// allows. In-capsule data cannot be left in the stream while the pool is empty (the data that other commands
// wait for lies behind it), so each queue keeps one buffer in reserve for it.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "nvme/fabrics.h"
#include "nvme/pdu.h"
#include "nvme/status.h"
#include "nvmf/target/command_ids.h"
#include "nvmf/target/core_context.h"
#include "nvmf/target/io_commands.h"
#include "nvmf/target/registry.h"
#include "nvmf/target/request.h"
#include "nvmf/tcp/pdu_receiver.h"
#include "nvmf/tcp/pdu_sender.h"
#include "rt/reactor.h"
#include "rt/scope.h"
#include "rt/stop.h"
#include "rt/wait.h"

namespace holdfast::nvmf::target {

class Connection {
 public:
  Connection(CoreContext& context, std::unique_ptr<Stream> stream);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection();

  // From accept to the end: everything has come back when it returns.
  Task<void> serve();
  // Ends it soon, without waiting. Commands under way finish first.
  void disconnect() noexcept;
  // For the watchdog: nothing came of Connect in time, or the peer does not move. Logs why.
  bool stalled(Nanos now);
  // It could be ended and nobody would lose a queue: no Connect was seen yet.
  bool idles_before_connect() const noexcept { return !is_connected_ && !connecting_ && !stream_shut_; }
  // Asks a command that waits for memory to look again.
  void memory_may_be_free() noexcept { buffer_wait_.wake_one(); }
  // When the peer was heard of last, or got a response: for keep alive. Up to one round of the watchdog too late.
  Nanos heard_at() const noexcept { return answered_ ? reactor_.now() : heard_at_; }
  // Answers a parked asynchronous event request. No-op when it is not parked any more.
  void complete_parked(std::uint16_t tag, nvme::CommandStatus status, std::uint32_t dw0);
  // Abort: whether the command ended with that status. Waits for its end a little, because it may be taken
  // back only later.
  Task<bool> abort(std::uint16_t cid);
  // Whether the host honours command retry delays (NVMe Base 2.0, section 5.27.1.18).
  void set_retry_delays(bool on) noexcept { queue_.retry_delays = on; }

  Reactor& reactor() const noexcept { return reactor_; }
  CoreContext& context() const noexcept { return context_; }
  const Endpoint& peer() const noexcept { return stream_->peer(); }
  // After Connect. For home.
  Controller& controller() const noexcept { return *queue_.controller; }

  // --- For commands. ---

  // Judges the data pointer of a command that takes `bytes` bytes from the host, and names the data by r.vec
  // when it came in the capsule.
  nvme::CommandStatus prepare_host_data(Request& r, std::uint64_t bytes) noexcept;
  // After that: brings the data to r.vec. False: r was answered, or the connection ends. A command that holds
  // memory already must not wait for more.
  enum class ForBuffer : bool { fail, wait };
  Task<bool> fetch_host_data(Request& r, std::uint32_t bytes, ForBuffer without = ForBuffer::wait);
  // Judges the data pointer of a command that gives `bytes` bytes to the host.
  nvme::CommandStatus check_reply(const Request& r, std::uint64_t bytes) const noexcept;
  // Gives r a buffer of `bytes`, named by r.vec, in place of that of its capsule. False: wait_buffer() does.
  bool try_buffer(Request& r, std::uint32_t bytes) noexcept;
  // False: the connection ends.
  Task<bool> wait_buffer(Request& r, std::uint32_t bytes);

  // The same, for a command that is done with the buffer it has: never one that holds what others wait for.
  Task<bool> replace_buffer(Request& r, std::uint32_t bytes);

  void complete(Request& r, const nvme::CommandStatus& status, std::uint64_t result = 0);
  // Whether reads are answered as soon as they are started, as from memory. Else the device may have nothing
  // left to do while their data is being sent, until the host has it and asks for more.
  void set_reads_at_once(bool at_once) noexcept {
    sender_.set_batch_bytes(at_once ? tcp::PduSender::batch_bytes_max : batch_bytes_of_disks);
  }
  // Success, with r.vec as data.
  void complete_with_data(Request& r, std::uint64_t result = 0);
  // An entry for the error log of the controller. False: left out, because many come at once.
  bool report_error(const Request& r, nvme::CommandStatus status, std::uint64_t lba);
  // r's response has left, or never will. Called by Request.
  void release(Request& r, bool sent) noexcept;

 private:
  // --- Receiving (connection.cc). ---
  Task<void> receive();
  Task<bool> receive_more();
  Task<bool> receive_data();
  bool on_ic_req();
  Request* match_data(const nvme::H2cData& pdu, nvme::Fault& fault) noexcept;
  void count_arrived(Request& r, std::uint32_t end) noexcept;
  void terminate(nvme::Fault fault, std::span<const std::byte> header);
  // For the watchdog: since `latest` the peer owes us something. nullptr: nothing.
  const char* owes(Nanos latest) const noexcept;

  // --- Requests and memory (connection_memory.cc). ---
  Request* claim();
  Task<Request*> wait_claim();
  std::size_t requests_max() const noexcept;
  bool try_capsule_buffer(Request& r, std::uint32_t bytes) noexcept;
  Task<bool> wait_capsule_buffer(Request& r, std::uint32_t bytes);
  Task<Wake> wait_unread();
  void count_asked(Request& r, std::uint32_t bytes) noexcept;
  void grow_staging() noexcept;
  bool take_buffer(Request& r, std::uint32_t bytes) noexcept;
  void give_buffer(Request& r, Buffer buffer) noexcept;
  void drop_buffer(Request& r) noexcept;

  // --- Commands (connection_commands.cc). ---
  void dispatch(Request& r);
  bool admit(Request& r);
  void settle_abort(Request& r, bool aborted) noexcept;
  void refuse_id(Request& r);
  void give_up_fused(nvme::CommandStatus status);
  Task<void> run_connect(Request& r);
  void become_queue(const ConnectReply& reply, const nvme::ConnectCmd& cmd);
  void run_disconnect(Request& r);
  Task<void> run_admin(Request& r);
  Task<bool> bring_admin_data(Request& r, const AdminTransfer& transfer);
  void respond(Request& r, const nvme::CommandStatus& status, std::uint64_t result);
  nvme::CommandStatus note_failure(const Request& r, nvme::CommandStatus status);
  std::uint16_t advance_sqhd() noexcept;
  Task<void> send_error_report(ErrorReport report);

  // --- The end. ---
  Task<void> drain();
  Task<void> leave_queue();
  Task<void> finish();
  void shut_stream() noexcept;

  class Linger final : public Timer {
   public:
    explicit Linger(Stream& s) noexcept : stream_(s) {}
    void fire() noexcept override { stream_.shutdown(); }

   private:
    Stream& stream_;
  };

  // Measured with reads of 128 KiB at depth 8 from a virtual disk: a third more than with batches of 1 MiB. Of
  // memory, a sixth less.
  static constexpr std::size_t batch_bytes_of_disks = 256 << 10;

  CoreContext& context_;
  Reactor& reactor_;
  std::unique_ptr<Stream> stream_;
  const Nanos accepted_at_;
  Nanos heard_at_;
  StopSource stop_;
  TaskScope commands_;
  TaskScope sending_;
  tcp::PduSender sender_;
  std::optional<tcp::PduReceiver> receiver_;
  Linger linger_;

  std::deque<Request> requests_;
  std::vector<Request*> free_;
  std::size_t unanswered_ = 0;
  unsigned burst_ = 0;  // commands since the last time that others had a turn
  WaitQueue claim_wait_;
  std::size_t held_bytes_ = 0;        // of data buffers
  Nanos pdu_since_ = no_deadline;     // since when the rest of a PDU, or of its data, is awaited
  Nanos unread_since_ = no_deadline;  // since when we do not read: what the peer owes us may lie there
  // Of data that R2Ts asked for: since when the peer has made no progress with it, which is when so much has arrived.
  Nanos progress_since_{0};
  std::uint64_t asked_bytes_ = 0, arrived_bytes_ = 0, progress_bytes_ = 0;
  bool wants_large_staging_ = false;
  Semaphore buffer_turn_;  // commands that wait for memory, one after the other
  WaitQueue buffer_wait_;
  WaitQueue aborted_wait_;
  Gate aborts_;
  Buffer reserve_;
  bool has_reserve_ = false;  // it is here, or with a request

  // After Connect.
  QueueHandle queue_;
  IoCommands io_;
  std::uint32_t entries_ = 0;
  std::uint32_t sqhd_ = 0;
  CommandIds ids_;
  Request* fused_first_ = nullptr;  // waits for its other half, which is the next command
  bool is_connected_ = false;
  // A response has left that heard_at_ does not know of yet: reading the clock costs more than this.
  bool answered_ = false;
  bool reporting_error_ = false;
  bool connecting_ = false;
  bool no_sq_flow_control_ = false;
  bool closing_ = false;
  bool orderly_ = false;  // the peer is to see our last PDU before the stream ends
  bool stream_shut_ = false;
  bool stream_closed_ = false;
};

}  // namespace holdfast::nvmf::target
