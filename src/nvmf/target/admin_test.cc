// Goal: every admin command, good and bad, has the answer that the specification and Linux expect.
#include "nvme/feature.h"
#include "nvmf/target/target.h"
#include "nvmf/target/testing/raw_host.h"

namespace holdfast::nvmf::test {
namespace {

const auto invalid_field = nvme::permanent(StatusCode::invalid_field);
const auto invalid_namespace = nvme::permanent(StatusCode::invalid_namespace);

TEST(Identify, Controller) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const auto id = load<nvme::IdentifyController>(s.admin.identify(nvme::Cns::controller).data);
  EXPECT_EQ(nvme::ascii(id.sn), subsystem_serial(Uuid::from_name("volume")));
  EXPECT_EQ(nvme::ascii(id.sn).size(), 20u);
  EXPECT_EQ(nvme::ascii(id.sn).substr(0, 3), "DCS");
  EXPECT_EQ(nvme::ascii(id.mn), "Holdfast NVMe controller");
  EXPECT_EQ(std::string(id.subnqn), volume_nqn);
  EXPECT_EQ(id.cntlid, s.cntlid);
  EXPECT_EQ(id.mdts, 8) << "1 MiB";
  EXPECT_EQ(id.ioccsz * 16 - 64, 8192) << "in-capsule data";
  EXPECT_EQ(id.iorcsz, 1u);
  EXPECT_EQ(id.icdoff, 0);
  EXPECT_EQ(id.maxcmd, 1024);
  EXPECT_EQ(id.cntrltype, 1);
  EXPECT_EQ(id.kas, 10);
  EXPECT_EQ(id.sgls & 3, 1u);
  EXPECT_EQ(id.cmic & nvme::cmic_ana, nvme::cmic_ana);
  const std::uint16_t oncs = nvme::oncs_compare | nvme::oncs_dataset_management | nvme::oncs_write_zeroes |
                             nvme::oncs_save_features | nvme::oncs_verify | nvme::oncs_copy;
  EXPECT_EQ(id.oncs & oncs, oncs);
  EXPECT_EQ(id.oncs & nvme::oncs_write_uncorrectable, 0);
  EXPECT_EQ(id.vwc, 7) << "a cache, and flush of every namespace";
  EXPECT_EQ(id.ocfs, 1);
  EXPECT_EQ(id.fuses, nvme::fuses_compare_and_write);
  EXPECT_EQ(id.acwu, 15) << "64 KiB of 4 KiB blocks";
  EXPECT_EQ(id.crdt1, 10);
}

TEST(Identify, NamespaceAndItsNames) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const Uuid uuid = rig.device->identity().uuid;
  const auto id = load<nvme::IdentifyNamespace>(s.admin.identify(nvme::Cns::namespace_nvm, 1).data);
  EXPECT_EQ(id.nsze, 65536u);
  EXPECT_EQ(id.lbaf[0].lbads, 9);
  EXPECT_EQ(id.nacwu, 127) << "64 KiB";
  EXPECT_EQ(id.anagrpid, 1u);
  EXPECT_EQ(id.nmic, nvme::nmic_shared);
  EXPECT_TRUE(std::equal(uuid.bytes.begin(), uuid.bytes.end(), id.nguid));
  EXPECT_EQ(id.rescap, 0) << "reservations are not offered";

  const Bytes names = s.admin.identify(nvme::Cns::namespace_descriptors, 1).data;
  EXPECT_EQ(names[0], std::byte{2});
  EXPECT_EQ(names[1], std::byte{16});
  EXPECT_EQ(std::memcmp(names.data() + 4, uuid.bytes.data(), 16), 0);
  EXPECT_EQ(names[20], std::byte{3});
  EXPECT_EQ(std::memcmp(names.data() + 24, uuid.bytes.data(), 16), 0);
  EXPECT_EQ(names[40], std::byte{4});
  EXPECT_EQ(names[41], std::byte{1});
  EXPECT_EQ(names[45], std::byte{0});

  const auto independent =
      load<nvme::IdentifyNamespaceIndependent>(s.admin.identify(nvme::Cns::namespace_independent, 1).data);
  EXPECT_EQ(independent.nstat, 1);
  EXPECT_EQ(independent.anagrpid, 1u);
  EXPECT_TRUE(s.admin.identify(nvme::Cns::namespace_csi, 1).status.ok());
  EXPECT_TRUE(s.admin.identify(nvme::Cns::controller_csi).status.ok());
}

TEST(Identify, ListsOfNamespaces) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  const auto second = rig.make_device("malloc1", rig.device->geometry());
  NamespaceConfig ns;
  ns.nsid = 700;
  ASSERT_EQ(rig.run(rig.target->add_namespace(volume_nqn, ns, *second)).code(), Errc::ok);
  Session s(rig);
  for (const auto cns : {nvme::Cns::active_namespaces, nvme::Cns::active_namespaces_csi}) {
    auto list = load<nvme::NamespaceList>(s.admin.identify(cns, 0).data);
    EXPECT_EQ(list.nsid[0], 1u);
    EXPECT_EQ(list.nsid[1], 700u);
    EXPECT_EQ(list.nsid[2], 0u);
    list = load<nvme::NamespaceList>(s.admin.identify(cns, 1).data);
    EXPECT_EQ(list.nsid[0], 700u);
    EXPECT_EQ(s.admin.identify(cns, 0xffffffff).status, invalid_namespace);
  }
  ASSERT_EQ(rig.run(rig.target->remove_namespace(volume_nqn, 700)).code(), Errc::ok);
  rig.run(second->close());
}

