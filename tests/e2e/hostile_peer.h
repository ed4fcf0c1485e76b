// Peers of an engine's NVMe/TCP port that say whatever a test wants, over plain sockets: good set-up where it
// is needed, anything afterwards.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "nvme/pdu.h"

namespace holdfast::e2e {

using Bytes = std::vector<std::byte>;

// One blocking TCP connection to 127.0.0.1, from an address of 127.0.0.0/8.
class HostilePeer {
 public:
  explicit HostilePeer(std::uint16_t port, const std::string& from = "127.0.0.1", int receive_buffer = 0);
  ~HostilePeer();
  HostilePeer(HostilePeer&& other) noexcept;
  HostilePeer& operator=(HostilePeer&&) = delete;

  bool connected() const noexcept { return fd_ >= 0; }
  int fd() const noexcept { return fd_; }
  // All of it; false when the target has ended the connection, or takes nothing for 5 s.
  bool send(std::span<const std::byte> bytes);
  // What fits at once, and nothing more.
  void send_some(std::span<const std::byte> bytes);
  // The next PDU; empty when the connection has ended, or nothing comes in time.
  Bytes receive(std::chrono::milliseconds patience = std::chrono::seconds(5));
  // Whether the target ends the connection in that time; what it sends until then is dropped.
  bool ends(std::chrono::milliseconds patience);
  void close();

  bool set_up();  // ICReq, ICResp
  // Connect; the controller identifier, 0 when it was refused. `host` makes the host's identity.
  std::uint16_t connect_queue(const std::string& nqn, std::uint16_t qid, std::uint16_t cntlid, unsigned host,
                              std::uint16_t entries = 32, std::uint32_t keep_alive_ms = 0);
  bool enable();
  // A command; its data by R2T if it writes. The status field, 0xffff when none came.
  std::uint16_t execute(const nvme::Sqe& sqe);

 private:
  bool receive_exactly(std::span<std::byte> into, std::chrono::steady_clock::time_point until);

  int fd_ = -1;
};

Bytes make_command(const nvme::Sqe& sqe, std::span<const std::byte> data = {});
Bytes make_ic_req();
// A read or write of namespace 1 with blocks of 512 bytes, its data outside of the capsule.
nvme::Sqe io_command(nvme::IoOpcode opcode, std::uint64_t lba, std::uint32_t blocks, std::uint16_t cid);

// An admin queue and an I/O queue.
struct HostileSession {
  HostileSession(std::uint16_t port, const std::string& nqn, unsigned host,
                 const std::string& from = "127.0.0.1", std::uint16_t entries = 32,
                 std::uint32_t keep_alive_ms = 0);
  bool ok = false;
  HostilePeer admin, io;
};

}  // namespace holdfast::e2e
