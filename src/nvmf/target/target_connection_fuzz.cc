// Whatever hosts say on live connections: the target answers in PDUs that its own rules accept, answers a
// command once and only to its queue, lets go of everything when the connections end, and serves an honest
// host afterwards. Input: one byte of choices, then steps of the hosts, each an operation byte and its
// operands; most make PDUs that are nearly right.
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <vector>

#include "base/crc32c.h"
#include "base/log.h"
#include "block/memory_devices.h"
#include "nvme/fabrics.h"
#include "nvme/pdu.h"
#include "nvme/property.h"
#include "nvme/status.h"
#include "nvmf/target/target.h"
#include "nvmf/tcp/testing/fuzz_input.h"
#include "rt/scope.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

using namespace holdfast;
using namespace holdfast::nvmf;
using Bytes = std::vector<std::byte>;

namespace {

using nvmf::tcp::testing::Input;

constexpr std::uint16_t port = 8420;
constexpr std::size_t steps_max = 200;
constexpr std::uint32_t block_bytes = 512;
constexpr std::uint32_t device_blocks = 1024;
const std::string nqn = subsystem_nqn("volume");
const std::string host_nqn = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555";

void require(bool holds, int line = __builtin_LINE()) {
  if (holds) return;
  std::fprintf(stderr, "line %d does not hold\n", line);
  std::abort();
}

// One connection of a host: what was said and what was answered.
class Link {
 public:
  Link(Reactor& reactor, Endpoint to) : reactor_(reactor), to_(std::move(to)), scope_(reactor) {}

  Task<void> open() {
    auto connected = co_await reactor_.connect(to_, reactor_.now() + 5s, StopToken());
    require(connected.ok());
    stream_ = std::move(connected).value();
    limits_ = nvme::PduLimits();
    limits_.data_max = limits_.capsule_data_max = 1 << 20;
    ended_ = said_last_ = paused = confused = false;
    scope_.spawn(listen());
  }
  bool is_open() const { return stream_ != nullptr; }
  Task<void> close() {
    if (!stream_) co_return;
    paused = false;
    stream_->shutdown();
    co_await scope_.join();
    co_await stream_->close();
    stream_.reset();
    out_.clear();
    last_ = 0;
    inbox_.clear();
    waiting_.clear();
    r2ts.clear();
  }
  // What was queued goes out.
  Task<void> leave() {
    const Bytes bytes = std::move(out_);
    out_.clear();
    last_ = 0;
    if (bytes.empty() || ended_) co_return;
    Bytes copy = bytes;
    const IoVec vec{copy.data(), copy.size()};
    const auto sent = co_await stream_->send(IoVecs(&vec, 1));
    sent.ignore("the target may have ended the connection");
  }
  // Waits until the command is answered, or a while.
  Task<void> settle(std::uint16_t cid) {
    for (int i = 0; i < 100 && !ended_ && waiting_[cid] > 0; ++i) co_await reactor_.sleep(1ms);
  }

  template <Wire H>
  void queue(nvme::PduType type, H header, std::span<const std::byte> data = {}) {
    const bool set_up = nvme::rule_of(static_cast<std::uint8_t>(type))->set_up;
    const bool hdgst = limits_.header_digest && !set_up;
    const bool ddgst = limits_.data_digest && !set_up && !data.empty();
    const std::uint32_t head = sizeof header + (hdgst ? nvme::digest_bytes : 0);
    header.ch.pdu_type = static_cast<std::uint8_t>(type);
    header.ch.flags = static_cast<std::uint8_t>(header.ch.flags | (hdgst ? nvme::flag_header_digest : 0) |
                                                (ddgst ? nvme::flag_data_digest : 0));
    header.ch.hlen = sizeof header;
    header.ch.pdo = static_cast<std::uint8_t>(data.empty() ? 0 : head);
    header.ch.plen = static_cast<std::uint32_t>(head + data.size() + (ddgst ? nvme::digest_bytes : 0));
    last_ = out_.size();
    append(bytes_of(header));
    if (hdgst) append_crc(bytes_of(header));
    append(data);
    if (ddgst) append_crc(data);
  }
  void queue_command(const nvme::Sqe& sqe, std::span<const std::byte> data = {}) {
    nvme::CapsuleCmd pdu{};
    pdu.ccsqe = sqe;
    ++waiting_[sqe.cid];
    queue(nvme::PduType::capsule_cmd, pdu, data);
  }
  void queue_bytes(std::span<const std::byte> bytes) {
    confused = true;
    append(bytes);
  }
  void damage(std::size_t back, std::byte bits) {
    if (back >= out_.size()) return;
    confused = true;
    out_[out_.size() - 1 - back] ^= bits;
  }
  void cut(std::size_t bytes) {
    confused = true;
    out_.resize(out_.size() - std::min(bytes, out_.size()));
  }
  void repeat() {
    confused = true;
    const Bytes again(out_.begin() + static_cast<std::ptrdiff_t>(std::min(last_, out_.size())), out_.end());
    append(again);
  }

