// Goal: every field of every command that has a wrong value is answered by the status of the specification,
// and the queue goes on. Connect is in connect_test.cc, reservations in reservations_test.cc, PDUs in
// hostile_peer_test.cc, fused commands in io_fused_test.cc.
#include <functional>

#include "nvmf/target/target.h"
#include "nvmf/target/testing/raw_host.h"

namespace holdfast::nvmf::test {
namespace {

constexpr std::uint64_t volume_blocks = 65536;

struct Case {
  const char* what;
  Sqe sqe;
  StatusCode code;
  Bytes data = {};
};

std::uint32_t bytes_of_command(IoOpcode opc) {
  switch (opc) {
    case IoOpcode::dataset_management:
      return sizeof(nvme::DsmRange);
    case IoOpcode::copy:
      return sizeof(nvme::CopyRange);
    case IoOpcode::read:
    case IoOpcode::write:
    case IoOpcode::compare:
      return 512;
    default:
      return 0;
  }
}

// A good command of one block or range.
Sqe good(IoOpcode opc) {
  Sqe s = RawHost::io(opc, 0, 1);
  const std::uint32_t bytes = bytes_of_command(opc);
  s.sgl1 =
      opc == IoOpcode::read ? nvme::SglDescriptor::transport(bytes) : nvme::SglDescriptor::in_capsule(bytes);
  if (bytes == 0) s.sgl1 = nvme::SglDescriptor{};
  if (opc == IoOpcode::dataset_management) s.cdw10 = s.cdw12 = 0;
  return s;
}
Bytes payload(IoOpcode opc) { return opc == IoOpcode::read ? Bytes() : Bytes(bytes_of_command(opc)); }

Sqe with(Sqe s, const std::function<void(Sqe&)>& change) {
  change(s);
  return s;
}

void expect_all(RawHost& h, const std::vector<Case>& cases) {
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    Sqe sqe = c.sqe;
    sqe.cid = 321;
    h.send(h.make_command(sqe, c.data));
    const Outcome o = h.wait_for(321, Bytes(1 << 20));
    ASSERT_TRUE(o.answered);
    EXPECT_EQ(o.status, nvme::permanent(c.code)) << nvme::name(o.status.code);
    EXPECT_TRUE(o.data.empty()) << "no data comes with a refusal";
  }
}

const IoOpcode all_commands[] = {IoOpcode::flush,   IoOpcode::write,        IoOpcode::read,
                                 IoOpcode::compare, IoOpcode::write_zeroes, IoOpcode::dataset_management,
                                 IoOpcode::verify,  IoOpcode::copy};

TEST(BadValues, FieldsThatEveryIoCommandHas) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  for (const IoOpcode opc : all_commands) {
    SCOPED_TRACE(testing::Message() << "opcode " << static_cast<int>(opc));
    const Sqe g = good(opc);
    const Bytes data = payload(opc);
    std::vector<Case> cases = {
        {"PRPs", with(g, [](Sqe& q) { q.flags = 0; }), StatusCode::invalid_field, data},
        {"PSDT 10b", with(g, [](Sqe& q) { q.flags = 0x80; }), StatusCode::invalid_field, data},
        {"PSDT 11b", with(g, [](Sqe& q) { q.flags = 0xc0; }), StatusCode::invalid_field, data},
        {"FUSE 11b", with(g, [](Sqe& q) { q.flags = Sqe::psdt_sgl | 3; }), StatusCode::invalid_field, data},
        {"NSID 0", with(g, [](Sqe& q) { q.nsid = 0; }), StatusCode::invalid_namespace, data},
        {"NSID that is not there", with(g, [](Sqe& q) { q.nsid = 2; }), StatusCode::invalid_namespace, data},
        {"NSID over NN", with(g, [](Sqe& q) { q.nsid = nsid_max + 1; }), StatusCode::invalid_namespace, data},
        {"NSID FFFFFFFEh", with(g, [](Sqe& q) { q.nsid = 0xfffffffe; }), StatusCode::invalid_namespace, data},
    };
    if (opc != IoOpcode::flush) {
      cases.push_back({"every NSID", with(g, [](Sqe& q) { q.nsid = nvme::nsid_all; }),
                       StatusCode::invalid_namespace, data});
    }
    if (opc != IoOpcode::compare) {
      cases.push_back({"the first half of what is not fused",
                       with(g, [](Sqe& q) { q.flags = Sqe::psdt_sgl | Sqe::fuse_first; }),
                       StatusCode::invalid_field, data});
    }
    if (nvme::has_io_range(static_cast<std::uint8_t>(opc)) && opc != IoOpcode::copy) {
      for (const std::uint64_t slba : {volume_blocks, std::uint64_t{1} << 32, ~std::uint64_t{0}}) {
        cases.push_back({"SLBA", with(g, [slba](Sqe& q) { nvme::set_io_range(q, slba, 1); }),
                         StatusCode::lba_out_of_range, data});
      }
    }
    expect_all(s.io, cases);
    EXPECT_TRUE(s.io.execute(g, data).status.ok()) << "the good one";
  }
}

