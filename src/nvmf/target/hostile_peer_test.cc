// Goal: no sequence of bytes disturbs the target: each kind of malformed PDU gets its terminate request with
// the right status, each wrong command its status, the connection ends where it must, and nobody else
// notices. Method: tables of what a hostile host says, with the answer that NVMe/TCP 1.0 asks for; after
// every entry an innocent host does I/O on the same target. Then random mutations of good traffic.
#include <functional>

#include "nvmf/target/target.h"
#include "nvmf/target/testing/raw_host.h"

namespace holdfast::nvmf::test {
namespace {

// An innocent host keeps working.
void expect_unharmed(Session& s, std::uint64_t seed) {
  const Bytes data = pattern(4096, seed);
  const Outcome w = s.io.write(64, data, true);
  EXPECT_TRUE(w.answered && w.status.ok());
  EXPECT_EQ(s.io.read(64, 8).data, data);
}

Sqe big_write(std::uint32_t bytes) {
  Sqe s = RawHost::io(IoOpcode::write, 0, bytes / 512);
  s.cid = 7;
  s.sgl1 = nvme::SglDescriptor::transport(bytes);
  return s;
}

template <class T>
Bytes with(Bytes pdu, std::size_t offset, T value) {
  store(std::span(pdu).subspan(offset), Le<T>(value));
  return pdu;
}
Bytes with8(Bytes pdu, std::size_t offset, unsigned value) {
  pdu[offset] = static_cast<std::byte>(value);
  return pdu;
}

constexpr std::size_t hlen_at = 2, pdo_at = 3, plen_at = 4;

// --- Before and during the connection set-up. ---

struct SetUpCase {
  const char* what;
  std::function<Bytes(const RawHost&)> bytes;
  Fes fes;
  std::uint32_t fei;
};

const std::vector<SetUpCase>& set_up_cases() {
  static const std::vector<SetUpCase> cases = {
      {"command before ICReq", [](const RawHost& h) { return h.make_command(h.connect_sqe(0)); },
       Fes::sequence_error, 0},
      {"H2CData before ICReq", [](const RawHost& h) { return h.make_h2c(1, 0, 0, pattern(512, 1), true); },
       Fes::sequence_error, 0},
      {"unknown PDU type", [](const RawHost& h) { return with8(h.make_ic_req(), 0, 0x42); },
       Fes::invalid_header_field, 0},
      {"ICResp from a host", [](const RawHost& h) { return with8(h.make_ic_req(), 0, 0x01); },
       Fes::invalid_header_field, 0},
      {"R2T from a host", [](const RawHost& h) { return h.make(PduType::r2t, nvme::R2t{}); },
       Fes::invalid_header_field, 0},
      {"ICReq, header too short", [](const RawHost& h) { return with8(h.make_ic_req(), hlen_at, 127); },
       Fes::invalid_header_field, hlen_at},
      {"ICReq, longer than it is",
       [](const RawHost& h) { return with<std::uint32_t>(h.make_ic_req(), plen_at, 4096); },
       Fes::invalid_header_field, plen_at},
      {"ICReq, length 2 GiB",
       [](const RawHost& h) { return with<std::uint32_t>(h.make_ic_req(), plen_at, 0x80000000); },
       Fes::invalid_header_field, plen_at},
      {"ICReq, another PDU format", [](const RawHost& h) { return h.make_ic_req(0, 0, 1); },
       Fes::unsupported_parameter, 8},
      {"ICReq, alignment over 128 bytes", [](const RawHost& h) { return h.make_ic_req(0, 32); },
       Fes::invalid_header_field, 10},
      {"an HTTP request",
       [](const RawHost&) {
         const std::string text = "GET / HTTP/1.1\r\nHost: storage\r\n\r\n";
         const auto bytes = std::as_bytes(std::span(text));
         return Bytes(bytes.begin(), bytes.end());
       },
       Fes::invalid_header_field, 0},
      {"all ones", [](const RawHost&) { return Bytes(256, std::byte{0xff}); }, Fes::invalid_header_field, 0},
  };
  return cases;
}

TEST(HostilePeer, ConnectionSetUp) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session innocent(rig);
  std::uint64_t seed = 1;
  for (const SetUpCase& c : set_up_cases()) {
    SCOPED_TRACE(c.what);
    RawHost host(rig);
    host.send(c.bytes(host));
    std::uint32_t fei = 99;
    EXPECT_EQ(host.terminated(&fei), c.fes);
    EXPECT_EQ(fei, c.fei);
    expect_unharmed(innocent, ++seed);
  }
  EXPECT_EQ(rig.run(rig.target->stats()).connections_terminated, set_up_cases().size());
}

// --- On a queue that is connected. ---

struct QueueCase {
  const char* what;
  std::function<void(RawHost&)> act;
  Fes fes;
  std::uint32_t fei;
};

// Sends a write of `bytes` and gives its R2T.
nvme::R2t ask(RawHost& h, std::uint32_t bytes) {
  h.send(h.make_command(big_write(bytes)));
  const Pdu pdu = h.receive();
  EXPECT_EQ(pdu.type(), PduType::r2t);
  return pdu.as<nvme::R2t>();
}

const std::vector<QueueCase>& command_cases() {
  static const std::vector<QueueCase> cases = {
      {"second ICReq", [](RawHost& h) { h.send(h.make_ic_req()); }, Fes::sequence_error, 0},
      {"command, header length",
       [](RawHost& h) { h.send(with8(h.make_command(big_write(512)), hlen_at, 64)); },
       Fes::invalid_header_field, hlen_at},
      {"command, length shorter than its header",
       [](RawHost& h) { h.send(with<std::uint32_t>(h.make_command(big_write(512)), plen_at, 40)); },
       Fes::invalid_header_field, plen_at},
      {"command, data inside its header",
       [](RawHost& h) { h.send(with8(h.make_command(big_write(512), pattern(512, 1)), pdo_at, 64)); },
       Fes::invalid_header_field, pdo_at},
      {"command, data not at a dword",
       [](RawHost& h) { h.send(with8(h.make_command(big_write(512), pattern(512, 1)), pdo_at, 74)); },
       Fes::invalid_header_field, pdo_at},
      {"in-capsule data over the capsule",
       [](RawHost& h) { h.send(h.make_command(big_write(16384), pattern(8193, 1))); },
       Fes::data_limit_exceeded, 0},
      {"in-capsule data of 4 GiB",
       [](RawHost& h) {
         h.send(with<std::uint32_t>(h.make_command(big_write(512), pattern(512, 1)), plen_at, 0xfffffff0));
       },
       Fes::data_limit_exceeded, 0},
      {"digest flag that was not agreed",
       [](RawHost& h) { h.send(with8(h.make_command(big_write(512)), 1, 1)); }, Fes::invalid_header_field, 1},
      {"response from a host", [](RawHost& h) { h.send(h.make(PduType::capsule_resp, nvme::CapsuleResp{})); },
       Fes::invalid_header_field, 0},
      {"C2HData from a host",
       [](RawHost& h) { h.send(h.make(PduType::c2h_data, nvme::C2hData{}, pattern(64, 1))); },
       Fes::invalid_header_field, 0},
      {"R2T from a host", [](RawHost& h) { h.send(h.make(PduType::r2t, nvme::R2t{})); },
       Fes::invalid_header_field, 0},
  };
  return cases;
}

const std::vector<QueueCase>& data_cases() {
  static const std::vector<QueueCase> cases = {
      {"data that nobody asked for", [](RawHost& h) { h.send(h.make_h2c(7, 0, 0, pattern(512, 1), true)); },
       Fes::invalid_header_field, 10},
      {"unknown transfer tag",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(h.make_h2c(7, static_cast<std::uint16_t>(r2t.ttag + 999), 0, pattern(512, 1), false));
       },
       Fes::invalid_header_field, 10},
      {"another command's identifier",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(h.make_h2c(8, r2t.ttag, 0, pattern(512, 1), false));
       },
       Fes::invalid_header_field, 8},
      {"data from a wrong offset",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(h.make_h2c(7, r2t.ttag, 512, pattern(512, 1), false));
       },
       Fes::data_out_of_range, 0},
      {"the same data twice",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(h.make_h2c(7, r2t.ttag, 0, pattern(512, 1), false));
         h.send(h.make_h2c(7, r2t.ttag, 0, pattern(512, 1), false));
       },
       Fes::data_out_of_range, 0},
      {"more data than was asked for",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(h.make_h2c(7, r2t.ttag, 0, pattern(16388, 1), true));
       },
       Fes::data_out_of_range, 0},
      {"an offset near 4 GiB",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(h.make_h2c(7, r2t.ttag, 0xfffffe00, pattern(1024, 1), true));
       },
       Fes::data_out_of_range, 0},
      {"the last data too early",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(h.make_h2c(7, r2t.ttag, 0, pattern(512, 1), true));
       },
       Fes::invalid_header_field, 1},
      {"a data length that is not the PDU's",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(with<std::uint32_t>(h.make_h2c(7, r2t.ttag, 0, pattern(512, 1), false), 16, 1024));
       },
       Fes::invalid_header_field, 16},
      {"a data PDU without data",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(h.make_h2c(7, r2t.ttag, 0, {}, false));
       },
       Fes::invalid_header_field, plen_at},
      {"more than MAXH2CDATA in one PDU",
       [](RawHost& h) {
         const auto r2t = ask(h, 1 << 20);
         h.send(h.make_h2c(7, r2t.ttag, 0, pattern(65536 + 4, 1), false));
       },
       Fes::data_limit_exceeded, 0},
  };
  return cases;
}

