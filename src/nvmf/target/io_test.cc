// Goal: every command of an I/O queue does what it says, and each way to ask for something wrong has its
// status.
#include "nvmf/target/target.h"
#include "nvmf/target/testing/device_over.h"
#include "nvmf/target/testing/raw_host.h"

namespace holdfast::nvmf::test {
namespace {

const auto invalid_field = nvme::permanent(StatusCode::invalid_field);
const auto out_of_range = nvme::permanent(StatusCode::lba_out_of_range);

TEST(Io, BoundsAndSizes) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  EXPECT_TRUE(s.io.read(65535, 1).status.ok());
  EXPECT_EQ(s.io.read(65536, 1).status, out_of_range);
  EXPECT_EQ(s.io.read(65535, 2).status, out_of_range);
  EXPECT_EQ(s.io.read(0xffffffffffffffff, 2).status, out_of_range) << "no overflow";
  EXPECT_EQ(s.io.write(65535, pattern(1024, 1), true).status, out_of_range);
  EXPECT_TRUE(s.io.read(0, 2048).status.ok()) << "1 MiB";
  EXPECT_EQ(s.io.read(0, 2049).status, invalid_field) << "over MDTS";
  EXPECT_EQ(s.io.write(0, pattern((1 << 20) + 512, 1), false).status, invalid_field);
}

TEST(Io, DataPointers) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const auto status_of = [&](IoOpcode opc, nvme::SglDescriptor sgl, const Bytes& data) {
    Sqe sqe = RawHost::io(opc, 0, 1);
    sqe.cid = 3;
    sqe.sgl1 = sgl;
    s.io.send(s.io.make_command(sqe, data));
    return s.io.wait_for(3).status;
  };
  const Bytes block = pattern(512, 1);
  const auto length = nvme::permanent(StatusCode::data_sgl_length_invalid);
  const auto type = nvme::permanent(StatusCode::sgl_descriptor_type_invalid);
  const auto offset = nvme::permanent(StatusCode::sgl_offset_invalid);
  using Sgl = nvme::SglDescriptor;
  EXPECT_EQ(status_of(IoOpcode::read, Sgl::transport(1024), {}), length);
  EXPECT_EQ(status_of(IoOpcode::read, Sgl::in_capsule(512), {}), type) << "nothing comes back in a capsule";
  EXPECT_EQ(status_of(IoOpcode::read, Sgl{0, 512, {}, 0x40}, {}), type) << "keyed";
  EXPECT_EQ(status_of(IoOpcode::write, Sgl::in_capsule(1024), block), length);
  EXPECT_EQ(status_of(IoOpcode::write, Sgl::transport(1024), {}), length);
  EXPECT_EQ(status_of(IoOpcode::write, Sgl::in_capsule(512), {}), offset) << "a capsule without data";
  EXPECT_EQ(status_of(IoOpcode::write, Sgl::in_capsule(512, 4), block), offset)
      << "beyond the capsule's data";
  EXPECT_EQ(status_of(IoOpcode::write, Sgl::in_capsule(512, ~0ull), block), offset);
  EXPECT_EQ(status_of(IoOpcode::write, Sgl{0, 512, {}, 0x00}, block), type) << "an address";
  EXPECT_EQ(status_of(IoOpcode::write, Sgl{0, 512, {}, 0x31}, block), type) << "a segment";
  EXPECT_EQ(s.io.read(0, 1).data, Bytes(512)) << "none of them wrote";

  // Data in the middle of the capsule's.
  Bytes capsule = pattern(2048, 2);
  EXPECT_TRUE(status_of(IoOpcode::write, Sgl::in_capsule(512, 1000), capsule).ok());
  EXPECT_EQ(s.io.read(0, 1).data, Bytes(capsule.begin() + 1000, capsule.begin() + 1512));