  std::vector<nvme::R2t> r2ts;
  std::uint16_t cntlid = 0;
  bool paused = false;    // nothing is read
  bool confused = false;  // what was said is not what was meant: answers may belong to anything

 private:
  void append(std::span<const std::byte> bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void append_crc(std::span<const std::byte> over) {
    const le32 crc(crc32c(over));
    append(bytes_of(crc));
  }
  Task<void> listen() {
    Bytes piece(16384);
    const IoVec vec{piece.data(), piece.size()};
    for (;;) {
      while (paused) co_await reactor_.sleep(1ms);
      const auto n = co_await stream_->receive(IoVecs(&vec, 1));
      if (!n.ok() || n.value() == 0) break;
      inbox_.insert(inbox_.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(n.value()));
      while (take_pdu()) {
      }
    }
    ended_ = true;
  }
  bool take_pdu() {
    if (inbox_.size() < sizeof(nvme::CommonHeader)) return false;
    const auto verdict = nvme::check(load<nvme::CommonHeader>(inbox_), nvme::Role::controller, limits_);
    require(verdict.ok());
    require(!said_last_);
    const nvme::PduShape& shape = verdict.shape();
    if (inbox_.size() < shape.plen) return false;
    const std::span<const std::byte> pdu = std::span(inbox_).first(shape.plen);
    if (shape.has_header_digest) {
      require(load<le32>(pdu.subspan(shape.hlen)) == crc32c(pdu.first(shape.hlen)));
    }
    const auto data = pdu.subspan(shape.data_start, shape.data_bytes);
    if (shape.has_data_digest) require(load<le32>(pdu.last(nvme::digest_bytes)) == crc32c(data));
    judge(shape, pdu);
    inbox_.erase(inbox_.begin(), inbox_.begin() + static_cast<std::ptrdiff_t>(shape.plen));
    return true;
  }
  void judge(const nvme::PduShape& shape, std::span<const std::byte> pdu) {
    switch (shape.type) {
      case nvme::PduType::ic_resp: {
        const auto resp = load<nvme::IcResp>(pdu);
        require(!nvme::check(resp));
        limits_.phase = nvme::Phase::running;
        limits_.header_digest = (resp.dgst & nvme::dgst_header) != 0;
        limits_.data_digest = (resp.dgst & nvme::dgst_data) != 0;
        return;
      }
      case nvme::PduType::capsule_resp: {
        const auto cqe = load<nvme::CapsuleResp>(pdu).rccqe;
        if (connecting_ && cqe.cid == 0) cntlid = static_cast<std::uint16_t>(cqe.result.get());
        return answered(cqe.cid);
      }
      case nvme::PduType::c2h_data: {
        const auto c2h = load<nvme::C2hData>(pdu);
        require(confused || waiting_[c2h.cccid] > 0);
        require(c2h.datal == shape.data_bytes);
        if ((c2h.ch.flags & nvme::flag_success) != 0) answered(c2h.cccid);
        return;
      }
      case nvme::PduType::r2t: {
        const auto r2t = load<nvme::R2t>(pdu);
        require((confused || waiting_[r2t.cccid] > 0) && r2t.r2tl > 0);
        return r2ts.push_back(r2t);
      }
      default:  // a terminate request is the last thing that it says
        require(shape.type == nvme::PduType::c2h_term_req);
        said_last_ = true;
    }
  }
  void answered(std::uint16_t cid) {
    int& waiting = waiting_[cid];
    require(confused || waiting > 0);
    if (waiting > 0) --waiting;
  }

 public:
  bool connecting_ = false;

 private:
  Reactor& reactor_;
  const Endpoint to_;
  std::unique_ptr<Stream> stream_;
  TaskScope scope_;
  nvme::PduLimits limits_;
  Bytes out_, inbox_;
  std::size_t last_ = 0;  // where the newest PDU begins
  std::map<std::uint16_t, int> waiting_;
  bool ended_ = false;
  bool said_last_ = false;
};

class Hosts {
 public:
  Hosts(Reactor& reactor, const Endpoint& to, Input in, std::uint8_t choices)
      : reactor_(reactor), in_(in), choices_(choices) {
    for (auto& link : links_) link = std::make_unique<Link>(reactor, to);
  }

