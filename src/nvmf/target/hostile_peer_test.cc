// Goal: no sequence of bytes disturbs the target: each kind of malformed PDU gets its terminate request with
// the right status, each wrong command its status, the connection ends where it must, and nobody else
// notices. Method: tables of what a hostile host says, with the answer that NVMe/TCP 1.0 asks for; after
// every entry an innocent host does I/O on the same target.
#include <functional>

#include "nvmf/target/target.h"
#include "nvmf/target/testing/raw_host.h"

namespace holdfast::nvmf::test {
namespace {

template <class T>
Bytes with(Bytes pdu, std::size_t offset, T value) {
  store(std::span(pdu).subspan(offset), Le<T>(value));
  return pdu;
}
Bytes with8(Bytes pdu, std::size_t offset, unsigned value) {
  pdu[offset] = static_cast<std::byte>(value);
  return pdu;
}

constexpr std::size_t hlen_at = 2, pdo_at = 3, plen_at = 4;

// --- Before and during the connection set-up. ---

struct SetUpCase {
  const char* what;
  std::function<Bytes(const RawHost&)> bytes;
  Fes fes;
  std::uint32_t fei;
};

const std::vector<SetUpCase>& set_up_cases() {
  static const std::vector<SetUpCase> cases = {
      {"command before ICReq", [](const RawHost& h) { return h.make_command(h.connect_sqe(0)); },
       Fes::sequence_error, 0},
      {"H2CData before ICReq", [](const RawHost& h) { return h.make_h2c(1, 0, 0, pattern(512, 1), true); },
       Fes::sequence_error, 0},
      {"unknown PDU type", [](const RawHost& h) { return with8(h.make_ic_req(), 0, 0x42); },
       Fes::invalid_header_field, 0},
      {"ICResp from a host", [](const RawHost& h) { return with8(h.make_ic_req(), 0, 0x01); },
       Fes::invalid_header_field, 0},
      {"R2T from a host", [](const RawHost& h) { return h.make(PduType::r2t, nvme::R2t{}); },
       Fes::invalid_header_field, 0},
      {"ICReq, no header at all", [](const RawHost& h) { return with8(h.make_ic_req(), hlen_at, 0); },
       Fes::invalid_header_field, hlen_at},
      {"ICReq, header too long", [](const RawHost& h) { return with8(h.make_ic_req(), hlen_at, 255); },
       Fes::invalid_header_field, hlen_at},
      {"ICReq, length 0", [](const RawHost& h) { return with<std::uint32_t>(h.make_ic_req(), plen_at, 0); },
       Fes::invalid_header_field, plen_at},
      {"ICReq, one byte short",
       [](const RawHost& h) { return with<std::uint32_t>(h.make_ic_req(), plen_at, 127); },
       Fes::invalid_header_field, plen_at},
      {"ICReq, alignment 255", [](const RawHost& h) { return h.make_ic_req(0, 255); },
       Fes::invalid_header_field, 10},
      {"ICReq, a PDU format of its own", [](const RawHost& h) { return h.make_ic_req(0, 0, 0xffff); },
       Fes::unsupported_parameter, 8},
      {"terminate request, header too long",
       [](const RawHost& h) { return with8(h.make(PduType::h2c_term_req, nvme::TermReq{}), hlen_at, 25); },
       Fes::invalid_header_field, hlen_at},
      {"ICReq, header too short", [](const RawHost& h) { return with8(h.make_ic_req(), hlen_at, 127); },
       Fes::invalid_header_field, hlen_at},
      {"ICReq, longer than it is",
       [](const RawHost& h) { return with<std::uint32_t>(h.make_ic_req(), plen_at, 4096); },
       Fes::invalid_header_field, plen_at},
      {"ICReq, length 2 GiB",
       [](const RawHost& h) { return with<std::uint32_t>(h.make_ic_req(), plen_at, 0x80000000); },
       Fes::invalid_header_field, plen_at},
      {"ICReq, another PDU format", [](const RawHost& h) { return h.make_ic_req(0, 0, 1); },
       Fes::unsupported_parameter, 8},
      {"ICReq, alignment over 128 bytes", [](const RawHost& h) { return h.make_ic_req(0, 32); },
       Fes::invalid_header_field, 10},
      {"an HTTP request",
       [](const RawHost&) {
         const std::string text = "GET / HTTP/1.1\r\nHost: storage\r\n\r\n";
         const auto bytes = std::as_bytes(std::span(text));
         return Bytes(bytes.begin(), bytes.end());
       },
       Fes::invalid_header_field, 0},
      {"all ones", [](const RawHost&) { return Bytes(256, std::byte{0xff}); }, Fes::invalid_header_field, 0},
  };
  return cases;
}

TEST(HostilePeer, ConnectionSetUp) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session innocent(rig);
  std::uint64_t seed = 1;
  for (const SetUpCase& c : set_up_cases()) {
    SCOPED_TRACE(c.what);
    RawHost host(rig);
    host.send(c.bytes(host));
    std::uint32_t fei = 99;
    EXPECT_EQ(host.terminated(&fei), c.fes);
    EXPECT_EQ(fei, c.fei);
    expect_unharmed(innocent, ++seed);
  }
  EXPECT_EQ(rig.run(rig.target->stats()).connections_terminated, set_up_cases().size());
}

// --- On a queue that is connected. ---

struct QueueCase {
  const char* what;
  std::function<void(RawHost&)> act;
  Fes fes;
  std::uint32_t fei;
};

const std::vector<QueueCase>& command_cases() {
  static const std::vector<QueueCase> cases = {
      {"second ICReq", [](RawHost& h) { h.send(h.make_ic_req()); }, Fes::sequence_error, 0},
      {"command, header length",
       [](RawHost& h) { h.send(with8(h.make_command(big_write(512)), hlen_at, 64)); },
       Fes::invalid_header_field, hlen_at},
      {"command, no header", [](RawHost& h) { h.send(with8(h.make_command(big_write(512)), hlen_at, 0)); },
       Fes::invalid_header_field, hlen_at},
      {"command, header of 255 bytes",
       [](RawHost& h) { h.send(with8(h.make_command(big_write(512)), hlen_at, 255)); },
       Fes::invalid_header_field, hlen_at},
      {"command, length 0",
       [](RawHost& h) { h.send(with<std::uint32_t>(h.make_command(big_write(512)), plen_at, 0)); },
       Fes::invalid_header_field, plen_at},
      {"command, data beyond its end",
       [](RawHost& h) { h.send(with8(h.make_command(big_write(512), pattern(4, 1)), pdo_at, 76)); },
       Fes::invalid_header_field, pdo_at},
      {"command, data without an offset",
       [](RawHost& h) { h.send(with8(h.make_command(big_write(512), pattern(512, 1)), pdo_at, 0)); },
       Fes::invalid_header_field, pdo_at},
      {"data digest flag that was not agreed",
       [](RawHost& h) { h.send(with8(h.make_command(big_write(512), pattern(512, 1)), 1, 2)); },
       Fes::invalid_header_field, 1},
      {"command, length shorter than its header",
       [](RawHost& h) { h.send(with<std::uint32_t>(h.make_command(big_write(512)), plen_at, 40)); },
       Fes::invalid_header_field, plen_at},
      {"command, data inside its header",
       [](RawHost& h) { h.send(with8(h.make_command(big_write(512), pattern(512, 1)), pdo_at, 64)); },
       Fes::invalid_header_field, pdo_at},
      {"command, data not at a dword",
       [](RawHost& h) { h.send(with8(h.make_command(big_write(512), pattern(512, 1)), pdo_at, 74)); },
       Fes::invalid_header_field, pdo_at},
      {"in-capsule data over the capsule",
       [](RawHost& h) { h.send(h.make_command(big_write(16384), pattern(8193, 1))); },
       Fes::invalid_header_field, plen_at},
      {"in-capsule data of 4 GiB",
       [](RawHost& h) {
         h.send(with<std::uint32_t>(h.make_command(big_write(512), pattern(512, 1)), plen_at, 0xfffffff0));
       },
       Fes::invalid_header_field, plen_at},
      {"digest flag that was not agreed",
       [](RawHost& h) { h.send(with8(h.make_command(big_write(512)), 1, 1)); }, Fes::invalid_header_field, 1},
      {"response from a host", [](RawHost& h) { h.send(h.make(PduType::capsule_resp, nvme::CapsuleResp{})); },
       Fes::invalid_header_field, 0},
      {"C2HData from a host",
       [](RawHost& h) { h.send(h.make(PduType::c2h_data, nvme::C2hData{}, pattern(64, 1))); },
       Fes::invalid_header_field, 0},
      {"R2T from a host", [](RawHost& h) { h.send(h.make(PduType::r2t, nvme::R2t{})); },
       Fes::invalid_header_field, 0},
  };
  return cases;
}

const std::vector<QueueCase>& data_cases() {
  static const std::vector<QueueCase> cases = {
      {"data that nobody asked for", [](RawHost& h) { h.send(h.make_h2c(7, 0, 0, pattern(512, 1), true)); },
       Fes::invalid_header_field, 10},
      {"unknown transfer tag",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(h.make_h2c(7, static_cast<std::uint16_t>(r2t.ttag + 999), 0, pattern(512, 1), false));
       },
       Fes::invalid_header_field, 10},
      {"another command's identifier",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(h.make_h2c(8, r2t.ttag, 0, pattern(512, 1), false));
       },
       Fes::invalid_header_field, 8},
      {"data from a wrong offset",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(h.make_h2c(7, r2t.ttag, 512, pattern(512, 1), false));
       },
       Fes::sequence_error, 0},
      {"the same data twice",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(h.make_h2c(7, r2t.ttag, 0, pattern(512, 1), false));
         h.send(h.make_h2c(7, r2t.ttag, 0, pattern(512, 1), false));
       },
       Fes::sequence_error, 0},
      {"data at no dword",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(h.make_h2c(7, r2t.ttag, 2, pattern(512, 1), false));
       },
       Fes::invalid_header_field, 12},
      {"data of no dwords",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(h.make_h2c(7, r2t.ttag, 0, pattern(510, 1), false));
       },
       Fes::invalid_header_field, 16},
      {"more data than was asked for",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(h.make_h2c(7, r2t.ttag, 0, pattern(16388, 1), true));
       },
       Fes::data_out_of_range, 0},
  };
  return cases;
}