  // A capsule with data, whose command wants it by R2T: the first is ignored.
  Sqe w = RawHost::io(IoOpcode::write, 0, 1);
  w.cid = 4;
  w.sgl1 = Sgl::transport(512);
  s.io.send(s.io.make_command(w, pattern(512, 7)));
  EXPECT_TRUE(s.io.wait_for(4, block).status.ok());
  EXPECT_EQ(s.io.read(0, 1).data, block);
}

TEST(Io, CommandsThatAreNotOffered) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  for (unsigned opc = 0; opc < 256; ++opc) {
    switch (static_cast<IoOpcode>(opc)) {
      case IoOpcode::flush:
      case IoOpcode::write:
      case IoOpcode::read:
      case IoOpcode::compare:
      case IoOpcode::write_zeroes:
      case IoOpcode::fabrics:
      case IoOpcode::dataset_management:
      case IoOpcode::verify:
      case IoOpcode::copy:
        continue;
      default:
        break;
    }
    EXPECT_EQ(s.io.execute(RawHost::io(static_cast<IoOpcode>(opc), 0, 1)).status,
              nvme::permanent(StatusCode::invalid_command_opcode))
        << opc;
  }
  for (const std::uint32_t nsid : {0u, 2u, 5000u, nvme::nsid_all}) {
    for (const IoOpcode opc : {IoOpcode::read, IoOpcode::copy}) {
      EXPECT_EQ(s.io.execute(RawHost::io(opc, 0, 1, nsid)).status,
                nvme::permanent(StatusCode::invalid_namespace));
    }
    EXPECT_EQ(s.io.execute(RawHost::io(IoOpcode::write_uncorrectable, 0, 1, nsid)).status,
              nvme::permanent(StatusCode::invalid_command_opcode));
  }
  EXPECT_EQ(s.io.execute(RawHost::io(IoOpcode::flush, 0, 1, 2)).status,
            nvme::permanent(StatusCode::invalid_namespace));
}

TEST(Io, FlushFuaAndCompare) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const Bytes data = pattern(4096, 1);
  Sqe w = RawHost::io(IoOpcode::write, 8, 8);
  w.cdw12 = w.cdw12 | nvme::cdw12_fua;
  w.sgl1 = nvme::SglDescriptor::in_capsule(4096);
  EXPECT_TRUE(s.io.execute(w, data).status.ok());
  EXPECT_TRUE(s.io.execute(RawHost::io(IoOpcode::flush, 0, 1)).status.ok());
  Sqe r = RawHost::io(IoOpcode::read, 8, 8);
  r.cdw12 = r.cdw12 | nvme::cdw12_fua;
  r.sgl1 = nvme::SglDescriptor::transport(4096);
  EXPECT_EQ(s.io.execute(r).data, data);
  for (const bool in_capsule : {true, false}) {
    Sqe c = RawHost::io(IoOpcode::compare, 8, 8);
    c.sgl1 = in_capsule ? nvme::SglDescriptor::in_capsule(4096) : nvme::SglDescriptor::transport(4096);
    EXPECT_TRUE(s.io.execute(c, data).status.ok());
    Bytes other = data;
    other[4095] ^= std::byte{1};
    EXPECT_EQ(s.io.execute(c, other).status, nvme::permanent(StatusCode::compare_failure));
  }
}

TEST(Io, WriteZeroes) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  for (const std::uint32_t flags : {0u, nvme::cdw12_deac, nvme::cdw12_fua}) {
    ASSERT_TRUE(s.io.write(0, pattern(1 << 20, 1), false).status.ok());
    Sqe z = RawHost::io(IoOpcode::write_zeroes, 8, 1000);
    z.cdw12 = z.cdw12 | flags;
    EXPECT_TRUE(s.io.execute(z).status.ok());
    const Bytes got = s.io.read(0, 2048).data;
    const Bytes old = pattern(1 << 20, 1);
    EXPECT_TRUE(std::equal(got.begin(), got.begin() + 4096, old.begin()));
    EXPECT_EQ(Bytes(got.begin() + 4096, got.begin() + 1008 * 512), Bytes(1000 * 512));
    EXPECT_TRUE(std::equal(got.begin() + 1008 * 512, got.end(), old.begin() + 1008 * 512));
  }
  EXPECT_EQ(s.io.execute(RawHost::io(IoOpcode::write_zeroes, 65535, 2)).status, out_of_range);
  EXPECT_TRUE(s.io.execute(RawHost::io(IoOpcode::write_zeroes, 0, 65536)).status.ok())
      << "beyond MDTS: no data moves";
}