  Task<void> run() {
    if ((choices_ & 4) != 0) {
      co_await begin_queue(*links_[0], 0);
      co_await begin_queue(*links_[1], 1);
      chosen_ = 1;
    }
    for (std::size_t step = 0; step < steps_max && !in_.empty(); ++step) {
      Link& link = *links_[chosen_];
      if (!link.is_open()) co_await link.open();
      co_await one_step(link);
    }
    for (auto& link : links_) {
      if (link->is_open()) co_await link->leave();
    }
    co_await reactor_.sleep(1ms);
    for (auto& link : links_) co_await link->close();
  }
  // An honest host's life: connect, enable, write, read, leave.
  Task<void> run_honest() {
    for (auto& link : links_) require(!link->is_open());
    co_await begin_queue(*links_[0], 0);
    co_await begin_queue(*links_[1], 1);
    require(links_[0]->cntlid != 0 && !links_[1]->confused);
    links_[1]->queue_command(io(nvme::IoOpcode::write, 8, 1, true, 9), Bytes(block_bytes));
    co_await links_[1]->leave();
    co_await links_[1]->settle(9);
    for (auto& link : links_) co_await link->close();
  }

 private:
  Task<void> begin_queue(Link& link, std::uint16_t qid) {
    co_await link.open();
    queue_ic_req(link, choices_ & 3);
    co_await link.leave();
    co_await reactor_.sleep(2ms);
    link.connecting_ = qid == 0;
    queue_connect(link, qid, qid == 0 ? nvme::cntlid_dynamic : links_[0]->cntlid);
    co_await link.leave();
    co_await link.settle(0);
    link.connecting_ = false;
    if (qid != 0) co_return;
    queue_enable(link, 1);
    co_await link.leave();
    co_await link.settle(1);
  }
  void queue_ic_req(Link& link, unsigned dgst) {
    nvme::IcReq req{};
    req.dgst = static_cast<std::uint8_t>(dgst);
    link.queue(nvme::PduType::ic_req, req);
  }
  void queue_connect(Link& link, std::uint16_t qid, std::uint16_t cntlid) {
    nvme::ConnectCmd c{};
    c.opc = static_cast<std::uint8_t>(nvme::AdminOpcode::fabrics);
    c.flags = nvme::Sqe::psdt_sgl;
    c.fctype = static_cast<std::uint8_t>(nvme::FabricsType::connect);
    c.sgl1 = nvme::SglDescriptor::in_capsule(sizeof(nvme::ConnectData));
    c.qid = qid;
    c.sqsize = static_cast<std::uint16_t>(in_.twist() ? in_.word() : 15);
    c.cattr = (choices_ & 8) != 0 ? nvme::ConnectCmd::cattr_no_sq_flow_control : 0;
    c.kato = in_.twist() ? in_.word() : 0;
    nvme::ConnectData d{};
    d.hostid[0] = 1;
    d.cntlid = cntlid;
    nvme::nqn_to_field(in_.twist() ? std::string(nvme::discovery_nqn) : nqn, d.subnqn);
    nvme::nqn_to_field(host_nqn, d.hostnqn);
    link.queue_command(nvme::to_sqe(c), bytes_of(d));
  }
  void queue_enable(Link& link, std::uint16_t cid) {
    nvme::PropertySetCmd c{};
    c.opc = static_cast<std::uint8_t>(nvme::AdminOpcode::fabrics);
    c.flags = nvme::Sqe::psdt_sgl;
    c.cid = cid;
    c.fctype = static_cast<std::uint8_t>(nvme::FabricsType::property_set);
    c.ofst = in_.twist() ? in_.byte() : static_cast<std::uint32_t>(nvme::Property::cc);
    c.value = in_.twist() ? in_.word() : nvme::Cc{true, 0, 0, 0, nvme::ShutdownNotice::none, 6, 4}.pack();
    link.queue_command(nvme::to_sqe(c));
  }
  static nvme::Sqe io(nvme::IoOpcode opc, std::uint64_t lba, std::uint32_t blocks, bool capsule,
                      std::uint16_t cid) {
    nvme::Sqe s{};
    s.opc = static_cast<std::uint8_t>(opc);
    s.flags = nvme::Sqe::psdt_sgl;
    s.nsid = 1;
    s.cid = cid;
    nvme::set_io_range(s, lba, blocks);
    s.sgl1 = capsule ? nvme::SglDescriptor::in_capsule(blocks * block_bytes)
                     : nvme::SglDescriptor::transport(blocks * block_bytes);
    return s;
  }

