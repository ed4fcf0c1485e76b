// Goal: commands that move data below the wire do what they say, within the limits that identify gives; what
// is refused is explained by the error log.
#include "nvmf/target/target.h"
#include "nvmf/target/testing/raw_host.h"

namespace holdfast::nvmf::test {
namespace {

struct Source {
  std::uint64_t slba;
  std::uint32_t blocks;
};

Bytes list_of(const std::vector<Source>& sources) {
  Bytes out;
  for (const Source& s : sources) {
    nvme::CopyRange range{};
    range.slba = s.slba;
    range.nlb = static_cast<std::uint16_t>(s.blocks - 1);
    append(out, bytes_of(range));
  }
  return out;
}

Sqe copy_sqe(std::size_t ranges, std::uint64_t to, std::uint32_t flags = 0) {
  Sqe c = RawHost::io(IoOpcode::copy, to, static_cast<std::uint32_t>(ranges));
  c.cdw12 = c.cdw12 | flags;
  c.sgl1 = nvme::SglDescriptor::in_capsule(static_cast<std::uint32_t>(ranges * sizeof(nvme::CopyRange)));
  return c;
}
Outcome copy(Session& s, const std::vector<Source>& sources, std::uint64_t to, std::uint32_t flags = 0) {
  return s.io.execute(copy_sqe(sources.size(), to, flags), list_of(sources));
}

TEST(Copy, RangesOneAfterTheOther) {
  for (const std::uint32_t flags : {0u, nvme::cdw12_fua}) {
    Rig rig;
    ASSERT_EQ(rig.add_volume(), Errc::ok);
    Session s(rig);
    const Bytes data = pattern(1 << 20, 1);
    ASSERT_TRUE(s.io.write(0, data, false).status.ok());
    EXPECT_TRUE(copy(s, {{100, 1}, {0, 1000}, {2047, 1}}, 10'000, flags).status.ok());
    const Bytes got = s.io.read(10'000, 1002).data;
    EXPECT_TRUE(std::equal(got.begin(), got.begin() + 512, data.begin() + 100 * 512));
    EXPECT_TRUE(std::equal(got.begin() + 512, got.begin() + 1001 * 512, data.begin()));
    EXPECT_TRUE(std::equal(got.begin() + 1001 * 512, got.end(), data.begin() + 2047 * 512));
    EXPECT_EQ(s.io.read(11'002, 1).data, Bytes(512));
    EXPECT_EQ(s.io.read(9'999, 1).data, Bytes(512));
  }
}

TEST(Copy, TheListOfRangesByR2t) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const Bytes data = pattern(512, 1);
  ASSERT_TRUE(s.io.write(7, data, true).status.ok());
  const std::vector<Source> all(copy_ranges_max, Source{7, 1});
  Sqe c = copy_sqe(all.size(), 1000);
  c.sgl1 = nvme::SglDescriptor::transport(c.sgl1.length);
  const Outcome o = s.io.execute(c, list_of(all));
  EXPECT_TRUE(o.status.ok());
  EXPECT_EQ(o.r2ts, 1u);
  EXPECT_EQ(s.io.read(1127, 1).data, data);
  EXPECT_EQ(s.io.read(1128, 1).data, Bytes(512));
}

TEST(Copy, LimitsAndRefusals) {
  Rig rig;
  Geometry g = rig.device->geometry();
  g.block_count = 1 << 20;
  const auto large = rig.make_device("large", g);
  ASSERT_EQ(rig.run(rig.target->add_subsystem(Rig::volume())).code(), Errc::ok);
  ASSERT_EQ(rig.run(rig.target->add_namespace(volume_nqn, NamespaceConfig(), *large)).code(), Errc::ok);
  Session s(rig);
  const auto id = load<nvme::IdentifyNamespace>(s.admin.identify(nvme::Cns::namespace_nvm, 1).data);
  EXPECT_EQ(id.mssrl, 32768);
  EXPECT_EQ(id.mcl, 131072u);
  EXPECT_EQ(id.msrc, 127);
  const auto size = nvme::permanent(nvme::command_size_limit_exceeded);
  const auto range = nvme::permanent(StatusCode::lba_out_of_range);
  EXPECT_TRUE(copy(s, {{0, 32768}, {0, 32768}, {0, 32768}, {0, 32768}}, 500'000).status.ok());
  EXPECT_EQ(copy(s, {{0, 32769}}, 500'000).status, size);
  EXPECT_EQ(copy(s, {{0, 32768}, {0, 32768}, {0, 32768}, {0, 32768}, {0, 1}}, 500'000).status, size);
  EXPECT_EQ(copy(s, std::vector<Source>(129, {0, 1}), 500'000).status, size);
  EXPECT_EQ(copy(s, {{0, 1}, {(1 << 20) - 1, 2}}, 500'000).status, range);
  EXPECT_EQ(copy(s, {{~0ull, 2}}, 500'000).status, range);
  EXPECT_EQ(copy(s, {{0, 2}}, (1 << 20) - 1).status, range);
  EXPECT_EQ(copy(s, {{0, 2}}, ~0ull).status, range);
  for (unsigned format = 1; format < 16; ++format) {
    EXPECT_EQ(copy(s, {{0, 1}}, 500'000, format << 8).status, nvme::permanent(StatusCode::invalid_field));
  }
  Sqe shorter = copy_sqe(2, 0);
  shorter.sgl1 = nvme::SglDescriptor::in_capsule(32);
  EXPECT_EQ(s.io.execute(shorter, list_of({{0, 1}})).status,
            nvme::permanent(StatusCode::data_sgl_length_invalid));
  Sqe keyed = copy_sqe(1, 0);
  keyed.sgl1.id = 0x40;
  EXPECT_EQ(s.io.execute(keyed).status, nvme::permanent(StatusCode::sgl_descriptor_type_invalid));
  ASSERT_EQ(rig.run(rig.target->remove_subsystem(volume_nqn)).code(), Errc::ok);
  rig.run(large->close());
}

TEST(Verify, ReadsEverythingAndMovesNothing) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const Outcome o = s.io.execute(RawHost::io(IoOpcode::verify, 0, 65536));
  EXPECT_TRUE(o.status.ok()) << "beyond MDTS: no data moves";
  EXPECT_TRUE(o.data.empty());
  EXPECT_EQ(rig.run(rig.device->stats()).read_bytes, 32u << 20);
  EXPECT_EQ(s.io.execute(RawHost::io(IoOpcode::verify, 65535, 2)).status,
            nvme::permanent(StatusCode::lba_out_of_range));
  EXPECT_EQ(s.io.execute(RawHost::io(IoOpcode::verify, ~0ull, 2)).status,
            nvme::permanent(StatusCode::lba_out_of_range));
}

TEST(Flush, OfEveryNamespace) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  const auto second = rig.make_device("malloc1", rig.device->geometry());
  NamespaceConfig ns;
  ns.nsid = 7;
  ns.ana_state = nvme::AnaState::inaccessible;
  ASSERT_EQ(rig.run(rig.target->add_namespace(volume_nqn, ns, *second)).code(), Errc::ok);
  Session s(rig);
  EXPECT_TRUE(s.io.execute(RawHost::io(IoOpcode::flush, 0, 1, nvme::nsid_all)).status.ok());
  EXPECT_EQ(s.io.execute(RawHost::io(IoOpcode::flush, 0, 1, 7)).status.code, StatusCode::ana_inaccessible);
  ASSERT_EQ(rig.run(rig.target->remove_namespace(volume_nqn, 7)).code(), Errc::ok);
  rig.run(second->close());
}

TEST(ErrorLog, SaysWhatWasWrongWithARefusedCommand) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const auto newest = [&s] {
    return load<nvme::ErrorLogEntry>(s.admin.log_page(nvme::LogPage::error, 64).data);
  };
  EXPECT_EQ(newest().error_count, 0u);
  const auto refuse = [&](RawHost& by, Sqe sqe, StatusCode code, std::uint16_t at, std::uint64_t lba) {
    SCOPED_TRACE(nvme::name(code));
    sqe.cid = 77;
    EXPECT_EQ(by.execute(sqe).status, nvme::permanent(code));
    rig.world.run_for(1ms);
    const auto entry = newest();
    EXPECT_EQ(entry.sqid, &by == &s.io ? 1 : 0);
    EXPECT_EQ(entry.cmdid, 77);
    EXPECT_EQ(CommandStatus::unpack(entry.status_field).code, code);
    EXPECT_EQ(entry.parm_error_location, at);
    EXPECT_EQ(entry.lba, lba);
    EXPECT_EQ(entry.nsid, sqe.nsid);
  };
  Sqe length = RawHost::io(IoOpcode::read, 3, 1);
  length.sgl1 = nvme::SglDescriptor::transport(1024);
  Sqe pointer = RawHost::io(IoOpcode::read, 3, 1);
  pointer.sgl1 = nvme::SglDescriptor::in_capsule(512);
  Sqe prp = RawHost::io(IoOpcode::read, 3, 1);
  prp.flags = 0;
  refuse(s.io, RawHost::io(IoOpcode::read, 65536, 1), StatusCode::lba_out_of_range, 40, 65536);
  refuse(s.io, RawHost::io(IoOpcode::read, 5, 1, 9), StatusCode::invalid_namespace, 4, 5);
  refuse(s.io, RawHost::io(static_cast<IoOpcode>(0x70), 5, 1), StatusCode::invalid_command_opcode, 0, 0);
  refuse(s.io, RawHost::io(IoOpcode::read, 0, 4096), StatusCode::invalid_field, 48, 0);
  refuse(s.io, length, StatusCode::data_sgl_length_invalid, 32, 3);
  refuse(s.io, pointer, StatusCode::sgl_descriptor_type_invalid, 39 | 4 << 8, 3);
  refuse(s.io, prp, StatusCode::invalid_field, 1 | 6 << 8, 3);
  refuse(s.admin, RawHost::admin(AdminOpcode::get_features, 0x7f), StatusCode::invalid_field, 40, 0);
  refuse(s.admin, RawHost::admin(AdminOpcode::set_features, 1 | 1u << 31), StatusCode::feature_not_saveable,
         43 | 7 << 8, 0);
  refuse(s.admin, RawHost::admin(AdminOpcode::firmware_commit), StatusCode::invalid_command_opcode, 0, 0);
  const auto smart = load<nvme::SmartLog>(s.admin.log_page(nvme::LogPage::smart, 512).data);
  EXPECT_EQ(smart.num_err_log_entries.low, 10u);
  // What another path or a later try may serve is not an error of the command.
  ASSERT_EQ(rig.run(rig.target->set_ana_state(volume_nqn, 1, nvme::AnaState::inaccessible)).code(), Errc::ok);
  EXPECT_FALSE(s.io.read(0, 1).status.ok());
  rig.world.run_for(1ms);
  EXPECT_EQ(newest().error_count, 10u);
}

}  // namespace
}  // namespace holdfast::nvmf::test
