// Whatever a controller sends into a connection of the initiator: every command ends exactly once, and data
// goes nowhere but into the vectors of a command that reads and has not ended. Input: one byte of choices,
// then steps of the controller, each an operation byte and its operands; most make PDUs that are nearly
// right.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <vector>

#include "base/crc32c.h"
#include "base/log.h"
#include "nvme/status.h"
#include "nvmf/initiator/queue.h"
#include "nvmf/tcp/testing/fuzz_input.h"
#include "rt/scope.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

using namespace holdfast;
using namespace holdfast::nvmf::host;

namespace {

using nvmf::tcp::testing::Input;

constexpr std::uint16_t port = 8420;
constexpr std::size_t guard_bytes = 64;
constexpr std::byte guard_value{0xa5};
constexpr unsigned issues_max = 48;
constexpr std::size_t steps_max = 256;

void require(bool holds) {
  if (!holds) std::abort();
}

bool is_guard(std::byte b) { return b == guard_value; }
// What the controller sends as byte `offset` of a command's data.
std::byte payload(std::uint32_t offset) { return static_cast<std::byte>(offset * 7 % 251); }

// One command after the other of one kind, in memory that is guarded on both sides.
struct Issuer {
  Issuer(Transfer t, std::uint32_t n) : transfer(t), length(n), memory(n + 2 * guard_bytes, guard_value) {}

  Task<void> run(Queue& queue, unsigned& issued) {
    const std::array<IoVec, 2> pieces{IoVec{memory.data() + guard_bytes, length / 3},
                                      IoVec{memory.data() + guard_bytes + length / 3, length - length / 3}};
    while (queue.alive() && issued < issues_max) {
      ++issued;
      Command next;
      next.transfer = transfer;
      next.length = length;
      if (length > 0) next.data = pieces;
      next.timeout = 2s;
      moved = 0;
      command = &next;
      co_await queue.issue(next);
      require(command == &next);
      command = nullptr;
      check(next);
    }
  }

  void check(const Command& ended) {
    require(std::all_of(memory.begin(), memory.begin() + guard_bytes, is_guard));
    require(std::all_of(memory.end() - guard_bytes, memory.end(), is_guard));
    const bool ok = ended.end == CommandEnd::completed && nvme::CommandStatus::unpack(ended.cqe.status).ok();
    for (std::uint32_t i = 0; ok && !raw && transfer == Transfer::to_host && i < length; ++i)
      require(memory[guard_bytes + i] == payload(i));
    // From now on nothing of the connection may touch it.
    std::fill(memory.begin(), memory.end(), guard_value);
  }

  const Transfer transfer;
  const std::uint32_t length;
  std::vector<std::byte> memory;
  Command* command = nullptr;  // the one in flight
  std::uint32_t moved = 0;     // bytes that the controller sent, or asked for
  bool raw = false;            // bytes of the input's own were sent: they may be any data
};

struct Observer final : QueueObserver {
  void on_queue_dead(Queue&, const Error&) noexcept override { require(++deaths == 1); }
  void on_command_late(Queue&, Command&) noexcept override {}
  unsigned deaths = 0;
};

// The controller, which does what the input says.
class Peer {
 public:
  Peer(Reactor& reactor, Input in, std::vector<Issuer>& issuers, bool header_digest, bool data_digest)
      : reactor_(reactor), in_(in), issuers_(issuers), hdgst_(header_digest), ddgst_(data_digest) {}

  Task<void> serve(Listener& listener) {
    auto pending = co_await listener.accept();
    if (!pending.ok()) co_return;
    stream_ = reactor_.adopt(std::move(pending).value());
    TaskScope scope(reactor_);
    scope.spawn(drain());
    set_up();
    co_await leave();
    co_await reactor_.sleep(1ms);  // the commands are there
    for (std::size_t step = 0; step < steps_max && !in_.empty(); ++step) co_await one_step();
    co_await leave();
    co_await reactor_.sleep(1ms);
    stream_->shutdown();
    co_await scope.join();
    co_await stream_->close();
  }