  Task<void> one_step(Link& link) {
    switch (in_.byte() % 16) {
      case 0:
        chosen_ = in_.byte() % links_.size();
        break;
      case 1:
        queue_ic_req(link, in_.byte());
        break;
      case 2:
        queue_connect(link, in_.byte() % 4,
                      in_.twist() ? static_cast<std::uint16_t>(in_.word()) : links_[0]->cntlid);
        break;
      case 3:
        queue_enable(link, next_cid());
        break;
      case 4:
      case 5:
        say_admin(link);
        break;
      case 6:
      case 7:
        say_io(link);
        break;
      case 8:
        say_any(link);
        break;
      case 9:
      case 10:
        send_data(link);
        break;
      case 11: {
        const std::size_t back = in_.byte();
        link.damage(back, std::byte{in_.byte()});
        break;
      }
      case 12:
        link.queue_bytes(in_.take(in_.byte() % 64));
        break;
      case 13:
        co_await link.leave();
        co_await reactor_.sleep(std::chrono::microseconds(in_.byte() * 20));
        break;
      case 14:
        co_await misbehave(link);
        break;
      default:
        co_await link.leave();
    }
  }
  Task<void> misbehave(Link& link) {
    switch (in_.byte() % 8) {
      case 0:
        co_await link.leave();
        co_await link.close();
        break;
      case 1:
        link.paused = !link.paused;
        break;
      case 2:
        link.repeat();
        break;
      case 3:
        link.cut(in_.byte());
        break;
      case 4:
        co_await link.leave();
        co_await reactor_.sleep(std::chrono::milliseconds(in_.byte() * 300));
        break;
      case 5:
        link.queue(nvme::PduType::h2c_term_req, nvme::TermReq{}, in_.take(in_.byte() % 130));
        break;
      default:  // the command is given up in the middle of its data
        link.r2ts.clear();
    }
  }
  std::uint16_t next_cid() { return in_.twist() ? cid_ : ++cid_; }
  void say_admin(Link& link) {
    static constexpr std::uint8_t opcodes[] = {0x00, 0x01, 0x02, 0x02, 0x02, 0x04, 0x05, 0x06, 0x06, 0x06,
                                               0x08, 0x09, 0x0a, 0x0c, 0x0c, 0x0d, 0x10, 0x11, 0x15, 0x18};
    nvme::Sqe s{};
    s.opc = opcodes[in_.byte() % std::size(opcodes)];
    s.flags = nvme::Sqe::psdt_sgl;
    s.cid = next_cid();
    s.nsid = in_.twist() ? in_.word() : in_.byte() % 3 - 1u;
    s.cdw10 = in_.byte();
    std::uint32_t bytes = 4096;
    if (s.opc == 0x02) {  // log page: so many dwords
      const std::uint32_t dwords = in_.twist() ? in_.word() : in_.byte();
      s.cdw10 = s.cdw10 | dwords << 16;
      bytes = (dwords + 1) * 4;
    }
    s.cdw11 = in_.twist() ? in_.word() : in_.byte();
    if (in_.twist()) s.cdw12 = in_.word();
    if (in_.twist()) bytes = in_.word();
    s.sgl1 = nvme::SglDescriptor::transport(bytes);
    link.queue_command(s);
  }
  void say_io(Link& link) {
    static constexpr nvme::IoOpcode opcodes[] = {nvme::IoOpcode::write, nvme::IoOpcode::read,
                                                 nvme::IoOpcode::write, nvme::IoOpcode::compare};
    const unsigned kind = in_.byte();
    const bool capsule = (kind & 4) != 0;
    const std::uint32_t blocks = 1 + in_.byte() % (capsule ? 16 : 64);
    nvme::Sqe s = io(opcodes[kind & 3], in_.byte() * 4u, blocks, capsule && (kind & 3) != 1, next_cid());
    if (in_.twist()) s.flags = static_cast<std::uint8_t>(s.flags | (in_.byte() & 3));
    if (in_.twist()) s.nsid = in_.word();
    if (in_.twist()) s.sgl1.length = in_.word();
    if (in_.twist()) s.sgl1.id = in_.byte();
    link.queue_command(s, s.sgl1.is_in_capsule() ? Bytes(blocks * block_bytes) : Bytes());
  }
  // A command of which nothing is sure.
  void say_any(Link& link) {
    nvme::Sqe s{};
    s.opc = in_.byte();
    s.flags = in_.twist() ? in_.byte() : nvme::Sqe::psdt_sgl;
    s.cid = next_cid();
    s.nsid = in_.byte() % 4;
    s.cdw10 = in_.word();
    s.cdw11 = in_.byte();
    s.cdw12 = in_.word();
    s.cdw13 = in_.byte();
    const std::uint32_t bytes = in_.twist() ? in_.word() : in_.byte() * 16u;
    const bool capsule = (s.opc & 1) != 0 && (in_.byte() & 1) != 0;
    s.sgl1 = capsule ? nvme::SglDescriptor::in_capsule(bytes, in_.twist() ? in_.word() : 0)
                     : nvme::SglDescriptor::transport(bytes);
    link.queue_command(s, capsule ? Bytes(std::min(bytes, 8192u), std::byte{1}) : Bytes());
  }
  // For one of the R2Ts: all of the data, or a part, or what was not asked for.
  void send_data(Link& link) {
    if (link.r2ts.empty()) return;
    const std::size_t which = in_.byte() % link.r2ts.size();
    nvme::R2t& r2t = link.r2ts[which];
    nvme::H2cData pdu{};
    pdu.cccid = r2t.cccid;
    pdu.ttag = r2t.ttag;
    pdu.datao = r2t.r2to;
    const std::uint32_t bytes =
        (in_.byte() & 1) != 0 ? std::min<std::uint32_t>(r2t.r2tl, 1 + in_.word()) : r2t.r2tl.get();
    const bool last = bytes == r2t.r2tl;
    pdu.datal = bytes;
    pdu.ch.flags = last ? nvme::flag_last_pdu : 0;
    if (in_.twist()) pdu.ttag = static_cast<std::uint16_t>(in_.byte());
    if (in_.twist()) pdu.datao = in_.word();
    if (in_.twist()) pdu.datal = in_.word();
    if (in_.twist()) pdu.cccid = static_cast<std::uint16_t>(in_.word());
    if (in_.twist()) pdu.ch.flags = in_.byte() & nvme::flag_last_pdu;
    link.queue(nvme::PduType::h2c_data, pdu, Bytes(bytes, std::byte{2}));
    r2t.r2to = r2t.r2to + bytes;
    r2t.r2tl = r2t.r2tl - bytes;
    if (last && !in_.twist()) link.r2ts.erase(link.r2ts.begin() + static_cast<std::ptrdiff_t>(which));
  }

