// Queue: one NVMe/TCP connection of the initiator, seen as a submission and a completion queue of NVMe
// commands.
//
// Threads    one reactor, the one that it was opened on.
// Ownership  Commands live in their issuers' frames; the queue links them and never allocates for one. The
//            command's memory (IoVecs and what they name) is used by the queue until the issuer resumes, and
//            never afterwards: a dying queue first ends its socket operations, then its commands.
// Ends       every issued command ends exactly once: completed by the target, or lost with the connection.
// Peer       everything received is checked against the command that it names; any breach of the
//            specification, or a header digest that does not match, ends the connection (Errc::protocol).
//            Data is only ever placed inside the vectors of a command that reads. A data digest that does
//            not match fails its command alone (transient transport error), once the target is done with it.
// Batching   what is submitted during one turn of the loop leaves in one send, data from the issuers'
// buffers.
#pragma once

#include <array>
#include <coroutine>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/error.h"
#include "nvme/cqe.h"
#include "nvme/pdu.h"
#include "nvme/sqe.h"
#include "nvmf/tcp/pdu_receiver.h"
#include "nvmf/tcp/pdu_sender.h"
#include "rt/io.h"
#include "rt/reactor.h"
#include "rt/scope.h"
#include "rt/stop.h"
#include "rt/wait.h"

namespace holdfast::nvmf::host {

class Queue;

enum class Transfer : std::uint8_t { none, to_controller, to_host };

// How an issued command ended.
enum class CommandEnd : std::uint8_t {
  completed,  // cqe is what the target answered
  lost,       // the connection ended first: the command may or may not have happened, if it was sent
  timed_out,  // the same, and it was this command that took too long
};

// R2Ts of one command that the target may have outstanding: MAXR2T, which counts from zero, and one. An R2T is
// outstanding until its data was sent.
inline constexpr std::uint32_t r2ts_max = 4;

// One command: filled in by the issuer, then co_await queue.issue(command).
class Command final : tcp::SendDone {
 public:
  Command() = default;
  Command(const Command&) = delete;
  Command& operator=(const Command&) = delete;

  // Set by the issuer. The queue sets cid, sgl1 and the SGL flag of sqe by itself.
  nvme::Sqe sqe{};
  Transfer transfer = Transfer::none;
  std::uint32_t length = 0;  // bytes of data
  std::size_t offset = 0;    // where this command's data starts in `data`
  IoVecs data;
  Nanos timeout =
      no_deadline;  // from when it was handed to the connection; afterwards QueueObserver hears of it

  // Set by the queue.
  CommandEnd end = CommandEnd::lost;
  nvme::Cqe cqe{};
  bool sent = false;  // some of it may have reached the target
  bool late = false;  // took longer than its timeout
  std::uint16_t cid = 0;

 private:
  friend class Queue;
  friend class CommandList;

  void on_sent(bool left) noexcept override;

  Queue* queue = nullptr;
  Command* next = nullptr;  // in the queue's waiting list
  bool in_capsule = false;  // its data went with the command
  bool answered = false;    // ended, but for its data that is still being sent
  bool data_over = false;   // C2HData with LAST_PDU came
  bool damaged = false;     // the digest of some of its data did not match
  std::uint32_t moved = 0;  // bytes received, or asked for by R2Ts
  std::uint32_t sends = 0;  // PDUs of its data not yet sent
  std::uint32_t r2ts = 0;   // so far
  // Of the last of them: PduSender::queued_count() with their data.
  std::array<std::uint64_t, r2ts_max> r2t_ends{};
  Nanos expires = no_deadline;
  std::coroutine_handle<> waiter;
};

// The command's data was damaged between host and target, as a data digest said here or there (transient
// transport error). Nothing of it is executed any more, and it may be sent again over the same connection.
bool was_damaged(const Command& command) noexcept;
// Of one command, so often; after that it is no chance any more (NVMe Base 2.0, generic status 22h).
inline constexpr unsigned damaged_tries_max = 4;

// A FIFO of commands, linked through them.
class CommandList {
 public:
  bool empty() const noexcept { return first_ == nullptr; }
  void push(Command& c) noexcept {
    c.next = nullptr;
    (first_ == nullptr ? first_ : last_->next) = &c;
    last_ = &c;
  }
  Command* pop() noexcept {
    Command* c = first_;
    if (c != nullptr) first_ = c->next;
    return c;
  }

 private:
  Command* first_ = nullptr;
  Command* last_ = nullptr;
};

// Hears of a queue's troubles, on the queue's core.
class QueueObserver {
 public:
  // Once, when the connection is found or made unusable; its commands end soon after this.
  virtual void on_queue_dead(Queue& queue, const Error& why) noexcept = 0;
  // A command was not answered within its timeout; it goes on. Told once per command.
  virtual void on_command_late(Queue& queue, Command& command) noexcept = 0;