 private:
  Task<void> drain() {
    std::array<std::byte, 4096> sink;
    const IoVec into{sink.data(), sink.size()};
    for (;;) {
      const auto n = co_await stream_->receive(IoVecs(&into, 1));
      if (!n.ok() || n.value() == 0) co_return;
    }
  }
  Task<void> leave() {
    std::vector<std::byte> bytes = std::move(out_);
    out_.clear();
    if (bytes.empty()) co_return;
    const IoVec from{bytes.data(), bytes.size()};
    const auto sent = co_await stream_->send(IoVecs(&from, 1));
    if (!sent.ok()) in_ = Input({});
  }
  void append(std::span<const std::byte> bytes) { out_.insert(out_.end(), bytes.begin(), bytes.end()); }
  void append_crc(std::span<const std::byte> over) {
    const le32 crc(crc32c(over));
    append(bytes_of(crc));
  }
  void set_up() {
    nvme::IcResp resp{};
    resp.ch = {static_cast<std::uint8_t>(nvme::PduType::ic_resp), 0, sizeof resp, 0, le32(sizeof resp)};
    resp.dgst = static_cast<std::uint8_t>((hdgst_ ? nvme::dgst_header : 0) | (ddgst_ ? nvme::dgst_data : 0));
    resp.maxh2cdata = 4096u;
    append(bytes_of(resp));
  }
  template <Wire H>
  void pdu(H header, nvme::PduType type, std::span<const std::byte> data = {}) {
    const std::uint32_t head = sizeof header + (hdgst_ ? nvme::digest_bytes : 0);
    const bool digest = ddgst_ && !data.empty();
    header.ch.pdu_type = static_cast<std::uint8_t>(type);
    header.ch.flags = static_cast<std::uint8_t>(header.ch.flags | (hdgst_ ? nvme::flag_header_digest : 0) |
                                                (digest ? nvme::flag_data_digest : 0));
    header.ch.hlen = sizeof header;
    header.ch.pdo = static_cast<std::uint8_t>(data.empty() ? 0 : head);
    header.ch.plen = static_cast<std::uint32_t>(head + data.size() + (digest ? nvme::digest_bytes : 0));
    append(bytes_of(header));
    if (hdgst_) append_crc(bytes_of(header));
    append(data);
    if (digest) append_crc(data);
  }

  Issuer& issuer() { return issuers_[in_.byte() % issuers_.size()]; }
  // The command's identifier, or now and then something else.
  std::uint16_t cid_of(const Issuer& i) {
    const unsigned twist = in_.byte();
    const unsigned cid = i.command == nullptr ? 0 : i.command->cid;
    return static_cast<std::uint16_t>(twist < 224 ? cid : cid ^ in_.word());
  }
  // Where the data goes on, or now and then elsewhere.
  std::uint32_t offset_of(const Issuer& i) {
    const unsigned twist = in_.byte();
    return twist < 224 ? i.moved : i.moved + in_.word() - 0x8000u;
  }
  // The rest of the data, or a part of it, or more.
  std::uint32_t length_of(const Issuer& i) {
    const unsigned twist = in_.byte();
    const std::uint32_t left = i.length - std::min(i.moved, i.length);
    if (twist < 96) return left;
    if (twist < 224) return left == 0 ? 0 : in_.word() % left;
    return in_.word();
  }

