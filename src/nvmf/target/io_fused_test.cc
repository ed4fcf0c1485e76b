// Goal: Compare and Write is one operation to every other host, on every core; halves that miss each other
// have the statuses of the specification, and nothing is written then.
#include "nvmf/target/target.h"
#include "nvmf/target/testing/raw_host.h"
#include "nvmf/target/testing/slow_device.h"

namespace holdfast::nvmf::test {
namespace {

const auto invalid_field = nvme::permanent(StatusCode::invalid_field);
const CommandStatus missing(StatusCode::aborted_missing_fused);
const CommandStatus failed(StatusCode::aborted_failed_fused);

Sqe half(bool is_first, IoOpcode opc, std::uint64_t slba, std::size_t bytes, bool in_capsule = true) {
  Sqe s = RawHost::io(opc, slba, static_cast<std::uint32_t>(bytes / 512));
  s.flags = Sqe::psdt_sgl | (is_first ? Sqe::fuse_first : Sqe::fuse_second);
  s.cid = is_first ? 1 : 2;
  const auto length = static_cast<std::uint32_t>(bytes);
  s.sgl1 = in_capsule ? nvme::SglDescriptor::in_capsule(length) : nvme::SglDescriptor::transport(length);
  return s;
}

struct Pair {
  CommandStatus compared, written;
};

void send_pair(RawHost& h, const Sqe& first, const Sqe& second, const Bytes& expected, const Bytes& data) {
  Bytes both = h.make_command(first, first.sgl1.is_in_capsule() ? expected : Bytes());
  append(both, h.make_command(second, second.sgl1.is_in_capsule() ? data : Bytes()));
  h.send(both);
}
Pair wait_pair(RawHost& h, const Bytes& expected, const Bytes& data) {
  Pair out;
  unsigned answered = 0;
  while (answered < 2) {
    const Pdu pdu = h.receive();
    if (!pdu) break;
    if (pdu.type() == PduType::r2t) {
      const auto r2t = pdu.as<nvme::R2t>();
      h.send_data(r2t, r2t.cccid == 1 ? expected : data);
      continue;
    }
    const auto cqe = pdu.as<nvme::CapsuleResp>().rccqe;
    EXPECT_EQ(cqe.cid, ++answered) << "in order";
    (cqe.cid == 1 ? out.compared : out.written) = CommandStatus::unpack(cqe.status);
  }
  EXPECT_EQ(answered, 2u);
  return out;
}
Pair fused(RawHost& h, const Sqe& first, const Sqe& second, const Bytes& expected, const Bytes& data) {
  send_pair(h, first, second, expected, data);
  return wait_pair(h, expected, data);
}

TEST(Fused, TheWriteHappensWhenTheCompareHeld) {
  for (unsigned way = 0; way < 4; ++way) {
    SCOPED_TRACE(way);
    Rig rig(1, 2);
    ASSERT_EQ(rig.add_volume(), Errc::ok);
    Session s(rig);
    const Bytes before = pattern(4096, 1), after = pattern(4096, 2);
    ASSERT_TRUE(s.io.write(8, before, true).status.ok());
    const Sqe first = half(true, IoOpcode::compare, 8, 4096, (way & 1) != 0);
    const Sqe second = half(false, IoOpcode::write, 8, 4096, (way & 2) != 0);
    Pair p = fused(s.io, first, second, before, after);
    EXPECT_TRUE(p.compared.ok() && p.written.ok());
    EXPECT_EQ(s.io.read(8, 8).data, after);
    p = fused(s.io, first, second, before, pattern(4096, 3));
    EXPECT_EQ(p.compared, nvme::permanent(StatusCode::compare_failure));
    EXPECT_EQ(p.written, failed);
    EXPECT_EQ(s.io.read(8, 8).data, after);
  }
}

TEST(Fused, HalvesThatMissEachOther) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const Bytes zeroes(512), data = pattern(512, 1);
  const Sqe first = half(true, IoOpcode::compare, 8, 512), second = half(false, IoOpcode::write, 8, 512);
  EXPECT_EQ(s.io.execute(second, data).status, missing) << "a second half alone";
  s.io.send(s.io.make_command(first, zeroes));
  EXPECT_TRUE(s.io.read(0, 1).status.ok()) << "a first half alone does not hold others up";
  ASSERT_EQ(s.io.others.size(), 1u);
  EXPECT_EQ(CommandStatus::unpack(s.io.others[0].status), missing);
  EXPECT_EQ(s.io.execute(second, data).status, missing) << "the pair was torn";
  s.io.others.clear();
  s.io.send(s.io.make_command(first, zeroes));
  Sqe again = first;
  again.cid = 9;
  s.io.send(s.io.make_command(again, zeroes));
  Sqe late = second;
  EXPECT_EQ(s.io.wait_for(1).status, missing) << "two first halves: the later one counts";
  s.io.send(s.io.make_command(late, data));
  EXPECT_TRUE(s.io.wait_for(9).status.ok());
  EXPECT_TRUE(s.io.wait_for(2).status.ok());
  EXPECT_EQ(s.io.read(8, 1).data, data);
}

TEST(Fused, PairsThatAreNotOneOperation) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const Bytes zeroes(512), data = pattern(512, 1);
  const Sqe first = half(true, IoOpcode::compare, 8, 512), second = half(false, IoOpcode::write, 8, 512);
  const auto both = [&](Sqe a, Sqe b, const Bytes& expected, const Bytes& written) {
    return fused(s.io, a, b, expected, written);
  };
  const auto expect = [](Pair p, CommandStatus compared, CommandStatus written) {
    EXPECT_EQ(p.compared, compared) << nvme::name(p.compared.code);
    EXPECT_EQ(p.written, written) << nvme::name(p.written.code);
  };
  expect(both(first, half(false, IoOpcode::write, 9, 512), zeroes, data), invalid_field, invalid_field);
  expect(both(first, half(false, IoOpcode::write, 8, 1024), zeroes, pattern(1024, 1)), invalid_field,
         invalid_field);
  expect(both(first, half(false, IoOpcode::compare, 8, 512), zeroes, data), invalid_field, invalid_field);
  Sqe elsewhere = second;
  elsewhere.nsid = 2;
  expect(both(first, elsewhere, zeroes, data), invalid_field, invalid_field);
  Sqe nowhere = first;
  nowhere.nsid = 2;
  expect(both(nowhere, elsewhere, zeroes, data), nvme::permanent(StatusCode::invalid_namespace), failed);
  expect(
      both(half(true, IoOpcode::compare, 65536, 512), half(false, IoOpcode::write, 65536, 512), zeroes, data),
      nvme::permanent(StatusCode::lba_out_of_range), failed);
  const Bytes much(fused_bytes_max + 512);
  expect(both(half(true, IoOpcode::compare, 0, much.size(), false),
              half(false, IoOpcode::write, 0, much.size(), false), much, much),
         nvme::permanent(StatusCode::atomic_write_unit_exceeded), failed);
  const Bytes most(fused_bytes_max);
  expect(both(half(true, IoOpcode::compare, 1024, most.size(), false),
              half(false, IoOpcode::write, 1024, most.size(), false), most, most),
         CommandStatus(), CommandStatus());
  Sqe short_data = second;
  short_data.sgl1.length = 256;
  expect(both(first, short_data, zeroes, data), nvme::permanent(StatusCode::data_sgl_length_invalid), failed);
  expect(both(half(true, IoOpcode::write, 8, 512), second, data, data), invalid_field, missing);
  Sqe reserved = first;
  reserved.flags = Sqe::psdt_sgl | 3;
  EXPECT_EQ(s.io.execute(reserved, zeroes).status, invalid_field);
  EXPECT_EQ(s.io.read(0, 32).data, Bytes(32 * 512)) << "none of them wrote";
}