const std::vector<QueueCase>& data_header_cases() {
  static const std::vector<QueueCase> cases = {
      {"data PDU of 4 GiB",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(with<std::uint32_t>(h.make_h2c(7, r2t.ttag, 0, pattern(512, 1), false), plen_at, 0xfffffff8));
       },
       Fes::data_limit_exceeded, 0},
      {"a data length of 4 GiB",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(with<std::uint32_t>(h.make_h2c(7, r2t.ttag, 0, pattern(512, 1), false), 16, 0xffffffff));
       },
       Fes::invalid_header_field, 16},
      {"data, header length",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(with8(h.make_h2c(7, r2t.ttag, 0, pattern(512, 1), false), hlen_at, 72));
       },
       Fes::invalid_header_field, hlen_at},
      {"data that lies in the header",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(with8(h.make_h2c(7, r2t.ttag, 0, pattern(512, 1), false), pdo_at, 20));
       },
       Fes::invalid_header_field, pdo_at},
      {"data replayed after its command",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         const Bytes data = h.make_h2c(7, r2t.ttag, 0, pattern(16384, 1), true);
         h.send(data);
         EXPECT_TRUE(h.wait_for(7).status.ok());
         h.send(data);
       },
       Fes::invalid_header_field, 10},
      {"data in the wrong order",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(h.make_h2c(7, r2t.ttag, 8192, pattern(8192, 1), true));
         h.send(h.make_h2c(7, r2t.ttag, 0, pattern(8192, 1), false));
       },
       Fes::sequence_error, 0},
      {"data of a command that has none",
       [](RawHost& h) {
         Sqe flush = RawHost::io(IoOpcode::flush, 0, 1);
         flush.cid = 7;
         h.send(h.make_command(flush));
         h.send(h.make_h2c(7, 0, 0, pattern(512, 1), true));
         EXPECT_TRUE(h.wait_for(7).status.ok());
       },
       Fes::invalid_header_field, 10},
      {"an offset near 4 GiB",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(h.make_h2c(7, r2t.ttag, 0xfffffe00, pattern(1024, 1), true));
       },
       Fes::data_out_of_range, 0},
      {"the last data too early",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(h.make_h2c(7, r2t.ttag, 0, pattern(512, 1), true));
       },
       Fes::invalid_header_field, 1},
      {"a data length that is not the PDU's",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(with<std::uint32_t>(h.make_h2c(7, r2t.ttag, 0, pattern(512, 1), false), 16, 1024));
       },
       Fes::invalid_header_field, 16},
      {"a data PDU without data",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(h.make_h2c(7, r2t.ttag, 0, {}, false));
       },
       Fes::invalid_header_field, plen_at},
      {"more than MAXH2CDATA in one PDU",
       [](RawHost& h) {
         const auto r2t = ask(h, 1 << 20);
         h.send(h.make_h2c(7, r2t.ttag, 0, pattern(65536 + 4, 1), false));
       },
       Fes::data_limit_exceeded, 0},
  };
  return cases;
}