TEST(Identify, Refusals) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  for (const auto cns : {nvme::Cns::namespace_nvm, nvme::Cns::namespace_csi, nvme::Cns::namespace_independent,
                         nvme::Cns::allocated_namespace}) {
    const Outcome inactive = s.admin.identify(cns, 2);
    EXPECT_TRUE(inactive.status.ok());
    EXPECT_EQ(inactive.data, Bytes(4096)) << "inactive reads as zeroes";
    EXPECT_EQ(s.admin.identify(cns, 0).status, invalid_namespace);
    EXPECT_EQ(s.admin.identify(cns, nsid_max + 1).status, invalid_namespace);
    EXPECT_EQ(s.admin.identify(cns, nvme::nsid_all).status, invalid_namespace);
  }
  EXPECT_EQ(s.admin.identify(nvme::Cns::namespace_descriptors, 2).status, invalid_namespace);
  EXPECT_EQ(s.admin.identify(nvme::Cns::nvm_set_list).status, invalid_field);
  EXPECT_EQ(s.admin.identify(nvme::Cns::attached_controllers, 2).status, invalid_namespace);
  EXPECT_EQ(s.admin.identify(nvme::Cns::allocated_namespace, nvme::nsid_all).status, invalid_namespace);
  EXPECT_EQ(s.admin.identify(static_cast<nvme::Cns>(0x99)).status, invalid_field);
  EXPECT_EQ(s.admin.identify(nvme::Cns::namespace_csi, 1, 2u << 24).status, invalid_field) << "zoned";
  Sqe sqe = RawHost::admin(AdminOpcode::identify, 1);
  sqe.sgl1 = nvme::SglDescriptor::transport(512);
  EXPECT_EQ(s.admin.execute(sqe).status, nvme::permanent(StatusCode::data_sgl_length_invalid));
  sqe.sgl1 = nvme::SglDescriptor{0, 4096, {}, 0x40};
  EXPECT_EQ(s.admin.execute(sqe).status, nvme::permanent(StatusCode::sgl_descriptor_type_invalid));
  sqe.sgl1 = nvme::SglDescriptor::transport(4096);
  sqe.flags = 0;  // PRPs
  EXPECT_EQ(s.admin.execute(sqe).status, invalid_field);
  sqe.flags = Sqe::psdt_sgl | 1;  // fused
  EXPECT_EQ(s.admin.execute(sqe).status, invalid_field);
}

TEST(Admin, CommandsThatAreNotOffered) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  for (unsigned opc = 0; opc < 256; ++opc) {
    switch (static_cast<AdminOpcode>(opc)) {
      case AdminOpcode::get_log_page:
      case AdminOpcode::identify:
      case AdminOpcode::abort:
      case AdminOpcode::set_features:
      case AdminOpcode::get_features:
      case AdminOpcode::async_event_request:
      case AdminOpcode::keep_alive:
      case AdminOpcode::fabrics:
        continue;
      default:
        break;
    }
    EXPECT_EQ(s.admin.execute(RawHost::admin(static_cast<AdminOpcode>(opc))).status,
              nvme::permanent(StatusCode::invalid_command_opcode))
        << opc;
  }
  Sqe auth = RawHost::admin(AdminOpcode::fabrics, 0, 0, 5);  // FCTYPE is in the place of NSID
  EXPECT_EQ(s.admin.execute(auth).status, nvme::permanent(StatusCode::invalid_field));
}

Outcome set_feature(Session& s, nvme::Feature f, std::uint32_t value, std::uint32_t flags = 0) {
  return s.admin.execute(
      RawHost::admin(AdminOpcode::set_features, static_cast<std::uint32_t>(f) | flags, value));
}
Outcome get_feature(Session& s, nvme::Feature f, std::uint32_t cdw11 = 0, unsigned select = 0,
                    std::uint32_t bytes = 0) {
  Sqe sqe = RawHost::admin(AdminOpcode::get_features, static_cast<std::uint32_t>(f) | select << 8, cdw11);
  sqe.sgl1 = nvme::SglDescriptor::transport(bytes);
  return s.admin.execute(sqe);
}

