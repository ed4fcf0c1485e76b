// PduSender: the sending half of an NVMe/TCP connection. Target and initiator use it alike.
//
// PDUs queued during a loop turn leave in one gathered send at its end. Headers are copied into an arena
// (they are small, and neighbours become one piece); data is sent from where it lies. While a send is under
// way the next batch gathers.
//
// Ownership: data passed to queue() stays untouched until SendDone::on_sent(); without data on_sent() is only
// a notice. The stream may hold the memory of a large send until the peer has it (SendHold); what was queued after
// that is reported after that. Memory: as many PDUs as the caller queues, so callers bound what they queue. Errors:
// the first failed send shuts the stream down, which ends the receiving half too; from then on PDUs are only
// reported as not sent. Shutdown: close() (sends what is queued, then run() returns), and wait for run(), for which
// the peer has to take everything unless the stream is shut down; then the destructor.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <type_traits>
#include <vector>

#include "base/endian.h"
#include "nvme/pdu.h"
#include "nvmf/tcp/io_slice.h"
#include "rt/io.h"
#include "rt/message.h"
#include "rt/reactor.h"
#include "rt/task.h"

namespace holdfast::nvmf::tcp {

// Hears when a queued PDU has left, or will never leave.
class SendDone {
 public:
  // Once per PDU, in the order in which they were queued; `sent` says nothing about one that was dropped by
  // seal(). The data may be reused. May queue more PDUs; must not destroy the sender.
  virtual void on_sent(bool sent) noexcept = 0;

 protected:
  SendDone() = default;
  ~SendDone() = default;
};

// What was agreed with the peer for PDUs that we send.
struct SendFormat {
  bool header_digest = false;
  bool data_digest = false;
  std::uint8_t pda = 0;  // data at multiples of (pda + 1) * 4: the peer's HPDA or CPDA
};

template <class H>
inline constexpr nvme::PduType pdu_type_of = [] {
  if constexpr (std::is_same_v<H, nvme::IcReq>) return nvme::PduType::ic_req;
  if constexpr (std::is_same_v<H, nvme::IcResp>) return nvme::PduType::ic_resp;
  if constexpr (std::is_same_v<H, nvme::CapsuleCmd>) return nvme::PduType::capsule_cmd;
  if constexpr (std::is_same_v<H, nvme::CapsuleResp>) return nvme::PduType::capsule_resp;
  if constexpr (std::is_same_v<H, nvme::H2cData>) return nvme::PduType::h2c_data;
  if constexpr (std::is_same_v<H, nvme::C2hData>) return nvme::PduType::c2h_data;
  if constexpr (std::is_same_v<H, nvme::R2t>) return nvme::PduType::r2t;
}();

class PduSender {
 public:
  PduSender(Reactor& reactor, Stream& stream);
  PduSender(const PduSender&) = delete;
  PduSender& operator=(const PduSender&) = delete;
  ~PduSender();

  // Set after the connection set-up; ICReq and ICResp never have digests.
  void set_format(SendFormat format) noexcept { format_ = format; }
  const SendFormat& format() const noexcept { return format_; }

  // Queues a PDU. The caller fills in everything but type, lengths, data offset and digest flags. Data is not
  // empty for PDU types that are about data. Digests are computed here, while the data is in the cache.
  template <Wire H>
  void queue(H pdu, SendDone* done = nullptr, IoSlice data = IoSlice()) {
    queue_pdu(pdu_type_of<H>, std::as_writable_bytes(std::span<H, 1>(&pdu, 1)), data, done);
  }
  // Queues bytes as they are: a terminate request.
  void queue_raw(std::span<const std::byte> bytes);
  // What was queued so far is the last that the peer hears: later PDUs are dropped, and reported in their
  // turn. When it has left, our direction of the stream ends.
  void seal() noexcept;

  // A batch is cut after so much data, and the reactor gets a turn before the rest leaves. Buffers come back
  // earlier, and the peer may ask for more meanwhile; a long send costs less by the byte.
  static constexpr std::size_t batch_bytes_max = 1 << 20;
  void set_batch_bytes(std::size_t bytes) noexcept { batch_bytes_ = bytes; }

  // The sending loop. Spawn it once; it ends after close().
  Task<void> run();
  void close() noexcept;
  bool failed() const noexcept { return failed_; }
  // PDUs queued so far, and those of them, the first ones, of which some may have reached the peer.
  std::uint64_t queued_count() const noexcept { return queued_count_; }
  std::uint64_t begun_count() const noexcept { return begun_count_; }
  // When the oldest send began that the stream has not ended, or whose memory it holds; no_deadline when there is
  // none: for watchdogs.
  Nanos sending_since() const noexcept;

 private:
  // One PDU: bytes of the arena up to head_end, the data, bytes of the arena up to tail_end.
  struct Item {
    std::uint32_t head_end = 0, tail_end = 0;
    IoSlice data;
    SendDone* done = nullptr;
  };
  struct Batch {
    std::vector<std::byte> arena;
    std::vector<Item> items;
  };
  // A send of which nobody was told: under way, or its memory is held, or that of one before it.
  struct Unreported final : SendHold {
    Unreported(PduSender& s, const Batch& b, std::size_t from, std::size_t to, Nanos begun) noexcept
        : sender(s), batch(b), first(from), end(to), since(begun) {}
    void on_released() noexcept override { sender.report_all(); }

    PduSender& sender;
    const Batch& batch;
    const std::size_t first, end;
    const Nanos since;
    bool ended = false;
    std::unique_ptr<Batch> last_of;  // nobody needs it after this
  };
  class EndOfTurn final : public Message {
   public:
    explicit EndOfTurn(PduSender& s) noexcept : sender_(s) {}
    void run() noexcept override;

   private:
    PduSender& sender_;
  };
  // Suspends until the end of a turn in which there is something to do.
  class Wait {
   public:
    explicit Wait(PduSender& s) noexcept : sender_(s) {}
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> h) const noexcept {
      sender_.waiter_ = h;
      sender_.wake_when_needed();
    }
    void await_resume() const noexcept {}

   private:
    PduSender& sender_;
  };

  void queue_pdu(nvme::PduType type, std::span<std::byte> header, IoSlice data, SendDone* done);
  void queue_nothing(SendDone* done);
  void push(const Item& item);
  void append(std::span<const std::byte> bytes);
  void append_crc(std::uint32_t crc);
  void wake_when_needed() noexcept;
  std::size_t gather(std::size_t first);
  Task<void> send_batch();
  Task<void> send_pieces(SendHold* hold);
  void end_stream() noexcept;
  void report(const Batch& batch, std::size_t first, std::size_t end) noexcept;
  void report_all() noexcept;
  std::unique_ptr<Batch> empty_batch();

  Reactor& reactor_;
  Stream& stream_;
  SendFormat format_;
  std::unique_ptr<Batch> queued_, leaving_, spare_;
  std::list<Unreported> unreported_;  // in the order of the sends
  std::vector<IoVec> pieces_;
  std::size_t data_bytes_ = 0;  // of pieces_
  EndOfTurn end_of_turn_;
  std::coroutine_handle<> waiter_;
  std::size_t batch_bytes_ = batch_bytes_max;
  std::uint64_t queued_count_ = 0, begun_count_ = 0;
  Nanos sending_since_ = no_deadline;  // the send under way
  bool deferred_ = false;
  bool sealed_ = false;
  bool ended_ = false;  // the stream, because of that
  bool closing_ = false;
  bool failed_ = false;
};

}  // namespace holdfast::nvmf::tcp
