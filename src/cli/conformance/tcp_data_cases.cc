// NVMe/TCP: how the data of commands flows.
#include <algorithm>

#include <fmt/format.h>

#include "cli/conformance/data_flow.h"
#include "cli/conformance/suite.h"

namespace holdfast::cli::conformance {
namespace {

// The end of the command that a DataFlow began: success, or for Compare a miscompare.
void expect_completed(DataFlow& flow) {
  Test& t = flow.queue().test();
  const Pdu p = flow.queue().receive();
  if (!p || !t.equal("PDU type", p.type(), pdu::response)) return;
  t.equal("CID", u16(p.raw, 20), flow.cid());
  const auto status = static_cast<std::uint16_t>(u16(p.raw, 22) >> 1 & 0x7ff);
  t.expect(status == sc::success || status == sc::compare_failure,
           fmt::format("status: expected success or compare failure, got {}", sc::text(status)));
}

void r2t_form(Test& t) {
  DataFlow flow(t);
  if (!t.ok()) return;
  t.equal("R2TO of the first R2T", flow.r2to(), 0u);
  t.expect(flow.r2tl() % 4 == 0 || flow.r2tl() == flow.data().size(), "R2TL is no multiple of 4");
}

// The R2T is answered by PDUs of `bytes` each.
void answer_in_pieces(Test& t, std::uint32_t bytes) {
  DataFlow flow(t, 16384);
  if (!t.ok()) return;
  if (flow.r2tl() != flow.data().size()) return t.skip("the target asks for a part of the data at a time");
  bytes = std::min(bytes, std::max(4096u, flow.agreed().maxh2cdata));
  for (std::uint32_t at = 0; at < flow.r2tl() && t.ok(); at += bytes) {
    const std::uint32_t n = std::min(bytes, flow.r2tl() - at);
    flow.queue().send(flow.h2c(flow.r2to() + at, n, at + n == flow.r2tl()));
  }
  expect_completed(flow);
}

void waits_for_data(Test& t) {
  DataFlow flow(t, 16384);
  if (!t.ok()) return;
  flow.queue().stays_silent(300ms);
}

void others_go_on(Test& t) {
  DataFlow flow(t, 16384);
  if (!t.ok()) return;
  flow.queue().expect_good("Read beside a command that waits for data",
                           flow.queue().execute(flow.session().read_command(0, 1)));
}

void tags_are_unique(Test& t) {
  DataFlow flow(t, 4096);
  if (!t.ok()) return;
  std::vector<std::uint16_t> tags = {flow.ttag()};
  for (std::uint16_t i = 1; i <= 7 && t.ok(); ++i) {
    const std::uint32_t blocks =
        static_cast<std::uint32_t>(flow.data().size()) / flow.session().block_bytes();
    const std::uint8_t opcode = flow.session().has_oncs(0) ? io::compare : io::write;
    Command c = io_command(opcode, flow.session().nsid(), 0, blocks);
    c.sends(flow.data()).cid(static_cast<std::uint16_t>(0x5000 + i));
    flow.queue().send(flow.queue().capsule(c));
    const Pdu p = flow.queue().receive();
    if (!p || !t.equal("PDU type", p.type(), pdu::r2t)) return;
    tags.push_back(u16(p.raw, pdu::at_ttag));
  }
  std::sort(tags.begin(), tags.end());
  t.expect(std::adjacent_find(tags.begin(), tags.end()) == tags.end(),
           "two R2Ts at a time have the same TTAG");
}

// At most MAXR2T + 1 R2Ts of a command at a time.
void maxr2t_limit(Test& t) {
  SessionOptions o;
  o.ic.maxr2t = 0;
  DataFlow flow(t, 1u << 20, o);
  if (!t.ok()) return;
  const Pdu p = flow.queue().receive_within(300ms);
  if (p && p.type() == pdu::r2t)
    t.fail("a second R2T before the first was answered, with MAXR2T 0 (one R2T)");
}

// A response and C2HData tell the same story: LAST_PDU on the last, and no response behind SUCCESS.
void success_flag(Test& t) {
  SessionOptions o;
  o.no_flow_control = true;
  Session s(t, o);
  const auto queue = s.io_queue();
  if (!t.ok()) return;
  if (!queue->flow_control_disabled)
    return t.not_supported("Connect does not disable SQ flow control (SQHD is not FFFFh)");
  const Answer a = queue->execute(s.read_command(0, 8));
  queue->expect_good("Read", a);
  t.equal("bytes read", a.data.size(), std::size_t{8} * s.block_bytes());
  if (a.by_success) queue->stays_silent(200ms);
}

void no_success_flag(Test& t) {
  Session s(t);
  const auto queue = s.io_queue();
  const Answer a = queue->execute(s.read_command(0, 8));
  queue->expect_good("Read", a);
  t.expect(!a.by_success, "the SUCCESS flag, although SQ flow control is in use");
}

void read_data_is_whole(Test& t) {
  Session s(t);
  const auto queue = s.io_queue();
  const std::uint32_t bytes = std::min<std::uint32_t>(s.transfer_max(), 256u << 10);
  const std::uint32_t blocks =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes / s.block_bytes(), s.blocks()));
  const Answer a = queue->execute(s.read_command(0, blocks));
  queue->expect_good("Read", a);
  t.equal("bytes read", a.data.size(), std::size_t{blocks} * s.block_bytes());
}