TEST(HostilePeer, EveryMalformedPdu) {
  TargetConfig config;
  config.h2c_data_bytes_max = 65536;
  Rig rig(3, 2, config);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session innocent(rig);
  std::uint64_t seed = 1;
  std::vector<QueueCase> cases = command_cases();
  cases.insert(cases.end(), data_cases().begin(), data_cases().end());
  for (const QueueCase& c : cases) {
    SCOPED_TRACE(c.what);
    Session hostile(rig);
    c.act(hostile.io);
    std::uint32_t fei = 99;
    EXPECT_EQ(hostile.io.terminated(&fei), c.fes);
    EXPECT_EQ(fei, c.fei);
    EXPECT_TRUE(hostile.admin.identify(nvme::Cns::controller).answered) << "its other queue goes on";
    expect_unharmed(innocent, ++seed);
  }
}

TEST(HostilePeer, HeaderDigestErrorTerminates) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig, nvme::dgst_header);
  Bytes bytes = s.io.make_command(big_write(512));
  bytes[40] ^= std::byte{1};
  s.io.send(bytes);
  std::uint32_t fei = 0;
  EXPECT_EQ(s.io.terminated(&fei), Fes::header_digest_error);
  EXPECT_EQ(fei, load<le32>(std::span(bytes).subspan(72))) << "the digest as it was received";
}

