// Goal: the bytes of every structure are those of the specification, and values survive a round trip.
// Method: golden bytes written by hand from the figures; the static_asserts in the headers pin the offsets.
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "nvme/cqe.h"
#include "nvme/fabrics.h"
#include "nvme/feature.h"
#include "nvme/identify.h"
#include "nvme/log_page.h"
#include "nvme/pdu.h"
#include "nvme/property.h"
#include "nvme/sqe.h"
#include "nvme/status.h"

namespace holdfast::nvme {
namespace {

template <Wire T>
std::string hex(const T& t) {
  std::string out;
  for (std::byte b : bytes_of(t)) {
    constexpr char digits[] = "0123456789abcdef";
    out += digits[std::to_integer<unsigned>(b) >> 4];
    out += digits[std::to_integer<unsigned>(b) & 15];
  }
  return out;
}
std::string zeroes(std::size_t bytes) { return std::string(bytes * 2, '0'); }

TEST(Sqe, GoldenRead) {
  Sqe s{};
  s.opc = static_cast<std::uint8_t>(IoOpcode::read);
  s.flags = Sqe::psdt_sgl;
  s.cid = 0x1234;
  s.nsid = 1;
  s.sgl1 = SglDescriptor::transport(4096);
  set_io_range(s, 0x1122334455667788, 8);
  EXPECT_EQ(hex(s),
            "02403412"
            "01000000" +
                zeroes(16) +
                "0000000000000000"
                "00100000"
                "000000"
                "5a"
                "88776655"
                "44332211"
                "07000000" +
                zeroes(12));
  EXPECT_EQ(io_range(s).slba, 0x1122334455667788u);
  EXPECT_EQ(io_range(s).blocks, 8u);
}

TEST(Sqe, BlockCountIsZeroBasedAndKeepsTheFlagsOfItsDword) {
  Sqe s{};
  s.cdw12 = cdw12_fua | cdw12_deac;
  set_io_range(s, 0, 65536);
  EXPECT_EQ(s.cdw12, cdw12_fua | cdw12_deac | 0xffff);
  EXPECT_EQ(io_range(s).blocks, 65536u);
}

TEST(Sgl, OnlyTheTwoKindsOfTcp) {
  EXPECT_TRUE(SglDescriptor::in_capsule(512).is_in_capsule());
  EXPECT_TRUE(SglDescriptor::transport(512).is_transport());
  EXPECT_EQ(SglDescriptor::in_capsule(512, 16).address, 16u);
  const SglDescriptor keyed{0, 0, {}, 0x40};
  EXPECT_FALSE(keyed.is_in_capsule());
  EXPECT_FALSE(keyed.is_transport());
  EXPECT_EQ(keyed.type(), SglType::keyed);
}

TEST(Cqe, GoldenFailure) {
  Cqe c{};
  c.result = 0x0000000100000002;
  c.sqhd = 5;
  c.cid = 0x1234;
  c.status = CommandStatus(StatusCode::lba_out_of_range, true, 2).pack();
  EXPECT_EQ(hex(c),
            "0200000001000000"
            "0500"
            "0000"
            "3412"
            "00a1");
}

TEST(Status, RoundTripOfEveryBit) {
  for (unsigned sct = 0; sct < 8; ++sct) {
    for (unsigned sc = 0; sc < 256; ++sc) {
      CommandStatus s(static_cast<StatusCode>(sct << 8 | sc), (sc & 1) != 0,
                      static_cast<std::uint8_t>(sc & 3));
      s.more = (sc & 2) != 0;
      EXPECT_EQ(CommandStatus::unpack(s.pack()), s);
      EXPECT_EQ(s.pack() & 1, 0) << "the phase tag is zero over fabrics";
    }
  }
  EXPECT_STREQ(name(StatusCode::ana_inaccessible), "ana_inaccessible");
  EXPECT_STREQ(name(static_cast<StatusCode>(0x7ff)), "?");
  EXPECT_EQ(CommandStatus(StatusCode::ana_transition).type(), StatusType::path);
}

TEST(AsyncEvent, Golden) {
  const AsyncEvent e{AsyncEventType::notice, static_cast<std::uint8_t>(AsyncNotice::ana_change), 0x0c};
  EXPECT_EQ(e.pack(), 0x000c0302u);
  EXPECT_EQ(AsyncEvent::unpack(e.pack()).lid, 0x0c);
}

TEST(Property, CapGolden) {
  const Cap cap{.mqes = 1023, .cqr = true, .to = 10, .css = 1, .mpsmin = 0, .mpsmax = 0, .crms = 1};
  EXPECT_EQ(cap.pack(), 0x0800'0020'0a01'03ffu);
  const Cap back = Cap::unpack(cap.pack());
  EXPECT_EQ(back.mqes, 1023);
  EXPECT_EQ(back.to, 10);
  EXPECT_EQ(back.crms, 1);
}

TEST(Property, CcAndCsts) {
  const Cc cc = Cc::unpack(0x00464001);  // as Linux enables, with a normal shutdown notice
  EXPECT_TRUE(cc.en);
  EXPECT_EQ(cc.shn, ShutdownNotice::normal);
  EXPECT_EQ(cc.iosqes, 6);
  EXPECT_EQ(cc.iocqes, 4);
  EXPECT_EQ(cc.pack(), 0x00464001u);
  EXPECT_EQ((Csts{true, false, ShutdownStatus::complete}).pack(), 0x9u);
  EXPECT_EQ(Csts::unpack(0x9).shst, ShutdownStatus::complete);
}

TEST(Fabrics, ConnectGolden) {
  ConnectCmd c{};
  c.opc = static_cast<std::uint8_t>(AdminOpcode::fabrics);
  c.flags = Sqe::psdt_sgl;
  c.fctype = static_cast<std::uint8_t>(FabricsType::connect);
  c.sgl1 = SglDescriptor::in_capsule(1024);
  c.qid = 1;
  c.sqsize = 127;
  c.cattr = ConnectCmd::cattr_no_sq_flow_control;
  c.kato = 5000;
  EXPECT_EQ(hex(c),
            "7f400000"
            "01" +
                zeroes(19) +
                "0000000000000000"
                "00040000"
                "000000"
                "01"
                "0000"
                "0100"
                "7f00"
                "04"
                "00"
                "88130000" +
                zeroes(12));
  EXPECT_EQ(as<ConnectCmd>(to_sqe(c)).kato, 5000u);
}

TEST(Fabrics, Nqn) {
  char field[nqn_field_bytes];
  nqn_to_field("nqn.2019-05.io.openebs:volume", field);
  auto nqn = nqn_from_field(field);
  ASSERT_TRUE(nqn.ok());
  EXPECT_EQ(nqn.value(), "nqn.2019-05.io.openebs:volume");

  std::memset(field, 'a', sizeof field);  // never terminated
  std::memcpy(field, "nqn.", 4);
  EXPECT_EQ(nqn_from_field(field).code(), Errc::invalid_argument);
  field[nqn_length_max] = '\0';  // the longest
  EXPECT_TRUE(nqn_from_field(field).ok());
  field[0] = '\0';
  EXPECT_EQ(nqn_from_field(field).code(), Errc::invalid_argument);
  EXPECT_FALSE(is_valid_nqn("iqn.2019-05.io.openebs"));
  EXPECT_FALSE(is_valid_nqn("nqn.2019\n05"));
  EXPECT_FALSE(is_valid_nqn("nqn." + std::string(220, 'x')));
}

TEST(Identify, AsciiFields) {
  IdentifyController id{};
  set_ascii(id.sn, "DCS0123456789abcdef01");  // 21 characters: cut
  set_ascii(id.mn, "Holdfast");
  EXPECT_EQ(std::string_view(id.sn, 20), "DCS0123456789abcdef0");
  EXPECT_EQ(ascii(id.mn), "Holdfast");
  EXPECT_EQ(id.mn[39], ' ');
}

TEST(Identify, Args) {
  const auto a = IdentifyArgs::unpack(0x0012'0005, 0x02000000);
  EXPECT_EQ(a.cns, Cns::namespace_csi);
  EXPECT_EQ(a.cntid, 0x12);
  EXPECT_EQ(a.csi, 2);
}

TEST(LogPage, Args) {
  const auto a = LogPageArgs::unpack(0x03ff'810c, 0x0001, 0x1000, 0x1, 0);
  EXPECT_EQ(a.lid, LogPage::ana);
  EXPECT_TRUE(a.rae);
  EXPECT_EQ(a.lsp, 1);
  EXPECT_EQ(a.bytes, (0x103ffull + 1) * 4);
  EXPECT_EQ(a.offset, 0x1'0000'1000u);
  EXPECT_FALSE(a.offset_is_index);
}

TEST(Feature, QueueCounts) { EXPECT_EQ(pack_queue_counts(4, 8), 0x0007'0003u); }

TEST(Pdu, IcReqGolden) {
  IcReq r{};
  r.ch = {static_cast<std::uint8_t>(PduType::ic_req), 0, sizeof(IcReq), 0, sizeof(IcReq)};
  r.dgst = dgst_header | dgst_data;
  EXPECT_EQ(hex(r),
            "00008000"
            "80000000"
            "0000"
            "00"
            "03"
            "00000000" +
                zeroes(112));
}

TEST(Pdu, R2tGolden) {
  R2t r{};
  r.ch = {static_cast<std::uint8_t>(PduType::r2t), 0, sizeof(R2t), 0, sizeof(R2t)};
  r.cccid = 0x1234;
  r.ttag = 0x5678;
  r.r2to = 0x1000;
  r.r2tl = 0x20000;
  EXPECT_EQ(hex(r),
            "09001800"
            "18000000"
            "3412"
            "7856"
            "00100000"
            "00000200"
            "00000000");
}

}  // namespace
}  // namespace holdfast::nvme