TEST(HostilePeer, EveryMalformedPdu) {
  TargetConfig config;
  config.h2c_data_bytes_max = 65536;
  Rig rig(3, 2, config);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session innocent(rig);
  std::uint64_t seed = 1;
  std::vector<QueueCase> cases = command_cases();
  cases.insert(cases.end(), data_cases().begin(), data_cases().end());
  cases.insert(cases.end(), data_header_cases().begin(), data_header_cases().end());
  for (const QueueCase& c : cases) {
    SCOPED_TRACE(c.what);
    Session hostile(rig);
    c.act(hostile.io);
    std::uint32_t fei = 99;
    EXPECT_EQ(hostile.io.terminated(&fei), c.fes);
    EXPECT_EQ(fei, c.fei);
    EXPECT_TRUE(hostile.admin.identify(nvme::Cns::controller).answered) << "its other queue goes on";
    expect_unharmed(innocent, ++seed);
  }
}

// Every type that no host may send, on a queue: one connection each.
TEST(HostilePeer, EveryOtherPduType) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session innocent(rig);
  for (unsigned type = 0; type < 256; ++type) {
    const nvme::PduRule* rule = nvme::rule_of(static_cast<std::uint8_t>(type));
    if (rule != nullptr && rule->sender == nvme::Role::host) continue;
    SCOPED_TRACE(type);
    RawHost host(rig);
    ASSERT_TRUE(host.set_up());
    host.send(with8(host.make_command(big_write(512)), 0, type));
    std::uint32_t fei = 99;
    EXPECT_EQ(host.terminated(&fei), Fes::invalid_header_field);
    EXPECT_EQ(fei, 0u);
  }
  expect_unharmed(innocent, 1);
}

