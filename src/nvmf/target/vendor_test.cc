// Commands of our own: every one, good and bad, and that a namespace says what it has.
#include "nvme/vendor.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "base/units.h"
#include "block/reservation_guard.h"
#include "nvmf/target/target.h"
#include "nvmf/target/testing/raw_host.h"

namespace holdfast::nvmf::test {
namespace {

using nvme::VendorFunction;
using nvme::VendorOpcode;

const auto invalid_field = nvme::permanent(StatusCode::invalid_field);
const auto invalid_opcode = nvme::permanent(StatusCode::invalid_command_opcode);

// Keeps what it is asked for.
struct FakeSnapshots final : SnapshotClient {
  Task<Status> create(SnapshotRequest request) override {
    if (std::any_of(made.begin(), made.end(), [&](const auto& m) { return m.uuid == request.uuid; }))
      co_return Error(Errc::already_exists);
    made.push_back(std::move(request));
    co_return Status();
  }
  std::vector<SnapshotRequest> made;
};

class WithSnapshots final : public LeafDevice {
 public:
  WithSnapshots(Identity id, const Cores& cores, const Geometry& g)
      : LeafDevice(std::move(id), cores, g, Capabilities()), disk_(identity(), cores, g, true) {}
  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) override {
    return disk_.open_channel(core);
  }
  EpochClient* epochs() noexcept override { return disk_.epochs(); }
  SnapshotClient* snapshots() noexcept override { return &fake; }
  Task<void> close() override { co_return; }
  FakeSnapshots fake;

