// Goal: who is slow, silent, greedy or many costs a bounded part of memory and of places, and others do not
// notice. Method: hosts that stop at every point where the target waits for them, with virtual time.
#include <functional>

#include "nvmf/target/target.h"
#include "nvmf/target/testing/device_over.h"
#include "nvmf/target/testing/raw_host.h"
#include "rt/wait.h"

namespace holdfast::nvmf::test {
namespace {

TEST(StallingPeer, SilentConnectionsAreClosed) {
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

TEST(StallingPeer, AHostThatNeverSendsTheDataIsClosed) {
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
TEST(StallingPeer, AHostThatReadsNothingCostsBoundedMemory) {
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

// Many hosts that want all of the memory for writes that they do not finish: others go on as before, and they
// lose what they hold sooner than a host does that is alone.
TEST(StallingPeer, AnEmptyPoolStopsNobodyForEver) {
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
  EXPECT_EQ(innocent.io.wait_for(77).data, data);
  rig.world.run_for(8s);
  EXPECT_EQ(rig.run(rig.target->stats()).connections_stalled, 4u);
  expect_unharmed(innocent, 2);
}

// Greedy hosts in every size, so that what is free lies in pieces: who needs little goes on at once.
TEST(StallingPeer, GreedyHostsDoNotSlowAModestOne) {
  Rig rig(11, 1, TargetConfig(), 64 << 20);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session innocent(rig);
  std::vector<std::unique_ptr<Session>> greedy;
  for (unsigned h = 0; h < 24; ++h) {
    greedy.push_back(std::make_unique<Session>(rig, 0, 0, 0, 127));
    Bytes flood;
    for (std::uint16_t i = 0; i < 64; ++i) {
      Sqe r = RawHost::io(IoOpcode::read, 0, 2048 >> h % 4);
      r.cid = i;
      r.sgl1 = nvme::SglDescriptor::transport((1 << 20) >> h % 4);
      append(flood, greedy.back()->io.make_command(r));
    }
    greedy.back()->io.send(flood);
  }
  rig.world.run_for(100ms);
  const Nanos begun = rig.world.now();
  for (unsigned i = 0; i < 100; ++i) expect_unharmed(innocent, i);
  EXPECT_LT(rig.world.now() - begun, 200ms) << "no operation waited for memory";
}

// A byte now and then is no progress.
TEST(StallingPeer, ATrickleIsNotAlive) {
  struct Trickle {
    const char* what;
    std::function<Bytes(RawHost&)> begin;  // what it sends byte by byte
  };
  const Trickle trickles[] = {
      {"a header", [](RawHost& h) { return h.make_command(big_write(512)); }},
      {"data in a capsule", [](RawHost& h) { return h.make_command(big_write(8192), pattern(8192, 1)); }},
      {"requested data",
       [](RawHost& h) {
         const auto r2t = ask(h, 1 << 20);
         return h.make_h2c(7, r2t.ttag, 0, pattern(1 << 20, 1), true);
       }},
      {"requested data, four bytes in a PDU",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         Bytes out;
         for (std::uint32_t at = 0; at < 64; at += 4)
           append(out, h.make_h2c(7, r2t.ttag, at, Bytes(4), false));
         return out;
       }},
  };
  TargetConfig config;
  config.stall_timeout = 20s;
  Rig rig(7, 1, config);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session innocent(rig);
  for (const Trickle& t : trickles) {
    SCOPED_TRACE(t.what);
    Session s(rig);
    const Bytes bytes = t.begin(s.io);
    for (std::size_t i = 0; i < 30; ++i) {
      s.io.send(Bytes(1, bytes[i]));
      rig.world.run_for(1s);
    }
    EXPECT_TRUE(s.io.ends(1ms));
    expect_unharmed(innocent, 1);
  }
}

// A slow host that makes progress is served.
TEST(StallingPeer, ASlowHostIsNotAStalledOne) {
  TargetConfig config;
  config.stall_timeout = 10s;
  Rig rig(8, 1, config);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const auto r2t = ask(s.io, 1 << 20);
  const Bytes data = pattern(1 << 20, 1);
  for (std::uint32_t at = 0; at < data.size(); at += 32768) {
    const Bytes piece(data.begin() + at, data.begin() + at + 32768);
    s.io.send(s.io.make_h2c(7, r2t.ttag, at, piece, at + 32768 == data.size()));
    rig.world.run_for(3s);
  }
  EXPECT_TRUE(s.io.wait_for(7).status.ok());
  EXPECT_EQ(s.io.read(0, 2048).data, data);
}

// Data comes in the order in which it was asked for, so what was asked for last comes when everything else has come: a
// host behind a slow line is not to blame for that. It makes no difference in how many PDUs it sends it.
TEST(StallingPeer, ASlowHostOfManyWritesIsNotAStalledOne) {
  for (const std::uint32_t pdu_bytes : {32768u, 1u << 20}) {
    SCOPED_TRACE(pdu_bytes);
    TargetConfig config;
    config.stall_timeout = 10s;
    Rig rig(8, 1, config);
    ASSERT_EQ(rig.add_volume(), Errc::ok);
    Session s(rig);
    const Bytes data = pattern(1 << 20, 1);
    constexpr std::uint16_t writes = 4;
    std::vector<nvme::R2t> asked;
    for (std::uint16_t i = 0; i < writes; ++i) {
      Sqe w = big_write(1 << 20);
      nvme::set_io_range(w, i * 2048, 2048);
      w.cid = i;
      s.io.send(s.io.make_command(w));
      const Pdu pdu = s.io.receive();
      ASSERT_EQ(pdu.type(), PduType::r2t);
      asked.push_back(pdu.as<nvme::R2t>());
    }
    Bytes stream;
    for (const nvme::R2t& r2t : asked) {
      for (std::uint32_t at = 0; at < data.size(); at += pdu_bytes) {
        const Bytes piece(data.begin() + at, data.begin() + at + pdu_bytes);
        append(stream, s.io.make_h2c(r2t.cccid, r2t.ttag, at, piece, at + pdu_bytes == data.size()));
      }
    }
    for (std::size_t at = 0; at < stream.size(); at += 65536) {  // 128 KiB a second
      const std::size_t end = std::min<std::size_t>(at + 65536, stream.size());
      s.io.send(Bytes(stream.begin() + static_cast<std::ptrdiff_t>(at),
                      stream.begin() + static_cast<std::ptrdiff_t>(end)));
      rig.world.run_for(500ms);
    }
    EXPECT_EQ(rig.run(rig.target->stats()).connections_stalled, 0u);
    for (std::uint16_t i = 0; i < writes; ++i) {
      const Outcome out = s.io.wait_for(i);
      EXPECT_TRUE(out.answered && out.status.ok()) << i;
    }
    EXPECT_EQ(s.io.read(3 * 2048, 2048).data, data);
  }
}

// But one that keeps what it was asked for to itself, and goes on with what it was asked for later, is.
TEST(StallingPeer, ProgressOfOtherWritesDoesNotExcuseAHost) {
  TargetConfig config;
  config.stall_timeout = 10s;
  Rig rig(8, 1, config);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const Nanos begun = rig.world.now();
  ask(s.io, 1 << 20);
  const Bytes data = pattern(1 << 20, 1);
  bool ended = false;
  while (!ended && rig.world.now() - begun < 30s) {
    Sqe w = big_write(1 << 20);
    w.cid = 8;
    const Outcome out = s.io.execute(w, data);
    ended = !out.answered;
    rig.world.run_for(1s);
  }
  EXPECT_TRUE(ended);
  EXPECT_LT(rig.world.now() - begun, 15s);
}

// A device whose writes wait until the test lets them.
class HeldDevice final : public DeviceOver {
 public:
  class HeldChannel final : public ChannelOver {
   public:
    HeldChannel(HeldDevice& device, std::unique_ptr<Channel> below)
        : ChannelOver(std::move(below)), device_(device) {}
    Task<Status> write(Lba first, IoVecs from, Durable durable) override {
      (void)co_await device_.let_.wait();
      co_return co_await ChannelOver::write(first, from, durable);
    }

   private:
    HeldDevice& device_;
  };

  HeldDevice(BlockDevice& below, Reactor& core) : DeviceOver(below), let_(core) {}
  void let() { let_.set(); }

 private:
  std::unique_ptr<Channel> channel_over(Reactor&, std::unique_ptr<Channel> below) override {
    return std::make_unique<HeldChannel>(*this, std::move(below));
  }
  Event let_;
};

// While the target does not read, because a disk keeps the memory that it would need, a host cannot have sent anything.
TEST(StallingPeer, AHostIsNotToBlameForADiskThatStandsStill) {
  TargetConfig config;
  config.stall_timeout = 20s;
  config.connection_buffer_bytes_max = transfer_bytes_max;
  Rig rig(8, 1, config);
  HeldDevice held(*rig.device, rig.process->core(0));
  ASSERT_EQ(rig.run(rig.target->add_subsystem(Rig::volume())).code(), Errc::ok);
  ASSERT_EQ(rig.run(rig.target->add_namespace(volume_nqn, NamespaceConfig(), held)).code(), Errc::ok);
  Session s(rig);
  const auto r2t = ask(s.io, 1 << 20);  // all that the connection may hold
  const Bytes small = pattern(4096, 2), data = pattern(1 << 20, 1);
  // The first one has the queue's reserve, the second one waits for it.
  for (const std::uint16_t cid : std::initializer_list<std::uint16_t>{1, 2}) {
    Sqe w = RawHost::io(IoOpcode::write, 4096, 8);
    w.cid = cid;
    w.sgl1 = nvme::SglDescriptor::in_capsule(4096);
    s.io.send(s.io.make_command(w, small));
  }
  rig.world.run_for(60s);
  EXPECT_EQ(rig.run(rig.target->stats()).connections_stalled, 0u);
  held.let();
  rig.world.run_for(3s);
  s.io.send_data(r2t, data);
  for (const std::uint16_t cid : std::initializer_list<std::uint16_t>{1, 2, 7}) {
    const Outcome out = s.io.wait_for(cid);
    EXPECT_TRUE(out.answered && out.status.ok()) << cid;
  }
  EXPECT_EQ(s.io.read(0, 2048).data, data);
  // The time counts again.
  ask(s.io, 1 << 20);
  rig.world.run_for(25s);
  EXPECT_TRUE(s.io.ends());
  ASSERT_EQ(rig.run(rig.target->remove_subsystem(volume_nqn)).code(), Errc::ok);
}

TEST(StallingPeer, MoreCommandsThanTheQueueHoldsTerminates) {
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

TEST(StallingPeer, ConnectionsOverTheLimitAreRefused) {
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

// Whoever floods the target with connections that say nothing does not keep hosts out.
TEST(StallingPeer, AFloodOfConnectionsMakesRoom) {
  TargetConfig config;
  config.connections_max = 8;
  Rig rig(1, 1, config);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session innocent(rig);
  std::vector<std::unique_ptr<RawHost>> flood;
  for (unsigned i = 0; i < 40; ++i) {
    flood.push_back(std::make_unique<RawHost>(rig));
    if (i % 8 != 7) continue;
    Session late(rig);
    expect_unharmed(late, i);
  }
  expect_unharmed(innocent, 1);
  // But queues are not given up for others.
  const Session second(rig), third(rig), fourth(rig);
  RawHost fifth(rig);
  EXPECT_FALSE(fifth.set_up());
  expect_unharmed(innocent, 2);
}

TEST(StallingPeer, OneAddressDoesNotGetEverything) {
  TargetConfig config;
  config.connections_per_peer_max = 4;
  Rig rig(1, 1, config);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  auto first = std::make_unique<Session>(rig);
  auto second = std::make_unique<Session>(rig);
  {
    RawHost refused(rig);
    EXPECT_FALSE(refused.set_up());
  }
  expect_unharmed(*first, 1);
  second.reset();
  rig.world.run_for(1s);
  Session another(rig);
  expect_unharmed(another, 2);
}

// What connections need for good leaves half of the memory to data, however many there are.
TEST(StallingPeer, ManyConnectionsLeaveMemoryForData) {
  Rig rig(9, 1, TargetConfig(), 16 << 20);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session innocent(rig);
  std::vector<std::unique_ptr<Session>> sessions;
  for (unsigned i = 0; i < 100; ++i) sessions.push_back(std::make_unique<Session>(rig));
  std::vector<std::unique_ptr<RawHost>> flood;
  for (unsigned i = 0; i < 700; ++i) flood.push_back(std::make_unique<RawHost>(rig));
  EXPECT_LE(rig.process->core(0).buffers().used_bytes(), 12u << 20);
  expect_unharmed(innocent, 1);
  for (auto& s : sessions) EXPECT_TRUE(s->io.read(0, 2048).status.ok());
}

// The commands that hosts may send at once are bounded for the core, not for a queue alone.
TEST(StallingPeer, MoreQueueEntriesThanThereIsRoomForAreRefused) {
  Rig rig(10, 1, TargetConfig(), 16 << 20);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session innocent(rig);
  std::vector<std::unique_ptr<RawHost>> hosts;
  Outcome got;
  for (unsigned i = 0; i < 20; ++i) {
    hosts.push_back(std::make_unique<RawHost>(rig));
    ASSERT_TRUE(hosts.back()->set_up());
    got = hosts.back()->connect(hosts.back()->connect_sqe(0, 1023), RawHost::connect_data());
    if (!got.status.ok()) break;
  }
  EXPECT_LT(hosts.size(), 10u);
  EXPECT_EQ(got.status.code, StatusCode::connect_controller_busy);
  EXPECT_FALSE(got.status.dnr) << "it may try again";
  hosts.erase(hosts.begin(), hosts.end() - 1);
  rig.world.run_for(1s);
  got = hosts.back()->connect(hosts.back()->connect_sqe(0, 1023), RawHost::connect_data());
  EXPECT_TRUE(got.status.ok());
  expect_unharmed(innocent, 1);
}

// A pair of which one half lies in the queue's reserve does not wait for the data of the other: the next capsule, which
// needs the reserve, may lie before that in the stream.
TEST(StallingPeer, AFusedPairDoesNotKeepTheReserveWhileItsDataIsAwaited) {
  for (const bool first_in_capsule : {true, false}) {
    SCOPED_TRACE(first_in_capsule);
    TargetConfig config;
    config.stall_timeout = 20s;
    config.connection_buffer_bytes_max = transfer_bytes_max;
    Rig rig(8, 1, config);
    ASSERT_EQ(rig.add_volume(), Errc::ok);
    Session s(rig);
    constexpr std::uint32_t much =
        (1 << 20) - 4096;  // all that the connection may hold, but for one small piece
    const auto r2t = ask(s.io, much);
    Sqe first = RawHost::io(IoOpcode::compare, 4096, 1), second = RawHost::io(IoOpcode::write, 4096, 1);
    first.flags = Sqe::psdt_sgl | Sqe::fuse_first;
    second.flags = Sqe::psdt_sgl | Sqe::fuse_second;
    first.cid = 1;
    second.cid = 2;
    (first_in_capsule ? first : second).sgl1 = nvme::SglDescriptor::in_capsule(512);
    (first_in_capsule ? second : first).sgl1 = nvme::SglDescriptor::transport(512);
    s.io.send(s.io.make_command(first, first_in_capsule ? Bytes(8192) : Bytes()));
    s.io.send(s.io.make_command(second, first_in_capsule ? Bytes() : Bytes(8192)));
    const Bytes small = pattern(4096, 2), data = pattern(much, 1);
    Sqe w = RawHost::io(IoOpcode::write, 8192, 8);
    w.cid = 3;
    w.sgl1 = nvme::SglDescriptor::in_capsule(4096);
    s.io.send(s.io.make_command(w, small));
    s.io.send_data(r2t, data);
    EXPECT_EQ(s.io.wait_for(1, Bytes(512)).status.code, StatusCode::command_interrupted);
    EXPECT_EQ(s.io.wait_for(2, Bytes(512)).status.code, StatusCode::aborted_failed_fused);
    for (const std::uint16_t cid : std::initializer_list<std::uint16_t>{3, 7}) {
      const Outcome out = s.io.wait_for(cid, Bytes(512));
      EXPECT_TRUE(out.answered && out.status.ok()) << cid;
    }
    EXPECT_EQ(s.io.read(8192, 8).data, small);
  }
}

TEST(StallingPeer, WhatAQueueKeepsLeavesRoomForEverySizeOfCommand) {
  Rig rig(1, 1, TargetConfig(), 2 << 20);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  for (const std::uint32_t blocks : {8u, 16u, 32u, 64u, 256u, 2048u}) {
    const Outcome r = s.io.read(0, blocks);
    ASSERT_TRUE(r.answered && r.status.ok()) << blocks;
  }
}

}  // namespace
}  // namespace holdfast::nvmf::test
