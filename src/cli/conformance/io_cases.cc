// The NVM command set: each command as it should be.
#include <algorithm>

#include <fmt/format.h>

#include "cli/conformance/session.h"
#include "cli/conformance/suite.h"

namespace holdfast::cli::conformance {
namespace {

constexpr std::uint32_t fua = 1u << 30, deallocate = 1u << 25;  // dword 12
constexpr unsigned fuse_first = 0x41, fuse_second = 0x42;       // FUSE, and PSDT for SGLs

// A session with an I/O queue, and what a case about data does all the time.
struct Volume {
  explicit Volume(Test& test, SessionOptions options = SessionOptions())
      : t(test), s(test, std::move(options)), queue(s.io_queue()), block(s.block_bytes()) {}

  void write(std::uint64_t slba, const Bytes& data) {
    queue->expect_good("Write", queue->execute(s.write_command(slba, data)));
  }
  void expect_content(std::string_view what, std::uint64_t slba, View wanted) {
    const Answer a = queue->execute(s.read_command(slba, static_cast<std::uint32_t>(wanted.size()) / block));
    if (queue->expect_good("Read", a)) t.equal_bytes(what, a.data, wanted);
  }
  Bytes some(std::uint32_t blocks, std::uint64_t more = 0) const {
    return pattern(std::size_t{blocks} * block, t.settings().seed + more);
  }