Bytes ranges(std::initializer_list<std::pair<std::uint64_t, std::uint32_t>> list) {
  Bytes out;
  for (const auto& [slba, blocks] : list) append(out, bytes_of(nvme::DsmRange{0, blocks, slba}));
  return out;
}
Outcome deallocate(Session& s, const Bytes& list, std::uint32_t attributes = nvme::cdw11_dsm_deallocate,
                   bool in_capsule = true) {
  Sqe d = RawHost::io(IoOpcode::dataset_management, 0, 1);
  d.cdw10 = static_cast<std::uint32_t>(list.size() / 16 - 1);
  d.cdw11 = attributes;
  const auto bytes = static_cast<std::uint32_t>(list.size());
  d.sgl1 = in_capsule ? nvme::SglDescriptor::in_capsule(bytes) : nvme::SglDescriptor::transport(bytes);
  return s.io.execute(d, list);
}

TEST(Io, DatasetManagement) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const Bytes old = pattern(64 * 512, 1);
  ASSERT_TRUE(s.io.write(0, old, false).status.ok());
  EXPECT_EQ(deallocate(s, ranges({{0, 8}, {65530, 8}})).status, out_of_range);
  EXPECT_EQ(s.io.read(0, 64).data, old) << "the first range was not touched either";
  EXPECT_EQ(deallocate(s, ranges({{0xfffffffffffffff0, 32}})).status, out_of_range) << "no overflow";
  EXPECT_TRUE(deallocate(s, ranges({{0, 8}}), 1).status.ok()) << "only a hint";
  EXPECT_EQ(s.io.read(0, 64).data, old);
  for (const bool in_capsule : {true, false}) {
    ASSERT_TRUE(s.io.write(0, old, false).status.ok());
    EXPECT_TRUE(deallocate(s, ranges({{0, 8}, {16, 0}, {32, 8}}), nvme::cdw11_dsm_deallocate, in_capsule)
                    .status.ok());
    const Bytes got = s.io.read(0, 64).data;
    EXPECT_EQ(Bytes(got.begin(), got.begin() + 4096), Bytes(4096));
    EXPECT_TRUE(std::equal(got.begin() + 4096, got.begin() + 32 * 512, old.begin() + 4096));
    EXPECT_EQ(Bytes(got.begin() + 32 * 512, got.begin() + 40 * 512), Bytes(4096));
  }
  Bytes many;
  for (unsigned i = 0; i < 256; ++i) append(many, ranges({{i, 1}}));
  EXPECT_TRUE(deallocate(s, many).status.ok()) << "as many as there may be";
  // As Linux does it: one range, room for 256.
  Sqe linux = RawHost::io(IoOpcode::dataset_management, 0, 1);
  linux.cdw10 = 0;
  linux.cdw11 = nvme::cdw11_dsm_deallocate;
  linux.sgl1 = nvme::SglDescriptor::in_capsule(4096);
  Bytes page = ranges({{48, 8}});
  page.resize(4096, std::byte{0xff});
  EXPECT_TRUE(s.io.execute(linux, page).status.ok());
  EXPECT_EQ(s.io.read(48, 8).data, Bytes(4096));
  linux.sgl1 = nvme::SglDescriptor::in_capsule(4112);
  page.resize(4112);
  EXPECT_EQ(s.io.execute(linux, page).status, nvme::permanent(StatusCode::data_sgl_length_invalid));
  Sqe d = RawHost::io(IoOpcode::dataset_management, 0, 1);
  d.cdw10 = 1;
  d.sgl1 = nvme::SglDescriptor::in_capsule(16);
  EXPECT_EQ(s.io.execute(d, ranges({{0, 1}})).status, nvme::permanent(StatusCode::data_sgl_length_invalid));
}

