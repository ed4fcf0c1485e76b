#include "cli/conformance/session.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::cli::conformance {
namespace {

// CAP.TO may say two minutes; a case has less.
constexpr Nanos poll_interval = 20ms;

SessionOptions filled(SessionOptions o, const Settings& settings) {
  if (o.subsystem.empty()) o.subsystem = settings.subsystem;
  if (o.host_nqn.empty()) o.host_nqn = settings.host_nqn;
  return o;
}

}  // namespace

Session::Session(Test& test, SessionOptions options)
    : test_(test), options_(filled(std::move(options), test.settings())), admin_(test) {
  admin_.set_up(options_.ic);
  connect();
  if (options_.enable) enable();
}

void Session::connect() {
  ConnectParameters p = parameters(0);
  p.kato = options_.kato;
  const Answer a = admin_.execute(connect_command(p));
  if (!admin_.expect_good("Connect of the admin queue", a)) return;
  cntlid_ = static_cast<std::uint16_t>(a.dw0);
  admin_.flow_control_disabled = options_.no_flow_control && a.sqhd == 0xffff;
}

ConnectParameters Session::parameters(std::uint16_t qid) const {
  ConnectParameters p;
  p.qid = qid;
  p.sqsize = options_.sqsize;
  p.cattr = options_.no_flow_control ? 4 : 0;
  p.cntlid = qid == 0 ? cntlid_dynamic : cntlid_;
  p.hostid = {0x48, 0x46, 0x63, 0x6f, 0x6e, 0x66, 0, 0, 0, 0, 0, 0, 0, 0, 0, options_.host};
  p.subnqn = options_.subsystem;
  p.hostnqn = options_.host_nqn;
  return p;
}

std::unique_ptr<Connection> Session::wire() {
  auto connection = std::make_unique<Connection>(test_);
  connection->set_up(options_.ic);
  return connection;
}

std::unique_ptr<Connection> Session::io_queue(std::uint16_t qid, std::uint16_t sqsize) {
  auto queue = wire();
  ConnectParameters p = parameters(qid);
  p.sqsize = static_cast<std::uint16_t>(std::min<std::uint64_t>(sqsize, property(prop::cap, true) & 0xffff));
  const Answer a = queue->execute(connect_command(p));
  queue->expect_good(fmt::format("Connect of I/O queue {}", qid), a);
  queue->flow_control_disabled = options_.no_flow_control && a.sqhd == 0xffff;
  return queue;
}

Answer Session::property_get(std::uint32_t offset, bool is_8_bytes) {
  Command c = fabrics_command(fabrics::property_get);
  c.set8(40, is_8_bytes ? 1 : 0).set32(44, offset);
  return admin_.execute(std::move(c));
}

Answer Session::property_set(std::uint32_t offset, std::uint64_t value, bool is_8_bytes) {
  Command c = fabrics_command(fabrics::property_set);
  c.set8(40, is_8_bytes ? 1 : 0).set32(44, offset).set64(48, value);
  return admin_.execute(std::move(c));
}

std::uint64_t Session::property(std::uint32_t offset, bool is_8_bytes) {
  const Answer a = property_get(offset, is_8_bytes);
  admin_.expect_good(fmt::format("Property Get of {:#x}", offset), a);
  return a.dw0 | (is_8_bytes ? std::uint64_t{a.dw1} << 32 : 0);
}

std::uint32_t Session::enabling_cc() {
  const std::uint64_t cap = property(prop::cap, true);
  const auto mpsmin = static_cast<std::uint32_t>(cap >> 48 & 15);
  const bool nvm = (cap >> 37 & 1) != 0, none = (cap >> 44 & 1) != 0;
  const std::uint32_t css = nvm ? 0u : none ? 7u : 6u;
  return 1u | css << 4 | mpsmin << 7 | 6u << 16 | 4u << 20;
}

void Session::enable() {
  const std::uint32_t cc = enabling_cc();
  admin_.expect_good("Property Set of CC with EN", property_set(prop::cc, cc));
  const std::uint32_t csts = wait_csts(3, 1);
  if (test_.ok() && (csts & 3) != 1)
    test_.fail(fmt::format("CSTS.RDY does not follow CC.EN: CSTS {:#x}", csts));
}

std::uint32_t Session::wait_csts(std::uint32_t mask, std::uint32_t wanted) {
  const Nanos deadline = test_.deadline_in(4 * test_.settings().timeout);
  for (;;) {
    const auto csts = static_cast<std::uint32_t>(property(prop::csts));
    if (!test_.ok() || (csts & mask) == wanted || test_.now() >= deadline) return csts;
    test_.sleep(poll_interval);
  }
}

Answer Session::identify(std::uint8_t cns, std::uint32_t nsid, std::uint16_t cntid, std::uint8_t csi) {
  Command c(admin::identify);
  c.nsid(nsid).dw(10, cns | std::uint32_t{cntid} << 16).dw(11, std::uint32_t{csi} << 24).reads(4096);
  return admin_.execute(std::move(c));
}