  Task<void> one_step() {
    switch (in_.byte() % 8) {
      case 0:
        respond();
        break;
      case 1:
      case 2:
        send_data();
        break;
      case 3:
        ask_for_data();
        break;
      case 4:
        send_raw();
        break;
      case 5:
        damage();
        break;
      case 6:
        co_await leave();
        co_await reactor_.sleep(std::chrono::microseconds(in_.byte() * 20));
        break;
      default:
        co_await leave();
        break;
    }
  }
  void respond() {
    Issuer& i = issuer();
    nvme::CapsuleResp resp{};
    resp.rccqe.cid = cid_of(i);
    const unsigned twist = in_.byte();
    if (twist >= 192) resp.rccqe.status = static_cast<std::uint16_t>(in_.word());
    pdu(resp, nvme::PduType::capsule_resp);
  }
  void send_data() {
    Issuer& i = issuer();
    nvme::C2hData header{};
    header.cccid = cid_of(i);
    header.datao = offset_of(i);
    const std::uint32_t bytes = length_of(i);
    header.datal = bytes;
    const unsigned twist = in_.byte();
    if (twist >= 240) header.datal = in_.word();
    header.ch.flags = static_cast<std::uint8_t>(twist & (nvme::flag_last_pdu | nvme::flag_success));
    std::vector<std::byte> data(bytes);
    for (std::uint32_t n = 0; n < bytes; ++n) data[n] = payload(header.datao.get() + n);
    pdu(header, nvme::PduType::c2h_data, data);
    i.moved += bytes;
  }
  void ask_for_data() {
    Issuer& i = issuer();
    nvme::R2t header{};
    header.cccid = cid_of(i);
    header.ttag = static_cast<std::uint16_t>(in_.byte());
    header.r2to = offset_of(i);
    const std::uint32_t bytes = length_of(i);
    header.r2tl = bytes;
    pdu(header, nvme::PduType::r2t);
    i.moved += bytes;
  }
  void send_raw() {
    for (Issuer& i : issuers_) i.raw = true;
    append(in_.take(in_.byte()));
  }
  void damage() {
    const unsigned back = in_.byte();
    const std::byte bits{in_.byte()};
    if (back >= out_.size()) return;
    // With both digests no damage passes for data.
    for (Issuer& i : issuers_) i.raw = i.raw || !hdgst_ || !ddgst_;
    out_[out_.size() - 1 - back] ^= bits;
  }

  Reactor& reactor_;
  Input in_;
  std::vector<Issuer>& issuers_;
  const bool hdgst_, ddgst_;
  std::unique_ptr<Stream> stream_;
  std::vector<std::byte> out_;
};

Task<void> use(Reactor& reactor, QueueOptions options, std::vector<Issuer>& issuers) {
  Observer observer;
  const Nanos deadline = reactor.now() + 1s;
  auto opened = co_await Queue::open(reactor, options, observer, deadline, StopToken());
  require(opened.ok());
  const std::unique_ptr<Queue> queue = std::move(opened).value();
  unsigned issued = 0;
  TaskScope scope(reactor);
  for (Issuer& i : issuers) scope.spawn(i.run(*queue, issued));
  co_await scope.join();
  co_await queue->close();
  require(observer.deaths == 1 && queue->in_flight() == 0);
  for (const Issuer& i : issuers) require(std::all_of(i.memory.begin(), i.memory.end(), is_guard));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 || size > 8192) return 0;
  log::configure(log::Level::error, log::Format::text);
  QueueOptions options;
  options.header_digest = (data[0] & 1) != 0;
  options.data_digest = (data[0] & 2) != 0;
  options.depth = (data[0] & 4) != 0 ? 3 : 8;  // 3: some commands wait for a slot
  options.staging_bytes = 4096;
  sim::World world(data[0] >> 3);
  sim::Node& host = world.add_node("host");
  sim::Node& target = world.add_node("target");
  options.to = Endpoint{target.ipv4(), port};
  std::vector<Issuer> issuers;
  issuers.emplace_back(Transfer::to_host, 4096);
  issuers.emplace_back(Transfer::to_host, 12288);
  issuers.emplace_back(Transfer::to_controller, 512);
  issuers.emplace_back(Transfer::to_controller, 20480);
  issuers.emplace_back(Transfer::none, 0);
  sim::SimReactor& there = target.start(1, 1 << 20).core(0);
  sim::SimReactor& here = host.start(1, 1 << 20).core(0);
  Peer peer(there, Input(std::span(data, size).subspan(1)), issuers, options.header_digest,
            options.data_digest);
  std::unique_ptr<Listener> listener;
  bool served = false;
  auto serve = [&]() -> Task<void> {
    listener = std::move(there.listen(Endpoint{"0.0.0.0", port}).value());
    co_await peer.serve(*listener);
    co_await listener->close();
    listener.reset();
    served = true;
  };
  world.spawn(there, serve());
  world.run(here, use(here, options, issuers));
  require(world.run_until([&] { return served; }, world.now() + 10s));
  world.run_for(1s);  // what is still on the wire
  return 0;
}
