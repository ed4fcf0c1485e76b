// Request: one command in flight on one connection. Its address is stable while the connection lives; its tag
// is also the transfer tag of its R2T.
#pragma once

#include <coroutine>
#include <cstdint>

#include "nvme/sqe.h"
#include "nvmf/tcp/pdu_sender.h"
#include "rt/buffer.h"
#include "rt/time.h"

namespace holdfast::nvmf::target {

class Connection;

// An Abort command on its way.
struct AbortWait {
  bool ended = false;    // the command, ...
  bool aborted = false;  // ... with that status
};

struct Request final : tcp::SendDone {
  Request(Connection& c, std::uint16_t t) noexcept : connection(c), tag(t) {}
  // The response has left: the request is free again.
  void on_sent(bool sent) noexcept override;

  enum class State : std::uint8_t {
    free,
    executing,      // somebody will call complete()
    awaiting_data,  // an R2T was sent, H2CData PDUs fill the buffer
    parked,         // an asynchronous event request
    responding      // queued for sending
  };

  Connection& connection;
  const std::uint16_t tag;
  State state = State::free;
  bool reserve = false;          // the buffer is the connection's reserve
  bool transport_error = false;  // a data digest did not match
  bool has_id = false;           // its identifier is in CommandIds, in the chain with ...
  Request* same_chain = nullptr;
  AbortWait* abort = nullptr;  // the command is to end soon, and who waits for that
  nvme::Sqe sqe{};
  std::uint64_t incarnation = 0;  // of the namespace that an I/O command was sent to
  Buffer buffer;
  IoVec vec;                   // the part of the buffer that the command transfers
  std::uint32_t received = 0;  // bytes from the host: in the capsule, or by H2CData so far
  Nanos since{0};              // awaiting_data: of the R2T, or the newest progress
  std::uint64_t due = 0;       // awaiting_data: what the connection had asked for by then, its own included
  std::coroutine_handle<> waiter;  // of the data
};

}  // namespace holdfast::nvmf::target