// The capsule's data is there: nothing is asked for again.
void in_capsule_no_r2t(Test& t) {
  Session s(t);
  const auto queue = s.io_queue();
  const std::uint32_t block = s.block_bytes();
  if (!t.needs(s.capsule_data_max() >= block, "IOCCSZ leaves no room for a block in a capsule")) return;
  if (!s.has_oncs(0) && !t.settings().destructive)
    return t.skip("the target has no Compare, and --destructive is not given for Write");
  Command c = io_command(s.has_oncs(0) ? io::compare : io::write, s.nsid(), 0, 1);
  const Answer a = queue->execute(std::move(c.sends_in_capsule(pattern(block, 1))));
  queue->expect_status("command with in-capsule data", a, {sc::success, sc::compare_failure});
  t.equal("R2Ts", a.r2ts, 0u);
}

// IOCCSZ + 1 bytes: the command fails or the connection ends, but it is not executed.
void in_capsule_too_large(Test& t) {
  Session s(t);
  const auto queue = s.io_queue();
  const std::uint32_t block = s.block_bytes();
  const std::uint32_t blocks = s.capsule_data_max() / block + 1;
  if (!t.ok()) return;
  if (s.capsule_data_max() == Session::capsule_data_limit)
    return t.not_supported("IOCCSZ is larger than what is sent at a time");
  if (!s.has_oncs(0) && !t.settings().destructive)
    return t.skip("the target has no Compare, and --destructive is not given for Write");
  Command c = io_command(s.has_oncs(0) ? io::compare : io::write, s.nsid(), 0, blocks);
  c.sends_in_capsule(pattern(std::size_t{blocks} * block, 1)).cid(5);
  queue->send(queue->capsule(c));
  const Pdu p = queue->receive_within(t.settings().timeout);
  if (!t.ok() || !p || p.type() == pdu::c2h_term) return queue->expect_end();
  if (!t.equal("PDU type", p.type(), pdu::response)) return;
  const auto status = static_cast<std::uint16_t>(u16(p.raw, 22) >> 1 & 0x7ff);
  t.expect(status != sc::success && status != sc::compare_failure,
           "more data than a capsule may carry was taken");
}

// The admin queue's capsules carry 8 KiB, whatever IOCCSZ says (NVMe/TCP 1.0).
void admin_capsule(Test& t) {
  Session s(t);
  const Answer there = s.get_feature(0x16, 0, 0, 512);
  if (!t.needs(there.good(), "no Host Behavior Support feature to send data with")) return;
  const Answer a = s.set_feature(0x16, 0, 0, Bytes(512));
  s.admin().expect_good("Set Features with 512 bytes in the capsule", a);
  t.equal("R2Ts", a.r2ts, 0u);
}

}  // namespace

void add_tcp_data_cases(Cases& to) {
  const auto add = [&](const char* id, const char* title, const char* section, const char* requirement,
                       std::function<void(Test&)> run) {
    to.push_back({std::string("tcp.data.") + id, title, Spec::tcp, section, requirement, Level::mandatory,
                  false, std::move(run)});
  };
  constexpr const char* r2t_section = "3.3.2.2, 3.6.2.10 (R2T)";
  add("r2t", "R2T asks for data of the command", r2t_section,
      "R2T names the command, and a part of its data that begins where the part before ended", r2t_form);
  add("one-pdu", "R2T answered by one PDU", "3.3.2.2, 3.6.2.8 (H2CData)",
      "H2CData may carry all that R2T asks for", [](Test& t) { answer_in_pieces(t, 1u << 20); });
  for (const std::uint32_t bytes : {4u, 512u, 4096u}) {
    const std::string id = fmt::format("pieces-{}", bytes);
    const std::string title = fmt::format("R2T answered by PDUs of {} bytes", bytes);
    add(id.c_str(), title.c_str(), "3.3.2.2, 3.6.2.8 (H2CData)",
        "The host chooses how it divides the data of an R2T",
        [bytes](Test& t) { answer_in_pieces(t, bytes); });
  }
  add("waits", "A command waits for its data", r2t_section,
      "A command with data is not answered before the data came", waits_for_data);
  add("beside", "Other commands go on meanwhile", r2t_section,
      "A command that waits for data does not keep others of its queue waiting", others_go_on);
  add("ttag", "TTAGs are unique", r2t_section,
      "R2Ts that are outstanding at a time have different transfer tags", tags_are_unique);
  add("maxr2t", "MAXR2T", "3.3.2.2, 3.6.2.2 (ICReq)",
      "A controller has no more R2Ts of a command outstanding than MAXR2T allows", maxr2t_limit);
  add("success", "SUCCESS flag", "3.3.2.1, 3.6.2.9 (C2HData)",
      "With SQ flow control disabled C2HData may end a command by SUCCESS and LAST_PDU; no response follows",
      success_flag);
  add("no-success", "No SUCCESS flag with flow control", "3.3.2.1, 3.6.2.9 (C2HData)",
      "While SQ flow control is in use every command has a response", no_success_flag);
  add("c2h", "C2HData in order and whole", "3.3.2.1, 3.6.2.9 (C2HData)",
      "C2HData PDUs carry the data of a command in order and completely; the last has LAST_PDU",
      read_data_is_whole);
  add("in-capsule", "In-capsule data", "3.3.1, 3.6.2.6 (CapsuleCmd)",
      "Data in the capsule is not asked for by R2T", in_capsule_no_r2t);
  add("in-capsule-max", "More in-capsule data than IOCCSZ", "3.3.1",
      "Data over the capsule's size is not accepted", in_capsule_too_large);
  add("admin-capsule", "In-capsule data on the admin queue", "3.3.1",
      "Admin command capsules carry up to 8 KiB of data", admin_capsule);
}

}  // namespace holdfast::cli::conformance
