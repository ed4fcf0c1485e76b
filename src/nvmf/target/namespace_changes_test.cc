// Goal: commands that wait while their namespace changes touch what they were sent for, or nothing; changes that come
// at a bad moment are not missed.
#include "block/reservation_guard.h"
#include "nvmf/target/target.h"
#include "nvmf/target/testing/device_over.h"
#include "nvmf/target/testing/raw_host.h"
#include "rt/wait.h"

namespace holdfast::nvmf::test {
namespace {

const auto invalid_namespace = nvme::permanent(StatusCode::invalid_namespace);

// A second device takes the place of the first, under the same identifier.
struct ReplacedRig : Rig {
  explicit ReplacedRig(std::uint32_t block_bytes) : Rig(1, 2) {
    if (add_volume() != Errc::ok) panic("no volume");
    Geometry g = device->geometry();
    g.block_bytes = block_bytes;
    g.block_count = 8192;
    other = make_device("malloc1", g);
  }
  ~ReplacedRig() {
    run(target->remove_subsystem(volume_nqn)).ignore("the rig ends");
    run(other->close());
  }
  void replace() {
    ASSERT_EQ(run(target->remove_namespace(volume_nqn, 1)).code(), Errc::ok);
    NamespaceConfig ns;
    ns.uuid = other->identity().uuid;
    ASSERT_EQ(run(target->add_namespace(volume_nqn, ns, *other)).code(), Errc::ok);
  }
  std::unique_ptr<MallocDevice> other;
};

// The list of ranges of a Dataset Management, or of a Copy, for block 0 on.
template <Wire Range>
Bytes one_range(std::uint32_t blocks) {
  Range range{};
  if constexpr (std::is_same_v<Range, nvme::DsmRange>) {
    range.nlb = blocks;
  } else {
    range.nlb = static_cast<std::uint16_t>(blocks - 1);
  }
  const auto bytes = bytes_of(range);
  return Bytes(bytes.begin(), bytes.end());
}

TEST(NamespaceChanges, WhatWaitsForItsDataDoesNotMeetAnotherVolume) {
  for (const std::uint32_t block_bytes : {512u, 4096u}) {
    SCOPED_TRACE(block_bytes);
    struct Waiting {
      IoOpcode opcode;
      Bytes data;
    };
    const Waiting waiting[] = {{IoOpcode::write, pattern(512, 1)},
                               {IoOpcode::compare, Bytes(512)},
                               {IoOpcode::dataset_management, one_range<nvme::DsmRange>(8)},
                               {IoOpcode::copy, one_range<nvme::CopyRange>(8)}};
    for (const Waiting& w : waiting) {
      SCOPED_TRACE(static_cast<int>(w.opcode));
      ReplacedRig rig(block_bytes);
      Session s(rig);
      Sqe sqe = RawHost::io(w.opcode, 0, 1);
      sqe.cid = 7;
      if (w.opcode == IoOpcode::dataset_management) sqe.cdw11 = nvme::cdw11_dsm_deallocate;
      if (w.opcode == IoOpcode::copy) sqe.cdw10 = 64;
      sqe.sgl1 = nvme::SglDescriptor::transport(static_cast<std::uint32_t>(w.data.size()));
      s.io.send(s.io.make_command(sqe));
      const Pdu asked = s.io.receive();
      ASSERT_EQ(asked.type(), PduType::r2t);
      rig.replace();
      const Bytes theirs = pattern(8 * block_bytes, 2);
      ASSERT_TRUE(s.io.write(0, theirs, false, block_bytes).status.ok());
      s.io.send_data(asked.as<nvme::R2t>(), w.data);
      EXPECT_EQ(s.io.wait_for(7).status, invalid_namespace);
      EXPECT_EQ(s.io.read(0, 8, block_bytes).data, theirs);
      EXPECT_EQ(s.io.read(64, 8, block_bytes).data, Bytes(8 * block_bytes));
    }
  }
}

TEST(NamespaceChanges, AFusedCommandThatWaitsForItsDataDoesNotMeetAnotherVolume) {
  ReplacedRig rig(512);
  Session s(rig);
  const Bytes zeroes(512);
  Sqe first = RawHost::io(IoOpcode::compare, 0, 1), second = RawHost::io(IoOpcode::write, 0, 1);
  first.flags = Sqe::psdt_sgl | Sqe::fuse_first;
  second.flags = Sqe::psdt_sgl | Sqe::fuse_second;
  first.cid = 1;
  second.cid = 2;
  first.sgl1 = nvme::SglDescriptor::in_capsule(512);
  second.sgl1 = nvme::SglDescriptor::transport(512);
  s.io.send(s.io.make_command(first, zeroes));
  s.io.send(s.io.make_command(second));
  const Pdu asked = s.io.receive();
  ASSERT_EQ(asked.type(), PduType::r2t);
  rig.replace();
  s.io.send_data(asked.as<nvme::R2t>(), pattern(512, 1));
  EXPECT_EQ(s.io.wait_for(1).status, invalid_namespace);
  EXPECT_EQ(s.io.wait_for(2).status.code, StatusCode::aborted_failed_fused);
  EXPECT_EQ(s.io.read(0, 1).data, zeroes);
}

// A host that was asked for the keys of a reservation command, and does not send them, holds up nobody who removes the
// namespace.
TEST(NamespaceChanges, AReservationCommandWithoutItsDataHoldsUpNoRemoval) {
  Rig rig(1, 2);
  ReservationGuard guard(rig.process->cores(), rig.device->identity().uuid, nullptr);
  ASSERT_EQ(rig.run(rig.target->add_subsystem(Rig::volume())).code(), Errc::ok);
  ASSERT_EQ(rig.run(rig.target->add_namespace(volume_nqn, NamespaceConfig(), *rig.device, &guard)).code(),
            Errc::ok);
  Session s(rig);
  Sqe sqe = RawHost::io(IoOpcode::reservation_register, 0, 1);
  sqe.cid = 7;
  sqe.cdw12 = 0;
  sqe.sgl1 = nvme::SglDescriptor::transport(16);
  s.io.send(s.io.make_command(sqe));
  const Pdu asked = s.io.receive();
  ASSERT_EQ(asked.type(), PduType::r2t);
  const Nanos begun = rig.world.now();
  ASSERT_EQ(rig.run(rig.target->remove_namespace(volume_nqn, 1)).code(), Errc::ok);
  EXPECT_LT(rig.world.now() - begun, 1s);
  Bytes keys(16);
  keys[8] = std::byte{5};
  s.io.send_data(asked.as<nvme::R2t>(), keys);
  EXPECT_EQ(s.io.wait_for(7).status, invalid_namespace);
  EXPECT_TRUE(guard.report().registrants.empty());
}

// Opens its channels only when the test lets it.
class GatedDevice final : public BlockDevice {
 public:
  GatedDevice(BlockDevice& below, Reactor& home)
      : BlockDevice(Identity{"gated", Uuid::from_name("gated"), "test:", "test"}),
        below_(below),
        open_(home) {}
  const Geometry& geometry() const noexcept override { return geometry_ ? *geometry_ : below_.geometry(); }
  const Capabilities& capabilities() const noexcept override { return below_.capabilities(); }
  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) override {
    (void)co_await open_.wait();
    co_return co_await below_.open_channel(core);
  }
  Task<IoStats> stats() override { return below_.stats(); }
  Task<void> close() override { co_return; }
  void let() { open_.set(); }
  void tell(DeviceEvent event) noexcept { raise(event); }
  void resize(std::uint64_t blocks) {
    geometry_ = below_.geometry();
    geometry_->block_count = blocks;
    raise(DeviceEvent::resized);
  }