TEST(HostilePeer, DataDigestErrorFailsTheCommandOnly) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig, nvme::dgst_data);
  Sqe w = RawHost::io(IoOpcode::write, 0, 1);
  w.cid = 9;
  w.sgl1 = nvme::SglDescriptor::in_capsule(512);
  Bytes bytes = s.io.make_command(w, pattern(512, 1));
  bytes[100] ^= std::byte{1};
  s.io.send(bytes);
  EXPECT_EQ(s.io.wait_for(9).status.code, StatusCode::transient_transport_error);
  EXPECT_FALSE(s.io.wait_for(9).answered);

  s.io.send(s.io.make_command(big_write(16384)));
  const auto r2t = s.io.receive().as<nvme::R2t>();
  bytes = s.io.make_h2c(7, r2t.ttag, 0, pattern(16384, 1), true);
  bytes[100] ^= std::byte{1};
  s.io.send(bytes);
  EXPECT_EQ(s.io.wait_for(7).status.code, StatusCode::transient_transport_error);
  const Outcome r = s.io.read(0, 32);
  EXPECT_EQ(r.data, Bytes(16384)) << "nothing was written";
}

TEST(HostilePeer, ATerminateRequestFromTheHostEndsTheConnection) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  nvme::TermReq req{};
  req.fes = 1;
  s.io.send(s.io.make(PduType::h2c_term_req, req, pattern(72, 1)));
  EXPECT_TRUE(s.io.ends()) << "and nothing is answered";
}

