// Goal: the everyday life of a host: connect, identify, read, write, disconnect, with every option of the
// wire.
#include "nvmf/target/target.h"

#include "nvmf/target/testing/raw_host.h"

namespace holdfast::nvmf::test {
namespace {

TEST(Target, WritesAreReadBackWithEveryKindOfTransferAndDigest) {
  for (std::uint8_t dgst = 0; dgst < 4; ++dgst) {
    for (const std::uint8_t cattr : {std::uint8_t{0}, nvme::ConnectCmd::cattr_no_sq_flow_control}) {
      SCOPED_TRACE(testing::Message() << "digests " << int{dgst} << " cattr " << int{cattr});
      Rig rig(dgst + 1u, 2);
      ASSERT_EQ(rig.add_volume(), Errc::ok);
      Session s(rig, dgst, cattr);
      std::uint64_t lba = 0;
      for (const std::size_t size : {512u, 4096u, 8192u, 16384u, 1u << 20}) {
        for (const bool in_capsule : {true, false}) {
          if (in_capsule && size > capsule_data_bytes) continue;
          const Bytes data = pattern(size, lba + 1);
          const Outcome w = s.io.write(lba, data, in_capsule);
          EXPECT_TRUE(w.answered && w.status.ok());
          EXPECT_EQ(w.r2ts, in_capsule ? 0u : 1u);
          const Outcome r = s.io.read(lba, static_cast<std::uint32_t>(size / 512));
          EXPECT_TRUE(r.answered && r.status.ok());
          EXPECT_EQ(r.by_success, cattr != 0) << "no response is needed without flow control";
          EXPECT_EQ(r.data, data);
          lba += size / 512;
        }
      }
    }
  }
}

TEST(Target, BadConfigurationsAreNamed) {
  Rig rig;
  const auto refused = [&](auto change) {
    SubsystemConfig c = Rig::volume();
    change(c);
    return rig.run(rig.target->add_subsystem(c)).code();
  };
  EXPECT_EQ(refused([](auto& c) { c.nqn = "volume"; }), Errc::invalid_argument);
  EXPECT_EQ(refused([](auto& c) { c.nqn = "nqn." + std::string(220, 'x'); }), Errc::invalid_argument);
  EXPECT_EQ(refused([](auto& c) { c.serial = ""; }), Errc::invalid_argument);
  EXPECT_EQ(refused([](auto& c) { c.serial = std::string(21, '1'); }), Errc::invalid_argument);
  EXPECT_EQ(refused([](auto& c) { c.model = std::string(41, 'm'); }), Errc::invalid_argument);
  EXPECT_EQ(refused([](auto& c) { c.cntlid_min = 0; }), Errc::invalid_argument);
  EXPECT_EQ(refused([](auto& c) { c.cntlid_max = 0xfff0; }), Errc::invalid_argument);
  EXPECT_EQ(refused([](auto& c) { c.cntlid_min = 5, c.cntlid_max = 4; }), Errc::invalid_argument);
  EXPECT_EQ(refused([](auto& c) { c.allowed_hosts = {"host"}; }), Errc::invalid_argument);
  EXPECT_EQ(refused([](auto& c) { c.nqn = nvme::discovery_nqn; }), Errc::already_exists);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  EXPECT_EQ(refused([](auto&) {}), Errc::already_exists);
  NamespaceConfig ns;
  EXPECT_EQ(rig.run(rig.target->add_namespace(volume_nqn, ns, *rig.device)).code(), Errc::already_exists);
  ns.nsid = 0;
  EXPECT_EQ(rig.run(rig.target->add_namespace(volume_nqn, ns, *rig.device)).code(), Errc::invalid_argument);
  ns.nsid = nsid_max + 1;
  EXPECT_EQ(rig.run(rig.target->add_namespace(volume_nqn, ns, *rig.device)).code(), Errc::invalid_argument);
  EXPECT_EQ(rig.run(rig.target->add_namespace("nqn.none", ns, *rig.device)).code(), Errc::not_found);
  EXPECT_EQ(rig.run(rig.target->remove_namespace(volume_nqn, 7)).code(), Errc::not_found);
  EXPECT_EQ(rig.run(rig.target->remove_subsystem("nqn.none")).code(), Errc::not_found);
  EXPECT_EQ(rig.run(rig.target->remove_subsystem(std::string(nvme::discovery_nqn))).code(), Errc::not_found);
  EXPECT_EQ(rig.run(rig.target->listen(Endpoint{"0.0.0.0", port})).code(), Errc::busy) << "port in use";
}

TEST(Target, WhatItSaysOfItself) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  ASSERT_TRUE(s.io.write(0, pattern(4096, 1), true).status.ok());
  ASSERT_TRUE(s.io.read(0, 8).status.ok());
  const auto all = rig.target->subsystems();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].nqn, volume_nqn);
  ASSERT_EQ(all[0].namespaces.size(), 1u);
  EXPECT_EQ(all[0].namespaces[0].device, "malloc0");
  EXPECT_EQ(all[0].namespaces[0].size_bytes, 32u << 20);
  const TargetStats stats = rig.run(rig.target->stats());
  EXPECT_EQ(stats.connections, 2u);
  EXPECT_EQ(stats.read_bytes, 4096u);
  EXPECT_EQ(stats.write_bytes, 4096u);
  EXPECT_EQ(rig.target->subsystem("nqn.none").code(), Errc::not_found);
  EXPECT_EQ(rig.target->listeners()[0].port, port);
}