 private:
  BlockDevice& below_;
  Event open_;
  std::optional<Geometry> geometry_;
};

// Its channels are opened on every core first, which takes time.
TEST(NamespaceChanges, WhatADeviceSaysWhileItsNamespaceIsBeingAdded) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const Sqe ask = RawHost::admin(AdminOpcode::set_features, 0x0b, nvme::critical_reliability);
  ASSERT_TRUE(s.admin.execute(ask).status.ok());
  s.admin.park_event_request();
  s.admin.park_event_request();
  const auto below = rig.make_device("malloc1", rig.device->geometry());
  GatedDevice device(*below, rig.process->core(0));
  Errc added = Errc::busy;
  auto add = [&]() -> Task<void> {
    NamespaceConfig ns;
    ns.nsid = 2;
    const Status done = co_await rig.target->add_namespace(volume_nqn, ns, device);
    added = done.code();
  };
  rig.world.spawn(rig.process->core(0), add());
  rig.world.run_for(1ms);
  ASSERT_EQ(added, Errc::busy) << "it waits for the device";
  device.resize(1024);
  device.tell(DeviceEvent::failed);
  device.let();
  rig.world.run_for(10ms);
  ASSERT_EQ(added, Errc::ok);
  EXPECT_EQ(load<nvme::IdentifyNamespace>(s.admin.identify(nvme::Cns::namespace_nvm, 2).data).nsze, 1024u);
  Sqe beyond = RawHost::io(IoOpcode::read, 1024, 1, 2);
  beyond.sgl1 = nvme::SglDescriptor::transport(512);
  EXPECT_EQ(s.io.execute(beyond).status.code, StatusCode::lba_out_of_range);
  s.admin.execute(RawHost::admin(AdminOpcode::keep_alive));
  EXPECT_EQ(s.admin.others.size(), 2u) << "an error, and a critical warning";
  ASSERT_EQ(rig.run(rig.target->remove_namespace(volume_nqn, 2)).code(), Errc::ok);
  rig.run(below->close());
}

class RefusingDevice final : public DeviceOver {
 public:
  using DeviceOver::DeviceOver;
  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) override {
    if (refuses) co_return Error(Errc::resource_exhausted);
    co_return co_await DeviceOver::open_channel(core);
  }
  bool refuses = true;

 private:
  std::unique_ptr<Channel> channel_over(Reactor&, std::unique_ptr<Channel> below) override {
    return std::make_unique<ChannelOver>(std::move(below));
  }
};

TEST(NamespaceChanges, AChannelThatWasRefusedIsAskedForAgain) {
  Rig rig;
  RefusingDevice device(*rig.device);
  ASSERT_EQ(rig.run(rig.target->add_subsystem(Rig::volume())).code(), Errc::ok);
  ASSERT_EQ(rig.run(rig.target->add_namespace(volume_nqn, NamespaceConfig(), device)).code(), Errc::ok);
  {
    Session s(rig);
    EXPECT_FALSE(s.io.read(0, 1).status.ok());
  }
  device.refuses = false;
  Session again(rig);
  EXPECT_TRUE(again.io.read(0, 1).status.ok());
  ASSERT_EQ(rig.run(rig.target->remove_subsystem(volume_nqn)).code(), Errc::ok);
}

}  // namespace
}  // namespace holdfast::nvmf::test