TEST(Features, Values) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  using nvme::Feature;
  EXPECT_EQ(get_feature(s, Feature::number_of_queues).result, nvme::pack_queue_counts(64, 64));
  EXPECT_EQ(set_feature(s, Feature::number_of_queues, nvme::pack_queue_counts(4, 8)).status,
            nvme::permanent(StatusCode::command_sequence_error))
      << "there are I/O queues";

  EXPECT_TRUE(set_feature(s, Feature::keep_alive_timer, 3500).status.ok());
  EXPECT_EQ(get_feature(s, Feature::keep_alive_timer).result, 4000u);
  EXPECT_EQ(get_feature(s, Feature::volatile_write_cache).result, 1u);
  EXPECT_TRUE(set_feature(s, Feature::volatile_write_cache, 1).status.ok());
  EXPECT_EQ(set_feature(s, Feature::volatile_write_cache, 0).status,
            nvme::permanent(StatusCode::feature_not_changeable));

  // As the hardware monitor of Linux asks: over and under threshold of the composite temperature.
  EXPECT_EQ(get_feature(s, Feature::temperature_threshold).result, 0xffffu);
  EXPECT_TRUE(set_feature(s, Feature::temperature_threshold, 343).status.ok());
  EXPECT_TRUE(set_feature(s, Feature::temperature_threshold, 273 | 1u << 20).status.ok());
  EXPECT_EQ(get_feature(s, Feature::temperature_threshold).result, 343u);
  EXPECT_EQ(get_feature(s, Feature::temperature_threshold, 1u << 20).result, 273u);
  EXPECT_EQ(get_feature(s, Feature::temperature_threshold, 0, 1).result, 0xffffu) << "the default";
  EXPECT_EQ(get_feature(s, Feature::temperature_threshold, 3u << 16).status, invalid_field)
      << "no such sensor";

  EXPECT_EQ(set_feature(s, Feature::async_event_config, 1u << 13).status, invalid_field) << "never raised";
  EXPECT_TRUE(set_feature(s, Feature::async_event_config, nvme::oaes_ana_change).status.ok());
  EXPECT_EQ(get_feature(s, Feature::async_event_config).result, nvme::oaes_ana_change);
  EXPECT_EQ(get_feature(s, Feature::async_event_config, 0, 3).result, nvme::feature_changeable);
  EXPECT_EQ(set_feature(s, Feature::arbitration, 7, 1u << 31).status,
            nvme::permanent(StatusCode::feature_not_saveable));
  EXPECT_TRUE(set_feature(s, Feature::power_management, 0).status.ok());
  EXPECT_EQ(set_feature(s, Feature::power_management, 1).status, invalid_field);
  EXPECT_EQ(set_feature(s, Feature::reservation_mask, 0).status, permanent(StatusCode::invalid_namespace));
  EXPECT_EQ(get_feature(s, static_cast<Feature>(0x42)).status, invalid_field);
}

TEST(Features, WithData) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  using nvme::Feature;
  const Outcome id = get_feature(s, Feature::host_identifier, 1, 0, 16);
  EXPECT_TRUE(id.status.ok());
  EXPECT_EQ(id.data[0], std::byte{1});
  EXPECT_EQ(get_feature(s, Feature::host_identifier, 0, 0, 8).status, invalid_field) << "64 bits";
  EXPECT_EQ(set_feature(s, Feature::host_identifier, 1).status,
            nvme::permanent(StatusCode::command_sequence_error));

  // Retry delays, as Linux turns them on; once with the data in the capsule, once by R2T.
  for (const bool in_capsule : {true, false}) {
    Bytes behavior(512);
    behavior[0] = std::byte{1};
    Sqe sqe =
        RawHost::admin(AdminOpcode::set_features, static_cast<std::uint32_t>(Feature::host_behavior_support));
    sqe.sgl1 = in_capsule ? nvme::SglDescriptor::in_capsule(512) : nvme::SglDescriptor::transport(512);
    EXPECT_TRUE(s.admin.execute(sqe, behavior).status.ok());
    EXPECT_EQ(get_feature(s, Feature::host_behavior_support, 0, 0, 512).data, behavior);
    behavior[0] = std::byte{2};
    EXPECT_EQ(s.admin.execute(sqe, behavior).status, invalid_field);
  }
}

TEST(Features, NumberOfQueuesLimitsTheirIdentifiers) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  RawHost h(rig), io(rig);
  ASSERT_TRUE(h.set_up() && io.set_up());
  const auto cntlid = static_cast<std::uint16_t>(h.connect(h.connect_sqe(0), RawHost::connect_data()).result);
  const nvme::Cc cc{true, nvme::cc_css_all, 0, 0, nvme::ShutdownNotice::none, 6, 4};
  ASSERT_TRUE(h.property_set(nvme::Property::cc, cc.pack()).status.ok());
  const auto ask = [&h](std::uint32_t value) {
    return h.execute(RawHost::admin(AdminOpcode::set_features, 7, value));
  };
  EXPECT_EQ(ask(0xffff).status, invalid_field);
  EXPECT_EQ(ask(0xffff0000).status, invalid_field);
  EXPECT_EQ(ask(nvme::pack_queue_counts(500, 500)).result, nvme::pack_queue_counts(64, 64));
  EXPECT_EQ(ask(nvme::pack_queue_counts(4, 8)).result, nvme::pack_queue_counts(4, 4));
  const Outcome beyond = io.connect(io.connect_sqe(5), RawHost::connect_data(cntlid));
  EXPECT_EQ(beyond.status, nvme::permanent(StatusCode::connect_invalid_parameters));
  EXPECT_EQ(beyond.result, 42u);
  EXPECT_TRUE(io.connect(io.connect_sqe(4), RawHost::connect_data(cntlid)).status.ok());
}