// --- Peers that stall. ---

TEST(HostilePeer, SilentConnectionsAreClosed) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  RawHost silent(rig);
  RawHost half(rig);
  ASSERT_TRUE(half.set_up());
  RawHost piece(rig);
  piece.send(Bytes(5));
  rig.world.run_for(15s);
  EXPECT_TRUE(silent.ends());
  EXPECT_TRUE(half.ends()) << "set up, but no Connect";
  EXPECT_TRUE(piece.ends());
  EXPECT_EQ(rig.run(rig.target->stats()).connections_stalled, 3u);
}

TEST(HostilePeer, AHostThatNeverSendsTheDataIsClosed) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session innocent(rig);
  Session s(rig);
  ask(s.io, 1 << 20);
  rig.world.run_for(59s);
  expect_unharmed(innocent, 1);
  EXPECT_FALSE(s.io.ends(1ms));
  EXPECT_TRUE(s.io.ends(5s));
}

// A host asks for much and takes nothing. What it gets is bounded, and others are served meanwhile.
TEST(HostilePeer, AHostThatReadsNothingCostsBoundedMemory) {
  Rig rig(5, 1, TargetConfig(), 16 << 20);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session innocent(rig);
  Session s(rig, 0, 0, 0, 127);
  Bytes flood;
  for (unsigned i = 0; i < 127; ++i) {
    Sqe r = RawHost::io(IoOpcode::read, 0, 2048);
    r.cid = static_cast<std::uint16_t>(i);
    r.sgl1 = nvme::SglDescriptor::transport(1 << 20);
    append(flood, s.io.make_command(r));
  }
  s.io.send(flood);
  rig.world.run_for(1s);
  const std::size_t used = rig.process->core(0).buffers().used_bytes();
  EXPECT_LE(used, (4u << 20) + (1u << 20)) << "a quarter of the budget, and what the queues need";
  expect_unharmed(innocent, 1);
  rig.world.run_for(70s);
  expect_unharmed(innocent, 2);
  EXPECT_EQ(rig.run(rig.target->stats()).connections_stalled, 1u);
}

// Many hosts that hold all of the memory with writes that they do not finish: writes that come in their
// capsules still go on, and reads as soon as something is free.
TEST(HostilePeer, AnEmptyPoolStopsNobodyForEver) {
  Rig rig(6, 1, TargetConfig(), 16 << 20);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session innocent(rig);
  std::vector<std::unique_ptr<Session>> hogs;
  for (unsigned h = 0; h < 4; ++h) {
    hogs.push_back(std::make_unique<Session>(rig));
    Bytes flood;
    for (unsigned i = 0; i < 8; ++i) {
      Sqe w = big_write(1 << 20);
      w.cid = static_cast<std::uint16_t>(i + 1);
      append(flood, hogs.back()->io.make_command(w));
    }
    hogs.back()->io.send(flood);
  }
  rig.world.run_for(1s);
  const Bytes data = pattern(4096, 9);
  for (unsigned i = 0; i < 40; ++i) {
    const Outcome w = innocent.io.write(i * 8, data, true);
    ASSERT_TRUE(w.answered && w.status.ok()) << i;
  }
  Sqe r = RawHost::io(IoOpcode::read, 0, 8);
  r.cid = 77;
  r.sgl1 = nvme::SglDescriptor::transport(4096);
  innocent.io.send(innocent.io.make_command(r));
  rig.world.run_for(65s);
  EXPECT_EQ(innocent.io.wait_for(77).data, data) << "the hogs were thrown out";
}