  Test& t;
  Session s;
  std::unique_ptr<Connection> queue;
  const std::uint32_t block;
};

void read(Test& t) {
  Volume v(t);
  const Answer a = v.queue->execute(v.s.read_command(0, 1));
  v.queue->expect_good("Read", a);
  t.equal("bytes read", a.data.size(), v.block);
}

void read_last(Test& t) {
  Volume v(t);
  if (t.ok())
    v.queue->expect_good("Read of the last block", v.queue->execute(v.s.read_command(v.s.blocks() - 1, 1)));
}

void read_fua(Test& t) {
  Volume v(t);
  Command c = v.s.read_command(0, 1);
  v.queue->expect_good("Read with FUA", v.queue->execute(c.dw(12, fua)));
}

void write(Test& t) {
  Volume v(t);
  const Bytes data = v.some(8);
  v.write(16, data);
  v.expect_content("content once written", 16, data);
}

void write_in_capsule(Test& t) {
  Volume v(t);
  if (!t.needs(v.s.capsule_data_max() >= v.block, "IOCCSZ leaves no room for a block in a capsule")) return;
  const Bytes data = v.some(1);
  v.queue->expect_good("Write with in-capsule data",
                       v.queue->execute(v.s.write_command(3, data, Session::Carry::in_capsule)));
  v.expect_content("content once written", 3, data);
}

void write_by_r2t(Test& t) {
  Volume v(t);
  const Bytes data = v.some(1);
  const Answer a = v.queue->execute(v.s.write_command(7, data, Session::Carry::by_r2t));
  v.queue->expect_good("Write of one block that is not in the capsule", a);
  v.expect_content("content once written", 7, data);
}

void write_fua(Test& t) {
  Volume v(t);
  const Bytes data = v.some(4);
  Command c = v.s.write_command(40, data);
  v.queue->expect_good("Write with FUA", v.queue->execute(c.dw(12, 3 | fua)));
  v.expect_content("content once written", 40, data);
}

void write_mdts(Test& t) {
  Volume v(t);
  const auto blocks =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(v.s.transfer_max() / v.block, v.s.blocks()));
  const Bytes data = v.some(blocks);
  v.write(0, data);
  v.expect_content("content of the largest transfer", 0, data);
}

void flush(Test& t, std::uint32_t nsid_or_all) {
  Volume v(t);
  Command c(io::flush);
  c.nsid(nsid_or_all == 0 ? v.s.nsid() : nsid_or_all);
  const Answer a = v.queue->execute(std::move(c));
  if (nsid_or_all == 0) return void(v.queue->expect_good("Flush", a));
  const unsigned all = u8(v.s.controller(), 525) >> 1 & 3;  // 10b: not supported, 11b: supported
  if (all == 3)
    v.queue->expect_good("Flush of all namespaces", a);
  else if (all == 2)
    v.queue->expect_status("Flush of all namespaces, which VWC rules out", a,
                           {sc::invalid_nsid, sc::invalid_field});
}

void compare(Test& t) {
  Volume v(t);
  if (!v.s.needs_oncs(0, "Compare")) return;
  const Answer read = v.queue->execute(v.s.read_command(5, 4));
  v.queue->expect_good("Read", read);
  const auto compares = [&](Bytes data) {
    return v.queue->execute(v.s.carry(io_command(io::compare, v.s.nsid(), 5, 4), std::move(data)));
  };
  v.queue->expect_good("Compare with what is there", compares(read.data));
  Bytes other = read.data;
  if (!other.empty()) other.back() ^= 1;
  v.queue->expect_status("Compare with something else", compares(other), {sc::compare_failure});
}

void write_zeroes(Test& t, std::uint32_t flags) {
  Volume v(t);
  if (!v.s.needs_oncs(3, "Write Zeroes")) return;
  v.write(64, v.some(16));
  Command c = io_command(io::write_zeroes, v.s.nsid(), 68, 8);
  const Answer a = v.queue->execute(c.dw(12, 7 | flags));
  v.queue->expect_good("Write Zeroes", a);
  Bytes wanted = v.some(16);
  std::fill(wanted.begin() + 4 * v.block, wanted.begin() + 12 * v.block, std::uint8_t{0});
  v.expect_content("zeroes, and what is around them", 64, wanted);
}

Command dsm(Session& s, std::initializer_list<std::pair<std::uint64_t, std::uint32_t>> ranges,
            bool ad = true) {
  Bytes list(ranges.size() * 16);
  std::size_t at = 0;
  for (const auto& [slba, blocks] : ranges) {
    put32(list, at + 4, blocks);
    put64(list, at + 8, slba);
    at += 16;
  }
  Command c(io::dataset_management);
  c.nsid(s.nsid()).dw(10, static_cast<std::uint32_t>(ranges.size() - 1)).dw(11, ad ? 4 : 0);
  return s.carry(std::move(c), std::move(list));
}

void deallocate_ranges(Test& t) {
  Volume v(t);
  if (!v.s.needs_oncs(2, "Dataset Management")) return;
  v.write(128, v.some(24));
  v.queue->expect_good("Dataset Management, deallocate", v.queue->execute(dsm(v.s, {{136, 8}, {128, 4}})));
  // What a deallocated block reads as is DLFEAT's affair; what is beside it must not change.
  const Bytes all = v.some(24);
  v.expect_content("blocks beside the deallocated ones", 132, slice(all, 4 * v.block, 4 * v.block));
  v.expect_content("blocks behind the deallocated ones", 144, slice(all, 16 * v.block, 8 * v.block));
}

void deallocate_reads(Test& t) {
  Volume v(t);
  if (!v.s.needs_oncs(2, "Dataset Management")) return;
  v.write(160, v.some(8));
  v.queue->expect_good("Dataset Management, deallocate", v.queue->execute(dsm(v.s, {{160, 8}})));
  const Answer first = v.queue->execute(v.s.read_command(160, 8));
  const Answer second = v.queue->execute(v.s.read_command(160, 8));
  if (!v.queue->expect_good("Read", first) || !v.queue->expect_good("Read", second)) return;
  t.equal_bytes("a deallocated block read twice", second.data, first.data);
  const Bytes written = v.some(8);
  const bool reads_zero = (u8(v.s.ns(), 33) & 7) == 1;
  for (std::size_t at = 0; at < written.size(); at += v.block) {
    const View got = slice(first.data, at, v.block);
    const bool zero = is_zero(got);
    const bool kept = std::equal(got.begin(), got.end(), written.begin() + static_cast<std::ptrdiff_t>(at));
    const bool ones = std::all_of(got.begin(), got.end(), [](std::uint8_t b) { return b == 0xff; });
    t.expect(zero || kept || (ones && !reads_zero),
             "a deallocated block reads as neither zeroes, nor ones, nor what was there");
  }
}

void dsm_hint(Test& t) {
  Volume v(t);
  if (!v.s.needs_oncs(2, "Dataset Management")) return;
  v.queue->expect_good("Dataset Management with hints only", v.queue->execute(dsm(v.s, {{0, 8}}, false)));
}

void verify(Test& t) {
  Volume v(t);
  if (!v.s.needs_oncs(7, "Verify")) return;
  v.queue->expect_good("Verify", v.queue->execute(io_command(io::verify, v.s.nsid(), 0, 8)));
}

void copy(Test& t) {
  Volume v(t);
  if (!v.s.needs_oncs(8, "Copy")) return;
  t.expect(u16(v.s.ns(), 74) > 0 && u32(v.s.ns(), 76) > 0, "MSSRL or MCL is 0, although Copy is supported");
  const Bytes data = v.some(16);
  v.write(256, data);
  Bytes list(64);  // two source ranges of format 0
  put64(list, 8, 264);
  put16(list, 16, 3);
  put64(list, 32 + 8, 256);
  put16(list, 32 + 16, 3);
  const bool two = u8(v.s.ns(), 80) >= 1;
  if (!two) list.resize(32);
  Command c(io::copy);
  c.nsid(v.s.nsid()).set64(40, 320).dw(12, two ? 1 : 0);
  v.queue->expect_good("Copy", v.queue->execute(v.s.carry(std::move(c), std::move(list))));
  Bytes wanted(data.begin() + 8 * v.block, data.begin() + 12 * v.block);
  if (two) append(wanted, slice(data, 0, 4 * v.block));
  v.expect_content("content once copied", 320, wanted);
}

// Compare and Write: the write happens only when the comparison holds.
void fused(Test& t, bool holds) {
  Volume v(t);
  if (!t.needs((u16(v.s.controller(), 522) & 1) != 0, "FUSES bit 0 (Compare and Write) is clear")) return;
  const Bytes before = v.some(1, 1), after = v.some(1, 2);
  v.write(400, before);
  Command first = io_command(io::compare, v.s.nsid(), 400, 1);
  first.flags(fuse_first).sends_in_capsule(holds ? before : after).cid(0x201);
  Command second = io_command(io::write, v.s.nsid(), 400, 1);
  second.flags(fuse_second).sends_in_capsule(after).cid(0x202);
  if (v.s.capsule_data_max() < v.block) return t.skip("a block does not fit into a capsule");
  const std::uint16_t a = v.queue->submit(std::move(first)), b = v.queue->submit(std::move(second));
  const Answer compared = v.queue->await(a), written = v.queue->await(b);
  if (holds) {
    v.queue->expect_good("the fused Compare", compared);
    v.queue->expect_good("the fused Write", written);
  } else {
    v.queue->expect_status("the fused Compare", compared, {sc::compare_failure});
    v.queue->expect_status("the fused Write", written, {sc::failed_fused});
  }
  v.expect_content("content behind Compare and Write", 400, holds ? after : before);
}

void id_in_use(Test& t) {
  Session s(t);
  const auto queue = s.io_queue();
  // More than a capsule takes, so that every target asks for it.
  const Bytes data = pattern(s.capsule_data_max() / s.block_bytes() * s.block_bytes() + s.block_bytes(), 1);
  constexpr std::uint16_t cid = 0x77;
  queue->send(queue->capsule(s.write_command(0, data, Session::Carry::by_r2t).cid(cid)));
  const Pdu r2t = queue->receive();
  if (!r2t || !t.equal("PDU type", r2t.type(), pdu::r2t)) return;
  queue->send(queue->capsule(s.read_command(0, 1).cid(cid)));
  if (!queue->refuses_id(cid)) return;
  for (std::size_t at = 0; at < data.size() && t.ok();) {
    const View piece = slice(data, at, std::max(4096u, queue->agreed().maxh2cdata));
    const bool last = at + piece.size() == data.size();
    queue->send(make_h2c_data(cid, u16(r2t.raw, pdu::at_ttag), static_cast<std::uint32_t>(at), piece, last,
                              queue->agreed()));
    at += piece.size();
  }
  const Pdu p = queue->receive();
  if (!p || !t.equal("PDU type", p.type(), pdu::response)) return;
  t.equal("the status of the first command", static_cast<unsigned>(u16(p.raw, 22) >> 1), 0);
}

void fused_alone(Test& t) {
  Volume v(t);
  if (!t.needs((u16(v.s.controller(), 522) & 1) != 0, "FUSES bit 0 (Compare and Write) is clear")) return;
  Command alone = v.s.read_command(0, 1);
  const std::uint16_t first = v.queue->submit(
      io_command(io::compare, v.s.nsid(), 0, 1).flags(fuse_first).sends_in_capsule(v.some(1)).cid(0x203));
  const Answer read = v.queue->execute(std::move(alone));
  v.queue->expect_good("a Read that is not fused", read);
  v.queue->expect_status("the first half of a fused pair whose second never came", v.queue->await(first),
                         {sc::missing_fused});
}

void several_at_once(Test& t) {
  Volume v(t);
  std::vector<std::uint16_t> cids;
  for (std::uint32_t i = 0; i < 24; ++i) cids.push_back(v.queue->submit(v.s.read_command(i, 1)));
  for (auto it = cids.rbegin(); it != cids.rend(); ++it) v.queue->expect_good("Read", v.queue->await(*it));
}

}  // namespace