TEST(Features, ScopesAndSelections) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  using nvme::Feature;
  const auto set = [&s](Feature f, std::uint32_t nsid, std::uint32_t value = 0) {
    return s.admin
        .execute(RawHost::admin(AdminOpcode::set_features, static_cast<std::uint32_t>(f), value, nsid))
        .status;
  };
  EXPECT_EQ(set(Feature::arbitration, 1), nvme::permanent(StatusCode::feature_not_namespace_specific));
  EXPECT_EQ(set(Feature::arbitration, 2), invalid_namespace);
  EXPECT_TRUE(set(Feature::arbitration, nvme::nsid_all).ok());
  EXPECT_TRUE(set(Feature::error_recovery, 1, 5).ok());
  EXPECT_EQ(set(Feature::error_recovery, 1, 1u << 16), invalid_field) << "DULBE";
  EXPECT_EQ(set(Feature::error_recovery, 2), invalid_namespace);
  EXPECT_TRUE(set(Feature::command_set_profile, 0, 0).ok());
  EXPECT_EQ(set(Feature::command_set_profile, 0, 1),
            nvme::permanent(StatusCode::command_set_combination_rejected));
  for (const unsigned refused : {0x00u, 0x03u, 0x08u, 0x09u, 0x0cu, 0x0du, 0x10u, 0x11u, 0x12u, 0x13u,
                                 0x14u, 0x15u, 0x17u, 0x18u, 0x1au, 0x78u, 0x80u, 0x84u, 0xc0u, 0xffu}) {
    EXPECT_EQ(set(static_cast<Feature>(refused), 0), invalid_field) << refused;
    for (unsigned select = 0; select < 4; ++select) {
      EXPECT_EQ(get_feature(s, static_cast<Feature>(refused), 0, select).status, invalid_field) << refused;
    }
  }
  ASSERT_TRUE(set_feature(s, Feature::error_recovery, 7).status.ok());
  EXPECT_EQ(get_feature(s, Feature::error_recovery, 0, 0).result, 7u);
  EXPECT_EQ(get_feature(s, Feature::error_recovery, 0, 1).result, 0u) << "the default";
  EXPECT_EQ(get_feature(s, Feature::error_recovery, 0, 2).result, 0u) << "saved: none, so the default";
  EXPECT_EQ(get_feature(s, Feature::error_recovery, 0, 3).result,
            nvme::feature_changeable | nvme::feature_namespace_specific);
  EXPECT_EQ(get_feature(s, Feature::command_set_profile, 0, 3).result, 0u) << "there is nothing to change";
  for (unsigned select = 4; select < 8; ++select) {
    EXPECT_EQ(get_feature(s, Feature::error_recovery, 0, select).status, invalid_field);
  }
}

TEST(Features, TimestampsRunOn) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const auto now = [&s] {
    const auto t = load<nvme::Timestamp>(get_feature(s, nvme::Feature::timestamp, 0, 0, 8).data);
    std::uint64_t ms = 0;
    for (unsigned i = 0; i < 6; ++i) ms |= std::uint64_t{t.milliseconds[i]} << (8 * i);
    return std::pair(ms, t.attributes);
  };
  rig.world.run_for(5s);
  EXPECT_GE(now().first, 5000u);
  EXPECT_LT(now().first, 5100u);
  EXPECT_EQ(now().second, 0) << "since the reset";
  Bytes set(8);
  set[5] = std::byte{1};
  Sqe sqe = RawHost::admin(AdminOpcode::set_features, 0x0e);
  sqe.sgl1 = nvme::SglDescriptor::in_capsule(8);
  EXPECT_TRUE(s.admin.execute(sqe, set).status.ok());
  rig.world.run_for(2s);
  EXPECT_GE(now().first, (1ull << 40) + 2000);
  EXPECT_EQ(now().second, nvme::timestamp_by_host);
  EXPECT_TRUE(s.admin.property_set(nvme::Property::cc, 0).status.ok());
  rig.world.run_for(1s);
  s.enable();
  EXPECT_GE(now().first, (1ull << 40) + 3000) << "a reset does not lose it";
}

TEST(Identify, ControllersAndCommandSets) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session one(rig), two(rig);
  const auto list = [&](nvme::Cns cns, std::uint32_t nsid, std::uint32_t from) {
    Sqe s = RawHost::admin(AdminOpcode::identify, static_cast<std::uint32_t>(cns) | from << 16, 0, nsid);
    s.sgl1 = nvme::SglDescriptor::transport(4096);
    return load<nvme::ControllerList>(one.admin.execute(s).data);
  };
  for (const auto& [cns, nsid] :
       {std::pair(nvme::Cns::controllers, 0u), std::pair(nvme::Cns::attached_controllers, 1u)}) {
    const auto all = list(cns, nsid, 0);
    EXPECT_EQ(all.count, 2);
    EXPECT_EQ(all.cntlid[0], one.cntlid);
    EXPECT_EQ(all.cntlid[1], two.cntlid);
    EXPECT_EQ(list(cns, nsid, two.cntlid).count, 1);
    EXPECT_EQ(list(cns, nsid, 0xffff).count, 0);
  }
  EXPECT_EQ(load<nvme::NamespaceList>(one.admin.identify(nvme::Cns::allocated_namespaces).data).nsid[0], 1u);
  EXPECT_EQ(one.admin.identify(nvme::Cns::allocated_namespace, 1).data,
            one.admin.identify(nvme::Cns::namespace_nvm, 1).data);
  const auto sets = load<nvme::CommandSetCombinations>(one.admin.identify(nvme::Cns::command_sets).data);
  EXPECT_EQ(sets.vector[0], 1u);
  EXPECT_EQ(sets.vector[1], 0u);
}

TEST(Identify, APathThatIsNotAccessibleDoesNotKnowTheUse) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const auto use = [&s] {
    return load<nvme::IdentifyNamespace>(s.admin.identify(nvme::Cns::namespace_nvm, 1).data).nuse.get();
  };
  EXPECT_EQ(use(), 65536u);
  ASSERT_EQ(rig.run(rig.target->set_ana_state(volume_nqn, 1, nvme::AnaState::inaccessible)).code(), Errc::ok);
  EXPECT_EQ(use(), 0u);
  ASSERT_EQ(rig.run(rig.target->set_ana_state(volume_nqn, 1, nvme::AnaState::non_optimized)).code(),
            Errc::ok);
  EXPECT_EQ(use(), 65536u);
}