// A device that does little by itself, and what is asked of it when it fails.
class PlainDevice final : public DeviceOver {
 public:
  class PlainChannel final : public ChannelOver {
   public:
    PlainChannel(PlainDevice& d, std::unique_ptr<Channel> below)
        : ChannelOver(std::move(below)), device_(d) {}
    Task<Status> read(Lba first, IoVecs into) override {
      if (device_.fails_with != Errc::ok) return refuse(device_.fails_with);
      return ChannelOver::read(first, into);
    }
    Task<Status> write(Lba first, IoVecs from, Durable durable) override {
      if (device_.fails_with != Errc::ok) return refuse(device_.fails_with);
      return ChannelOver::write(first, from, durable);
    }
    Task<Status> flush() override { return refuse(device_.fails_with); }

   private:
    static Task<Status> refuse(Errc code) {
      if (code == Errc::ok) co_return Status();
      co_return Error(code);
    }
    PlainDevice& device_;
  };

  explicit PlainDevice(BlockDevice& below, Capabilities can) : DeviceOver(below, identity_of()) {
    capabilities_ = can;
  }
  static Identity identity_of() {
    Identity id;
    id.name = "plain";
    return id;
  }

  Errc fails_with = Errc::ok;

 private:
  std::unique_ptr<Channel> channel_over(Reactor&, std::unique_ptr<Channel> below) override {
    return std::make_unique<PlainChannel>(*this, std::move(below));
  }
};

struct PlainRig : Rig {
  explicit PlainRig(Capabilities can = {}) : plain(*device, can) {
    if (!run(target->add_subsystem(volume())).ok()) panic("no subsystem");
    if (!run(target->add_namespace(volume_nqn, NamespaceConfig(), plain)).ok()) panic("no namespace");
  }
  ~PlainRig() { run(target->close()); }
  PlainDevice plain;
};

TEST(Io, DevicesWithoutCommandsOfTheirOwn) {
  PlainRig rig;
  Session s(rig);
  const Bytes data = pattern(1 << 20, 1);
  ASSERT_TRUE(s.io.write(0, data, false).status.ok());
  Sqe c = RawHost::io(IoOpcode::compare, 0, 16);
  c.sgl1 = nvme::SglDescriptor::in_capsule(8192);
  EXPECT_TRUE(s.io.execute(c, Bytes(data.begin(), data.begin() + 8192)).status.ok());
  EXPECT_EQ(s.io.execute(c, Bytes(8192)).status.code, StatusCode::compare_failure);
  EXPECT_TRUE(s.io.execute(RawHost::io(IoOpcode::write_zeroes, 8, 1000)).status.ok()) << "written, in pieces";
  const Bytes got = s.io.read(0, 2048).data;
  EXPECT_TRUE(std::equal(got.begin(), got.begin() + 4096, data.begin()));
  EXPECT_EQ(Bytes(got.begin() + 4096, got.begin() + 1008 * 512), Bytes(1000 * 512));
  EXPECT_TRUE(std::equal(got.begin() + 1008 * 512, got.end(), data.begin() + 1008 * 512));
  EXPECT_TRUE(deallocate(s, ranges({{0, 8}})).status.ok()) << "a hint that is not taken";
}

