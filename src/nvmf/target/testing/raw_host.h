// What the tests of this folder share: a target on a simulated machine, and hosts that speak raw PDUs to it,
// so that they can say anything, also what no real host would.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "block/memory_devices.h"
#include "nvme/fabrics.h"
#include "nvme/feature.h"
#include "nvme/identify.h"
#include "nvme/log_page.h"
#include "nvme/pdu.h"
#include "nvme/property.h"
#include "nvmf/target/target.h"
#include "sim/net.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::nvmf::test {

using nvme::AdminOpcode;
using nvme::CommandStatus;
using nvme::Fes;
using nvme::IoOpcode;
using nvme::PduType;
using nvme::Sqe;
using nvme::StatusCode;
using Bytes = std::vector<std::byte>;

inline const std::string volume_nqn = subsystem_nqn("volume");
inline const std::string host_nqn = "nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555";
inline constexpr std::uint16_t port = 8420;

inline Bytes pattern(std::size_t bytes, std::uint64_t seed) {
  Prng prng(seed);
  Bytes out(bytes);
  for (auto& b : out) b = static_cast<std::byte>(prng.next());
  return out;
}
inline void append(Bytes& to, std::span<const std::byte> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

// One received PDU. Empty when the stream ended instead.
struct Pdu {
  Bytes bytes;

  explicit operator bool() const { return !bytes.empty(); }
  PduType type() const { return static_cast<PduType>(bytes.at(0)); }
  template <Wire T>
  T as() const {
    return load<T>(bytes);
  }
  nvme::CommonHeader ch() const { return as<nvme::CommonHeader>(); }
  std::span<const std::byte> data() const {
    const std::size_t digest = (ch().flags & nvme::flag_data_digest) != 0 ? 4 : 0;
    return std::span(bytes).subspan(ch().pdo, bytes.size() - ch().pdo - digest);
  }
};

// The outcome of a command.
struct Outcome {
  CommandStatus status;
  std::uint64_t result = 0;
  std::uint16_t sqhd = 0;
  Bytes data;
  bool answered = false;    // else the stream ended
  bool by_success = false;  // by the flag of C2HData, without a response
  unsigned r2ts = 0;
};

struct Rig {
  explicit Rig(std::uint64_t seed = 1, unsigned cores = 1, TargetConfig config = {},
               std::size_t budget = 16 << 20)
      : world(seed), host_node(world.add_node("host")), target_node(world.add_node("target")) {
    log::configure(log::Level::off, log::Format::text);  // hostile peers are noisy
    host = &host_node.start().core(0);
    process = &target_node.start(cores, budget);
    Geometry g;
    g.block_bytes = 512;
    g.block_count = 65536;  // 32 MiB
    device = make_device("malloc0", g);
    target = std::make_unique<Target>(process->cores(), config);
    auto at = run(target->listen(Endpoint{"0.0.0.0", port}));
    if (!at.ok()) panic("cannot listen");
  }
  ~Rig() {
    world.run(process->core(0), target->close());
    target.reset();
    if (device) world.run(process->core(0), device->close());
    device.reset();
    world.run_for(1s);
  }
  std::unique_ptr<MallocDevice> make_device(const std::string& name, const Geometry& g) {
    BlockDevice::Identity id;
    id.name = name;
    id.uuid = Uuid::from_name(name);
    return std::make_unique<MallocDevice>(id, process->cores(), g);
  }
  template <class T>
  T run(Task<T> task) {
    return world.run(process->core(0), std::move(task));
  }
  Errc add_volume(SubsystemConfig c = volume()) {
    auto added = run(target->add_subsystem(c));
    if (!added.ok()) return added.code();
    NamespaceConfig ns;
    ns.uuid = device->identity().uuid;
    return run(target->add_namespace(c.nqn, ns, *device)).code();
  }
  static SubsystemConfig volume() {
    SubsystemConfig c;
    c.nqn = volume_nqn;
    c.serial = subsystem_serial(Uuid::from_name("volume"));
    return c;
  }

  sim::World world;
  sim::Node& host_node;
  sim::Node& target_node;
  sim::SimReactor* host;
  sim::Process* process;
  std::unique_ptr<MallocDevice> device;
  std::unique_ptr<Target> target;
};

// One connection of a host.
class RawHost {
 public:
  explicit RawHost(Rig& rig, std::string address = "") : rig_(rig) {
    const Endpoint to{address.empty() ? rig.target_node.ipv4() : address, port};
    auto stream = rig_.world.run(*rig_.host, rig_.host->connect(to, rig_.world.now() + 5s, StopToken()));
    if (stream.ok()) stream_ = std::move(stream).value();
  }
  ~RawHost() { close(); }
  RawHost(const RawHost&) = delete;
  RawHost& operator=(const RawHost&) = delete;

  bool connected() const { return stream_ != nullptr; }
  void close() {
    if (!stream_) return;
    stream_->shutdown();
    rig_.world.run(*rig_.host, stream_->close());
    stream_.reset();
  }

  // --- Bytes. ---
  void send(Bytes bytes) { rig_.world.run(*rig_.host, send_task(std::move(bytes))); }
  // The next PDU; an empty one when the stream ended, or nothing came in time.
  Pdu receive(Nanos wait = 2s) {
    Pdu pdu;
    if (!fill(8, wait)) return pdu;
    const std::uint32_t plen = load<nvme::CommonHeader>(inbox_).plen;
    if (!fill(plen, wait)) return pdu;
    pdu.bytes.assign(inbox_.begin(), inbox_.begin() + plen);
    inbox_.erase(inbox_.begin(), inbox_.begin() + plen);
    return pdu;
  }
  // Whether the target ends the stream (and sends nothing more) in that time.
  bool ends(Nanos wait = 5s) { return !fill(inbox_.size() + 1, wait) && ended_; }

  // --- PDUs. ---
  // A PDU with everything in its place, by what was agreed.
  template <Wire H>
  Bytes make(PduType type, H header, const Bytes& data = {}, std::uint8_t flags = 0) const {
    const bool set_up = type == PduType::ic_req || type == PduType::h2c_term_req;
    const bool hdgst = header_digest && !set_up;
    const bool ddgst = data_digest && !set_up && !data.empty();
    const std::uint32_t head = sizeof(H) + (hdgst ? 4 : 0);
    header.ch = {static_cast<std::uint8_t>(type),
                 static_cast<std::uint8_t>(flags | (hdgst ? 1 : 0) | (ddgst ? 2 : 0)), sizeof(H),
                 static_cast<std::uint8_t>(data.empty() || set_up ? 0 : head),
                 static_cast<std::uint32_t>(head + data.size() + (ddgst ? 4 : 0))};
    Bytes out;
    append(out, bytes_of(header));
    if (hdgst) append(out, bytes_of(le32(crc32c(bytes_of(header)))));
    append(out, data);
    if (ddgst) append(out, bytes_of(le32(crc32c(data))));
    return out;
  }
  Bytes make_command(const Sqe& sqe, const Bytes& data = {}) const {
    nvme::CapsuleCmd pdu{};
    pdu.ccsqe = sqe;
    return make(PduType::capsule_cmd, pdu, data);
  }
  Bytes make_ic_req(std::uint8_t dgst = 0, std::uint8_t hpda = 0, std::uint16_t pfv = 0) const {
    nvme::IcReq req{};
    req.dgst = dgst;
    req.hpda = hpda;
    req.pfv = pfv;
    return make(PduType::ic_req, req);
  }
  Bytes make_h2c(std::uint16_t cid, std::uint16_t ttag, std::uint32_t datao, const Bytes& data,
                 bool last) const {
    nvme::H2cData pdu{};
    pdu.cccid = cid;
    pdu.ttag = ttag;
    pdu.datao = datao;
    pdu.datal = static_cast<std::uint32_t>(data.size());
    return make(PduType::h2c_data, pdu, data, last ? nvme::flag_last_pdu : 0);
  }
  // ICReq and ICResp.
  bool set_up(std::uint8_t dgst = 0, std::uint8_t hpda = 0) {
    send(make_ic_req(dgst, hpda));
    const Pdu resp = receive();
    if (!resp || resp.type() != PduType::ic_resp) return false;
    ic_resp = resp.as<nvme::IcResp>();
    header_digest = (ic_resp.dgst & nvme::dgst_header) != 0;
    data_digest = (ic_resp.dgst & nvme::dgst_data) != 0;
    return true;
  }
  // What a fault is answered with: the terminate request's status, and the end of the stream.
  Fes terminated(std::uint32_t* fei = nullptr) {
    const Pdu pdu = receive();
    if (!pdu || pdu.type() != PduType::c2h_term_req) return Fes::none;
    const auto req = pdu.as<nvme::TermReq>();
    if (fei != nullptr) *fei = req.fei;
    EXPECT_TRUE(ends());
    return static_cast<Fes>(req.fes.get());
  }

  // --- Commands. ---
  // Runs one command to its end: answers R2Ts with `data` unless that went in the capsule.
  Outcome execute(Sqe sqe, const Bytes& data = {}) {
    if (sqe.cid == 0) sqe.cid = ++last_cid_;
    const bool in_capsule = sqe.sgl1.is_in_capsule();
    send(make_command(sqe, in_capsule ? data : Bytes()));
    return wait_for(sqe.cid, data);
  }
  Outcome wait_for(std::uint16_t cid, const Bytes& data = {}) {
    Outcome out;
    for (;;) {
      const Pdu pdu = receive();
      if (!pdu) return out;
      if (pdu.type() == PduType::r2t) {
        const auto r2t = pdu.as<nvme::R2t>();
        ++out.r2ts;
        send_data(r2t, data);
      } else if (pdu.type() == PduType::c2h_data) {
        const auto c2h = pdu.as<nvme::C2hData>();
        EXPECT_EQ(c2h.cccid, cid);
        EXPECT_EQ(c2h.datao, out.data.size());
        append(out.data, pdu.data());
        if ((c2h.ch.flags & nvme::flag_success) != 0) {
          out.answered = out.by_success = true;
          return out;
        }
      } else if (pdu.type() == PduType::capsule_resp) {
        const auto cqe = pdu.as<nvme::CapsuleResp>().rccqe;
        if (cqe.cid != cid) {  // an asynchronous event
          others.push_back(cqe);
          continue;
        }
        out.answered = true;
        out.status = CommandStatus::unpack(cqe.status);
        out.result = cqe.result;
        out.sqhd = cqe.sqhd;
        return out;
      } else {
        ADD_FAILURE() << "unexpected PDU " << static_cast<int>(pdu.type());
        return out;
      }
    }
  }
  void send_data(const nvme::R2t& r2t, const Bytes& data) {
    for (std::uint32_t at = 0; at < r2t.r2tl;) {
      const std::uint32_t n = std::min<std::uint32_t>(r2t.r2tl - at, ic_resp.maxh2cdata);
      const std::uint32_t from = r2t.r2to + at;
      const Bytes piece(data.begin() + from, data.begin() + from + n);
      at += n;
      send(make_h2c(r2t.cccid, r2t.ttag, from, piece, at == r2t.r2tl));
    }
  }

  Sqe connect_sqe(std::uint16_t qid, std::uint16_t sqsize = 31, std::uint8_t cattr = 0,
                  std::uint32_t kato = 0) const {
    nvme::ConnectCmd c{};
    c.opc = static_cast<std::uint8_t>(AdminOpcode::fabrics);
    c.flags = Sqe::psdt_sgl;
    c.fctype = static_cast<std::uint8_t>(nvme::FabricsType::connect);
    c.sgl1 = nvme::SglDescriptor::in_capsule(sizeof(nvme::ConnectData));
    c.qid = qid;
    c.sqsize = sqsize;
    c.cattr = cattr;
    c.kato = kato;
    return nvme::to_sqe(c);
  }
  static nvme::ConnectData connect_data(std::uint16_t cntlid = nvme::cntlid_dynamic,
                                        const std::string& subnqn = volume_nqn,
                                        const std::string& host = host_nqn, std::uint8_t host_id = 1) {
    nvme::ConnectData d{};
    d.hostid[0] = host_id;
    d.cntlid = cntlid;
    nvme::nqn_to_field(subnqn, d.subnqn);
    nvme::nqn_to_field(host, d.hostnqn);
    return d;
  }
  Outcome connect(const Sqe& sqe, const nvme::ConnectData& data) {
    const auto bytes = bytes_of(data);
    return execute(sqe, Bytes(bytes.begin(), bytes.end()));
  }

  static Sqe admin(AdminOpcode opc, std::uint32_t cdw10 = 0, std::uint32_t cdw11 = 0,
                   std::uint32_t nsid = 0) {
    Sqe s{};
    s.opc = static_cast<std::uint8_t>(opc);
    s.flags = Sqe::psdt_sgl;
    s.nsid = nsid;
    s.cdw10 = cdw10;
    s.cdw11 = cdw11;
    return s;
  }
  Outcome property_get(nvme::Property p, bool is_8_bytes = false) {
    nvme::PropertyGetCmd c{};
    c.opc = static_cast<std::uint8_t>(AdminOpcode::fabrics);
    c.flags = Sqe::psdt_sgl;
    c.fctype = static_cast<std::uint8_t>(nvme::FabricsType::property_get);
    c.attrib = is_8_bytes ? 1 : 0;
    c.ofst = static_cast<std::uint32_t>(p);
    return execute(nvme::to_sqe(c));
  }
  Outcome property_set(nvme::Property p, std::uint64_t value) {
    nvme::PropertySetCmd c{};
    c.opc = static_cast<std::uint8_t>(AdminOpcode::fabrics);
    c.flags = Sqe::psdt_sgl;
    c.fctype = static_cast<std::uint8_t>(nvme::FabricsType::property_set);
    c.ofst = static_cast<std::uint32_t>(p);
    c.value = value;
    return execute(nvme::to_sqe(c));
  }
  Outcome identify(nvme::Cns cns, std::uint32_t nsid = 0, std::uint32_t cdw11 = 0) {
    Sqe s = admin(AdminOpcode::identify, static_cast<std::uint32_t>(cns), cdw11, nsid);
    s.sgl1 = nvme::SglDescriptor::transport(4096);
    return execute(s);
  }
  Outcome log_page(nvme::LogPage lid, std::uint32_t bytes, std::uint32_t nsid = nvme::nsid_all,
                   std::uint32_t lsp = 0, std::uint64_t offset = 0, bool retain = false) {
    const std::uint32_t numd = bytes / 4 - 1;
    Sqe s = admin(AdminOpcode::get_log_page,
                  static_cast<std::uint32_t>(lid) | lsp << 8 | (retain ? 1u << 15 : 0) | numd << 16,
                  numd >> 16, nsid);
    s.cdw12 = static_cast<std::uint32_t>(offset);
    s.cdw13 = static_cast<std::uint32_t>(offset >> 32);
    s.sgl1 = nvme::SglDescriptor::transport(bytes);
    return execute(s);
  }
  // Parks an asynchronous event request.
  std::uint16_t park_event_request() {
    Sqe s = admin(AdminOpcode::async_event_request);
    s.cid = static_cast<std::uint16_t>(0x8000 + ++last_cid_);
    send(make_command(s));
    return s.cid;
  }

  static Sqe io(IoOpcode opc, std::uint64_t slba, std::uint32_t blocks, std::uint32_t nsid = 1) {
    Sqe s{};
    s.opc = static_cast<std::uint8_t>(opc);
    s.flags = Sqe::psdt_sgl;
    s.nsid = nsid;
    nvme::set_io_range(s, slba, blocks);
    return s;
  }
  Outcome read(std::uint64_t slba, std::uint32_t blocks, std::uint32_t block_bytes = 512) {
    Sqe s = io(IoOpcode::read, slba, blocks);
    s.sgl1 = nvme::SglDescriptor::transport(blocks * block_bytes);
    return execute(s);
  }
  Outcome write(std::uint64_t slba, const Bytes& data, bool in_capsule, std::uint32_t block_bytes = 512) {
    const auto bytes = static_cast<std::uint32_t>(data.size());
    Sqe s = io(IoOpcode::write, slba, bytes / block_bytes);
    s.sgl1 = in_capsule ? nvme::SglDescriptor::in_capsule(bytes) : nvme::SglDescriptor::transport(bytes);
    return execute(s, data);
  }

  nvme::IcResp ic_resp{};
  bool header_digest = false, data_digest = false;
  std::vector<nvme::Cqe> others;  // responses that nobody waited for

 private:
  Task<void> send_task(Bytes bytes) {
    const IoVec vec{bytes.data(), bytes.size()};
    const Result<std::size_t> sent = co_await stream_->send(IoVecs(&vec, 1));
    sent.ignore("the target may have ended the stream");
  }
  Task<void> receive_some() {
    Bytes piece(65536);
    const IoVec vec{piece.data(), piece.size()};
    const Result<std::size_t> n = co_await stream_->receive(IoVecs(&vec, 1));
    if (!n.ok() || n.value() == 0) {
      ended_ = true;
    } else {
      inbox_.insert(inbox_.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(n.value()));
    }
    receiving_ = false;
  }
  bool fill(std::size_t bytes, Nanos wait) {
    const Nanos until = rig_.world.now() + wait;
    while (inbox_.size() < bytes && !ended_) {
      if (!receiving_) {
        receiving_ = true;
        rig_.world.spawn(*rig_.host, receive_some());
      }
      if (!rig_.world.run_until([this] { return !receiving_; }, until)) return false;
    }
    return inbox_.size() >= bytes;
  }

  Rig& rig_;
  std::unique_ptr<Stream> stream_;
  Bytes inbox_;
  bool ended_ = false;
  bool receiving_ = false;
  std::uint16_t last_cid_ = 0;
};

// An enabled controller with one I/O queue.
struct Session {
  explicit Session(Rig& rig, std::uint8_t dgst = 0, std::uint8_t cattr = 0, std::uint32_t kato = 0,
                   std::uint16_t sqsize = 31, std::uint8_t host_id = 1)
      : admin(rig), io(rig) {
    const auto data = [&](std::uint16_t id) {
      return RawHost::connect_data(id, volume_nqn, host_nqn, host_id);
    };
    if (!admin.set_up(dgst) || !io.set_up(dgst)) panic("no connection");
    const Outcome a = admin.connect(admin.connect_sqe(0, 31, cattr, kato), data(nvme::cntlid_dynamic));
    if (!a.answered || !a.status.ok()) panic("admin connect refused");
    cntlid = static_cast<std::uint16_t>(a.result);
    enable();
    const Outcome q = io.connect(io.connect_sqe(1, sqsize, cattr), data(cntlid));
    if (!q.answered || !q.status.ok()) panic("io connect refused");
  }
  void enable() {
    const nvme::Cc cc{true, 0, 0, 0, nvme::ShutdownNotice::none, 6, 4};
    const Outcome set = admin.property_set(nvme::Property::cc, cc.pack());
    if (!set.answered || !set.status.ok()) panic("enable refused");
  }

  // Host behavior support: command retry delays.
  void accept_retry_delays() {
    Bytes behavior(512);
    behavior[0] = std::byte{1};
    Sqe sqe = RawHost::admin(AdminOpcode::set_features,
                             static_cast<std::uint32_t>(nvme::Feature::host_behavior_support));
    sqe.sgl1 = nvme::SglDescriptor::in_capsule(512);
    if (!admin.execute(sqe, behavior).status.ok()) panic("host behavior refused");
  }

  RawHost admin, io;
  std::uint16_t cntlid = 0;
};

// An innocent host keeps working.
inline void expect_unharmed(Session& s, std::uint64_t seed) {
  const Bytes data = pattern(4096, seed);
  const Outcome w = s.io.write(64, data, true);
  EXPECT_TRUE(w.answered && w.status.ok());
  EXPECT_EQ(s.io.read(64, 8).data, data);
}

// A write whose data has to be asked for.
inline Sqe big_write(std::uint32_t bytes) {
  Sqe s = RawHost::io(IoOpcode::write, 0, bytes / 512);
  s.cid = 7;
  s.sgl1 = nvme::SglDescriptor::transport(bytes);
  return s;
}

// Sends a write of `bytes` and gives its R2T.
inline nvme::R2t ask(RawHost& h, std::uint32_t bytes) {
  h.send(h.make_command(big_write(bytes)));
  const Pdu pdu = h.receive();
  EXPECT_EQ(pdu.type(), PduType::r2t);
  return pdu.as<nvme::R2t>();
}

}  // namespace holdfast::nvmf::test