TEST(LogPages, Contents) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  using nvme::LogPage;
  ASSERT_TRUE(s.io.write(0, pattern(4096, 1), true).status.ok());
  ASSERT_TRUE(s.io.read(0, 8).status.ok());
  const auto smart = load<nvme::SmartLog>(s.admin.log_page(LogPage::smart, 512).data);
  EXPECT_EQ(smart.host_reads.low, 1u);
  EXPECT_EQ(smart.host_writes.low, 1u);
  EXPECT_EQ(smart.data_units_written.low, 1u) << "rounded up";
  EXPECT_EQ(smart.avail_spare, 100);

  const auto firmware = load<nvme::FirmwareSlotLog>(s.admin.log_page(LogPage::firmware_slot, 512).data);
  EXPECT_EQ(firmware.afi, 1);
  EXPECT_EQ(nvme::ascii(firmware.frs[0]), "0.1.0");

  const auto effects = load<nvme::CommandEffectsLog>(s.admin.log_page(LogPage::command_effects, 4096).data);
  EXPECT_EQ(effects.iocs[static_cast<unsigned>(IoOpcode::write)], 3u);
  EXPECT_EQ(effects.iocs[static_cast<unsigned>(IoOpcode::read)], 1u);
  EXPECT_EQ(effects.iocs[static_cast<unsigned>(IoOpcode::write_uncorrectable)], 0u);

  const Bytes supported = s.admin.log_page(LogPage::supported_pages, 1024).data;
  EXPECT_EQ(supported[0x0c * 4], std::byte{1});
  EXPECT_EQ(supported[0x70 * 4], std::byte{0});
}

TEST(LogPages, PartsAndRefusals) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  using nvme::LogPage;
  const Bytes whole = s.admin.log_page(LogPage::command_effects, 4096).data;
  const Outcome part = s.admin.log_page(LogPage::command_effects, 64, nvme::nsid_all, 0, 1024);
  EXPECT_EQ(part.data, Bytes(whole.begin() + 1024, whole.begin() + 1088));
  const Outcome beyond = s.admin.log_page(LogPage::command_effects, 128, nvme::nsid_all, 0, 4032);
  EXPECT_TRUE(beyond.status.ok());
  EXPECT_EQ(Bytes(beyond.data.begin() + 64, beyond.data.end()), Bytes(64)) << "zeroes behind the end";
  EXPECT_EQ(s.admin.log_page(LogPage::command_effects, 64, nvme::nsid_all, 0, 4100).status, invalid_field);
  EXPECT_EQ(s.admin.log_page(LogPage::command_effects, 64, nvme::nsid_all, 0, 2).status, invalid_field);
  EXPECT_TRUE(s.admin.log_page(LogPage::smart, 512, 1).status.ok());
  EXPECT_EQ(s.admin.log_page(LogPage::smart, 512, 2).status, invalid_namespace);
  const auto no_page = nvme::permanent(StatusCode::invalid_log_page);
  EXPECT_EQ(s.admin.log_page(LogPage::discovery, 1024).status, no_page);
  EXPECT_EQ(s.admin.log_page(static_cast<LogPage>(0x81), 64).status, no_page);
  EXPECT_EQ(s.admin.log_page(static_cast<LogPage>(0xfe), 64).status, no_page);
  EXPECT_EQ(s.admin.log_page(LogPage::command_effects, (1 << 20) + 4).status, invalid_field) << "over MDTS";
}

std::vector<nvme::AsyncEvent> events(RawHost& h) {
  std::vector<nvme::AsyncEvent> out;
  h.execute(RawHost::admin(AdminOpcode::keep_alive));  // whatever was on its way is here now
  for (const nvme::Cqe& cqe : h.others)
    out.push_back(nvme::AsyncEvent::unpack(static_cast<std::uint32_t>(cqe.result)));
  h.others.clear();
  return out;
}

TEST(Events, NamespaceChangesAreToldOncePerReading) {
  Rig rig(1, 2);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const auto second = rig.make_device("malloc1", rig.device->geometry());
  ASSERT_TRUE(set_feature(s, nvme::Feature::async_event_config, nvme::oaes_namespace_attribute).status.ok());
  s.admin.park_event_request();
  s.admin.park_event_request();
  NamespaceConfig ns;
  ns.nsid = 5;
  ASSERT_EQ(rig.run(rig.target->add_namespace(volume_nqn, ns, *second)).code(), Errc::ok);
  auto told = events(s.admin);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].type, nvme::AsyncEventType::notice);
  EXPECT_EQ(told[0].info, 0);
  EXPECT_EQ(told[0].lid, 4);
  ASSERT_EQ(rig.device->resize(rig.device->geometry().block_count * 2).code(), Errc::ok);
  rig.world.run_for(10ms);
  EXPECT_TRUE(events(s.admin).empty()) << "not again before the host has read";
  const auto changed =
      load<nvme::ChangedNamespacesLog>(s.admin.log_page(nvme::LogPage::changed_namespaces, 4096).data);
  EXPECT_EQ(changed.nsid[0], 1u);
  EXPECT_EQ(changed.nsid[1], 5u);
  EXPECT_EQ(changed.nsid[2], 0u);
  EXPECT_EQ(events(s.admin).size(), 1u) << "the resize was still to be told";
  const auto id = load<nvme::IdentifyNamespace>(s.admin.identify(nvme::Cns::namespace_nvm, 1).data);
  EXPECT_EQ(id.nsze, 131072u);
  EXPECT_TRUE(s.io.read(131071, 1).status.ok()) << "the I/O queue knows too";
  ASSERT_EQ(rig.run(rig.target->remove_namespace(volume_nqn, 5)).code(), Errc::ok);
  EXPECT_EQ(s.io.execute(RawHost::io(IoOpcode::flush, 0, 1, 5)).status, invalid_namespace);
  rig.run(second->close());
}