void add_io_cases(Cases& to) {
  const auto add = [&](const char* id, const char* title, const char* section, const char* requirement,
                       std::function<void(Test&)> run, bool writes = false, Level level = Level::mandatory) {
    to.push_back(
        {std::string("nvm.io.") + id, title, Spec::nvm, section, requirement, level, writes, std::move(run)});
  };
  constexpr bool writes = true;
  add("read", "Read", "3.2.4", "A block is read", read);
  add("read-last", "Read of the last block", "3.2.4", "Blocks up to NSZE - 1 are there", read_last);
  add("read-fua", "Read with FUA", "3.2.4", "FUA is for every controller", read_fua);
  add("parallel", "Reads at the same time", "3.2.4; Base 2.0, 3.3.1",
      "Commands of a queue end in any order, each once", several_at_once);
  add("write", "Write", "3.2.6", "What was written is read", write, writes);
  add("write-capsule", "Write with in-capsule data", "3.2.6; NVMe/TCP 1.0, 3.3.1", "What was written is read",
      write_in_capsule, writes, Level::optional);
  add("write-r2t", "A small write by R2T", "3.2.6; NVMe/TCP 1.0, 3.3.2.2",
      "Data that would fit into the capsule may be sent when it is asked for", write_by_r2t, writes);
  add("write-fua", "Write with FUA", "3.2.6", "FUA is for every controller", write_fua, writes);
  add("write-mdts", "The largest write and read", "3.2.6; Base 2.0, 5.17.2.1 (MDTS)",
      "Transfers up to MDTS work", write_mdts, writes);
  add("flush", "Flush", "3.1; Base 2.0, 7.1", "It is for every controller", [](Test& t) { flush(t, 0); });
  add("flush-all", "Flush of all namespaces", "Base 2.0, 7.1 (VWC)",
      "VWC says whether NSID FFFFFFFFh is for Flush", [](Test& t) { flush(t, nsid_all); });
  add("cid-in-use", "An identifier that is in use", "Base 2.0, 3.3.3.1, 3.3.3.2.1 (status 03h)",
      "The second command is refused, the first goes on", id_in_use, writes, Level::optional);
  add("compare", "Compare", "3.2.1", "Equal data succeeds, other data is a compare failure", compare, false,
      Level::optional);
  add(
      "write-zeroes", "Write Zeroes", "3.2.8", "The blocks read as zeroes, others stay",
      [](Test& t) { write_zeroes(t, 0); }, writes, Level::optional);
  add(
      "write-zeroes-deac", "Write Zeroes with DEAC", "3.2.8", "The blocks read as zeroes, deallocated or not",
      [](Test& t) { write_zeroes(t, deallocate); }, writes, Level::optional);
  add("dsm", "Deallocating ranges", "3.2.3", "Only the ranges are deallocated", deallocate_ranges, writes,
      Level::optional);
  add("dsm-reads", "Reading deallocated blocks", "3.2.3, 3.2.3.2.1 (DLFEAT)",
      "They read the same each time, and as DLFEAT says", deallocate_reads, writes, Level::optional);
  add("dsm-hints", "Dataset Management hints", "3.2.3", "Hints succeed, whether they are used or not",
      dsm_hint, false, Level::optional);
  add("verify", "Verify", "3.2.5", "It succeeds for blocks that can be read", verify, false, Level::optional);
  add("copy", "Copy", "3.2.2", "Source ranges are copied one behind the other", copy, writes,
      Level::optional);
  add(
      "fused", "Compare and Write", "2.1.3.1, 3.2.1", "When the comparison holds the write happens",
      [](Test& t) { fused(t, true); }, writes, Level::optional);
  add(
      "fused-fails", "Compare and Write that does not compare", "2.1.3.1",
      "When the comparison fails nothing is written, and both fail", [](Test& t) { fused(t, false); }, writes,
      Level::optional);
  add("fused-alone", "Half of Compare and Write", "Base 2.0, 3.4.2",
      "A half alone is aborted: missing fused command", fused_alone, false, Level::optional);
}

}  // namespace holdfast::cli::conformance