// Removing a subsystem with hosts that are in the middle of everything: their commands end, then the device
// is free; other subsystems go on.
TEST(Target, RemovingASubsystemUnderLoad) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed=" << seed);
    Rig rig(seed, 2);
    ASSERT_EQ(rig.add_volume(), Errc::ok);
    SubsystemConfig doomed = Rig::volume();
    doomed.nqn = subsystem_nqn("doomed");
    auto device = rig.make_device("malloc1", rig.device->geometry());
    ASSERT_EQ(rig.run(rig.target->add_subsystem(doomed)).code(), Errc::ok);
    ASSERT_EQ(rig.run(rig.target->add_namespace(doomed.nqn, NamespaceConfig(), *device)).code(), Errc::ok);
    Session other(rig);
    RawHost admin(rig), io(rig);
    ASSERT_TRUE(admin.set_up() && io.set_up());
    const Outcome a = admin.connect(admin.connect_sqe(0), RawHost::connect_data(0xffff, doomed.nqn));
    const nvme::Cc cc{true, 0, 0, 0, nvme::ShutdownNotice::none, 6, 4};
    ASSERT_TRUE(admin.property_set(nvme::Property::cc, cc.pack()).status.ok());
    const auto cntlid = static_cast<std::uint16_t>(a.result);
    ASSERT_TRUE(io.connect(io.connect_sqe(1), RawHost::connect_data(cntlid, doomed.nqn)).status.ok());
    Bytes burst;
    for (std::uint16_t i = 0; i < 30; ++i) {
      Sqe sqe = RawHost::io(i % 2 ? IoOpcode::read : IoOpcode::write, i * 128u, 128);
      sqe.cid = i;
      sqe.sgl1 = nvme::SglDescriptor::transport(65536);
      append(burst, io.make_command(sqe));
    }
    io.send(burst);
    rig.world.run_for(Nanos(static_cast<std::int64_t>(rig.world.random().below(300'000))));
    ASSERT_EQ(rig.run(rig.target->remove_subsystem(doomed.nqn)).code(), Errc::ok);
    rig.run(device->close());
    device.reset();
    EXPECT_TRUE(other.io.read(0, 8).status.ok());
    RawHost late(rig);
    ASSERT_TRUE(late.set_up());
    EXPECT_EQ(late.connect(late.connect_sqe(0), RawHost::connect_data(0xffff, doomed.nqn)).status.code,
              StatusCode::connect_invalid_parameters);
  }
}

// Connections that come and go at random while the target closes.
TEST(Target, ClosingUnderLoad) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed=" << seed);
    Rig rig(seed, 3);
    ASSERT_EQ(rig.add_volume(), Errc::ok);
    std::vector<std::unique_ptr<Session>> sessions;
    for (unsigned i = 0; i < 3; ++i) sessions.push_back(std::make_unique<Session>(rig, 0, 0, 5000));
    for (auto& s : sessions) {
      Sqe sqe = RawHost::io(IoOpcode::write, 0, 128);
      sqe.cid = 1;
      sqe.sgl1 = nvme::SglDescriptor::transport(65536);
      s->io.send(s->io.make_command(sqe));
      s->admin.park_event_request();
    }
    RawHost fresh(rig);
    fresh.send(fresh.make_ic_req());
    rig.world.run_for(Nanos(static_cast<std::int64_t>(rig.world.random().below(200'000))));
    if (seed % 2) sessions[0]->admin.close();
    rig.run(rig.target->close());
    for (auto& s : sessions) {
      while (s->io.receive()) {
      }
      EXPECT_TRUE(s->io.ends());
    }
  }
}

}  // namespace
}  // namespace holdfast::nvmf::test