// A device that fails when the test says so.
class TellingDevice final : public BlockDevice {
 public:
  explicit TellingDevice(BlockDevice& below)
      : BlockDevice(Identity{"telling", Uuid::from_name("telling"), "test:", "test"}), below_(below) {}
  const Geometry& geometry() const noexcept override { return below_.geometry(); }
  const Capabilities& capabilities() const noexcept override { return below_.capabilities(); }
  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor& core) override {
    return below_.open_channel(core);
  }
  Task<IoStats> stats() override { return below_.stats(); }
  Task<void> close() override { co_return; }
  void tell(DeviceEvent event) noexcept { raise(event); }

 private:
  BlockDevice& below_;
};

TEST(Events, AFailedDeviceIsAnErrorAndACriticalWarning) {
  using nvme::LogPage;
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  TellingDevice device(*rig.device);
  NamespaceConfig ns;
  ns.nsid = 5;
  ASSERT_EQ(rig.run(rig.target->add_namespace(volume_nqn, ns, device)).code(), Errc::ok);
  Session s(rig);
  const auto critical = [&](std::uint32_t nsid) {
    return load<nvme::SmartLog>(s.admin.log_page(LogPage::smart, 512, nsid, 0, 0, true).data)
        .critical_warning;
  };
  const auto is_error = [](const nvme::AsyncEvent& e) {
    return e.type == nvme::AsyncEventType::error && e.info == 4 && e.lid == 1;
  };
  const auto is_health = [](const nvme::AsyncEvent& e) {
    return e.type == nvme::AsyncEventType::smart && e.info == 0 && e.lid == 2;
  };
  for (unsigned i = 0; i < 3; ++i) s.admin.park_event_request();
  device.tell(DeviceEvent::failed);
  device.tell(DeviceEvent::failed);
  auto told = events(s.admin);
  ASSERT_EQ(told.size(), 1u) << "SMART events have to be asked for, and it failed once";
  EXPECT_TRUE(is_error(told[0]));
  EXPECT_EQ(critical(nvme::nsid_all), 4u);
  EXPECT_EQ(critical(5), 4u);
  EXPECT_EQ(critical(1), 0u);
  ASSERT_TRUE(set_feature(s, nvme::Feature::async_event_config, 4).status.ok());
  told = events(s.admin);
  ASSERT_EQ(told.size(), 1u) << "it is so already";
  EXPECT_TRUE(is_health(told[0]));
  // Told again only after their pages were read; a page that is read with RAE stays unread.
  device.tell(DeviceEvent::recovered);
  EXPECT_EQ(critical(nvme::nsid_all), 0u);
  device.tell(DeviceEvent::failed);
  EXPECT_TRUE(events(s.admin).empty());
  const auto entry = load<nvme::ErrorLogEntry>(s.admin.log_page(LogPage::error, 64).data);
  EXPECT_EQ(entry.error_count, 2u);
  EXPECT_EQ(entry.sqid, 0xffffu) << "of no command";
  EXPECT_EQ(entry.cmdid, 0xffffu);
  EXPECT_EQ(entry.nsid, 5u);
  told = events(s.admin);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_TRUE(is_error(told[0]));
  s.admin.park_event_request();
  s.admin.log_page(LogPage::smart, 512);
  told = events(s.admin);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_TRUE(is_health(told[0]));
  // What is over before anybody could be told is not told.
  device.tell(DeviceEvent::recovered);
  device.tell(DeviceEvent::failed);
  device.tell(DeviceEvent::recovered);
  s.admin.log_page(LogPage::smart, 512);
  EXPECT_TRUE(events(s.admin).empty());
  ASSERT_EQ(rig.run(rig.target->remove_namespace(volume_nqn, 5)).code(), Errc::ok);
}