TEST(BadValues, DataPointersOfEveryIoCommandWithData) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  for (const IoOpcode opc : all_commands) {
    const std::uint32_t bytes = bytes_of_command(opc);
    if (bytes == 0) continue;
    SCOPED_TRACE(testing::Message() << "opcode " << static_cast<int>(opc));
    const Bytes data = payload(opc);
    const auto sgl = [&](std::uint32_t length, std::uint8_t id, std::uint64_t address = 0) {
      return with(good(opc), [=](Sqe& q) { q.sgl1 = nvme::SglDescriptor{address, length, {}, id}; });
    };
    std::vector<Case> cases;
    for (unsigned id = 0; id < 256; ++id) {
      const bool in_capsule = id == nvme::SglDescriptor::in_capsule_id && opc != IoOpcode::read;
      if (id == nvme::SglDescriptor::transport_id || in_capsule) continue;
      cases.push_back({"descriptor type", sgl(bytes, static_cast<std::uint8_t>(id)),
                       StatusCode::sgl_descriptor_type_invalid, data});
    }
    const StatusCode wrong_length = StatusCode::data_sgl_length_invalid;
    cases.push_back({"no data", sgl(0, 0x5a), wrong_length, {}});
    cases.push_back({"too little", sgl(bytes - 1, 0x5a), wrong_length, {}});
    if (opc != IoOpcode::dataset_management && opc != IoOpcode::copy) {
      cases.push_back({"too much", sgl(bytes + 1, 0x5a), wrong_length, {}});
    }
    cases.push_back({"very much", sgl(~0u, 0x5a), wrong_length, {}});
    if (opc != IoOpcode::read) {
      const StatusCode offset = StatusCode::sgl_offset_invalid;
      cases.push_back({"a capsule without data", sgl(bytes, 0x01), offset, {}});
      cases.push_back({"behind the data", sgl(bytes, 0x01, 1), offset, data});
      cases.push_back({"an offset that wraps", sgl(bytes, 0x01, ~std::uint64_t{0}), offset, data});
    }
    expect_all(s.io, cases);
    EXPECT_TRUE(s.io.execute(good(opc), data).status.ok());
  }
}