TEST(HostilePeer, WhatDigestsAgreedMeanIsKept) {
  const std::vector<QueueCase> cases = {
      {"no header digest", [](RawHost& h) { h.send(with8(h.make_command(big_write(512)), 1, 0)); },
       Fes::invalid_header_field, 1},
      {"no data digest",
       [](RawHost& h) { h.send(with8(h.make_command(big_write(512), pattern(512, 1)), 1, 1)); },
       Fes::invalid_header_field, 1},
      {"no room for the header digest",
       [](RawHost& h) { h.send(with<std::uint32_t>(h.make_command(big_write(512)), plen_at, 72)); },
       Fes::invalid_header_field, plen_at},
      {"nothing but a digest as data",
       [](RawHost& h) {
         h.send(with<std::uint32_t>(h.make_command(big_write(512), pattern(4, 1)), plen_at, 80));
       },
       Fes::invalid_header_field, plen_at},
      {"data where the digest lies",
       [](RawHost& h) { h.send(with8(h.make_command(big_write(512), pattern(512, 1)), pdo_at, 72)); },
       Fes::invalid_header_field, pdo_at},
      {"no digests on requested data",
       [](RawHost& h) {
         const auto r2t = ask(h, 16384);
         h.send(with8(h.make_h2c(7, r2t.ttag, 0, pattern(16384, 1), true), 1, nvme::flag_last_pdu));
       },
       Fes::invalid_header_field, 1},
  };
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session innocent(rig);
  for (const QueueCase& c : cases) {
    SCOPED_TRACE(c.what);
    Session hostile(rig, nvme::dgst_header | nvme::dgst_data);
    c.act(hostile.io);
    std::uint32_t fei = 99;
    EXPECT_EQ(hostile.io.terminated(&fei), c.fes);
    EXPECT_EQ(fei, c.fei);
    expect_unharmed(innocent, 1);
  }
}

