// FakeTarget: a small NVMe/TCP target for tests of the initiator that need a peer which misbehaves on
// purpose.
//
// One subsystem, one namespace in memory, data digests if the host asks, no buffers worth mentioning. A hook
// sees every command first and may answer it in any way, or not at all. Runs on any Reactor.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/crc32c.h"
#include "nvme/fabrics.h"
#include "nvme/feature.h"
#include "nvme/identify.h"
#include "nvme/log_page.h"
#include "nvme/pdu.h"
#include "nvme/property.h"
#include "nvme/status.h"
#include "nvmf/tcp/pdu_receiver.h"
#include "rt/reactor.h"
#include "rt/scope.h"

namespace holdfast::test {

class FakeTarget;

class FakeConnection {
 public:
  FakeConnection(FakeTarget& target, Reactor& reactor, std::unique_ptr<Stream> stream)
      : target_(target), reactor_(reactor), stream_(std::move(stream)), wake_(reactor) {}

  Task<void> serve();

  // ---- For hooks.
  std::uint16_t qid() const noexcept { return qid_; }
  void raw(std::span<const std::byte> bytes) {
    out_.insert(out_.end(), bytes.begin(), bytes.end());
    wake_.set();
  }
  template <Wire H>
  void pdu(H header, nvme::PduType type, std::span<const std::byte> data = {}) {
    header.ch.pdu_type = static_cast<std::uint8_t>(type);
    header.ch.hlen = sizeof header;
    header.ch.pdo = static_cast<std::uint8_t>(data.empty() ? 0 : sizeof header);
    const bool digest = data_digest_ && !data.empty();
    if (digest) header.ch.flags |= nvme::flag_data_digest;
    header.ch.plen =
        static_cast<std::uint32_t>(sizeof header + data.size() + (digest ? nvme::digest_bytes : 0));
    raw(bytes_of(header));
    raw(data);
    if (digest) raw(bytes_of(le32(crc32c(data) ^ digest_error)));
  }
  std::uint32_t digest_error = 0;  // of the data digests that follow
  void respond(std::uint16_t cid, nvme::CommandStatus status = {}, std::uint64_t result = 0,
               std::uint16_t sqhd = 0) {
    nvme::CapsuleResp resp{};
    resp.rccqe.cid = cid;
    resp.rccqe.result = result;
    resp.rccqe.sqhd = sqhd;
    resp.rccqe.status = status.pack();
    pdu(resp, nvme::PduType::capsule_resp);
  }
  void data(std::uint16_t cid, std::uint32_t offset, std::span<const std::byte> bytes, std::uint8_t flags) {
    nvme::C2hData header{};
    header.ch.flags = flags;
    header.cccid = cid;
    header.datao = offset;
    header.datal = static_cast<std::uint32_t>(bytes.size());
    pdu(header, nvme::PduType::c2h_data, bytes);
  }
  void r2t(std::uint16_t cid, std::uint16_t ttag, std::uint32_t offset, std::uint32_t bytes) {
    nvme::R2t header{};
    header.cccid = cid;
    header.ttag = ttag;
    header.r2to = offset;
    header.r2tl = bytes;
    pdu(header, nvme::PduType::r2t);
  }
  void hang_up() {
    deaf = false;
    stream_->shutdown();
  }
  bool deaf = false;  // takes nothing from the stream

 private:
  friend class FakeTarget;
  struct Write {
    nvme::Sqe sqe;
    std::vector<std::byte> data;
    std::uint32_t asked = 0;
    std::uint32_t got = 0;
  };
  void ask(std::uint16_t ttag, Write& write);

  Task<void> receive();
  Task<void> send();
  Task<bool> on_pdu(nvmf::tcp::PduReceiver& rx);
  Task<bool> take(nvmf::tcp::PduReceiver& rx, std::span<std::byte> into);
  void execute(const nvme::Sqe& sqe, std::span<const std::byte> data);
  void admin(const nvme::Sqe& sqe, std::span<const std::byte> data);
  void fabrics(const nvme::Sqe& sqe, std::span<const std::byte> data);
  void identify(const nvme::Sqe& sqe);
  void io(const nvme::Sqe& sqe, std::span<const std::byte> data);

