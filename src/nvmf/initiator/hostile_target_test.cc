// The initiator against a scripted target that breaks the protocol: what it sends, and what the answer to it is.
#include <functional>
#include <vector>

#include <gtest/gtest.h>

#include "base/prng.h"
#include "nvmf/initiator/testing/fake_target_fixture.h"

namespace holdfast::nvmf {
namespace {

using test::pattern;
using Fixture = test::FakeTargetFixture;

constexpr nvme::Fault untold{};  // no H2CTermReq
constexpr nvme::Fault out_of_range{nvme::Fes::data_out_of_range, 0};
constexpr nvme::Fault out_of_sequence{nvme::Fes::sequence_error, 0};
constexpr nvme::Fault bad_field(std::uint32_t offset) { return {nvme::Fes::invalid_header_field, offset}; }

// What a hostile target does with a command, and what the H2CTermReq says of it by NVMe/TCP 1.0.
struct Breach {
  const char* what;
  std::function<void(test::FakeConnection&, const nvme::Sqe&)> act;
  nvme::Fault told;
};

void expect_told(const test::FakeTarget& target, const nvme::Fault& told) {
  if (told == untold) {
    EXPECT_TRUE(target.terminated.empty());
    return;
  }
  ASSERT_FALSE(target.terminated.empty());
  for (const nvme::TermReq& req : target.terminated) {
    EXPECT_EQ(req.fes, static_cast<std::uint16_t>(told.fes));
    EXPECT_EQ(req.fei, told.fei);
  }
}

std::vector<Breach> wrong_answers() {
  const auto bytes = pattern(8192, 1);
  return {
      {"unknown cid", [](auto& c, auto& s) { c.respond(static_cast<std::uint16_t>(s.cid ^ 5)); },
       bad_field(20)},
      {"unknown cid, same slot",
       [](auto& c, auto& s) { c.respond(static_cast<std::uint16_t>(s.cid ^ 0x4000)); }, bad_field(20)},
      {"data of unknown cid",
       [bytes](auto& c, auto& s) { c.data(static_cast<std::uint16_t>(s.cid ^ 1), 0, bytes, 4); },
       bad_field(8)},
      {"data beyond", [bytes](auto& c, auto& s) { c.data(s.cid, 4096, bytes, 4); }, out_of_range},
      {"data that skips", [bytes](auto& c, auto& s) { c.data(s.cid, 512, std::span(bytes).first(512), 0); },
       out_of_sequence},
      {"data near 4 GiB",
       [bytes](auto& c, auto& s) { c.data(s.cid, 0xfffffe00, std::span(bytes).first(512), 0); },
       out_of_range},
      {"data twice",
       [bytes](auto& c, auto& s) {
         c.data(s.cid, 0, std::span(bytes).first(512), 0);
         c.data(s.cid, 0, std::span(bytes).first(512), 0);
       },
       out_of_sequence},
      {"data behind the last",
       [bytes](auto& c, auto& s) {
         c.data(s.cid, 0, std::span(bytes).first(512), 4);
         c.data(s.cid, 512, std::span(bytes).subspan(512), 4);
         c.respond(s.cid);
       },
       out_of_sequence},
      {"too much data", [](auto& c, auto& s) { c.data(s.cid, 0, pattern(8704, 1), 4); }, out_of_range},
      {"success too early", [](auto& c, auto& s) { c.respond(s.cid); }, out_of_sequence},
      {"success flag on a part",
       [bytes](auto& c, auto& s) { c.data(s.cid, 0, std::span(bytes).first(512), 12); }, out_of_sequence},
      {"success flag, not last", [bytes](auto& c, auto& s) { c.data(s.cid, 0, bytes, 8); }, bad_field(1)},
      {"r2t for a read", [](auto& c, auto& s) { c.r2t(s.cid, 1, 0, 512); }, out_of_sequence},
      {"r2t of unknown cid",
       [](auto& c, auto& s) { c.r2t(static_cast<std::uint16_t>(s.cid ^ 1), 1, 0, 512); }, bad_field(8)},
  };
}

std::vector<Breach> wrong_pdus() {
  const auto bytes = pattern(8192, 1);
  const auto terminate = [](std::uint32_t plen) {
    return [plen](test::FakeConnection& c, const nvme::Sqe&) {
      auto pdu = nvme::make_term_req(nvme::Role::controller, {nvme::Fes::sequence_error, 0}, {});
      store(std::span(pdu.bytes).subspan(4), le32(plen));
      c.raw(pdu.span());
    };
  };
  return {
      {"wrong length",
       [bytes](auto& c, auto& s) {
         nvme::C2hData h{};
         h.cccid = s.cid;
         h.datal = 512u;
         c.pdu(h, nvme::PduType::c2h_data, bytes);
       },
       bad_field(16)},
      {"oversized",
       [](auto& c, auto&) {
         nvme::CommonHeader h{7, 0, 24, 24, 0xffffffffu};
         c.raw(bytes_of(h));
       },
       out_of_range},
      {"a digest that was not agreed",
       [](auto& c, auto&) {
         nvme::CommonHeader h{7, 1, 24, 28, 8192u + 28};
         c.raw(bytes_of(h));
       },
       bad_field(1)},
      {"data in the header",
       [](auto& c, auto&) {
         nvme::CommonHeader h{7, 0, 24, 20, 8192u + 24};
         c.raw(bytes_of(h));
       },
       bad_field(3)},
      {"a response with data",
       [](auto& c, auto&) {
         nvme::CommonHeader h{5, 0, 24, 24, 8192u + 24};
         c.raw(bytes_of(h));
       },
       bad_field(4)},
      {"garbage", [bytes](auto& c, auto&) { c.raw(bytes); }, bad_field(0)},
      {"a host's PDU", [](auto& c, auto&) { c.pdu(nvme::CapsuleCmd{}, nvme::PduType::capsule_cmd); },
       bad_field(0)},
      {"another IcResp", [](auto& c, auto&) { c.pdu(nvme::IcResp{}, nvme::PduType::ic_resp); },
       out_of_sequence},
      {"terminate", terminate(24), untold},
      {"terminate, too short", terminate(23), untold},
      {"terminate, too long", terminate(153), untold},
      {"terminate of 4 GiB", terminate(0xffffffff), untold},
      {"end of stream", [](auto& c, auto&) { c.hang_up(); }, untold},
  };
}

// What a hostile target answers to a command of the I/O queue. None may touch memory outside the vectors, end
// the command more than once, or leave it without an end.
TEST(HostileTarget, BreachesEndTheConnectionAndTheCommandIsTriedAgain) {
  std::vector<Breach> breaches = wrong_answers();
  const std::vector<Breach> pdus = wrong_pdus();
  breaches.insert(breaches.end(), pdus.begin(), pdus.end());
  for (const Breach& entry : breaches) {
    SCOPED_TRACE(entry.what);
    Fixture f;
    ASSERT_TRUE(f.open().ok());
    auto data = pattern(8192, 9);
    ASSERT_TRUE(f.write(8, data).ok());
    unsigned times = 0;
    f.target->hook = [&](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
      if (c.qid() == 0 || sqe.opc != static_cast<std::uint8_t>(nvme::IoOpcode::read) || times >= 2)
        return false;
      ++times;
      entry.act(c, sqe);
      return true;
    };
    std::vector<std::byte> memory(8192 + 2048, std::byte{0xee});
    const IoVec vecs[] = {{memory.data() + 1024, 1000}, {memory.data() + 2024, 7192}};
    const Status read = f.world.run(f.home(), f.channel->read(Lba{8}, IoVecs(vecs)));
    EXPECT_TRUE(read.ok());
    EXPECT_TRUE(std::equal(data.begin(), data.end(), memory.begin() + 1024));
    EXPECT_TRUE(
        std::all_of(memory.begin(), memory.begin() + 1024, [](auto b) { return b == std::byte{0xee}; }));
    EXPECT_TRUE(std::all_of(memory.end() - 1024, memory.end(), [](auto b) { return b == std::byte{0xee}; }));
    EXPECT_GE(f.controller().reconnects(), 1u);
    expect_told(*f.target, entry.told);
  }
}

// What comes in the place of a good ICResp is answered with the reason, too.
TEST(HostileTarget, ABadIcRespIsRefused) {
  struct Case {
    const char* what;
    std::function<void(nvme::IcResp&)> change;
    nvme::Fault told;
  };
  const Case cases[] = {
      {"another PDU format", [](nvme::IcResp& r) { r.pfv = 1; }, {nvme::Fes::unsupported_parameter, 8}},
      {"alignment over 128 bytes", [](nvme::IcResp& r) { r.cpda = 32; }, bad_field(10)},
      {"a header digest that nobody asked for", [](nvme::IcResp& r) { r.dgst = 1; }, bad_field(11)},
      {"a data digest that nobody asked for", [](nvme::IcResp& r) { r.dgst = 2; }, bad_field(11)},
      {"no data in a PDU", [](nvme::IcResp& r) { r.maxh2cdata = 0; }, bad_field(12)},
      {"MAXH2CDATA of no dwords", [](nvme::IcResp& r) { r.maxh2cdata = 4098; }, bad_field(12)},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    Fixture f;
    f.target->ic_hook = c.change;
    EXPECT_FALSE(f.open().ok());
    f.world.run_for(100ms);
    expect_told(*f.target, c.told);
  }
}

// Answers with random faults: a header field, a length, a byte anywhere, a piece left out, garbage. The
// target behaves again after a while, so every command must end, once, with memory outside its vectors
// untouched.
TEST(HostileTarget, RandomlyDamagedAnswers) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    Fixture f(seed);
    f.config.keep_alive = 200ms;
    f.config.io_timeout = 500ms;
    f.config.abort_timeout = 100ms;
    f.config.grace = 20s;
    ASSERT_TRUE(f.open().ok());
    Prng prng(seed);
    unsigned faults = 0;
    f.target->hook = [&](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
      if (c.qid() == 0 || faults >= 4 || !prng.chance(1, 2)) return false;
      ++faults;
      const bool reads = sqe.opc == static_cast<std::uint8_t>(nvme::IoOpcode::read);
      const auto length = static_cast<std::uint32_t>(reads ? nvme::io_range(sqe).blocks * 512 : 0);
      std::vector<std::byte> answer(24 + length);
      nvme::C2hData header{};
      header.ch = nvme::CommonHeader{reads ? std::uint8_t{7} : std::uint8_t{9}, 12, 24, 24,
                                     static_cast<std::uint32_t>(answer.size())};
      header.ch.flags = reads ? 12 : 0;
      header.ch.pdo = reads ? 24 : 0;
      header.cccid = sqe.cid;
      header.datal = length;
      store(answer, header);
      const std::uint64_t damages = 1 + prng.below(3);
      for (std::uint64_t i = 0; i < damages; ++i) {
        const std::size_t where = prng.below(prng.chance(3, 4) ? 24 : answer.size());
        answer[where] = static_cast<std::byte>(prng.next());
      }
      if (prng.chance(1, 4)) answer.resize(1 + prng.below(answer.size()));
      c.raw(answer);
      return true;
    };
    for (unsigned i = 0; i < 6; ++i) {
      std::vector<std::byte> memory(1024 + 16384 + 1024, std::byte{0xee});
      const IoVec vecs[] = {{memory.data() + 1024, 5000}, {memory.data() + 6024, 16384 - 5000}};
      auto read = f.channel->read(Lba{prng.below(100)}, IoVecs(vecs));
      auto write = f.channel->write(Lba{prng.below(100)}, IoVecs(vecs), Durable::no);
      const Status ended = f.world.run(f.home(), prng.chance(1, 2) ? std::move(read) : std::move(write), 60s);
      ended.ignore("a damaged answer may be an error status, or time out");
      const auto untouched = [](std::byte b) { return b == std::byte{0xee}; };
      EXPECT_TRUE(std::all_of(memory.begin(), memory.begin() + 1024, untouched));
      EXPECT_TRUE(std::all_of(memory.end() - 1024, memory.end(), untouched));
    }
    f.target->hook = {};
  }
}