// The data pointer of a command is the host's word on what lies in the stream.
TEST(HostilePeer, EveryWrongDataPointerGetsItsStatus) {
  struct PointerCase {
    const char* what;
    std::function<void(Sqe&)> change;
    StatusCode want;
  };
  const auto sgl = [](std::uint8_t type, std::uint64_t address, std::uint32_t length) {
    return [=](Sqe& s) {
      s.sgl1 = nvme::SglDescriptor{};
      s.sgl1.id = type;
      s.sgl1.address = address;
      s.sgl1.length = length;
    };
  };
  const PointerCase cases[] = {
      {"PRPs", [](Sqe& s) { s.flags = 0; }, StatusCode::invalid_field},
      {"PSDT 10b", [](Sqe& s) { s.flags = 0x80; }, StatusCode::invalid_field},
      {"PSDT 11b", [](Sqe& s) { s.flags = 0xc0; }, StatusCode::invalid_field},
      {"FUSE 11b", [](Sqe& s) { s.flags |= 3; }, StatusCode::invalid_field},
      {"an address in memory", sgl(0x00, 0x1000, 512), StatusCode::sgl_descriptor_type_invalid},
      {"a key in memory", sgl(0x40, 0x1000, 512), StatusCode::sgl_descriptor_type_invalid},
      {"a bit bucket", sgl(0x10, 0, 512), StatusCode::sgl_descriptor_type_invalid},
      {"a segment", sgl(0x20, 0, 512), StatusCode::sgl_descriptor_type_invalid},
      {"a last segment", sgl(0x30, 0, 512), StatusCode::sgl_descriptor_type_invalid},
      {"of the vendor", sgl(0xf0, 0, 512), StatusCode::sgl_descriptor_type_invalid},
      {"an unknown sub type", sgl(0x5f, 0, 512), StatusCode::sgl_descriptor_type_invalid},
      {"less than the command moves", sgl(0x01, 0, 511), StatusCode::data_sgl_length_invalid},
      {"nothing", sgl(0x01, 0, 0), StatusCode::data_sgl_length_invalid},
      {"4 GiB", sgl(0x01, 0, 0xffffffff), StatusCode::data_sgl_length_invalid},
      {"less, by transport", sgl(0x5a, 0, 508), StatusCode::data_sgl_length_invalid},
      {"4 GiB, by transport", sgl(0x5a, 0, 0xffffffff), StatusCode::data_sgl_length_invalid},
      {"one byte behind the capsule", sgl(0x01, 1, 512), StatusCode::sgl_offset_invalid},
      {"far behind the capsule", sgl(0x01, 0xffffffff, 512), StatusCode::sgl_offset_invalid},
      {"around the end of all addresses", sgl(0x01, ~0ull - 255, 512), StatusCode::sgl_offset_invalid},
  };
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  const Bytes before = s.io.read(8, 1).data;
  for (const PointerCase& c : cases) {
    SCOPED_TRACE(c.what);
    Sqe w = RawHost::io(IoOpcode::write, 8, 1);
    w.cid = 21;
    w.sgl1 = nvme::SglDescriptor::in_capsule(512);
    c.change(w);
    s.io.send(s.io.make_command(w, pattern(512, 1)));
    const Outcome got = s.io.wait_for(21);
    EXPECT_TRUE(got.answered);
    EXPECT_EQ(got.status.code, c.want);
    EXPECT_TRUE(got.status.dnr);
    EXPECT_EQ(s.io.read(8, 1).data, before);
  }
  Sqe r = RawHost::io(IoOpcode::read, 8, 1);
  r.sgl1 = nvme::SglDescriptor::in_capsule(512);
  EXPECT_EQ(s.io.execute(r).status.code, StatusCode::sgl_descriptor_type_invalid);
}

