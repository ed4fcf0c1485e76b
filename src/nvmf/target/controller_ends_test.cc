// Goal: Abort takes back what can be taken back and says truly what it did; a shutdown leaves nothing in the
// caches of the devices; a host that is excluded while its controllers end is out.
#include "nvmf/target/target.h"
#include "nvmf/target/testing/raw_host.h"
#include "nvmf/target/testing/slow_device.h"

namespace holdfast::nvmf::test {
namespace {

struct SlowRig : Rig {
  explicit SlowRig(std::uint64_t seed = 1) : Rig(seed, 2), slow(*device) {
    if (!run(target->add_subsystem(volume())).ok()) panic("no subsystem");
    if (!run(target->add_namespace(volume_nqn, NamespaceConfig(), slow)).ok()) panic("no namespace");
  }
  ~SlowRig() { run(target->close()); }
  SlowDevice slow;
};

Sqe abort_sqe(std::uint16_t qid, std::uint16_t cid) {
  return RawHost::admin(AdminOpcode::abort, qid | std::uint32_t{cid} << 16);
}

TEST(Abort, CommandsThatMoveTheirDataInPieces) {
  SlowRig rig;
  Session s(rig);
  for (const IoOpcode opc : {IoOpcode::verify, IoOpcode::write_zeroes}) {
    Sqe sqe = RawHost::io(opc, 0, 65536);
    sqe.cid = 9;
    s.io.send(s.io.make_command(sqe));
    rig.world.run_for(1ms);
    const Outcome o = s.admin.execute(abort_sqe(1, 9));
    EXPECT_TRUE(o.status.ok());
    EXPECT_EQ(o.result, 0u) << "aborted";
    EXPECT_EQ(s.io.wait_for(9).status, CommandStatus(StatusCode::abort_requested));
  }
}

TEST(Abort, AWriteWhoseDataHasNotCome) {
  SlowRig rig;
  Session s(rig);
  const Bytes data = pattern(16384, 1);
  Sqe w = RawHost::io(IoOpcode::write, 0, 32);
  w.cid = 9;
  w.sgl1 = nvme::SglDescriptor::transport(16384);
  s.io.send(s.io.make_command(w));
  const Pdu r2t = s.io.receive();
  ASSERT_EQ(r2t.type(), PduType::r2t);
  Sqe a = abort_sqe(1, 9);
  a.cid = 3;
  s.admin.send(s.admin.make_command(a));
  rig.world.run_for(10ms);
  s.io.send_data(r2t.as<nvme::R2t>(), data);
  EXPECT_EQ(s.io.wait_for(9).status, CommandStatus(StatusCode::abort_requested));
  EXPECT_EQ(s.admin.wait_for(3).result, 0u);
  EXPECT_EQ(s.io.read(0, 32).data, Bytes(16384)) << "nothing was written";

  // The data never comes: not aborted, and known within a second.
  s.io.send(s.io.make_command(w));
  ASSERT_EQ(s.io.receive().type(), PduType::r2t);
  EXPECT_EQ(s.admin.execute(abort_sqe(1, 9)).result, 1u);
}

TEST(Abort, WhatCannotBeTakenBack) {
  SlowRig rig;
  Session s(rig);
  Sqe r = RawHost::io(IoOpcode::read, 0, 8);
  r.cid = 9;
  r.sgl1 = nvme::SglDescriptor::transport(4096);
  s.io.send(s.io.make_command(r));
  EXPECT_EQ(s.admin.execute(abort_sqe(1, 9)).result, 1u) << "the device has it";
  EXPECT_TRUE(s.io.wait_for(9).status.ok());
  EXPECT_EQ(s.admin.execute(abort_sqe(1, 9)).result, 1u) << "it has ended";
  EXPECT_EQ(s.admin.execute(abort_sqe(7, 9)).result, 1u) << "no such queue";
  EXPECT_EQ(s.admin.execute(abort_sqe(0, 9)).result, 1u) << "no such admin command";
}

TEST(Abort, NoMoreAtOnceThanIdentifySays) {
  SlowRig rig;
  Session s(rig);
  const auto id = load<nvme::IdentifyController>(s.admin.identify(nvme::Cns::controller).data);
  const unsigned limit = id.acl + 1u;
  for (std::uint16_t i = 0; i < limit + 1; ++i) {  // writes that wait for their data
    Sqe w = RawHost::io(IoOpcode::write, 0, 32);
    w.cid = i;
    w.sgl1 = nvme::SglDescriptor::transport(16384);
    s.io.send(s.io.make_command(w));
  }
  rig.world.run_for(10ms);
  for (std::uint16_t i = 0; i < limit; ++i) {
    Sqe a = abort_sqe(1, i);
    a.cid = static_cast<std::uint16_t>(100 + i);
    s.admin.send(s.admin.make_command(a));
  }
  EXPECT_EQ(s.admin.execute(abort_sqe(1, static_cast<std::uint16_t>(limit))).status,
            nvme::permanent(StatusCode::abort_command_limit_exceeded));
  // The host goes while they wait: everything ends.
  s.io.close();
  rig.world.run_for(10ms);
  EXPECT_TRUE(s.admin.identify(nvme::Cns::controller).status.ok());
  EXPECT_EQ(s.admin.others.size(), limit);
}

TEST(Shutdown, FlushesWhatTheDevicesCache) {
  for (const auto how : {nvme::ShutdownNotice::normal, nvme::ShutdownNotice::abrupt}) {
    SlowRig rig;
    Session s(rig);
    ASSERT_TRUE(s.io.write(0, pattern(4096, 1), true).status.ok());
    const nvme::Cc cc{true, 0, 0, 0, how, 6, 4};
    EXPECT_TRUE(s.admin.property_set(nvme::Property::cc, cc.pack()).status.ok());
    rig.world.run_for(10ms);
    EXPECT_EQ(s.admin.property_get(nvme::Property::csts).result, 0x9u) << "it is complete";
    EXPECT_EQ(rig.slow.flushes, how == nvme::ShutdownNotice::normal ? 1u : 0u);
    EXPECT_TRUE(s.io.ends());
    EXPECT_TRUE(s.admin.property_set(nvme::Property::cc, 0).status.ok());
    EXPECT_EQ(s.admin.property_get(nvme::Property::csts).result, 0u);
    s.enable();
    RawHost io(rig);
    ASSERT_TRUE(io.set_up());
    EXPECT_TRUE(io.connect(io.connect_sqe(1), RawHost::connect_data(s.cntlid)).status.ok());
  }
}

TEST(Shutdown, FlushesTheOthersWhereOneFails) {
  SlowRig rig;
  rig.slow.flush_error = Errc::io_error;
  SlowDevice other(*rig.device);
  NamespaceConfig second;
  second.nsid = 2;
  ASSERT_EQ(rig.run(rig.target->add_namespace(volume_nqn, second, other)).code(), Errc::ok);
  Session s(rig);
  const nvme::Cc cc{true, 0, 0, 0, nvme::ShutdownNotice::normal, 6, 4};
  EXPECT_TRUE(s.admin.property_set(nvme::Property::cc, cc.pack()).status.ok());
  rig.world.run_for(10ms);
  EXPECT_EQ(rig.slow.flushes, 1u);
  EXPECT_EQ(other.flushes, 1u);
  EXPECT_EQ(rig.run(rig.target->remove_namespace(volume_nqn, 2)).code(), Errc::ok);
}

// Each Property Set is answered at once, so nothing holds up a host that asks again and again.
TEST(Shutdown, AskedAgainAndAgainFlushesOnceAtATime) {
  SlowRig rig;
  rig.slow.flush_time = 100ms;
  Session s(rig);
  const auto ask = [&](nvme::ShutdownNotice how) {
    const nvme::Cc cc{true, 0, 0, 0, how, 6, 4};
    EXPECT_TRUE(s.admin.property_set(nvme::Property::cc, cc.pack()).status.ok());
  };
  ask(nvme::ShutdownNotice::normal);
  rig.world.run_for(10ms);
  for (unsigned i = 0; i < 100; ++i) {
    ask(nvme::ShutdownNotice::none);
    ask(nvme::ShutdownNotice::normal);
    EXPECT_LE(rig.slow.flushing, 1u);
  }
  const unsigned flushes = rig.slow.flushes;
  EXPECT_EQ(s.admin.property_get(nvme::Property::csts).result, 0x5u) << "one was asked for since";
  rig.world.run_for(250ms);
  EXPECT_EQ(s.admin.property_get(nvme::Property::csts).result, 0x9u);
  EXPECT_LE(rig.slow.flushes, flushes + 2);

  // One in a hurry does not wait for a flush that is under way.
  ask(nvme::ShutdownNotice::none);
  ask(nvme::ShutdownNotice::normal);
  EXPECT_EQ(s.admin.property_get(nvme::Property::csts).result, 0x5u);
  ask(nvme::ShutdownNotice::abrupt);
  EXPECT_EQ(rig.slow.flushing, 1u);
  EXPECT_EQ(s.admin.property_get(nvme::Property::csts).result, 0x9u);
  rig.world.run_for(250ms);
  EXPECT_EQ(s.admin.property_get(nvme::Property::csts).result, 0x9u);
  EXPECT_EQ(rig.slow.flushing, 0u);
}

// Resets and hosts that go at any moment of a shutdown.
TEST(Shutdown, MeetsResetsAndHostsThatGo) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed=" << seed);
    SlowRig rig(seed);
    Session s(rig);
    const nvme::Cc cc{true, 0, 0, 0, nvme::ShutdownNotice::normal, 6, 4};
    ASSERT_TRUE(s.admin.property_set(nvme::Property::cc, cc.pack()).status.ok());
    rig.world.run_for(Nanos(static_cast<std::int64_t>(rig.world.random().below(200'000))));
    if (seed % 2 == 0) {
      s.admin.close();
      rig.world.run_for(1s);
      EXPECT_TRUE(rig.target->subsystem(volume_nqn).value().controllers.empty());
      continue;
    }
    ASSERT_TRUE(s.admin.property_set(nvme::Property::cc, 0).status.ok());
    rig.world.run_for(10ms);
    EXPECT_EQ(s.admin.property_get(nvme::Property::csts).result, 0u) << "the shutdown is forgotten";
    s.enable();
    EXPECT_EQ(s.admin.property_get(nvme::Property::csts).result, 1u);
  }
}

Task<void> allow_only(Target& target, std::string host, bool& done) {
  std::vector<std::string> hosts;
  hosts.push_back(std::move(host));
  const Status allowed = co_await target.set_allowed_hosts(volume_nqn, std::move(hosts));
  EXPECT_TRUE(allowed.ok());
  done = true;
}

// It comes back while the device still executes a command of its last controller, and waits for that.
TEST(Exclusion, AHostThatWaitsForItsOldControllerGetsNoNewOne) {
  SlowRig rig;
  rig.slow.flush_time = 1s;
  Session s(rig);
  Sqe flush{};
  flush.opc = static_cast<std::uint8_t>(IoOpcode::flush);
  flush.flags = Sqe::psdt_sgl;
  flush.nsid = 1;
  flush.cid = 9;
  s.io.send(s.io.make_command(flush));
  rig.world.run_for(10ms);
  s.admin.close();
  s.io.close();
  RawHost again(rig);
  ASSERT_TRUE(again.set_up());
  Sqe connect = again.connect_sqe(0);
  connect.cid = 5;
  const auto sent = RawHost::connect_data();
  const auto data = bytes_of(sent);
  nvme::CapsuleCmd pdu{};
  pdu.ccsqe = connect;
  again.send(again.make(PduType::capsule_cmd, pdu, Bytes(data.begin(), data.end())));
  rig.world.run_for(10ms);
  ASSERT_EQ(rig.target->subsystem(volume_nqn).value().controllers.size(), 1u) << "the old one ends";
  bool done = false;
  rig.world.spawn(rig.process->core(0), allow_only(*rig.target, host_nqn + "0", done));
  rig.world.run_for(3s);
  EXPECT_TRUE(done);
  EXPECT_TRUE(rig.target->subsystem(volume_nqn).value().controllers.empty());
  const Outcome refused = again.wait_for(5);
  EXPECT_EQ(refused.status, nvme::permanent(StatusCode::connect_invalid_host));
  EXPECT_EQ(refused.result, 512u | 1u << 16) << "the host NQN in the data";
}

class RefusesOnHome final : public DeviceOver {
 public:
  using DeviceOver::DeviceOver;
  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) override {
    if (core.core() == 0) co_return Error(Errc::resource_exhausted);
    co_return co_await DeviceOver::open_channel(core);
  }
  unsigned flushes = 0;

 private:
  class Counting final : public ChannelOver {
   public:
    Counting(RefusesOnHome& d, std::unique_ptr<Channel> below) : ChannelOver(std::move(below)), device_(d) {}
    Task<Status> flush() override {
      ++device_.flushes;
      co_return Status();
    }

   private:
    RefusesOnHome& device_;
  };
  std::unique_ptr<Channel> channel_over(Reactor&, std::unique_ptr<Channel> below) override {
    return std::make_unique<Counting>(*this, std::move(below));
  }
};

TEST(Shutdown, FlushesADeviceThatRefusedTheFirstCore) {
  Rig rig(1, 2);
  RefusesOnHome device(*rig.device);
  ASSERT_EQ(rig.run(rig.target->add_subsystem(Rig::volume())).code(), Errc::ok);
  ASSERT_EQ(rig.run(rig.target->add_namespace(volume_nqn, NamespaceConfig(), device)).code(), Errc::ok);
  {
    Session s(rig);  // admin queue on core 0, I/O queue on core 1
    RawHost spare(rig);
    ASSERT_TRUE(spare.set_up());
    Session other(rig);  // the other way round
    EXPECT_FALSE(other.io.read(0, 1).status.ok());
    ASSERT_TRUE(s.io.write(0, pattern(4096, 1), true).status.ok());
    const nvme::Cc cc{true, 0, 0, 0, nvme::ShutdownNotice::normal, 6, 4};
    EXPECT_TRUE(s.admin.property_set(nvme::Property::cc, cc.pack()).status.ok());
    rig.world.run_for(10ms);
    EXPECT_EQ(s.admin.property_get(nvme::Property::csts).result, 0x9u);
    EXPECT_EQ(device.flushes, 1u);
  }
  EXPECT_EQ(rig.run(rig.target->remove_subsystem(volume_nqn)).code(), Errc::ok);
}

}  // namespace
}  // namespace holdfast::nvmf::test