 protected:
  ~QueueObserver() = default;
};

// What the two ends of a connection agree on, and what our side may use of it.
struct QueueOptions {
  Endpoint to;  // numeric
  bool header_digest = false;
  bool data_digest = false;
  std::uint32_t depth = 31;  // commands in flight; the others wait in order
  // Memory for what is received before its place is known; the least that works while memory is not plenty.
  std::uint32_t staging_bytes = 16384;
  Nanos tick = 100ms;        // how exactly time-outs are kept
  Nanos abort_timeout = 1s;  // from a command being late to giving its connection up
};

class Queue {
 public:
  // Connects and exchanges ICReq and ICResp, until `deadline`. Errors: not_connected, timed_out, cancelled,
  // protocol; the texts name the address. The observer outlives the queue.
  static Task<Result<std::unique_ptr<Queue>>> open(Reactor& reactor, QueueOptions options,
                                                   QueueObserver& observer, Nanos deadline, StopToken stop);
  Queue(const Queue&) = delete;
  Queue& operator=(const Queue&) = delete;
  ~Queue();  // close() was awaited

  class [[nodiscard]] Issue {
   public:
    Issue(Queue& queue, Command& command) noexcept : queue_(queue), command_(command) {}
    bool await_ready() noexcept { return !queue_.accept(command_); }
    void await_suspend(std::coroutine_handle<> h) noexcept {
      command_.waiter = h;
      queue_.submit(command_);
    }
    void await_resume() const noexcept {}

   private:
    Queue& queue_;
    Command& command_;
  };
  // Sends the command, in its turn, and waits for its end (command.end).
  Issue issue(Command& command) noexcept { return Issue(*this, command); }

  // Ends the connection; the first call says why. Commands end as lost once the socket is quiet, and whatever of them
  // has not left this machine by then never reaches the target. (After a breach by the target it may: a terminate
  // request is sent behind it.)
  void fail(Error why) noexcept;
  // As fail(), and marks the command as the one that took too long.
  void give_up(Command& command) noexcept;
  bool alive() const noexcept { return !dead_; }
  // Why it is not alive.
  const Error& why() const noexcept { return *why_; }
  // fail()s if need be, and waits until every command has ended and the socket is closed.
  Task<void> close();

  // Larger data than this goes by R2T. 8 KiB until it is known better (admin queues: NVMe/TCP 1.0,
  // section 3.3.1).
  void set_in_capsule_bytes(std::uint32_t bytes) noexcept { in_capsule_bytes_ = bytes; }
  Reactor& reactor() const noexcept { return reactor_; }
  std::size_t in_flight() const noexcept { return slots_.size() - free_slots_.size(); }

 private:
  friend class Command;
  class Tick final : public Timer {
   public:
    explicit Tick(Queue& queue) noexcept : queue_(queue) {}
    void fire() noexcept override { queue_.check_time(); }

   private:
    Queue& queue_;
  };
  // Ends the stream when a terminate request cannot leave.
  class Linger final : public Timer {
   public:
    explicit Linger(Stream& stream) noexcept : stream_(stream) {}
    void fire() noexcept override { stream_.abort(); }

   private:
    Stream& stream_;
  };
  struct Slot {
    Command* command = nullptr;
    std::uint16_t generation =
        0;  // so that an answer to an earlier command of the slot is not taken for this one
  };

  Queue(Reactor& reactor, QueueOptions options, QueueObserver& observer, std::unique_ptr<Stream> stream,
        Buffer staging);
  Task<Status> shake_hands();
  Task<Status> take_ic_resp(nvme::IcResp resp);
  Task<Status> refuse_set_up(nvme::Fault fault, std::string why);
  Task<void> serve();

  // Sending (queue.cc).
  bool accept(Command& command) noexcept;
  void submit(Command& command) noexcept;
  void dispatch(Command& command) noexcept;
  void send_data(Command& command, std::uint16_t ttag, std::uint32_t offset, std::uint32_t bytes) noexcept;
  void answer(Command& command) noexcept;
  void release(Command& command) noexcept;
  void settle(Command& command) noexcept;
  void end_all() noexcept;
  void check_time() noexcept;
  bool begin_death(Error why) noexcept;
  void grow_staging() noexcept;

  // Receiving (queue_receive.cc).
  Task<void> receive();
  bool take_pdus() noexcept;
  bool take_pdu() noexcept;
  bool take_response(const nvme::CapsuleResp& pdu) noexcept;
  bool take_r2t(const nvme::R2t& pdu) noexcept;
  bool too_many_r2ts(const Command& command) const noexcept;
  bool take_data(const nvme::C2hData& pdu) noexcept;
  void data_arrived() noexcept;
  void end_completed(Command& command, const nvme::Cqe& cqe) noexcept;
  bool breach(nvme::Fault fault, const char* what) noexcept;
  Command* find(std::uint16_t cid) const noexcept;

  Reactor& reactor_;
  const QueueOptions options_;
  QueueObserver& observer_;
  std::unique_ptr<Stream> stream_;
  tcp::PduReceiver rx_;
  tcp::PduSender tx_;
  std::uint32_t in_capsule_bytes_ = 8192;
  std::uint32_t h2c_data_max_ = 0;  // of one H2CData PDU: MAXH2CDATA

  std::vector<Slot> slots_;
  std::vector<std::uint16_t> free_slots_;
  unsigned slot_bits_;
  CommandList waiting_;
  Command* arriving_ = nullptr;  // whose data the receiver is placing
  std::uint8_t arriving_flags_ = 0;
  std::uint64_t damaged_pdus_ = 0;  // whose data digest did not match

  bool serving_ = false;
  bool wants_large_staging_ = false;
  bool dead_ = false;
  std::optional<Error> why_;
  Tick tick_;
  Linger linger_;
  TaskScope scope_;
};

}  // namespace holdfast::nvmf::host