TEST(Io, ErrorsOfTheDeviceReachTheHostAndTheErrorLog) {
  PlainRig rig;
  Session s(rig);
  rig.plain.fails_with = Errc::io_error;
  EXPECT_EQ(s.io.read(16, 8).status.crd, 0) << "this host did not ask for retry delays";
  s.accept_retry_delays();
  const Outcome r = s.io.read(16, 8);
  EXPECT_EQ(r.status.code, StatusCode::unrecovered_read_error);
  EXPECT_EQ(r.status.crd, 3);
  EXPECT_TRUE(r.status.more);
  EXPECT_TRUE(r.data.empty());
  const Bytes log = s.admin.log_page(nvme::LogPage::error, 64 * 64).data;
  const auto entry = load<nvme::ErrorLogEntry>(log);
  EXPECT_EQ(entry.error_count, 2u);
  EXPECT_EQ(entry.sqid, 1);
  EXPECT_EQ(entry.lba, 16u);
  EXPECT_EQ(entry.nsid, 1u);
  const auto w = s.io.write(0, pattern(512, 1), true);
  EXPECT_EQ(w.status.code, StatusCode::write_fault);
  rig.plain.fails_with = Errc::out_of_space;
  EXPECT_EQ(s.io.write(0, pattern(512, 1), true).status,
            CommandStatus(StatusCode::capacity_exceeded, false, 2));
  rig.plain.fails_with = Errc::not_connected;
  EXPECT_EQ(s.io.read(0, 8).status, CommandStatus(StatusCode::internal_path_error, false, 1));
  EXPECT_EQ(s.io.execute(RawHost::io(IoOpcode::flush, 0, 1)).status.code, StatusCode::internal_path_error);
  rig.plain.fails_with = Errc::ok;
  EXPECT_TRUE(s.io.read(0, 8).status.ok());
  EXPECT_EQ(rig.run(rig.target->stats()).commands_failed, 6u);
}

TEST(Io, ReadOnlyDevices) {
  Capabilities can;
  can.read_only = true;
  PlainRig rig(can);
  Session s(rig);
  const auto refused = nvme::permanent(StatusCode::namespace_write_protected);
  EXPECT_EQ(s.io.write(0, pattern(512, 1), true).status, refused);
  EXPECT_EQ(s.io.write(0, pattern(16384, 1), false).status, refused);
  EXPECT_EQ(s.io.execute(RawHost::io(IoOpcode::write_zeroes, 0, 1)).status, refused);
  EXPECT_EQ(deallocate(s, ranges({{0, 1}})).status, refused);
  EXPECT_TRUE(s.io.read(0, 1).status.ok());
  const auto id = load<nvme::IdentifyNamespace>(s.admin.identify(nvme::Cns::namespace_nvm, 1).data);
  EXPECT_EQ(id.nsattr, nvme::nsattr_write_protected);
}

// 128 commands at once, of every kind, on several queues and cores; the content is that of some order.
TEST(Io, ManyCommandsAtOnce) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed=" << seed);
    Rig rig(seed, 2);
    ASSERT_EQ(rig.add_volume(), Errc::ok);
    Session s(rig, static_cast<std::uint8_t>(seed % 4),
              seed % 2 ? nvme::ConnectCmd::cattr_no_sq_flow_control : 0, 0, 127);
    Prng prng(seed);
    std::vector<Bytes> content(127);
    Bytes burst;
    for (std::uint16_t i = 0; i < 127; ++i) {  // each its own 64 KiB
      content[i] = pattern(512 * prng.between(1, 128), seed * 1000 + i);
      const auto bytes = static_cast<std::uint32_t>(content[i].size());
      Sqe w = RawHost::io(IoOpcode::write, i * 128u, bytes / 512);
      w.cid = i;
      const bool in_capsule = bytes <= capsule_data_bytes && prng.chance(1, 2);
      w.sgl1 = in_capsule ? nvme::SglDescriptor::in_capsule(bytes) : nvme::SglDescriptor::transport(bytes);
      append(burst, s.io.make_command(w, in_capsule ? content[i] : Bytes()));
    }
    s.io.send(burst);
    for (unsigned answered = 0; answered < 127;) {
      const Pdu pdu = s.io.receive();
      ASSERT_TRUE(pdu) << answered;
      if (pdu.type() == PduType::r2t) {
        s.io.send_data(pdu.as<nvme::R2t>(), content[pdu.as<nvme::R2t>().cccid]);
        continue;
      }
      ASSERT_EQ(pdu.type(), PduType::capsule_resp);
      EXPECT_TRUE(CommandStatus::unpack(pdu.as<nvme::CapsuleResp>().rccqe.status).ok());
      ++answered;
    }
    for (std::uint16_t i = 0; i < 127; ++i) {
      EXPECT_EQ(s.io.read(i * 128u, static_cast<std::uint32_t>(content[i].size() / 512)).data, content[i]);
    }
  }
}