// Data in the capsules of commands that take none, or name it as elsewhere.
TEST(HostilePeer, DataThatNobodyAskedForIsGivenBack) {
  Rig rig(1, 1, {}, 4 << 20);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  {
    Session evil(rig);
    const Bytes before = evil.io.read(8, 1).data;
    std::uint16_t cid = 100;
    for (unsigned i = 0; i < 500; ++i) {
      for (const IoOpcode opc : {IoOpcode::read, IoOpcode::verify, IoOpcode::flush, IoOpcode::write_zeroes}) {
        Sqe sqe = RawHost::io(opc, opc == IoOpcode::write_zeroes ? 16 : 8, 1);
        sqe.cid = ++cid;
        sqe.sgl1 = nvme::SglDescriptor::transport(opc == IoOpcode::read ? 512 : 0);
        evil.io.send(evil.io.make_command(sqe, pattern(8192, i)));
        const Outcome got = evil.io.wait_for(sqe.cid);
        ASSERT_TRUE(got.answered && got.status.ok());
        EXPECT_EQ(got.data, opc == IoOpcode::read ? before : Bytes());
      }
    }
    for (std::uint16_t i = 0; i < 4; ++i) {
      Sqe event = RawHost::admin(AdminOpcode::async_event_request);
      event.cid = static_cast<std::uint16_t>(200 + i);
      evil.admin.send(evil.admin.make_command(event, pattern(8192, i)));
    }
    rig.world.run_for(1ms);
    // Nobody holds anything now, so there is room for all that one connection may have.
    Session other(rig, 0, 0, 0, 31, 2);
    const Nanos begun = rig.world.now();
    EXPECT_TRUE(other.io.read(0, 2048).status.ok());
    EXPECT_LT(rig.world.now() - begun, 100ms);
  }
}

// When the data of a capsule came into the reserve of its queue, and the command gets a buffer of its own later, the
// reserve is still what it was: large enough for the data of any capsule.
TEST(HostilePeer, TheReserveOfAQueueStaysWhole) {
  Rig rig(1, 1, {}, 2 << 20);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  std::vector<Buffer> taken;
  const auto take_all = [&] {
    for (std::size_t size = BufferPool::piece_bytes_min; size <= BufferPool::piece_bytes_max; size *= 2) {
      while (Buffer b = rig.process->core(0).buffers().try_acquire(size)) {
        std::memset(b.data(), 0x5a, b.size());
        taken.push_back(std::move(b));
      }
    }
  };
  take_all();
  Sqe read = RawHost::io(IoOpcode::read, 8, 1);
  read.cid = 5;
  read.sgl1 = nvme::SglDescriptor::transport(512);
  s.io.send(s.io.make_command(read, pattern(512, 1)));
  rig.world.run_for(1ms);
  // One small piece comes free, whose neighbour is not.
  const auto has_neighbour = [&](const Buffer& b) {
    return b.size() == 4096 && std::any_of(taken.begin(), taken.end(), [&](const Buffer& other) {
             return other.data() == b.data() + b.size();
           });
  };
  const auto small = std::find_if(taken.begin(), taken.end(), has_neighbour);
  ASSERT_NE(small, taken.end());
  auto give_one_back = [&]() -> Task<void> {
    taken.erase(small);
    co_return;
  };
  rig.run(give_one_back());
  EXPECT_TRUE(s.io.wait_for(5).status.ok());
  take_all();
  EXPECT_TRUE(s.io.write(32, pattern(8192, 2), true).status.ok()) << "by the reserve";
  for (const Buffer& b : taken) {
    ASSERT_TRUE(std::all_of(b.data(), b.data() + b.size(), [](std::byte x) { return x == std::byte{0x5a}; }))
        << "memory of others was written";
  }
  auto give_back = [&]() -> Task<void> {
    taken.clear();
    co_return;
  };
  rig.run(give_back());
  EXPECT_EQ(s.io.read(32, 16).data, pattern(8192, 2));
}

