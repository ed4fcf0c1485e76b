// A controller of the target as a case uses it: the admin queue, I/O queues, and what identify says. All that
// goes wrong is a finding of the case.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "cli/conformance/connection.h"

namespace holdfast::cli::conformance {

struct SessionOptions {
  IcReq ic;
  std::string subsystem;  // the run's, if empty
  std::string host_nqn;   // the run's, if empty
  std::uint8_t host = 1;  // picks a host identifier
  std::uint32_t kato = 0;
  std::uint16_t sqsize = 31;
  bool no_flow_control = false;
  bool enable = true;
};

class Session {
 public:
  explicit Session(Test& test, SessionOptions options = SessionOptions());

  Test& test() noexcept { return test_; }
  Connection& admin() noexcept { return admin_; }
  std::uint16_t cntlid() const noexcept { return cntlid_; }
  const SessionOptions& options() const noexcept { return options_; }

  // For Connect of this host to this controller; cntlid is the dynamic one for queue 0.
  ConnectParameters parameters(std::uint16_t qid) const;
  // A connection with its ICReq done, on which nothing was connected yet.
  std::unique_ptr<Connection> wire();
  // An I/O queue. Never null; the case has a finding when it does not work.
  std::unique_ptr<Connection> io_queue(std::uint16_t qid = 1, std::uint16_t sqsize = 31);

  Answer property_get(std::uint32_t offset, bool is_8_bytes = false);
  Answer property_set(std::uint32_t offset, std::uint64_t value, bool is_8_bytes = false);
  std::uint64_t property(std::uint32_t offset, bool is_8_bytes = false);  // a finding when it is refused
  // Sets CC.EN and waits for CSTS.RDY.
  void enable();
  std::uint32_t enabling_cc();  // CC that enables this controller
  // Polls CSTS until (CSTS & mask) == wanted, as long as CAP.TO allows. Returns the last value.
  std::uint32_t wait_csts(std::uint32_t mask, std::uint32_t wanted);

  Answer identify(std::uint8_t cns, std::uint32_t nsid = 0, std::uint16_t cntid = 0, std::uint8_t csi = 0);
  // 4096 bytes, or a finding.
  Bytes identify_data(std::uint8_t cns, std::uint32_t nsid = 0, std::uint16_t cntid = 0,
                      std::uint8_t csi = 0);
  Answer log_page(std::uint8_t lid, std::uint32_t bytes, std::uint32_t nsid = nsid_all,
                  std::uint64_t offset = 0, std::uint8_t lsp = 0, bool retain = false);
  // That many bytes, or a finding.
  Bytes log_data(std::uint8_t lid, std::uint32_t bytes, std::uint32_t nsid = nsid_all,
                 std::uint64_t offset = 0, std::uint8_t lsp = 0);
  Answer get_feature(std::uint8_t fid, std::uint8_t select = 0, std::uint32_t nsid = 0,
                     std::uint32_t bytes = 0, std::uint32_t dw11 = 0);
  Answer set_feature(std::uint8_t fid, std::uint32_t dw11, std::uint32_t nsid = 0, Bytes data = {},
                     bool save = false);

  // Asked for once, and kept. Empty after a finding.
  const Bytes& controller();
  const Bytes& ns();
  std::uint32_t nsid();  // the namespace that the run uses

  // Of the namespace in use.
  std::uint32_t block_bytes();
  std::uint64_t blocks() { return u64(ns(), 0); }
  // The largest transfer in bytes: MDTS, at most 1 MiB.
  std::uint32_t transfer_max();
  // Data that a command capsule may carry on I/O queues.
  std::uint32_t capsule_data_max() {
    const std::uint64_t bytes = std::max(4u, u32(controller(), 1792)) * std::uint64_t{16} - 64;
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes, capsule_data_limit));
  }
  static constexpr std::uint32_t capsule_data_limit = 1u << 20;
  bool has_oncs(unsigned bit) { return (u16(controller(), 520) >> bit & 1) != 0; }
  // not_supported() when the bit of ONCS is clear.
  bool needs_oncs(unsigned bit, std::string_view what);

  Command read_command(std::uint64_t slba, std::uint32_t blocks);
  // How the data goes to the target. Naturally: in the capsule when it fits, as hosts in the field do it.
  enum class Carry : std::uint8_t { naturally, in_capsule, by_r2t };
  Command carry(Command command, Bytes data, Carry how = Carry::naturally);
  Command write_command(std::uint64_t slba, Bytes data, Carry how = Carry::naturally);

 private:
  void connect();
  void find_namespace();
  // The case is skipped when MDTS does not allow that much.
  void fits(std::uint64_t bytes);

  Test& test_;
  std::uint32_t transfer_max_ = 0;
  const SessionOptions options_;
  Connection admin_;
  std::uint16_t cntlid_ = 0;
  std::optional<std::uint32_t> nsid_;
  Bytes controller_, namespace_;
};

}  // namespace holdfast::cli::conformance