TEST(HostilePeer, MoreCommandsThanTheQueueHoldsTerminates) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig, 0, 0, 0, 7);  // eight entries
  Bytes flood;
  for (unsigned i = 0; i < 40; ++i) {  // writes whose data never comes
    Sqe w = big_write(16384);
    w.cid = static_cast<std::uint16_t>(i);
    append(flood, s.io.make_command(w));
  }
  s.io.send(flood);
  unsigned r2ts = 0;
  Pdu pdu = s.io.receive();
  for (; pdu && pdu.type() == PduType::r2t; pdu = s.io.receive()) ++r2ts;
  EXPECT_LE(r2ts, 12u);
  ASSERT_TRUE(pdu);
  ASSERT_EQ(pdu.type(), PduType::c2h_term_req);
  EXPECT_EQ(pdu.as<nvme::TermReq>().fes, static_cast<std::uint16_t>(Fes::sequence_error));
}

TEST(HostilePeer, ConnectionsOverTheLimitAreRefused) {
  TargetConfig config;
  config.connections_max = 4;
  Rig rig(1, 1, config);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session innocent(rig);
  std::vector<std::unique_ptr<RawHost>> hosts;
  for (unsigned i = 0; i < 10; ++i) hosts.push_back(std::make_unique<RawHost>(rig));
  rig.world.run_for(1s);
  const TargetStats stats = rig.run(rig.target->stats());
  EXPECT_EQ(stats.connections, 4u);
  EXPECT_EQ(stats.connections_refused, 8u);
  expect_unharmed(innocent, 1);
}

// --- Garbage. ---

// Good traffic with random bytes changed, removed, doubled and cut: whatever it is taken for, nothing breaks.
TEST(HostilePeer, RandomMutationsOfGoodTraffic) {
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed=" << seed);
    TargetConfig config;
    config.connect_timeout = 1s;
    config.stall_timeout = 3s;
    Rig rig(seed, 1 + seed % 2, config);
    ASSERT_EQ(rig.add_volume(), Errc::ok);
    Session innocent(rig);
    Prng prng(seed);
    Session hostile(rig, static_cast<std::uint8_t>(seed % 4));
    RawHost& h = prng.chance(1, 4) ? hostile.admin : hostile.io;
    Bytes traffic;
    for (unsigned i = 0; i < 30; ++i) {
      const std::size_t size = 512 * prng.between(1, 16);
      Sqe s = RawHost::io(prng.chance(1, 2) ? IoOpcode::write : IoOpcode::read, 1024 + prng.below(64),
                          static_cast<std::uint32_t>(size / 512));
      s.cid = static_cast<std::uint16_t>(i);
      const bool is_write = s.opc == static_cast<std::uint8_t>(IoOpcode::write);
      s.sgl1 = is_write && prng.chance(2, 3)
                   ? nvme::SglDescriptor::in_capsule(static_cast<std::uint32_t>(size))
                   : nvme::SglDescriptor::transport(static_cast<std::uint32_t>(size));
      append(traffic, h.make_command(s, s.sgl1.is_in_capsule() ? pattern(size, i) : Bytes()));
      if (prng.chance(1, 4)) {
        append(traffic, h.make_h2c(static_cast<std::uint16_t>(i), static_cast<std::uint16_t>(prng.below(8)),
                                   0, pattern(size, i), true));
      }
    }
    for (unsigned m = 0; m < prng.between(1, 6); ++m) {
      const std::size_t at = prng.below(traffic.size());
      const auto where = traffic.begin() + static_cast<std::ptrdiff_t>(at);
      const std::size_t n = std::min<std::size_t>(prng.between(1, 80), traffic.size() - at);
      switch (prng.below(3)) {
        case 0:
          traffic[at] ^= static_cast<std::byte>(1u << prng.below(8));
          break;
        case 1:
          traffic.erase(where, where + static_cast<std::ptrdiff_t>(n));
          break;
        default: {
          const Bytes copy(where, where + static_cast<std::ptrdiff_t>(n));
          traffic.insert(where, copy.begin(), copy.end());
        }
      }
    }
    if (prng.chance(1, 3)) traffic.resize(prng.between(1, traffic.size()));
    h.send(traffic);
    rig.world.run_for(Nanos(prng.below(5'000'000)));
    if (prng.chance(1, 2)) h.close();
    expect_unharmed(innocent, seed);
    rig.world.run_for(8s);
    expect_unharmed(innocent, seed + 1);
  }
}

}  // namespace
}  // namespace holdfast::nvmf::test