  FakeTarget& target_;
  Reactor& reactor_;
  std::unique_ptr<Stream> stream_;
  Event wake_;
  std::vector<std::byte> out_;
  bool done_ = false;
  bool data_digest_ = false;
  std::uint16_t qid_ = 0;
  std::uint32_t cc_ = 0;
  std::map<std::uint16_t, Write> writes_;  // by ttag, which is the cid
};

class FakeTarget {
 public:
  static constexpr std::uint32_t block_bytes = 512;
  FakeTarget(Reactor& reactor, std::uint64_t blocks)
      : disk(blocks * block_bytes), reactor_(reactor), scope_(reactor) {}

  void listen(const Endpoint& at) {
    listener_ = std::move(reactor_.listen(at).value());
    scope_.spawn(accept());
  }
  // Ends everything.
  Task<void> close() {
    listener_->shutdown();
    for (FakeConnection* c : connections) c->hang_up();
    co_await scope_.join();
    co_await listener_->close();
    listener_.reset();
  }
  // Answers a parked event request of each admin queue.
  void raise(nvme::AsyncEvent event) {
    for (FakeConnection* c : connections) {
      auto& parked = events[c];
      if (parked.empty()) continue;
      const std::uint16_t cid = parked.back();
      parked.pop_back();
      c->respond(cid, {}, event.pack());
    }
  }

  // True: the hook dealt with the command. `data`: of a write, or in-capsule data.
  std::function<bool(FakeConnection&, const nvme::Sqe&, std::span<const std::byte> data)> hook;
  std::function<void(nvme::IcResp&)> ic_hook;
  std::function<void(const nvme::IcReq&)> ic_req_hook;
  std::vector<std::byte> disk;
  Uuid uuid;
  std::uint32_t r2t_bytes = 1 << 20;  // asked for by one R2T
  unsigned r2ts_at_once = 1;
  std::uint32_t c2h_bytes = 1 << 20;  // sent in one PDU
  std::uint8_t mdts = 8;
  std::uint8_t anatt = 0;
  std::uint16_t crdt1 = 0;
  std::uint32_t ioccsz = 4 + 8192 / 16;
  std::uint16_t queues = 64;
  std::uint16_t mqes = 127;
  std::uint16_t oncs = nvme::oncs_compare | nvme::oncs_dataset_management | nvme::oncs_write_zeroes;
  bool success_flag = true;
  bool has_namespace = true;
  bool ana = false;
  nvme::AnaState ana_state = nvme::AnaState::optimized;
  std::uint32_t ctratt = 0;
  std::vector<FakeConnection*> connections;
  std::map<FakeConnection*, std::vector<std::uint16_t>> events;
  unsigned accepted = 0;
  std::vector<nvme::TermReq> terminated;  // the H2CTermReqs that came
  std::map<unsigned, unsigned> commands;  // I/O commands by opcode
  std::string hostnqn;

 private:
  Task<void> accept() {
    for (;;) {
      auto pending = co_await listener_->accept();
      if (!pending.ok()) co_return;
      ++accepted;
      scope_.spawn(serve(reactor_.adopt(std::move(pending).value())));
    }
  }
  Task<void> serve(std::unique_ptr<Stream> stream) {
    FakeConnection connection(*this, reactor_, std::move(stream));
    connections.push_back(&connection);
    co_await connection.serve();
    std::erase(connections, &connection);
    events.erase(&connection);
  }