TEST(BadValues, AdminCommands) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const auto identify = [](std::uint32_t cdw10, std::uint32_t nsid, std::uint32_t cdw11 = 0) {
    Sqe q = RawHost::admin(AdminOpcode::identify, cdw10, cdw11, nsid);
    q.sgl1 = nvme::SglDescriptor::transport(4096);
    return q;
  };
  const auto log = [](std::uint32_t cdw10, std::uint32_t length, std::uint32_t nsid = nvme::nsid_all) {
    Sqe q = RawHost::admin(AdminOpcode::get_log_page, cdw10, 0, nsid);
    q.sgl1 = nvme::SglDescriptor::transport(length);
    return q;
  };
  const auto field = StatusCode::invalid_field;
  const auto ns = StatusCode::invalid_namespace;
  std::vector<Case> cases = {
      {"the active list behind the last", identify(2, 0xffffffff), ns},
      {"the active list behind the last but one", identify(2, 0xfffffffe), ns},
      {"every namespace, by CSI", identify(5, nvme::nsid_all), ns},
      {"descriptors of every namespace", identify(3, nvme::nsid_all), ns},
      {"every namespace, independent of the command set", identify(8, nvme::nsid_all), ns},
      {"key value command set", identify(6, 0, 1u << 24), field},
      {"zoned list", identify(7, 0, 2u << 24), field},
      {"a log page in 512 of its bytes", log(0x05 | 1023u << 16, 512), StatusCode::data_sgl_length_invalid},
      {"an index for an offset", with(log(0x05 | 15u << 16, 64), [](Sqe& q) { q.cdw14 = 1u << 23; }), field},
      {"effects of the zoned command set",
       with(log(0x05 | 15u << 16, 64), [](Sqe& q) { q.cdw14 = 2u << 24; }), field},
      {"an odd offset", with(log(0x05 | 15u << 16, 64), [](Sqe& q) { q.cdw12 = 2; }), field},
      {"an offset behind the end", with(log(0x05 | 15u << 16, 64), [](Sqe& q) { q.cdw12 = 4100; }), field},
      {"a very large offset", with(log(0x05 | 15u << 16, 64), [](Sqe& q) { q.cdw13 = ~0u; }), field},
      {"SMART of what is not there", log(0x02 | 127u << 16, 512, 9), ns},
      {"host behavior beyond its values",
       with(RawHost::admin(AdminOpcode::set_features, 0x16),
            [](Sqe& q) { q.sgl1 = nvme::SglDescriptor::in_capsule(512); }),
       field, Bytes(512, std::byte{2})},
      {"a 64 bit host identifier",
       with(RawHost::admin(AdminOpcode::get_features, 0x81),
            [](Sqe& q) { q.sgl1 = nvme::SglDescriptor::transport(8); }),
       field},
  };
  for (const unsigned cns :
       {0x04u, 0x09u, 0x0au, 0x14u, 0x15u, 0x16u, 0x17u, 0x18u, 0x19u, 0x1bu, 0x20u, 0xffu})
    cases.push_back({"CNS", identify(cns, 1), field});
  for (const unsigned lid : {0x06u, 0x07u, 0x08u, 0x09u, 0x0au, 0x0bu, 0x0du, 0x0eu, 0x0fu, 0x11u, 0x12u,
                             0x13u, 0x70u, 0x81u, 0xbfu, 0xc0u, 0xffu})
    cases.push_back({"LID", log(lid | 15u << 16, 64), StatusCode::invalid_log_page});
  expect_all(s.admin, cases);
  EXPECT_TRUE(s.admin.identify(nvme::Cns::controller).status.ok());
}

TEST(BadValues, FabricsCommands) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const auto get = [](std::uint8_t attrib, std::uint32_t offset) {
    nvme::PropertyGetCmd c{};
    c.opc = static_cast<std::uint8_t>(AdminOpcode::fabrics);
    c.flags = Sqe::psdt_sgl;
    c.fctype = static_cast<std::uint8_t>(nvme::FabricsType::property_get);
    c.attrib = attrib;
    c.ofst = offset;
    return nvme::to_sqe(c);
  };
  const auto set = [](std::uint8_t attrib, std::uint32_t offset) {
    nvme::PropertySetCmd c{};
    c.opc = static_cast<std::uint8_t>(AdminOpcode::fabrics);
    c.flags = Sqe::psdt_sgl;
    c.fctype = static_cast<std::uint8_t>(nvme::FabricsType::property_set);
    c.attrib = attrib;
    c.ofst = offset;
    return nvme::to_sqe(c);
  };
  std::vector<Case> cases;
  for (unsigned size = 2; size < 8; ++size)
    cases.push_back(
        {"size of a property", get(static_cast<std::uint8_t>(size), 0x1c), StatusCode::invalid_field});
  for (const std::uint32_t offset :
       {0x04u, 0x0cu, 0x10u, 0x18u, 0x20u, 0x24u, 0x28u, 0x30u, 0x15u, 0x1000u, ~0u})
    cases.push_back({"property", get(0, offset), StatusCode::invalid_field});
  for (const std::uint32_t offset : {0x00u, 0x08u, 0x1cu, 0x20u, 0x68u, 0x15u, ~0u})
    cases.push_back({"property that is not written", set(0, offset), StatusCode::invalid_field});
  cases.push_back({"CC in 8 bytes", set(1, 0x14), StatusCode::invalid_field});
  for (unsigned type = 0; type < 256; ++type) {
    const auto t = static_cast<nvme::FabricsType>(type);
    if (t == nvme::FabricsType::property_get || t == nvme::FabricsType::property_set ||
        t == nvme::FabricsType::connect || t == nvme::FabricsType::disconnect)
      continue;
    cases.push_back({"FCTYPE", RawHost::admin(AdminOpcode::fabrics, 0, 0, type), StatusCode::invalid_field});
  }
  expect_all(s.admin, cases);
  const std::vector<Case> on_io = {
      {"Property Get on an I/O queue", get(0, 0x1c), StatusCode::invalid_field},
      {"Property Set on an I/O queue", set(0, 0x14), StatusCode::invalid_field},
      {"an unknown FCTYPE on an I/O queue", RawHost::admin(AdminOpcode::fabrics, 0, 0, 0x7b),
       StatusCode::invalid_field},
      {"Connect on a queue that is one", s.io.connect_sqe(1), StatusCode::command_sequence_error,
       Bytes(1024)}};
  expect_all(s.io, on_io);
  EXPECT_TRUE(s.io.read(0, 1).status.ok());
}