TEST(Events, AnaChanges) {
  Rig rig(1, 2);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  ASSERT_TRUE(set_feature(s, nvme::Feature::async_event_config, nvme::oaes_ana_change).status.ok());
  s.admin.park_event_request();
  const struct {
    nvme::AnaState state;
    StatusCode code;
  } states[] = {{nvme::AnaState::inaccessible, StatusCode::ana_inaccessible},
                {nvme::AnaState::change, StatusCode::ana_transition},
                {nvme::AnaState::persistent_loss, StatusCode::ana_persistent_loss},
                {nvme::AnaState::non_optimized, StatusCode::success},
                {nvme::AnaState::optimized, StatusCode::success}};
  for (const auto& [state, code] : states) {
    ASSERT_EQ(rig.run(rig.target->set_ana_state(volume_nqn, 1, state)).code(), Errc::ok);
    const Outcome r = s.io.read(0, 1);
    EXPECT_EQ(r.status.code, code);
    EXPECT_FALSE(r.status.dnr) << "another path may do";
    const Bytes log = s.admin.log_page(nvme::LogPage::ana, 16 + 36).data;
    const auto header = load<nvme::AnaLogHeader>(log);
    EXPECT_EQ(header.ngrps, 1);
    const auto group = load<nvme::AnaGroupDescriptor>(std::span(log).subspan(16));
    EXPECT_EQ(group.grpid, 1u);
    EXPECT_EQ(group.state, static_cast<std::uint8_t>(state));
    EXPECT_EQ(group.chgcnt, header.chgcnt);
    EXPECT_EQ(load<le32>(std::span(log).subspan(48)), 1u);
    const auto told = events(s.admin);
    ASSERT_EQ(told.size(), 1u);
    EXPECT_EQ(told[0].info, 3);
    EXPECT_EQ(told[0].lid, 0x0c);
    s.admin.park_event_request();
  }
  EXPECT_TRUE(s.admin.log_page(nvme::LogPage::ana, 4096, nvme::nsid_all, 0, 32768).status.ok())
      << "read in parts";
  const Bytes groups = s.admin.log_page(nvme::LogPage::ana, 48, nvme::nsid_all, 1).data;
  EXPECT_EQ(load<nvme::AnaGroupDescriptor>(std::span(groups).subspan(16)).nnsids, 0u);
  EXPECT_EQ(rig.run(rig.target->set_ana_state(volume_nqn, 2, nvme::AnaState::change)).code(),
            Errc::not_found);
}

TEST(Events, RequestsBeyondTheLimitAndAbort) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  std::vector<std::uint16_t> cids;
  for (unsigned i = 0; i < async_event_requests_max; ++i) cids.push_back(s.admin.park_event_request());
  EXPECT_EQ(s.admin.execute(RawHost::admin(AdminOpcode::async_event_request)).status,
            nvme::permanent(StatusCode::async_event_limit_exceeded));
  const Outcome aborted = s.admin.execute(RawHost::admin(AdminOpcode::abort, std::uint32_t{cids[1]} << 16));
  EXPECT_EQ(aborted.result, 0u);
  events(s.admin);
  s.admin.park_event_request();  // there is room again
  EXPECT_TRUE(events(s.admin).empty());
  const Outcome none = s.admin.execute(RawHost::admin(AdminOpcode::abort, 0x1234u << 16));
  EXPECT_TRUE(none.status.ok());
  EXPECT_EQ(none.result, 1u) << "not aborted";
}

TEST(Discovery, EveryListenerOfEverySubsystemThatTheHostMayUse) {
  Rig rig(1, 2);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  SubsystemConfig hidden = Rig::volume();
  hidden.nqn = subsystem_nqn("hidden");
  hidden.allowed_hosts = {"nqn.somebody.else"};
  ASSERT_EQ(rig.run(rig.target->add_subsystem(hidden)).code(), Errc::ok);
  ASSERT_TRUE(rig.run(rig.target->listen(Endpoint{rig.target_node.ipv4(), 4421})).ok());
  ASSERT_TRUE(rig.run(rig.target->listen(Endpoint{rig.target_node.ipv6(), 4422})).ok());
  RawHost h(rig);
  ASSERT_TRUE(h.set_up());
  const auto data = RawHost::connect_data(0xffff, std::string(nvme::discovery_nqn));
  ASSERT_TRUE(h.connect(h.connect_sqe(0), data).status.ok());
  ASSERT_TRUE(h.property_set(nvme::Property::cc, 1).status.ok());
  EXPECT_EQ(h.property_get(nvme::Property::csts).result, 1u);
  const auto id = load<nvme::IdentifyController>(h.identify(nvme::Cns::controller).data);
  EXPECT_EQ(id.cntrltype, 2);
  EXPECT_EQ(id.nn, 0u);
  EXPECT_EQ(std::string(id.subnqn), nvme::discovery_nqn);
  EXPECT_EQ(h.identify(nvme::Cns::active_namespaces).status, invalid_field);
  EXPECT_EQ(rig.target->discovery_controllers().size(), 1u);

  const Bytes log = h.log_page(nvme::LogPage::discovery, 1024 + 3 * 1024).data;
  const auto header = load<nvme::DiscoveryLogHeader>(log);
  ASSERT_EQ(header.numrec, 3u);
  std::vector<std::string> seen;
  for (unsigned i = 0; i < 3; ++i) {
    const auto e = load<nvme::DiscoveryLogEntry>(std::span(log).subspan(1024 + i * 1024));
    EXPECT_EQ(std::string(e.subnqn), volume_nqn);
    EXPECT_EQ(e.trtype, 3);
    EXPECT_EQ(e.subtype, 2);
    EXPECT_EQ(e.treq & 3, 0) << "secure channel not specified";
    EXPECT_EQ(e.cntlid, 0xffff);
    EXPECT_EQ(e.adrfam, nvme::ascii(e.traddr).find(':') == std::string_view::npos ? 1 : 2);
    seen.push_back(std::string(nvme::ascii(e.traddr)) + " " + std::string(nvme::ascii(e.trsvcid)));
  }
  EXPECT_EQ(seen[0], rig.target_node.ipv4() + " 8420")
      << "the wildcard listener: the address that we came by";
  EXPECT_EQ(seen[1], rig.target_node.ipv4() + " 4421");
  EXPECT_EQ(seen[2], rig.target_node.ipv6() + " 4422");

  // A change is told, and moves the generation.
  Sqe config = RawHost::admin(AdminOpcode::set_features, 0x0b, nvme::oaes_discovery_change);
  ASSERT_TRUE(h.execute(config).status.ok());
  h.park_event_request();
  SubsystemConfig more = Rig::volume();
  more.nqn = subsystem_nqn("more");
  ASSERT_EQ(rig.run(rig.target->add_subsystem(more)).code(), Errc::ok);
  const auto told = events(h);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].info, 0xf0);
  const auto later = load<nvme::DiscoveryLogHeader>(h.log_page(nvme::LogPage::discovery, 1024).data);
  EXPECT_GT(later.genctr, header.genctr);
  EXPECT_EQ(later.numrec, 6u);
}