  Reactor& reactor_;
  TaskScope scope_;
  std::unique_ptr<Listener> listener_;
};

inline Task<void> FakeConnection::serve() {
  TaskScope sending(reactor_);
  sending.spawn(send());
  co_await receive();
  done_ = true;
  wake_.set();
  co_await sending.join();
  stream_->shutdown();
  co_await stream_->close();
}

inline Task<void> FakeConnection::send() {
  for (;;) {
    co_await wake_.wait();
    if (out_.empty()) {
      if (done_) co_return;
      wake_.reset();
      continue;
    }
    std::vector<std::byte> batch = std::move(out_);
    out_.clear();
    const IoVec vec{batch.data(), batch.size()};
    const auto sent = co_await stream_->send(IoVecs(&vec, 1));
    if (!sent.ok()) co_return;
  }
}

inline Task<void> FakeConnection::receive() {
  nvmf::tcp::PduReceiver rx(nvme::Role::host, co_await reactor_.buffers().acquire(65536));
  rx.limits().capsule_data_max = 65536;
  rx.limits().data_max = 1 << 22;
  for (;;) {
    const auto next = rx.next();
    if (next == nvmf::tcp::PduReceiver::Next::fault) co_return;
    if (next == nvmf::tcp::PduReceiver::Next::pdu) {
      if (!co_await on_pdu(rx)) co_return;
      continue;
    }
    while (deaf) co_await reactor_.sleep(1ms);
    const auto n = co_await stream_->receive(rx.room());
    if (!n.ok() || n.value() == 0) co_return;
    rx.filled(n.value());
  }
}

inline Task<bool> FakeConnection::take(nvmf::tcp::PduReceiver& rx, std::span<std::byte> into) {
  const IoVec vec{into.data(), into.size()};
  bool there = rx.begin_data(nvmf::tcp::IoSlice(IoVecs(&vec, 1), 0, into.size()));
  while (!there) {
    const auto n = co_await stream_->receive(rx.room());
    if (!n.ok() || n.value() == 0) co_return false;
    rx.filled(n.value());
    there = rx.data_done();
  }
  co_return true;
}

inline Task<bool> FakeConnection::on_pdu(nvmf::tcp::PduReceiver& rx) {
  if (rx.shape().type == nvme::PduType::ic_req) {
    nvme::IcResp resp{};
    resp.maxh2cdata = 131072;
    const auto req = rx.header<nvme::IcReq>();
    if (target_.ic_req_hook) target_.ic_req_hook(req);
    resp.dgst = req.dgst & nvme::dgst_data;
    if (target_.ic_hook) target_.ic_hook(resp);
    rx.limits().phase = nvme::Phase::running;
    data_digest_ = rx.limits().data_digest = (resp.dgst & nvme::dgst_data) != 0;
    pdu(resp, nvme::PduType::ic_resp);
    co_return true;
  }
  if (rx.shape().type == nvme::PduType::capsule_cmd) {
    const nvme::Sqe sqe = rx.header<nvme::CapsuleCmd>().ccsqe;
    std::vector<std::byte> data(rx.shape().data_bytes);
    if (!data.empty() && !co_await take(rx, data)) co_return false;
    const bool wants_data = nvme::data_direction(sqe.opc) == nvme::DataDirection::host_to_controller;
    if (qid_ != 0 && wants_data && sqe.sgl1.is_transport() && sqe.sgl1.length.get() > 0 &&
        sqe.opc != static_cast<std::uint8_t>(nvme::IoOpcode::write_zeroes)) {
      if (target_.hook && target_.hook(*this, sqe, {})) co_return true;
      Write& write = writes_[sqe.cid];
      write.sqe = sqe;
      write.data.resize(sqe.sgl1.length);
      write.asked = write.got = 0;
      for (unsigned i = 0; i < target_.r2ts_at_once; ++i) ask(sqe.cid, write);
      co_return true;
    }
    if (target_.hook && target_.hook(*this, sqe, data)) co_return true;
    execute(sqe, data);
    co_return true;
  }
  if (rx.shape().type == nvme::PduType::h2c_term_req)
    target_.terminated.push_back(rx.header<nvme::TermReq>());
  if (rx.shape().type != nvme::PduType::h2c_data) co_return false;
  const auto header = rx.header<nvme::H2cData>();
  const auto found = writes_.find(header.ttag);
  if (found == writes_.end() || header.datao.get() != found->second.got) co_return false;
  Write& write = found->second;
  const std::uint32_t n = rx.shape().data_bytes;
  const auto place = std::span(write.data).subspan(write.got, n);
  if (!co_await take(rx, place)) co_return false;
  write.got += n;
  if (write.got == write.data.size()) {
    execute(write.sqe, write.data);
    writes_.erase(found);
  } else if (write.got % target_.r2t_bytes == 0) {
    ask(header.ttag, write);
  }
  co_return true;
}

// For the next part of its data, if any.
inline void FakeConnection::ask(std::uint16_t ttag, Write& write) {
  const auto left = static_cast<std::uint32_t>(write.data.size()) - write.asked;
  const std::uint32_t bytes = std::min(target_.r2t_bytes, left);
  if (bytes == 0) return;
  r2t(ttag, ttag, write.asked, bytes);
  write.asked += bytes;
}

inline void FakeConnection::execute(const nvme::Sqe& sqe, std::span<const std::byte> data) {
  if (sqe.opc == static_cast<std::uint8_t>(nvme::IoOpcode::fabrics)) {
    fabrics(sqe, data);
  } else if (qid_ == 0) {
    admin(sqe, data);
  } else {
    io(sqe, data);
  }
}

inline void FakeConnection::fabrics(const nvme::Sqe& sqe, std::span<const std::byte> data_in) {
  switch (static_cast<nvme::FabricsType>(nvme::as<nvme::FabricsCmd>(sqe).fctype)) {
    case nvme::FabricsType::connect: {
      qid_ = nvme::as<nvme::ConnectCmd>(sqe).qid;
      const auto connect = load<nvme::ConnectData>(data_in);
      target_.hostnqn = connect.hostnqn;
      respond(sqe.cid, {}, 1, 0xffff);
      return;
    }
    case nvme::FabricsType::property_get: {
      const auto cmd = nvme::as<nvme::PropertyGetCmd>(sqe);
      std::uint64_t value = 0;
      if (cmd.ofst.get() == static_cast<std::uint32_t>(nvme::Property::cap)) {
        nvme::Cap cap{};
        cap.mqes = target_.mqes;
        cap.to = 10;
        cap.css = 1;
        value = cap.pack();
      } else if (cmd.ofst.get() == static_cast<std::uint32_t>(nvme::Property::csts)) {
        const auto cc = nvme::Cc::unpack(cc_);
        nvme::Csts csts{};
        csts.rdy = cc.en;
        if (cc.shn != nvme::ShutdownNotice::none) csts.shst = nvme::ShutdownStatus::complete;
        value = csts.pack();
      } else if (cmd.ofst.get() == static_cast<std::uint32_t>(nvme::Property::cc)) {
        value = cc_;
      }
      respond(sqe.cid, {}, value);
      return;
    }
    case nvme::FabricsType::property_set:
      cc_ = static_cast<std::uint32_t>(nvme::as<nvme::PropertySetCmd>(sqe).value.get());
      respond(sqe.cid);
      return;
    default:
      respond(sqe.cid, nvme::permanent(nvme::StatusCode::invalid_command_opcode));
  }
}

inline void FakeConnection::identify(const nvme::Sqe& sqe) {
  std::vector<std::byte> page(nvme::identify_bytes);
  switch (static_cast<nvme::Cns>(sqe.cdw10.get() & 0xff)) {
    case nvme::Cns::controller: {
      nvme::IdentifyController id{};
      nvme::set_ascii(id.sn, "FAKE");
      nvme::set_ascii(id.mn, "Fake");
      id.mdts = target_.mdts;
      id.anatt = target_.anatt;
      id.crdt1 = target_.crdt1;
      id.cntlid = 1;
      id.aerl = 3;
      id.kas = 10;
      id.ctratt = target_.ctratt;
      id.sqes = 0x66;
      id.cqes = 0x44;
      id.maxcmd = static_cast<std::uint16_t>(target_.mqes);
      id.nn = 1;
      id.oncs = target_.oncs;
      id.vwc = nvme::vwc_present;
      id.sgls = nvme::sgls_supported;
      id.ioccsz = target_.ioccsz;
      id.oaes = nvme::oaes_namespace_attribute | nvme::oaes_ana_change;
      id.cmic = target_.ana ? nvme::cmic_ana : std::uint8_t{0};
      store(page, id);
      break;
    }
    case nvme::Cns::active_namespaces: {
      nvme::NamespaceList list{};
      if (target_.has_namespace && sqe.nsid.get() < 1) list.nsid[0] = 1;
      store(page, list);
      break;
    }
    case nvme::Cns::namespace_nvm: {
      nvme::IdentifyNamespace ns{};
      ns.nsze = ns.ncap = ns.nuse = target_.disk.size() / FakeTarget::block_bytes;
      ns.lbaf[0].lbads = 9;
      ns.anagrpid = target_.ana ? 1u : 0u;
      std::memcpy(ns.nguid, target_.uuid.bytes.data(), 16);
      store(page, ns);
      break;
    }
    case nvme::Cns::namespace_descriptors: {
      const nvme::NamespaceIdDescriptor d{static_cast<std::uint8_t>(nvme::NamespaceIdType::uuid), 16, {}};
      store(page, d);
      std::memcpy(page.data() + sizeof d, target_.uuid.bytes.data(), 16);
      break;
    }
    default:
      respond(sqe.cid, nvme::permanent(nvme::StatusCode::invalid_field));
      return;
  }
  data(sqe.cid, 0, page, nvme::flag_last_pdu | nvme::flag_success);
}

inline void FakeConnection::admin(const nvme::Sqe& sqe, std::span<const std::byte>) {
  switch (static_cast<nvme::AdminOpcode>(sqe.opc)) {
    case nvme::AdminOpcode::identify:
      identify(sqe);
      return;
    case nvme::AdminOpcode::set_features: {
      const std::uint32_t n = target_.queues;
      respond(sqe.cid, {}, nvme::pack_queue_counts(n, n));
      return;
    }
    case nvme::AdminOpcode::async_event_request:
      target_.events[this].push_back(sqe.cid);
      return;
    case nvme::AdminOpcode::keep_alive:
      respond(sqe.cid);
      return;
    case nvme::AdminOpcode::abort:
      respond(sqe.cid, {}, 1);  // not aborted
      return;
    case nvme::AdminOpcode::get_log_page: {
      std::vector<std::byte> log(sqe.sgl1.length);
      std::vector<std::byte> whole(8192);
      if ((sqe.cdw10.get() & 0xff) == static_cast<std::uint32_t>(nvme::LogPage::ana)) {
        nvme::AnaLogHeader header{};
        header.ngrps = 1;
        nvme::AnaGroupDescriptor d{};
        d.grpid = 1u;
        d.nnsids = 1u;
        d.state = static_cast<std::uint8_t>(target_.ana_state);
        store(whole, header);
        store(std::span(whole).subspan(sizeof header), d);
      }
      std::memcpy(log.data(), whole.data() + sqe.cdw12.get(), log.size());
      data(sqe.cid, 0, log, nvme::flag_last_pdu | nvme::flag_success);
      return;
    }
    default:
      respond(sqe.cid, nvme::permanent(nvme::StatusCode::invalid_command_opcode));
  }
}

inline void FakeConnection::io(const nvme::Sqe& sqe, std::span<const std::byte> data_in) {
  ++target_.commands[sqe.opc];
  if (target_.ana && target_.ana_state == nvme::AnaState::inaccessible) {
    respond(sqe.cid, nvme::StatusCode::ana_inaccessible);
    return;
  }
  const nvme::IoRange range = nvme::io_range(sqe);
  const auto place = [&]() -> std::span<std::byte> {
    return std::span(target_.disk)
        .subspan(range.slba * FakeTarget::block_bytes, range.blocks * FakeTarget::block_bytes);
  };
  switch (static_cast<nvme::IoOpcode>(sqe.opc)) {
    case nvme::IoOpcode::read: {
      const auto bytes = place();
      for (std::uint32_t at = 0; at < bytes.size();) {
        const auto n =
            std::min<std::uint32_t>(target_.c2h_bytes, static_cast<std::uint32_t>(bytes.size() - at));
        const bool last = at + n == bytes.size();
        const std::uint8_t flags = static_cast<std::uint8_t>(
            (last ? nvme::flag_last_pdu : 0) | (last && target_.success_flag ? nvme::flag_success : 0));
        data(sqe.cid, at, bytes.subspan(at, n), flags);
        at += n;
      }
      if (!target_.success_flag) respond(sqe.cid);
      return;
    }
    case nvme::IoOpcode::write:
      std::copy(data_in.begin(), data_in.end(), place().begin());
      break;
    case nvme::IoOpcode::compare:
      if (!std::equal(data_in.begin(), data_in.end(), place().begin())) {
        respond(sqe.cid, nvme::permanent(nvme::StatusCode::compare_failure));
        return;
      }
      break;
    case nvme::IoOpcode::write_zeroes:
      std::fill(place().begin(), place().end(), std::byte{0});
      break;
    case nvme::IoOpcode::dataset_management: {
      const auto r = load<nvme::DsmRange>(data_in);
      const auto bytes =
          std::span(target_.disk).subspan(r.slba * FakeTarget::block_bytes, r.nlb * FakeTarget::block_bytes);
      std::fill(bytes.begin(), bytes.end(), std::byte{0});
      break;
    }
    case nvme::IoOpcode::flush:
      break;
    default:
      respond(sqe.cid, nvme::permanent(nvme::StatusCode::invalid_command_opcode));
      return;
  }
  respond(sqe.cid);
}

}  // namespace holdfast::test