// NVMe Base 2.0, section 3.3.3.1: an identifier is unique among the commands under way.
TEST(CommandIds, OneInUseIsRefused) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const auto r2t = ask(s.io, 16384);  // command 7 waits for its data
  for (const IoOpcode opc : {IoOpcode::write, IoOpcode::read, IoOpcode::flush}) {
    Sqe again = RawHost::io(opc, 0, 8);
    again.cid = 7;
    again.sgl1 = nvme::SglDescriptor::transport(opc == IoOpcode::flush ? 0 : 4096);
    const Outcome refused = s.io.execute(again);
    EXPECT_EQ(refused.status.code, StatusCode::command_id_conflict);
    EXPECT_FALSE(refused.status.dnr) << "it is free again later";
  }
  Sqe capsule = RawHost::io(IoOpcode::write, 0, 8);
  capsule.cid = 7;
  capsule.sgl1 = nvme::SglDescriptor::in_capsule(4096);
  EXPECT_EQ(s.io.execute(capsule, pattern(4096, 5)).status.code, StatusCode::command_id_conflict);
  const Bytes data = pattern(16384, 1);
  s.io.send(s.io.make_h2c(7, r2t.ttag, 0, data, true));
  EXPECT_TRUE(s.io.wait_for(7).status.ok()) << "the first goes on";
  EXPECT_EQ(s.io.read(0, 32).data, data);
  // Answered: free again.
  Sqe next = RawHost::io(IoOpcode::read, 0, 32);
  next.cid = 7;
  next.sgl1 = nvme::SglDescriptor::transport(16384);
  for (unsigned i = 0; i < 3; ++i) EXPECT_EQ(s.io.execute(next).data, data);
  EXPECT_EQ(s.io.write(0, data, false).status, CommandStatus()) << "other identifiers of the chain";
}

TEST(CommandIds, OneOfAParkedEventRequestIsInUse) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const std::uint16_t cid = s.admin.park_event_request();
  Sqe identify = RawHost::admin(AdminOpcode::identify, static_cast<std::uint32_t>(nvme::Cns::controller));
  identify.cid = cid;
  identify.sgl1 = nvme::SglDescriptor::transport(4096);
  EXPECT_EQ(s.admin.execute(identify).status.code, StatusCode::command_id_conflict);
  const Outcome log = s.admin.log_page(nvme::LogPage::error, 64);
  const auto entry = load<nvme::ErrorLogEntry>(log.data);
  EXPECT_EQ(entry.cmdid, cid);
  EXPECT_EQ(CommandStatus::unpack(entry.status_field).code, StatusCode::command_id_conflict);
}

// Identifiers that fall into one chain, in and out in any order.
TEST(CommandIds, ManyInOneChain) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  std::vector<nvme::R2t> asked;
  const auto cid_of = [](unsigned i) { return static_cast<std::uint16_t>(i * 1024 + 3); };
  for (unsigned i = 0; i < 20; ++i) {
    Sqe w = big_write(16384);
    w.cid = cid_of(i);
    s.io.send(s.io.make_command(w));
    const Pdu pdu = s.io.receive();
    ASSERT_EQ(pdu.type(), PduType::r2t);
    asked.push_back(pdu.as<nvme::R2t>());
  }
  for (const unsigned i : {0u, 19u, 7u, 8u, 18u, 1u}) {
    s.io.send(s.io.make_h2c(cid_of(i), asked[i].ttag, 0, pattern(16384, i), true));
    EXPECT_TRUE(s.io.wait_for(cid_of(i)).status.ok());
    Sqe flush = RawHost::io(IoOpcode::flush, 0, 1);
    flush.cid = cid_of(i);
    EXPECT_TRUE(s.io.execute(flush).status.ok());
    flush.cid = cid_of(4);
    EXPECT_EQ(s.io.execute(flush).status.code, StatusCode::command_id_conflict);
  }
}

}  // namespace
}  // namespace holdfast::nvmf::test