TEST(HostileTarget, DataOfACommandThatHasEndedIsABreach) {
  Fixture f;
  ASSERT_TRUE(f.open().ok());
  const auto bytes = pattern(8192, 1);
  f.target->hook = [&](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
    if (c.qid() == 0) return false;
    c.data(sqe.cid, 0, bytes, nvme::flag_last_pdu | nvme::flag_success);
    c.data(sqe.cid, 0, bytes, nvme::flag_last_pdu | nvme::flag_success);
    return true;
  };
  std::vector<std::byte> back(8192);
  EXPECT_TRUE(f.read(0, back).ok());
  EXPECT_EQ(back, bytes);
  EXPECT_TRUE(f.world.run_until([&] { return f.controller().reconnects() == 1; }, f.world.now() + 1s));
  f.target->hook = {};
}

TEST(HostileTarget, BreachesOfAWrite) {
  const auto bytes = pattern(512, 1);
  const std::vector<Breach> breaches = {
      {"r2t beyond", [](auto& c, auto& s) { c.r2t(s.cid, 1, 0, 65536 + 512); }, bad_field(16)},
      {"r2t out of order", [](auto& c, auto& s) { c.r2t(s.cid, 1, 512, 512); }, out_of_sequence},
      {"empty r2t", [](auto& c, auto& s) { c.r2t(s.cid, 1, 0, 0); }, bad_field(16)},
      {"r2t twice",
       [](auto& c, auto& s) {
         c.r2t(s.cid, 1, 0, 65536);
         c.r2t(s.cid, 1, 0, 65536);
       },
       untold},  // the target has hung up, at data that it does not know
      {"r2t wraps", [](auto& c, auto& s) { c.r2t(s.cid, 1, 0xffffff00u, 512); }, out_of_sequence},
      {"data for a write", [&](auto& c, auto& s) { c.data(s.cid, 0, bytes, 12); }, out_of_sequence},
      {"success without the data", [](auto& c, auto& s) { c.respond(s.cid); }, out_of_sequence},
  };
  for (const Breach& entry : breaches) {
    SCOPED_TRACE(entry.what);
    Fixture f;
    ASSERT_TRUE(f.open().ok());
    unsigned times = 0;
    f.target->hook = [&](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
      if (c.qid() == 0 || sqe.opc != static_cast<std::uint8_t>(nvme::IoOpcode::write) || times >= 2)
        return false;
      ++times;
      entry.act(c, sqe);
      return true;
    };
    auto data = pattern(65536, 5);
    EXPECT_TRUE(f.write(8, data).ok());
    EXPECT_TRUE(std::equal(data.begin(), data.end(), f.target->disk.begin() + 8 * 512));
    EXPECT_GE(f.controller().reconnects(), 1u);
    expect_told(*f.target, entry.told);
  }
}

TEST(HostileTarget, OneR2tMoreThanItAnnouncesIsABreach) {
  Fixture f;
  ASSERT_TRUE(f.open().ok());
  f.target->r2t_bytes = 4096;
  unsigned times = 0;
  f.target->hook = [&](test::FakeConnection& c, const nvme::Sqe&, std::span<const std::byte>) {
    if (c.qid() != 0) f.target->r2ts_at_once = times++ < 2 ? host::r2ts_max + 1 : host::r2ts_max;
    return false;
  };
  auto data = pattern(65536, 5);
  EXPECT_TRUE(f.write(8, data).ok());
  EXPECT_TRUE(std::equal(data.begin(), data.end(), f.target->disk.begin() + 8 * 512));
  EXPECT_EQ(f.controller().reconnects(), 2u);
  EXPECT_EQ(f.target->terminated.size(), 2u);
  expect_told(*f.target, {nvme::Fes::data_limit_exceeded, 0});
}

}  // namespace
}  // namespace holdfast::nvmf