Bytes Session::identify_data(std::uint8_t cns, std::uint32_t nsid, std::uint16_t cntid, std::uint8_t csi) {
  Answer a = identify(cns, nsid, cntid, csi);
  const std::string what = fmt::format("Identify CNS {:02x}h", cns);
  if (!admin_.expect_good(what, a)) return {};
  if (!test_.equal(what + ": bytes", a.data.size(), 4096)) return {};
  return std::move(a.data);
}

Answer Session::log_page(std::uint8_t lid, std::uint32_t bytes, std::uint32_t nsid, std::uint64_t offset,
                         std::uint8_t lsp, bool retain) {
  const std::uint32_t numd = bytes / 4 - 1;
  Command c(admin::get_log_page);
  c.nsid(nsid)
      .dw(10, lid | std::uint32_t{lsp} << 8 | (retain ? 1u << 15 : 0u) | numd << 16)
      .dw(11, numd >> 16);
  c.dw(12, static_cast<std::uint32_t>(offset)).dw(13, static_cast<std::uint32_t>(offset >> 32)).reads(bytes);
  return admin_.execute(std::move(c));
}

Bytes Session::log_data(std::uint8_t lid, std::uint32_t bytes, std::uint32_t nsid, std::uint64_t offset,
                        std::uint8_t lsp) {
  Answer a = log_page(lid, bytes, nsid, offset, lsp);
  const std::string what = fmt::format("Get Log Page {:02x}h", lid);
  if (!admin_.expect_good(what, a)) return {};
  if (!test_.equal(what + ": bytes", a.data.size(), bytes)) return {};
  return std::move(a.data);
}

Answer Session::get_feature(std::uint8_t fid, std::uint8_t select, std::uint32_t nsid, std::uint32_t bytes,
                            std::uint32_t dw11) {
  Command c(admin::get_features);
  c.nsid(nsid).dw(10, fid | std::uint32_t{select} << 8).dw(11, dw11);
  if (bytes > 0) c.reads(bytes);
  return admin_.execute(std::move(c));
}

Answer Session::set_feature(std::uint8_t fid, std::uint32_t dw11, std::uint32_t nsid, Bytes data, bool save) {
  Command c(admin::set_features);
  c.nsid(nsid).dw(10, fid | (save ? 1u << 31 : 0u)).dw(11, dw11);
  if (!data.empty()) c.sends_in_capsule(std::move(data));
  return admin_.execute(std::move(c));
}

const Bytes& Session::controller() {
  if (controller_.empty()) controller_ = identify_data(0x01);
  return controller_;
}

void Session::find_namespace() {
  if (nsid_) return;
  nsid_ = test_.settings().nsid;
  if (*nsid_ != 0) return;
  const Bytes list = identify_data(0x02);
  nsid_ = u32(list, 0);
  if (test_.ok() && *nsid_ == 0) test_.skip("the subsystem has no active namespace");
}

std::uint32_t Session::nsid() {
  find_namespace();
  return *nsid_;
}

const Bytes& Session::ns() {
  if (namespace_.empty()) namespace_ = identify_data(0x00, nsid());
  return namespace_;
}

std::uint32_t Session::block_bytes() {
  const Bytes& n = ns();
  const unsigned flbas = u8(n, 26);
  const unsigned format = (flbas & 15) | (flbas >> 5 & 3) << 4;
  const unsigned lbads = u8(n, 128 + format * 4 + 2);
  if (test_.ok() && (lbads < 9 || lbads > 20)) test_.fail(fmt::format("Identify Namespace: LBADS {}", lbads));
  if (test_.ok() && u16(n, 128 + format * 4) != 0)
    test_.skip("the namespace has metadata, which no case here serves");
  return test_.ok() ? 1u << lbads : 512;
}

std::uint32_t Session::transfer_max() {
  if (transfer_max_ != 0) return transfer_max_;
  const unsigned mdts = u8(controller(), 77);
  const auto page = static_cast<unsigned>(12 + (property(prop::cap, true) >> 48 & 15));
  const std::uint32_t most = mdts == 0 || mdts + page > 20 ? 1u << 20 : 1u << (mdts + page);
  if (test_.ok()) transfer_max_ = most;
  return most;
}

void Session::fits(std::uint64_t bytes) {
  if (test_.ok() && bytes > transfer_max())
    test_.skip(fmt::format("the case transfers {} bytes at a time, MDTS allows {}", bytes, transfer_max()));
}

bool Session::needs_oncs(unsigned bit, std::string_view what) {
  return test_.needs(has_oncs(bit), fmt::format("ONCS bit {} ({}) is clear", bit, what));
}

Command Session::read_command(std::uint64_t slba, std::uint32_t count) {
  fits(std::uint64_t{count} * block_bytes());
  return io_command(io::read, nsid(), slba, count).reads(count * block_bytes());
}

Command Session::carry(Command command, Bytes data, Carry how) {
  const bool fits = data.size() <= capsule_data_max();
  if (how == Carry::in_capsule || (how == Carry::naturally && fits)) {
    return command.sends_in_capsule(std::move(data));
  }
  return command.sends(std::move(data));
}

Command Session::write_command(std::uint64_t slba, Bytes data, Carry how) {
  fits(data.size());
  const auto blocks = static_cast<std::uint32_t>(data.size()) / block_bytes();
  return carry(io_command(io::write, nsid(), slba, blocks), std::move(data), how);
}

}  // namespace holdfast::cli::conformance
