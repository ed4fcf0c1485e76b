// ZeroCopy: sends of one connection whose bytes the network card takes from the caller's memory. They save the
// copy into the socket, and cost a look-up of every page and a second completion, once the peer has it all and the
// memory is free.
//
// The kernel copies all the same where nothing else is possible: on the way to a receiver on this machine
// (loopback, a virtual pair, a bridge to a container), for a card that cannot gather, while packets are recorded.
// It tells us, and as it costs more than copying at once, the first sends of a connection are experiments, one at a
// time, and the only ones when they fail. A kernel that cannot tell (before 6.2) refuses, and is not asked again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <sys/socket.h>

#include "rt/io.h"
#include "uring/ring.h"

namespace holdfast::uring {

class UringReactor;

class ZeroCopy {
 public:
  // Hears of the end of the send under way.
  class Sender {
   public:
    // As the kernel tells it: bytes, or a negative errno.
    virtual void on_zero_copy_sent(std::int32_t result) noexcept = 0;

   protected:
    ~Sender() = default;
  };

  // Where it begins to pay (docs/adr/0018): looked up page by page, data that is in the cache is cheaper to copy below
  // about 32 KiB; and the memory comes back later.
  static constexpr std::size_t bytes_min = 64 << 10;
  // Each piece becomes a fragment of a packet, of which a packet has 17 at most; on average at least so much.
  static constexpr std::size_t piece_bytes_min = 16 << 10;
  // Sends whose memory is held at a time: a window of 4 MiB in batches of 256 KiB, which is as far as a socket's buffer
  // grows by itself.
  static constexpr unsigned held_max = 16;

  ZeroCopy(UringReactor& reactor, Sender& sender) noexcept : reactor_(reactor), sender_(sender) {}
  ZeroCopy(const ZeroCopy&) = delete;
  ZeroCopy& operator=(const ZeroCopy&) = delete;
  ~ZeroCopy();  // !in_use()

  bool pays(std::size_t bytes) const noexcept;
  bool pays(IoVecs from) const noexcept {
    const std::size_t bytes = total_bytes(from);
    return from.size() * piece_bytes_min <= bytes && pays(bytes);
  }
  // The kernel reads, or may read, somebody's memory.
  bool in_use() const noexcept { return in_use_ > 0; }
  // Sends the message of `header`, which stays until on_zero_copy_sent(). What was not sent then, the caller sends
  // otherwise.
  void submit(int fd, msghdr& header, SendHold& hold) noexcept;
  // All that was passed to the last submit() has been sent, or never will be: the hold is held now when the kernel
  // still has a use for the memory.
  void end_send() noexcept;

  // Of an end: the memory can be sent, but not in this way (now).
  static bool is_refusal(std::int32_t result) noexcept;

 private:
  // Where the card takes the memory, a packet may still be copied now and then (one that is sent again, or recorded).
  // So only so many in a row decide: among the first ones, and later.
  static constexpr unsigned experiments_max = 3;
  static constexpr unsigned copied_in_a_row_max = 8;

  enum class State : std::uint8_t { untried, works, off };
  class Send final : public Completion {
   public:
    explicit Send(ZeroCopy& o) noexcept : owner(o) {}
    void complete(std::int32_t result, std::uint32_t flags) noexcept override;
    ZeroCopy& owner;
    SendHold* hold = nullptr;
  };
  void on_result(Send& send, std::int32_t result, bool held) noexcept;
  void on_notice(Send& send, bool copied) noexcept;
  void give_back(Send& send) noexcept;

  UringReactor& reactor_;
  Sender& sender_;
  std::vector<std::unique_ptr<Send>> sends_;
  std::vector<Send*> free_;
  Send* current_ = nullptr;  // until end_send()
  unsigned in_use_ = 0;
  unsigned copied_in_a_row_ = 0;
  State state_ = State::untried;
};

}  // namespace holdfast::uring
