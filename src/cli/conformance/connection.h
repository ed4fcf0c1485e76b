// One NVMe/TCP connection of a case. It can send anything; what it receives it judges as every PDU must be:
// header, lengths, digests, alignment (NVMe/TCP 1.0, section 3.6.2), and the flow of data of a command.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <vector>

#include "cli/conformance/command.h"
#include "cli/conformance/pdu.h"
#include "cli/conformance/test.h"

namespace holdfast::cli::conformance {

// How a command ended.
struct Answer {
  bool arrived = false;  // false: it never came; the case has failed then
  std::uint16_t status = 0;
  bool dnr = false, more = false;
  std::uint32_t dw0 = 0, dw1 = 0;
  std::uint16_t sqhd = 0, cid = 0;
  Bytes data;               // what the controller sent
  bool by_success = false;  // by the SUCCESS flag, without a response
  unsigned r2ts = 0, c2h_pdus = 0;

  bool good() const noexcept { return arrived && status == sc::success; }
};

class Connection {
 public:
  // Connects; the case ends in an error when that does not work.
  explicit Connection(Test& test);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  Test& test() noexcept { return test_; }
  const Agreed& agreed() const noexcept { return agreed_; }

  // --- PDUs. ---
  void send(View pdu);
  // The next PDU; a finding, and an empty one, when none comes or it is malformed.
  Pdu receive();
  // The next PDU, or an empty one when nothing comes for that long. Malformed ones are findings.
  Pdu receive_within(Nanos time);
  // Waits until the target ends the connection. Whatever it still sends is skipped.
  bool ends_within(Nanos time);
  // Nothing comes and the connection stays. A finding otherwise.
  void stays_silent(Nanos time);
  void shutdown() noexcept;
  // What the target sends stays in the kernel's buffers meanwhile.
  void hold(bool on) noexcept {
    if (socket_) socket_->hold(on);
  }

  // ICReq and ICResp, which is judged.
  bool set_up(const IcReq& req = IcReq());
  // The target ends the connection because of a PDU: at once, whatever it says about it.
  void expect_end();
  // ... and says why: C2HTermReq with that status, where `fei` is the field's offset (none: not judged).
  void expect_terminated(std::uint16_t fes, std::int64_t fei = -1);

  // --- Commands. ---
  // Gives the command an identifier and sends it. Returns the identifier.
  std::uint16_t submit(Command command);
  // Its end: serves R2Ts and takes data meanwhile. Other commands' responses are kept for their await().
  Answer await(std::uint16_t cid);
  Answer execute(Command command) { return await(submit(std::move(command))); }
  // Only where the command's response comes by itself, for instance an event's.
  Answer await_within(std::uint16_t cid, Nanos time);
  // The capsule of a command as it would be sent.
  Bytes capsule(const Command& command) const;
  // True when the status is one of those; a finding that names `what` otherwise.
  bool expect_status(std::string_view what, const Answer& answer,
                     std::initializer_list<std::uint16_t> wanted);
  bool expect_good(std::string_view what, const Answer& answer) {
    return expect_status(what, answer, {sc::success});
  }
  // The next PDU refuses a second command with an identifier that is in use. How far a controller looks for
  // those is its own affair (status 03h): not supported when this one does not. False: the case is over.
  bool refuses_id(std::uint16_t cid);
  // Any failure will do.
  bool expect_refused(std::string_view what, const Answer& answer);

  // SQ flow control is disabled: the controller need not send SQHD, and may use the SUCCESS flag.
  bool flow_control_disabled = false;

 private:
  struct Pending {
    Command command;
    Answer answer;
    std::uint32_t asked = 0;  // bytes asked for by R2Ts
    bool data_over = false;   // C2HData with LAST_PDU came
  };

  Pdu take_pdu(Nanos deadline, bool must);
  bool skip_received();  // true: a C2HTermReq was among it
  void take(const Pdu& pdu);
  void take_response(const Pdu& pdu);
  void take_data(const Pdu& pdu);
  void take_r2t(const Pdu& pdu);

  Test& test_;
  std::unique_ptr<Socket> socket_;
  Agreed agreed_;
  bool is_set_up_ = false;
  std::uint16_t last_cid_ = 0;
  std::map<std::uint16_t, Pending> pending_;
};

}  // namespace holdfast::cli::conformance