TEST(HostilePeer, HeaderDigestErrorTerminates) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig, nvme::dgst_header);
  Bytes bytes = s.io.make_command(big_write(512));
  bytes[40] ^= std::byte{1};
  s.io.send(bytes);
  std::uint32_t fei = 0;
  EXPECT_EQ(s.io.terminated(&fei), Fes::header_digest_error);
  EXPECT_EQ(fei, load<le32>(std::span(bytes).subspan(72))) << "the digest as it was received";
}

TEST(HostilePeer, DataDigestErrorFailsTheCommandOnly) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig, nvme::dgst_data);
  Sqe w = RawHost::io(IoOpcode::write, 0, 1);
  w.cid = 9;
  w.sgl1 = nvme::SglDescriptor::in_capsule(512);
  Bytes bytes = s.io.make_command(w, pattern(512, 1));
  bytes[100] ^= std::byte{1};
  s.io.send(bytes);
  EXPECT_EQ(s.io.wait_for(9).status.code, StatusCode::transient_transport_error);
  EXPECT_FALSE(s.io.wait_for(9).answered);

  s.io.send(s.io.make_command(big_write(16384)));
  const auto r2t = s.io.receive().as<nvme::R2t>();
  bytes = s.io.make_h2c(7, r2t.ttag, 0, pattern(16384, 1), true);
  bytes[100] ^= std::byte{1};
  s.io.send(bytes);
  EXPECT_EQ(s.io.wait_for(7).status.code, StatusCode::transient_transport_error);
  const Outcome r = s.io.read(0, 32);
  EXPECT_EQ(r.data, Bytes(16384)) << "nothing was written";
}

TEST(HostilePeer, ATerminateRequestFromTheHostEndsTheConnection) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  nvme::TermReq req{};
  req.fes = 1;
  s.io.send(s.io.make(PduType::h2c_term_req, req, pattern(72, 1)));
  EXPECT_TRUE(s.io.ends()) << "and nothing is answered";
}

// NVMe/TCP 1.0, section 3.5: one of a wrong length is ignored, and the connection ends at once.
TEST(HostilePeer, ATerminateRequestOfAWrongLengthIsNotAnswered) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  const std::uint64_t before = rig.run(rig.target->stats()).connections_terminated;
  for (const std::uint8_t dgst : {std::uint8_t{0}, std::uint8_t{3}}) {
    for (const std::uint32_t plen : {0u, 23u, 153u, 0x7fffffffu, 0xffffffffu}) {
      SCOPED_TRACE(plen);
      RawHost first(rig);  // in the place of ICReq
      const Bytes pdu = first.make(PduType::h2c_term_req, nvme::TermReq{}, pattern(128, 1));
      first.send(with<std::uint32_t>(pdu, plen_at, plen));
      EXPECT_TRUE(first.ends(100ms));
      Session s(rig, dgst);
      s.io.send(with<std::uint32_t>(pdu, plen_at, plen));
      EXPECT_TRUE(s.io.ends(100ms));
    }
  }
  EXPECT_EQ(rig.run(rig.target->stats()).connections_terminated, before);
}

// Byte 1 of a Fabrics command is reserved: hosts clear it, or say SGL there as in other commands.
TEST(HostilePeer, TheReservedByteOfFabricsCommandsIsNotJudged) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  for (const unsigned flags : {0x00u, 0x40u, 0xffu}) {
    SCOPED_TRACE(flags);
    RawHost h(rig);
    ASSERT_TRUE(h.set_up());
    Sqe connect = h.connect_sqe(0);
    connect.flags = static_cast<std::uint8_t>(flags);
    EXPECT_TRUE(h.connect(connect, RawHost::connect_data()).status.ok());
    Sqe get = nvme::to_sqe([] {
      nvme::PropertyGetCmd c{};
      c.opc = static_cast<std::uint8_t>(AdminOpcode::fabrics);
      c.fctype = static_cast<std::uint8_t>(nvme::FabricsType::property_get);
      c.ofst = static_cast<std::uint32_t>(nvme::Property::vs);
      return c;
    }());
    get.flags = static_cast<std::uint8_t>(flags);
    EXPECT_EQ(h.execute(get).result, nvme::version_2_0);
  }
}

}  // namespace
}  // namespace holdfast::nvmf::test