// A queue as deep as CAP.MQES allows, full; then once more, because every entry is free again.
TEST(Io, TheDeepestQueue) {
  Rig rig(1, 2);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig, 0, 0, 0, 1023);
  const Bytes data = pattern(512 * 1023, 1);
  ASSERT_TRUE(s.io.write(0, data, false).status.ok());
  for (unsigned round = 0; round < 2; ++round) {
    Bytes burst;
    for (std::uint16_t i = 0; i < 1023; ++i) {
      Sqe r = RawHost::io(IoOpcode::read, i, 1);
      r.cid = i;
      r.sgl1 = nvme::SglDescriptor::transport(512);
      append(burst, s.io.make_command(r));
    }
    s.io.send(burst);
    std::vector<Bytes> got(1023);
    for (unsigned answered = 0; answered < 1023;) {
      const Pdu pdu = s.io.receive();
      ASSERT_TRUE(pdu) << answered;
      if (pdu.type() == PduType::c2h_data) {
        got.at(pdu.as<nvme::C2hData>().cccid).assign(pdu.data().begin(), pdu.data().end());
      } else {
        ASSERT_TRUE(CommandStatus::unpack(pdu.as<nvme::CapsuleResp>().rccqe.status).ok());
        ++answered;
      }
    }
    for (std::uint16_t i = 0; i < 1023; ++i) {
      EXPECT_EQ(got[i], Bytes(data.begin() + i * 512, data.begin() + (i + 1) * 512)) << i;
    }
  }
}

TEST(Io, FourKibBlocksAndHostAlignment) {
  Rig rig;
  Geometry g;
  g.block_bytes = 4096;
  g.block_count = 1024;
  const auto device = rig.make_device("malloc4k", g);
  ASSERT_EQ(rig.run(rig.target->add_subsystem(Rig::volume())).code(), Errc::ok);
  ASSERT_EQ(rig.run(rig.target->add_namespace(volume_nqn, NamespaceConfig(), *device)).code(), Errc::ok);
  Session s(rig);
  RawHost h(rig);
  ASSERT_TRUE(h.set_up(3, 31));  // data at multiples of 128 bytes, digests
  ASSERT_TRUE(h.connect(h.connect_sqe(2), RawHost::connect_data(s.cntlid)).status.ok());
  const Bytes data = pattern(8192, 1);
  EXPECT_TRUE(h.write(1, data, true, 4096).status.ok());
  EXPECT_EQ(h.read(1, 2, 4096).data, data);
  EXPECT_EQ(h.read(1023, 2, 4096).status, out_of_range);
  const auto id = load<nvme::IdentifyNamespace>(s.admin.identify(nvme::Cns::namespace_nvm, 1).data);
  EXPECT_EQ(id.lbaf[0].lbads, 12);
  ASSERT_EQ(rig.run(rig.target->remove_subsystem(volume_nqn)).code(), Errc::ok);
  rig.run(device->close());
}

}  // namespace
}  // namespace holdfast::nvmf::test
