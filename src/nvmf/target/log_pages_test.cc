// Goal: log pages that are read in parts, or asked for in a way that is refused, lose nothing; counters of changes move
// with every change.
#include "nvmf/target/target.h"
#include "nvmf/target/testing/raw_host.h"

namespace holdfast::nvmf::test {
namespace {

using nvme::LogPage;

const auto invalid_field = nvme::permanent(StatusCode::invalid_field);

std::size_t events(RawHost& h) {
  h.execute(RawHost::admin(AdminOpcode::keep_alive));  // whatever was on its way is here now
  return std::exchange(h.others, {}).size();
}

nvme::ChangedNamespacesLog changed(Session& s) {
  return load<nvme::ChangedNamespacesLog>(s.admin.log_page(LogPage::changed_namespaces, 4096).data);
}

// What is told once, and forgotten when it was read, is not forgotten by a command that was refused.
TEST(LogPages, ARefusedCommandReadsNothing) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const Sqe ask = RawHost::admin(AdminOpcode::set_features, 0x0b, nvme::oaes_namespace_attribute);
  ASSERT_TRUE(s.admin.execute(ask).status.ok());
  s.admin.park_event_request();
  s.admin.park_event_request();
  ASSERT_EQ(rig.device->resize(rig.device->geometry().block_count * 2).code(), Errc::ok);
  rig.world.run_for(10ms);
  EXPECT_EQ(events(s.admin), 1u);
  EXPECT_EQ(s.admin.log_page(LogPage::changed_namespaces, 64, nvme::nsid_all, 0, 4100).status, invalid_field);
  EXPECT_EQ(changed(s).nsid[0], 1u);
  EXPECT_EQ(changed(s).nsid[0], 0u) << "it was read";
}

Bytes ana_log(Session& s) { return s.admin.log_page(LogPage::ana, 16 + 36).data; }
nvme::AnaGroupDescriptor group_of(const Bytes& log) {
  return load<nvme::AnaGroupDescriptor>(std::span(log).subspan(16));
}

// A host that goes by the count of a group must not take a new namespace for the one that it knew.
TEST(LogPages, TheChangeCountOfAnAnaGroupNeverGoesBack) {
  Rig rig(1, 2);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  std::uint64_t last = group_of(ana_log(s)).chgcnt;
  EXPECT_EQ(last, load<nvme::AnaLogHeader>(ana_log(s)).chgcnt);
  for (const auto state : {nvme::AnaState::inaccessible, nvme::AnaState::optimized}) {
    ASSERT_EQ(rig.run(rig.target->remove_namespace(volume_nqn, 1)).code(), Errc::ok);
    NamespaceConfig ns;
    ns.ana_state = state;
    ASSERT_EQ(rig.run(rig.target->add_namespace(volume_nqn, ns, *rig.device)).code(), Errc::ok);
    const auto group = group_of(ana_log(s));
    EXPECT_EQ(group.state, static_cast<std::uint8_t>(state));
    EXPECT_GT(group.chgcnt, last);
    last = group.chgcnt;
  }
}

// A host reads the header, then as many entries as that says, and then whether the generation is still the same. The
// entries may have gone meanwhile.
TEST(Discovery, ALogThatShrinksWhileItIsRead) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  const Referral other{Endpoint{"fd00::7", 8009}, std::string(nvme::discovery_nqn)};
  ASSERT_EQ(rig.target->add_referral(other).code(), Errc::ok);
  RawHost h(rig);
  ASSERT_TRUE(h.set_up());
  const auto data = RawHost::connect_data(0xffff, std::string(nvme::discovery_nqn));
  ASSERT_TRUE(h.connect(h.connect_sqe(0), data).status.ok());
  ASSERT_TRUE(h.property_set(nvme::Property::cc, 1).status.ok());
  const auto read = [&](std::uint32_t bytes, std::uint64_t offset) {
    return h.log_page(LogPage::discovery, bytes, nvme::nsid_all, 0, offset);
  };
  const auto header = load<nvme::DiscoveryLogHeader>(read(1024, 0).data);
  ASSERT_EQ(header.numrec, 2u);
  ASSERT_EQ(rig.run(rig.target->remove_subsystem(volume_nqn)).code(), Errc::ok);
  ASSERT_EQ(rig.target->remove_referral(other).code(), Errc::ok);
  const Outcome gone = read(1024, 2048);
  EXPECT_TRUE(gone.status.ok());
  EXPECT_EQ(gone.data, Bytes(1024));
  EXPECT_EQ(read(1024, 3076).status, invalid_field) << "behind what the host was told";
  const auto again = load<nvme::DiscoveryLogHeader>(read(1024, 0).data);
  EXPECT_GT(again.genctr, header.genctr);
  EXPECT_EQ(again.numrec, 0u);
  EXPECT_EQ(read(1024, 2048).status, invalid_field) << "it has been told since";
}

}  // namespace
}  // namespace holdfast::nvmf::test