  Reactor& reactor_;
  Input in_;
  const std::uint8_t choices_;
  std::array<std::unique_ptr<Link>, 3> links_;
  std::size_t chosen_ = 0;
  std::uint16_t cid_ = 1;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 || size > 4096) return 0;
  log::configure(log::Level::off, log::Format::text);
  sim::World world(data[0] >> 4);
  sim::Node& host = world.add_node("host");
  sim::Node& node = world.add_node("target");
  sim::Process& process = node.start(1 + (data[0] >> 4 & 1), 4 << 20);
  sim::SimReactor& here = host.start(1, 1 << 20).core(0);
  sim::SimReactor& home = process.core(0);
  Geometry geometry;
  geometry.block_bytes = block_bytes;
  geometry.block_count = device_blocks;
  BlockDevice::Identity id;
  id.name = "disk";
  id.uuid = Uuid::from_name("disk");
  MallocDevice device(id, process.cores(), geometry);
  TargetConfig config;
  config.queue_entries_max = 128;
  Target target(process.cores(), config);
  require(world.run(home, target.listen(Endpoint{"0.0.0.0", port})).ok());
  SubsystemConfig subsystem;
  subsystem.nqn = nqn;
  subsystem.serial = subsystem_serial(id.uuid);
  require(world.run(home, target.add_subsystem(subsystem)).ok());
  NamespaceConfig ns;
  ns.uuid = id.uuid;
  require(world.run(home, target.add_namespace(nqn, ns, device)).ok());
  const Endpoint to{node.ipv4(), port};
  {
    Hosts hosts(here, to, Input(std::span(data, size).subspan(1)), data[0]);
    world.run(here, hosts.run());
  }
  world.run_for(10s);
  require(world.run(home, target.stats()).connections == 0);
  for (unsigned c = 0; c < process.core_count(); ++c) require(process.core(c).buffers().used_bytes() == 0);
  {
    Hosts honest(here, to, Input({}), data[0] & 15);
    world.run(here, honest.run_honest());
  }
  world.run(home, target.close());
  world.run(home, device.close());
  return 0;
}