struct DiscoveryHost : RawHost {
  explicit DiscoveryHost(Rig& rig, std::uint32_t kato = 0) : RawHost(rig) {
    const auto data = RawHost::connect_data(0xffff, std::string(nvme::discovery_nqn));
    if (!set_up() || !connect(connect_sqe(0, 31, 0, kato), data).status.ok()) panic("no discovery");
    if (!property_set(nvme::Property::cc, 1).status.ok()) panic("not enabled");
  }
};

TEST(Discovery, ReferralsToOtherServices) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  DiscoveryHost h(rig);
  ASSERT_TRUE(
      h.execute(RawHost::admin(AdminOpcode::set_features, 0x0b, nvme::oaes_discovery_change)).status.ok());
  h.park_event_request();
  const Referral other{Endpoint{"fd00::7", 8009}, std::string(nvme::discovery_nqn)};
  EXPECT_EQ(rig.target->add_referral(other).code(), Errc::ok);
  EXPECT_EQ(events(h).size(), 1u);
  const Bytes log = h.log_page(nvme::LogPage::discovery, 3072).data;
  EXPECT_EQ(load<nvme::DiscoveryLogHeader>(log).numrec, 2u);
  const auto e = load<nvme::DiscoveryLogEntry>(std::span(log).subspan(2048));
  EXPECT_EQ(e.subtype, 1);
  EXPECT_EQ(e.adrfam, 2);
  EXPECT_EQ(std::string(e.subnqn), nvme::discovery_nqn);
  EXPECT_EQ(nvme::ascii(e.traddr), "fd00::7");
  EXPECT_EQ(nvme::ascii(e.trsvcid), "8009");
  EXPECT_EQ(rig.target->add_referral(other).code(), Errc::already_exists);
  EXPECT_EQ(rig.target->referrals().size(), 1u);
  const auto refused = [&](Referral r) { return rig.target->add_referral(std::move(r)).code(); };
  EXPECT_EQ(refused({Endpoint{"0.0.0.0", 8009}, other.nqn}), Errc::invalid_argument);
  EXPECT_EQ(refused({Endpoint{"::", 8009}, other.nqn}), Errc::invalid_argument);
  EXPECT_EQ(refused({Endpoint{"10.0.0.1", 0}, other.nqn}), Errc::invalid_argument);
  EXPECT_EQ(refused({Endpoint{"10.0.0.1", 1}, "discovery"}), Errc::invalid_argument);
  h.park_event_request();
  EXPECT_EQ(rig.target->remove_referral(other).code(), Errc::ok);
  EXPECT_EQ(events(h).size(), 1u);
  EXPECT_EQ(rig.target->remove_referral(other).code(), Errc::not_found);
  EXPECT_EQ(load<nvme::DiscoveryLogHeader>(h.log_page(nvme::LogPage::discovery, 1024).data).numrec, 1u);
}

TEST(Discovery, HostsThatStayKeepTheirControllerAlive) {
  Rig rig;
  DiscoveryHost passing(rig), staying(rig, 300'000);
  rig.world.run_for(100s);
  EXPECT_TRUE(passing.log_page(nvme::LogPage::discovery, 1024).status.ok());
  rig.world.run_for(119s);
  EXPECT_EQ(rig.target->discovery_controllers().size(), 2u);
  rig.world.run_for(2s);
  EXPECT_EQ(rig.target->discovery_controllers().size(), 1u) << "two minutes without a word";
  EXPECT_TRUE(passing.ends());
  EXPECT_TRUE(staying.log_page(nvme::LogPage::discovery, 1024).status.ok());
  rig.world.run_for(301s);
  EXPECT_TRUE(staying.ends());
}

TEST(Discovery, ByIpv6) {
  Rig rig;
  ASSERT_TRUE(rig.run(rig.target->listen(Endpoint{"::", port})).ok());
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  RawHost h(rig, rig.target_node.ipv6());
  ASSERT_TRUE(h.connected());
  ASSERT_TRUE(h.set_up());
  const auto data = RawHost::connect_data(0xffff, std::string(nvme::discovery_nqn));
  ASSERT_TRUE(h.connect(h.connect_sqe(0), data).status.ok());
  ASSERT_TRUE(h.property_set(nvme::Property::cc, 1).status.ok());
  const Bytes log = h.log_page(nvme::LogPage::discovery, 2048).data;
  EXPECT_EQ(load<nvme::DiscoveryLogHeader>(log).numrec, 1u) << "not the IPv4 wildcard";
  const auto e = load<nvme::DiscoveryLogEntry>(std::span(log).subspan(1024));
  EXPECT_EQ(nvme::ascii(e.traddr), rig.target_node.ipv6());
}

}  // namespace
}  // namespace holdfast::nvmf::test