 private:
  MallocDevice disk_;
};

// Namespace 1 has nothing of this, namespace 2 has all.
struct VendorRig : Rig {
  VendorRig() : Rig(1, 2), guard(process->cores(), Uuid::from_name("malloc1"), nullptr) {
    Geometry g;
    g.block_count = 100 * MiB / 512;
    BlockDevice::Identity id;
    id.name = "malloc1";
    id.uuid = Uuid::from_name("malloc1");
    second = std::make_unique<WithSnapshots>(id, process->cores(), g);
    if (add_volume() != Errc::ok) panic("no volume");
    NamespaceConfig ns;
    ns.nsid = 2;
    ns.uuid = second->identity().uuid;
    if (!run(target->add_namespace(volume_nqn, ns, *second, &guard)).ok()) panic("no namespace");
  }
  ~VendorRig() { run(target->remove_subsystem(volume_nqn)).ignore("the rig ends"); }
  ReservationGuard guard;
  std::unique_ptr<WithSnapshots> second;
};

Sqe command(VendorOpcode opcode, VendorFunction function, std::uint32_t dwords, std::uint32_t nsid = 2) {
  Sqe s{};
  s.opc = static_cast<std::uint8_t>(opcode);
  s.flags = Sqe::psdt_sgl;
  s.nsid = nsid;
  s.cdw10 = dwords;
  s.cdw12 = static_cast<std::uint32_t>(function);
  if (dwords > 0) s.sgl1 = nvme::SglDescriptor::transport(dwords * 4);
  return s;
}

Outcome act(RawHost& host, VendorFunction function, std::uint32_t epoch, std::uint32_t nsid = 2) {
  Sqe s = command(VendorOpcode::act, function, 0, nsid);
  s.cdw13 = epoch;
  return host.execute(s);
}

Outcome bits(RawHost& host, VendorFunction function, std::uint32_t dwords, std::uint64_t first,
             std::uint32_t epoch = 0) {
  Sqe s = command(VendorOpcode::get, function, dwords);
  s.cdw13 = epoch;
  s.cdw14 = static_cast<std::uint32_t>(first);
  s.cdw15 = static_cast<std::uint32_t>(first >> 32);
  return host.execute(s);
}

Outcome snapshot(RawHost& host, const Bytes& data, std::uint32_t nsid = 2) {
  return host.execute(command(VendorOpcode::put, VendorFunction::create_snapshot,
                              static_cast<std::uint32_t>(data.size() / 4), nsid),
                      data);
}

TEST(Vendor, ANamespaceSaysWhatItHas) {
  VendorRig rig;
  Session s(rig);
  const auto of = [&](std::uint32_t nsid) {
    const auto id = load<nvme::IdentifyNamespace>(s.admin.identify(nvme::Cns::namespace_nvm, nsid).data);
    const auto own = load<nvme::VendorNamespace>(std::as_bytes(std::span(id.vs)));
    EXPECT_EQ(own.magic, nvme::VendorNamespace::magic_value);
    return own.features.get();
  };
  EXPECT_EQ(of(1), 0u);
  EXPECT_EQ(of(2), nvme::VendorNamespace::has_epochs | nvme::VendorNamespace::has_snapshots);
  const auto effects =
      load<nvme::CommandEffectsLog>(s.admin.log_page(nvme::LogPage::command_effects, 4096, 0).data);
  for (const unsigned opc : {0xc0u, 0xc1u, 0xc2u}) EXPECT_EQ(effects.acs[opc].get() & 1, 1u) << opc;
  EXPECT_EQ(effects.acs[0xc3].get(), 0u);
}

TEST(Vendor, Epochs) {
  VendorRig rig;
  Session s(rig);
  EXPECT_TRUE(act(s.admin, VendorFunction::announce_epoch, 3).status.ok());
  EXPECT_TRUE(act(s.admin, VendorFunction::announce_epoch, 3).status.ok());
  EXPECT_EQ(act(s.admin, VendorFunction::announce_epoch, 2).status, invalid_field);
  EXPECT_TRUE(act(s.admin, VendorFunction::seal_epoch, 2).status.ok());
  EXPECT_EQ(act(s.admin, VendorFunction::seal_epoch, 4).status, invalid_field);
  const auto state = s.admin.execute(command(VendorOpcode::get, VendorFunction::epoch_state, 8));
  ASSERT_EQ(state.data.size(), 32u);
  const auto data = load<nvme::EpochStateData>(state.data);
  EXPECT_EQ(data.current, 3u);
  EXPECT_EQ(data.sealed, 2u);
  EXPECT_EQ(data.region_bytes, 1 * MiB);
  EXPECT_EQ(data.regions, 100u);

  Sqe write = RawHost::io(IoOpcode::write, 70 * 2048, 1, 2);
  write.sgl1 = nvme::SglDescriptor::in_capsule(512);
  EXPECT_TRUE(s.io.execute(write, Bytes(512, std::byte{1})).status.ok());
  const Outcome changed = bits(s.admin, VendorFunction::changed_since, 8, 64, 2);
  ASSERT_EQ(changed.data.size(), 32u);
  EXPECT_EQ(changed.data[0], std::byte{1} << 6) << "region 70";
  EXPECT_EQ(std::count(changed.data.begin(), changed.data.end(), std::byte{0}), 31);
  EXPECT_EQ(bits(s.admin, VendorFunction::changed_since, 8, 64, 3).data, Bytes(32));
  EXPECT_EQ(bits(s.admin, VendorFunction::allocated, 1, 96).data, Bytes(4));
  EXPECT_NE(bits(s.admin, VendorFunction::allocated, 1, 64).data, Bytes(4));
  EXPECT_TRUE(bits(s.admin, VendorFunction::allocated, 32768, 100).status.ok()) << "nothing is left";
  EXPECT_FALSE(bits(s.admin, VendorFunction::allocated, 1, 101).status.ok());
  EXPECT_FALSE(bits(s.admin, VendorFunction::allocated, 1, ~std::uint64_t{0}).status.ok());
}

TEST(Vendor, Snapshots) {
  VendorRig rig;
  Session s(rig);
  nvme::SnapshotData wanted;
  wanted.name = "nightly";
  wanted.uuid = Uuid::from_name("s1");
  wanted.attributes = {{"txn_id", "7"}, {"large", std::string(40'000, 'x')}};
  const Bytes data = nvme::encode(wanted).value();
  EXPECT_TRUE(snapshot(s.admin, data).status.ok());
  ASSERT_EQ(rig.second->fake.made.size(), 1u);
  EXPECT_EQ(rig.second->fake.made[0].name, "nightly");
  EXPECT_EQ(rig.second->fake.made[0].uuid, wanted.uuid);
  EXPECT_EQ(rig.second->fake.made[0].attributes, wanted.attributes);
  EXPECT_EQ(nvme::vendor_errc(snapshot(s.admin, data).status), Errc::already_exists);
  EXPECT_EQ(snapshot(s.admin, Bytes(data.begin(), data.begin() + 24)).status, invalid_field);
  EXPECT_EQ(snapshot(s.admin, Bytes(20)).status, invalid_field);
  EXPECT_EQ(snapshot(s.admin, data, 1).status, invalid_opcode) << "a device without";
  EXPECT_EQ(rig.second->fake.made.size(), 1u);
}

TEST(Vendor, WhatIsWrongIsRefused) {
  VendorRig rig;
  Session s(rig);
  const auto get = [](VendorFunction f, std::uint32_t dwords) {
    return command(VendorOpcode::get, f, dwords);
  };
  Sqe metadata = get(VendorFunction::epoch_state, 8);
  metadata.cdw11 = 1;
  Sqe reserved = get(VendorFunction::epoch_state, 8);
  reserved.cdw12 = 0x101;
  Sqe huge = get(VendorFunction::allocated, 1);
  huge.cdw10 = ~0u;
  Sqe absent = get(VendorFunction::epoch_state, 8);
  absent.nsid = 3;
  Sqe all = absent;
  all.nsid = nvme::nsid_all;
  Sqe other_opcode = get(VendorFunction::epoch_state, 8);
  other_opcode.opc = 0xc6;
  const struct {
    const char* what;
    Sqe sqe;
    CommandStatus status;
  } cases[] = {
      {"an unknown function", get(VendorFunction{0x7f}, 8), invalid_opcode},
      {"the function of another opcode", get(VendorFunction::seal_epoch, 0), invalid_opcode},
      {"another opcode", other_opcode, invalid_opcode},
      {"too little room", get(VendorFunction::epoch_state, 7), invalid_field},
      {"too much room", get(VendorFunction::epoch_state, 9), invalid_field},
      {"no room for bits", get(VendorFunction::allocated, 0), invalid_field},
      {"more bits than one command gives", get(VendorFunction::allocated, 32769), invalid_field},
      {"as many dwords as there can be", huge, invalid_field},
      {"metadata", metadata, invalid_field},
      {"reserved bits", reserved, invalid_field},
      {"data where none goes", command(VendorOpcode::act, VendorFunction::seal_epoch, 1), invalid_field},
      {"a namespace that is not there", absent, nvme::permanent(StatusCode::invalid_namespace)},
      {"all namespaces", all, nvme::permanent(StatusCode::invalid_namespace)},
      {"a device without epochs", command(VendorOpcode::get, VendorFunction::epoch_state, 8, 1),
       invalid_opcode},
  };
  for (const auto& c : cases) EXPECT_EQ(s.admin.execute(c.sqe).status, c.status) << c.what;
  EXPECT_TRUE(s.admin.execute(get(VendorFunction::epoch_state, 8)).status.ok());
}

TEST(Vendor, AHostWithoutTheReservationChangesNothing) {
  VendorRig rig;
  Session s(rig);
  const Uuid other = Uuid::from_name("another host");
  RegisterRequest add;
  add.new_key = 7;
  EXPECT_TRUE(rig.run(rig.guard.register_key(other, add)).ok());
  AcquireRequest take;
  take.key = 7;
  take.type = ReservationType::write_exclusive;
  EXPECT_TRUE(rig.run(rig.guard.acquire(other, take)).ok());
  const auto conflict = [](const Outcome& o) { return o.status.code == StatusCode::reservation_conflict; };
  EXPECT_TRUE(conflict(act(s.admin, VendorFunction::announce_epoch, 3)));
  EXPECT_TRUE(conflict(act(s.admin, VendorFunction::seal_epoch, 0)));
  EXPECT_TRUE(conflict(snapshot(s.admin, nvme::encode(nvme::SnapshotData()).value())));
  EXPECT_TRUE(s.admin.execute(command(VendorOpcode::get, VendorFunction::epoch_state, 8)).status.ok());
  EXPECT_TRUE(rig.second->fake.made.empty());
}

TEST(Vendor, AnInaccessiblePathSaysSo) {
  VendorRig rig;
  Session s(rig);
  EXPECT_TRUE(rig.run(rig.target->set_ana_state(volume_nqn, 2, nvme::AnaState::inaccessible)).ok());
  EXPECT_EQ(act(s.admin, VendorFunction::announce_epoch, 3).status.code, StatusCode::ana_inaccessible);
}

}  // namespace
}  // namespace holdfast::nvmf::test
