// Goal: good PDUs in a wrong order, again, or damaged anywhere, confuse nobody. Method: replayed and
// reordered traffic, then random mutations of good traffic, beside an innocent host.
#include "nvmf/target/target.h"
#include "nvmf/target/testing/raw_host.h"

namespace holdfast::nvmf::test {
namespace {

// Data of several commands may come in any order, as long as that of each command is in order.
TEST(HostileStream, CommandsThatOvertakeEachOtherAreNotMixedUp) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  std::vector<nvme::R2t> asked;
  for (std::uint16_t i = 0; i < 4; ++i) {
    Sqe w = RawHost::io(IoOpcode::write, i * 32u, 32);
    w.cid = static_cast<std::uint16_t>(20 + i);
    w.sgl1 = nvme::SglDescriptor::transport(16384);
    s.io.send(s.io.make_command(w));
    asked.push_back(s.io.receive().as<nvme::R2t>());
  }
  for (const std::uint32_t half : {0u, 8192u}) {
    for (std::uint32_t i = 4; i-- > 0;) {
      s.io.send(s.io.make_h2c(static_cast<std::uint16_t>(20 + i), asked[i].ttag, half,
                              pattern(8192, i * 2 + half), half != 0));
    }
  }
  for (std::uint16_t i = 4; i-- > 0;)
    EXPECT_TRUE(s.io.wait_for(static_cast<std::uint16_t>(20 + i)).status.ok());
  for (std::uint32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(s.io.read(i * 32, 16).data, pattern(8192, i * 2));
    EXPECT_EQ(s.io.read(i * 32 + 16, 16).data, pattern(8192, i * 2 + 8192));
  }
}

// Not even answers to commands that came before.
TEST(HostileStream, NothingFollowsATerminateRequest) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Rig rig(seed, 2);
    ASSERT_EQ(rig.add_volume(), Errc::ok);
    Session s(rig);
    Bytes traffic;
    for (std::uint16_t i = 0; i < 8; ++i) {
      Sqe identify = RawHost::admin(AdminOpcode::identify, static_cast<std::uint32_t>(nvme::Cns::controller));
      identify.cid = i;
      identify.sgl1 = nvme::SglDescriptor::transport(4096);
      append(traffic, s.admin.make_command(identify));
    }
    append(traffic, s.admin.make_ic_req());
    s.admin.send(traffic);
    Pdu pdu = s.admin.receive();
    while (pdu && pdu.type() != PduType::c2h_term_req) pdu = s.admin.receive();
    EXPECT_TRUE(pdu);
    EXPECT_TRUE(s.admin.ends());
  }
}

// The host sees the end with the request; the target is done as soon as the host ends the stream, and in any
// case soon.
TEST(HostileStream, ATerminatedConnectionEndsWithItsPeer) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  const auto connections = [&] { return rig.run(rig.target->stats()).connections; };
  for (const bool host_closes : {true, false}) {
    SCOPED_TRACE(host_closes);
    RawHost h(rig);
    ASSERT_TRUE(h.set_up());
    h.send(h.make_ic_req());
    EXPECT_EQ(h.receive().type(), PduType::c2h_term_req);
    EXPECT_TRUE(h.ends(10ms));
    if (host_closes) h.close();
    rig.world.run_for(10ms);
    EXPECT_EQ(connections(), host_closes ? 0u : 1u);
    rig.world.run_for(1s);
    EXPECT_EQ(connections(), 0u);
  }
}

TEST(HostileStream, AWholeConnectionReplayed) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  RawHost h(rig);
  const nvme::ConnectData connect_data = RawHost::connect_data();
  const auto data = bytes_of(connect_data);
  const Sqe connect = h.connect_sqe(0);
  ASSERT_TRUE(h.set_up());
  EXPECT_TRUE(h.connect(connect, RawHost::connect_data()).status.ok());
  const Outcome again = h.execute(connect, Bytes(data.begin(), data.end()));
  EXPECT_EQ(again.status.code, StatusCode::command_sequence_error);
  h.send(h.make_ic_req());
  EXPECT_EQ(h.terminated(), Fes::sequence_error);
}

// Good traffic with random bytes changed, removed, doubled and cut: whatever it is taken for, nothing breaks.
TEST(HostileStream, RandomMutationsOfGoodTraffic) {
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