// Goal: of hosts that swap the same block from 0 to something of theirs, one at most succeeds; a plain write
// of another host never falls between a compare that held and its write.
TEST(Fused, OneOperationToEveryOtherHost) {
  unsigned swapped = 0, overwritten = 0;
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed=" << seed);
    Rig rig(seed, 3);
    SlowDevice slow(*rig.device);
    ASSERT_EQ(rig.run(rig.target->add_subsystem(Rig::volume())).code(), Errc::ok);
    ASSERT_EQ(rig.run(rig.target->add_namespace(volume_nqn, NamespaceConfig(), slow)).code(), Errc::ok);
    std::vector<std::unique_ptr<Session>> sessions;
    for (unsigned i = 0; i < 4; ++i) sessions.push_back(std::make_unique<Session>(rig));
    const Bytes zeroes(1024);
    const auto own = [](unsigned i) { return Bytes(1024, static_cast<std::byte>(i + 1)); };
    for (unsigned i = 0; i < 3; ++i) {
      send_pair(sessions[i]->io, half(true, IoOpcode::compare, 8, 1024),
                half(false, IoOpcode::write, 8, 1024), zeroes, own(i));
    }
    rig.world.run_for(Nanos(static_cast<std::int64_t>(rig.world.random().below(400'000))));
    const Bytes last(1024, std::byte{9});
    Sqe w = RawHost::io(IoOpcode::write, 8, 2);
    w.cid = 5;
    w.sgl1 = nvme::SglDescriptor::in_capsule(1024);
    sessions[3]->io.send(sessions[3]->io.make_command(w, last));
    unsigned succeeded = 0;
    for (unsigned i = 0; i < 3; ++i) {
      const Pair p = wait_pair(sessions[i]->io, zeroes, own(i));
      EXPECT_EQ(p.compared.ok(), p.written.ok());
      succeeded += p.written.ok() ? 1 : 0;
    }
    EXPECT_TRUE(sessions[3]->io.wait_for(5).status.ok());
    EXPECT_LE(succeeded, 1u);
    EXPECT_EQ(sessions[0]->io.read(8, 2).data, last) << "the plain write was before or after a whole swap";
    swapped += succeeded;
    overwritten += 1 - succeeded;
    ASSERT_EQ(rig.run(rig.target->remove_subsystem(volume_nqn)).code(), Errc::ok);
  }
  EXPECT_GT(swapped, 10u) << "both orders were seen";
  EXPECT_GT(overwritten, 1u);
}

// Namespaces and hosts that go while fused commands are on their way: everything comes back.
TEST(Fused, WhileNamespacesAndHostsGo) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed=" << seed);
    Rig rig(seed, 3);
    SlowDevice slow(*rig.device);
    ASSERT_EQ(rig.run(rig.target->add_subsystem(Rig::volume())).code(), Errc::ok);
    ASSERT_EQ(rig.run(rig.target->add_namespace(volume_nqn, NamespaceConfig(), slow)).code(), Errc::ok);
    std::vector<std::unique_ptr<Session>> sessions;
    for (unsigned i = 0; i < 3; ++i) sessions.push_back(std::make_unique<Session>(rig));
    const Bytes zeroes(512);
    for (auto& s : sessions) {
      send_pair(s->io, half(true, IoOpcode::compare, 8, 512), half(false, IoOpcode::write, 8, 512), zeroes,
                zeroes);
    }
    rig.world.run_for(Nanos(static_cast<std::int64_t>(rig.world.random().below(500'000))));
    if (seed % 3 == 0) sessions[0]->io.close();
    std::unique_ptr<Session> fresh;
    if (seed % 3 == 1) fresh = std::make_unique<Session>(rig);
    ASSERT_EQ(rig.run(rig.target->remove_namespace(volume_nqn, 1)).code(), Errc::ok);
    for (std::size_t i = 1; i < sessions.size(); ++i) {
      const Pair p = wait_pair(sessions[i]->io, zeroes, zeroes);
      EXPECT_TRUE(p.compared.ok() || p.compared.code == StatusCode::invalid_namespace);
    }
  }
}

// A fence goes up on one core after the other. A core that gets its first I/O queue meanwhile has its fence from one
// of the two ways to it, not from both.
TEST(Fused, WhileAnotherCoreGetsItsFirstQueue) {
  Rig rig(1, 2);
  SlowDevice slow(*rig.device);
  slow.flush_time = 50ms;
  ASSERT_EQ(rig.run(rig.target->add_subsystem(Rig::volume())).code(), Errc::ok);
  ASSERT_EQ(rig.run(rig.target->add_namespace(volume_nqn, NamespaceConfig(), slow)).code(), Errc::ok);
  // Connections go to the cores in turn: the I/O queue of the first host is to be on the first core, that of the
  // second host on the second one.
  const RawHost filler(rig);
  Session first(rig);
  ASSERT_EQ(rig.run(rig.target->stats()).connections, 3u);
  const RawHost another(rig);
  const Bytes zeroes(512), data = pattern(512, 1);
  Sqe held = RawHost::io(IoOpcode::read, 8, 1);  // until the flush before it has ended
  held.cid = 9;
  held.cdw12 = held.cdw12 | nvme::cdw12_fua;
  held.sgl1 = nvme::SglDescriptor::transport(512);
  first.io.send(first.io.make_command(held));
  send_pair(first.io, half(true, IoOpcode::compare, 8, 512), half(false, IoOpcode::write, 8, 512), zeroes,
            data);
  rig.world.run_for(1ms);
  Session second(rig);
  ASSERT_EQ(slow.flushing, 1u) << "the fence still waits on the first core";
  EXPECT_EQ(first.io.wait_for(9).data, zeroes);
  const Pair p = wait_pair(first.io, zeroes, data);
  EXPECT_TRUE(p.compared.ok() && p.written.ok());
  EXPECT_EQ(second.io.read(8, 1).data, data);
  const auto info = rig.target->subsystem(volume_nqn);
  ASSERT_TRUE(info.ok());
  for (const ControllerInfo& c : info.value().controllers) {
    EXPECT_EQ(c.queues.at(1).core, c.cntlid == first.cntlid ? 0u : 1u);
  }
  ASSERT_EQ(rig.run(rig.target->remove_subsystem(volume_nqn)).code(), Errc::ok);
}

}  // namespace
}  // namespace holdfast::nvmf::test
