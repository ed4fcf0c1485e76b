#include "nvmf/initiator/queue.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "base/log.h"
#include "nvmf/tcp/staging.h"
#include "rt/when_all.h"

namespace holdfast::nvmf::host {
namespace {

constexpr std::uint8_t hpda = 0;                 // C2HData without padding
constexpr Nanos linger_bound = 200ms;            // for a terminate request to leave
constexpr std::uint32_t c2h_data_max = 4 << 20;  // no target of sense sends more in one PDU than we ask for

// Shuts a stream during the set-up, at a deadline or a stop.
class StreamGuard final : Timer, StopCallback {
 public:
  StreamGuard(Reactor& reactor, Stream& stream, Nanos deadline, StopToken stop) noexcept
      : reactor_(reactor), stream_(stream) {
    if (deadline != no_deadline) reactor_.arm(*this, deadline);
    stop.subscribe(*this);
  }
  ~StreamGuard() { reactor_.disarm(*this); }
  bool expired() const noexcept { return expired_; }

 private:
  void fire() noexcept override {
    expired_ = true;
    stream_.shutdown();
  }
  void on_stop() noexcept override { stream_.shutdown(); }
  Reactor& reactor_;
  Stream& stream_;
  bool expired_ = false;
};

Error set_up_error(const Error& why, const Endpoint& to, bool expired, StopToken stop) {
  if (stop.stop_requested()) return Error(Errc::cancelled);
  const std::string text = "connection to " + to.to_string();
  if (expired) return Error(Errc::timed_out, text + ": no answer to ICReq in time");
  return why.with_context(text);
}

}  // namespace

void Command::on_sent(bool) noexcept {
  --sends;
  if (answered && sends == 0) queue->release(*this);
}

Queue::Queue(Reactor& reactor, QueueOptions options, QueueObserver& observer, std::unique_ptr<Stream> stream,
             Buffer staging)
    : reactor_(reactor),
      options_(std::move(options)),
      observer_(observer),
      stream_(std::move(stream)),
      rx_(nvme::Role::controller, std::move(staging)),
      tx_(reactor, *stream_),
      slots_(options_.depth),
      slot_bits_(static_cast<unsigned>(std::bit_width(options_.depth - 1))),
      tick_(*this),
      linger_(*stream_),
      scope_(reactor) {
  HF_ASSERT(options_.depth >= 1 && slot_bits_ < 15);
  free_slots_.reserve(slots_.size());
  for (std::size_t i = slots_.size(); i > 0; --i) free_slots_.push_back(static_cast<std::uint16_t>(i - 1));
}

Queue::~Queue() { HF_ASSERT(stream_ == nullptr); }

Task<Result<std::unique_ptr<Queue>>> Queue::open(Reactor& reactor, QueueOptions options,
                                                 QueueObserver& observer, Nanos deadline, StopToken stop) {
  auto stream = co_await reactor.connect(options.to, deadline, stop);
  if (!stream.ok()) co_return set_up_error(stream.error(), options.to, false, stop);
  const bool plenty = tcp::may_keep(reactor.buffers(), options.staging_bytes);
  const std::size_t staging_bytes = plenty ? options.staging_bytes : tcp::PduReceiver::staging_bytes_min;
  Buffer staging = co_await reactor.buffers().acquire(staging_bytes, stop);
  if (!staging) {
    stream.value()->shutdown();
    co_await stream.value()->close();
    co_return Error(Errc::cancelled);
  }
  const Endpoint to = options.to;
  std::unique_ptr<Queue> queue(
      new Queue(reactor, std::move(options), observer, std::move(stream).value(), std::move(staging)));
  std::optional<Error> failure;
  {
    const StreamGuard guard(reactor, *queue->stream_, deadline, stop);
    const Status shaken = co_await queue->shake_hands();
    if (!shaken.ok()) failure = set_up_error(shaken.error(), to, guard.expired(), stop);
  }
  if (failure) {
    queue->dead_ = true;
    queue->stream_->shutdown();
    co_await queue->stream_->close();
    queue->stream_.reset();
    co_return *failure;
  }
  queue->serving_ = true;
  queue->wants_large_staging_ = !plenty;
  queue->scope_.spawn(queue->serve());
  co_return queue;
}

// ICReq and ICResp: NVMe/TCP 1.0, section 3.6.2.
Task<Status> Queue::shake_hands() {
  nvme::IcReq req{};
  req.ch.pdu_type = static_cast<std::uint8_t>(nvme::PduType::ic_req);
  req.ch.hlen = sizeof req;
  req.ch.plen = sizeof req;
  req.hpda = hpda;
  req.dgst = static_cast<std::uint8_t>((options_.header_digest ? nvme::dgst_header : 0) |
                                       (options_.data_digest ? nvme::dgst_data : 0));
  req.maxr2t = r2ts_max - 1;
  const IoVec piece{reinterpret_cast<std::byte*>(&req), sizeof req};
  HF_CO_CHECK(co_await stream_->send(IoVecs(&piece, 1)));
  for (;;) {
    const auto next = rx_.next();
    if (next == tcp::PduReceiver::Next::fault) {
      std::string why = std::string("not an NVMe/TCP target: ") + nvme::name(rx_.fault().fes);
      co_return co_await refuse_set_up(rx_.fault(), std::move(why));
    }
    if (next == tcp::PduReceiver::Next::pdu) break;
    HF_CO_TRY(const std::size_t n, co_await stream_->receive(rx_.room()));
    if (n == 0) co_return Error(Errc::not_connected, "closed by the target during the set-up");
    rx_.filled(n);
  }
  if (rx_.shape().type != nvme::PduType::ic_resp)
    co_return Error(Errc::protocol, "the target refused the connection set-up");
  co_return co_await take_ic_resp(rx_.header<nvme::IcResp>());
}

// What came in the place of a good ICResp: the target is told, and the connection ends.
Task<Status> Queue::refuse_set_up(nvme::Fault fault, std::string why) {
  Error error(Errc::protocol, why);
  if (nvme::is_ignored(load<nvme::CommonHeader>(rx_.head()), fault)) co_return error;
  nvme::TermReqPdu request = nvme::make_term_req(nvme::Role::host, fault, rx_.head());
  const IoVec piece{request.bytes.data(), request.size};
  const auto sent = co_await stream_->send(IoVecs(&piece, 1));
  sent.ignore("the connection ends in any case");
  co_return error;
}

Task<Status> Queue::take_ic_resp(nvme::IcResp resp) {
  if (const auto fault = nvme::check(resp)) {
    std::string why = std::string("bad ICResp: ") + nvme::name(fault->fes);
    co_return co_await refuse_set_up(*fault, std::move(why));
  }
  const auto asked = static_cast<std::uint8_t>((options_.header_digest ? nvme::dgst_header : 0) |
                                               (options_.data_digest ? nvme::dgst_data : 0));
  // A digest that we did not ask for is a breach. One that the target leaves out may be, but then there is no
  // connection that does what the user configured.
  if ((resp.dgst & ~asked & (nvme::dgst_header | nvme::dgst_data)) != 0) {
    const nvme::Fault fault{nvme::Fes::invalid_header_field, offsetof(nvme::IcResp, dgst)};
    std::string why = "the target enables digests that it was not asked for";
    co_return co_await refuse_set_up(fault, std::move(why));
  }
  if ((asked & ~resp.dgst & nvme::dgst_header) != 0)
    co_return Error(Errc::protocol, "the target does not agree on header digests (hdgst)");
  if ((asked & ~resp.dgst & nvme::dgst_data) != 0)
    co_return Error(Errc::protocol, "the target does not agree on data digests (ddgst)");
  h2c_data_max_ = resp.maxh2cdata;
  nvme::PduLimits& limits = rx_.limits();
  limits.phase = nvme::Phase::running;
  limits.header_digest = options_.header_digest;
  limits.data_digest = options_.data_digest;
  limits.pda = hpda;
  limits.data_max = c2h_data_max;
  tx_.set_format({options_.header_digest, options_.data_digest, resp.cpda});
  co_return Status();
}

// Both halves, then the end of every command: nothing touches their memory any more.
Task<void> Queue::serve() {
  std::array<Task<void>, 2> halves{receive(), tx_.run()};
  co_await when_all(std::span<Task<void>>(halves));
  stream_->shutdown();
  reactor_.disarm(linger_);
  reactor_.disarm(tick_);
  serving_ = false;
  end_all();
}

Task<void> Queue::close() {
  fail(Error(Errc::cancelled));
  co_await scope_.join();
  if (stream_ != nullptr) {
    co_await stream_->close();
    stream_.reset();
  }
}

// ---- commands

bool Queue::accept(Command& command) noexcept {
  command.queue = this;
  command.end = CommandEnd::lost;
  command.sent = command.late = false;
  command.answered = command.in_capsule = command.data_over = command.damaged = false;
  command.moved = command.sends = command.r2ts = 0;
  command.expires = no_deadline;
  return !dead_;
}

void Queue::submit(Command& command) noexcept {
  if (free_slots_.empty()) {
    waiting_.push(command);
  } else {
    dispatch(command);
  }
}

void Queue::dispatch(Command& command) noexcept {
  const std::uint16_t index = free_slots_.back();
  free_slots_.pop_back();
  Slot& slot = slots_[index];
  slot.command = &command;
  // 15 bits: FFFFh is not a command identifier.
  slot.generation = static_cast<std::uint16_t>((slot.generation + 1u) & ((1u << (15 - slot_bits_)) - 1u));
  command.cid = static_cast<std::uint16_t>(index | slot.generation << slot_bits_);
  if (command.timeout != no_deadline) {
    command.expires = reactor_.now() + command.timeout;
    if (!tick_.armed()) reactor_.arm(tick_, reactor_.now() + options_.tick);
  }
  nvme::CapsuleCmd capsule{};
  capsule.ccsqe = command.sqe;
  capsule.ccsqe.cid = command.cid;
  capsule.ccsqe.flags = nvme::Sqe::psdt_sgl;
  command.sent = true;
  command.in_capsule = command.transfer == Transfer::to_controller && command.length <= in_capsule_bytes_;
  if (!command.in_capsule) {
    capsule.ccsqe.sgl1 =
        nvme::SglDescriptor::transport(command.transfer == Transfer::none ? 0 : command.length);
    tx_.queue(capsule);
    return;
  }
  capsule.ccsqe.sgl1 = nvme::SglDescriptor::in_capsule(command.length);
  command.moved = command.length;
  ++command.sends;
  tx_.queue(capsule, &command, tcp::IoSlice(command.data, command.offset, command.length));
}

void Queue::send_data(Command& command, std::uint16_t ttag, std::uint32_t offset,
                      std::uint32_t bytes) noexcept {
  while (bytes > 0) {
    const std::uint32_t n = std::min(bytes, h2c_data_max_);
    nvme::H2cData pdu{};
    pdu.ch.flags = n == bytes ? nvme::flag_last_pdu : 0;
    pdu.cccid = command.cid;
    pdu.ttag = ttag;
    pdu.datao = offset;
    pdu.datal = n;
    ++command.sends;
    tx_.queue(pdu, &command, tcp::IoSlice(command.data, command.offset + offset, n));
    offset += n;
    bytes -= n;
  }
}

// The command has its end. It keeps its slot, and so its time-out, as long as its data is being sent.
void Queue::answer(Command& command) noexcept {
  command.answered = true;
  if (command.sends == 0) release(command);
}

// Its slot serves the next.
void Queue::release(Command& command) noexcept {
  const auto index = static_cast<std::uint16_t>(command.cid & ((1u << slot_bits_) - 1u));
  slots_[index].command = nullptr;
  free_slots_.push_back(index);
  settle(command);
  if (dead_) return;
  if (Command* next = waiting_.pop()) dispatch(*next);
}

// Once per command, when nothing reads its data any more.
void Queue::settle(Command& command) noexcept {
  HF_ASSERT(command.waiter && command.sends == 0);
  reactor_.post(std::exchange(command.waiter, {}));
}

void Queue::end_all() noexcept {
  for (const Slot& slot : slots_) {
    if (slot.command != nullptr) answer(*slot.command);
  }
  while (Command* command = waiting_.pop()) settle(*command);
}

void Queue::check_time() noexcept {
  const Nanos now = reactor_.now();
  bool timed = false;
  for (const Slot& slot : slots_) {
    Command* command = slot.command;
    if (command == nullptr || command->expires == no_deadline) continue;
    timed = true;
    if (now < command->expires || dead_) continue;
    if (command->late) {
      give_up(*command);
    } else {
      command->late = true;
      command->expires = now + options_.abort_timeout;
      if (!command->answered) observer_.on_command_late(*this, *command);
    }
  }
  if (timed && !dead_) reactor_.arm(tick_, now + options_.tick);
}

// No receive is under way, and no data is being moved.
void Queue::grow_staging() noexcept {
  BufferPool& pool = reactor_.buffers();
  if (!tcp::may_keep(pool, options_.staging_bytes)) return;
  Buffer larger = pool.try_acquire(options_.staging_bytes);
  if (!larger) return;
  rx_.change_staging(std::move(larger));
  wants_large_staging_ = false;
}

// ---- the end of the connection

bool Queue::begin_death(Error why) noexcept {
  if (dead_) return false;
  dead_ = true;
  why_ = std::move(why);
  tx_.close();
  return true;
}

void Queue::fail(Error why) noexcept {
  if (!begin_death(std::move(why))) return;
  in_flight() > 0 ? stream_->abort() : stream_->shutdown();
  observer_.on_queue_dead(*this, *why_);
}

void Queue::give_up(Command& command) noexcept {
  if (dead_) return;
  command.end = CommandEnd::timed_out;
  fail(Error(Errc::timed_out, "a command was not answered in time"));
}

// The peer broke the specification: it is told how, if it listens, and the connection ends.
bool Queue::breach(nvme::Fault fault, const char* what) noexcept {
  HF_LOG(warn, "nvmf", "protocol error of the target", {"peer", options_.to.to_string()}, {"what", what},
         {"error", nvme::name(fault.fes)}, {"field", fault.fei});
  if (dead_) return false;
  const auto request = nvme::make_term_req(nvme::Role::host, fault, rx_.head());
  tx_.queue_raw(request.span());
  if (!begin_death(Error(Errc::protocol, std::string("protocol error of the target: ") + what + " (" +
                                             nvme::name(fault.fes) + ")")))
    return false;
  reactor_.arm(linger_, reactor_.now() + linger_bound);
  observer_.on_queue_dead(*this, *why_);
  return false;
}

}  // namespace holdfast::nvmf::host
