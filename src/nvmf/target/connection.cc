#include "nvmf/target/connection.h"

#include <algorithm>
#include <array>
#include <string>

#include "rt/cross_core.h"
#include "rt/when_all.h"

namespace holdfast::nvmf::target {
namespace {

// How long the peer has to take a terminate request, or the response to Disconnect, and to end its direction.
// NVMe/TCP 1.0, section 3.5 bounds this by 30 s; a peer that broke the protocol is not given its place and its
// buffers for that long. It has all that we have to say: our direction has ended behind it.
constexpr Nanos linger_time = 1s;
// Commands of one connection in a row; then others have a turn.
constexpr unsigned burst_max = 32;
// Of requested data: so much has to come within stall_timeout, or a part of what is awaited altogether, so that who
// asked for much does not keep it for long.
constexpr std::uint32_t progress_bytes = 64 << 10;
constexpr unsigned progress_part = 16;

}  // namespace

Connection::Connection(CoreContext& context, std::unique_ptr<Stream> stream)
    : context_(context),
      reactor_(context.reactor()),
      stream_(std::move(stream)),
      accepted_at_(reactor_.now()),
      heard_at_(accepted_at_),
      commands_(reactor_),
      sending_(reactor_),
      sender_(reactor_, *stream_),
      linger_(*stream_),
      claim_wait_(reactor_),
      buffer_turn_(reactor_, 1),
      buffer_wait_(reactor_),
      aborted_wait_(reactor_),
      aborts_(reactor_),
      io_(*this, commands_) {}

Connection::~Connection() = default;

Task<void> Connection::serve() {
  context_.enter(*this);
  Buffer staging = co_await reactor_.buffers().acquire(CoreContext::small_staging_bytes, stop_.token());
  if (staging) {
    receiver_.emplace(nvme::Role::host, std::move(staging));
    receiver_->limits().capsule_data_max = capsule_data_bytes;
    receiver_->limits().data_max = context_.config().h2c_data_bytes_max;
    sending_.spawn(sender_.run());
    co_await receive();
  }
  if (orderly_) {
    std::array<Task<void>, 2> both{drain(), leave_queue()};
    co_await when_all(std::span<Task<void>>(both));
  } else {
    shut_stream();
    co_await leave_queue();
  }
  co_await finish();
  context_.leave(*this);
}

void Connection::disconnect() noexcept {
  stop_.request_stop();
  if (!stream_closed_) shut_stream();
}

void Connection::shut_stream() noexcept {
  stream_shut_ = true;
  stream_->shutdown();
}

Task<void> Connection::receive() {
  for (;;) {
    const auto next = receiver_->next();
    if (next == tcp::PduReceiver::Next::starved) {
      if (wants_large_staging_) grow_staging();
      if (receiver_->mid_pdu() && pdu_since_ == no_deadline) pdu_since_ = reactor_.now();
      const Result<std::size_t> n = co_await stream_->receive(receiver_->room());
      if (!n.ok() || n.value() == 0) co_return;
      receiver_->filled(n.value());
      heard_at_ = reactor_.now();
      continue;
    }
    if (next == tcp::PduReceiver::Next::fault) {
      const auto head = receiver_->head();
      if (nvme::is_ignored(load<nvme::CommonHeader>(head), receiver_->fault())) co_return;
      terminate(receiver_->fault(), head);
      co_return;
    }
    pdu_since_ = no_deadline;
    const nvme::PduShape& shape = receiver_->shape();
    if (shape.type == nvme::PduType::h2c_data) {
      const bool go_on = co_await receive_data();
      if (!go_on) co_return;
      continue;
    }
    if (shape.type != nvme::PduType::capsule_cmd) {
      if (shape.type != nvme::PduType::ic_req || !on_ic_req()) co_return;  // H2CTermReq: nothing to answer
      continue;
    }
    Request* r = claim();
    if (r == nullptr) {
      r = co_await wait_claim();
      if (r == nullptr) co_return;
    }
    r->sqe = receiver_->header<nvme::CapsuleCmd>().ccsqe;
    if (shape.data_bytes > 0) {
      if (!try_capsule_buffer(*r, shape.data_bytes)) {
        const bool got = co_await wait_capsule_buffer(*r, shape.data_bytes);
        if (!got) co_return;
      }
      receiver_->begin_data(tcp::IoSlice(IoVecs(&r->vec, 1), 0, shape.data_bytes));
      while (!receiver_->data_done()) {
        const bool got = co_await receive_more();
        if (!got) co_return;
      }
      r->received = shape.data_bytes;
      r->transport_error = !receiver_->data_digest_ok();
    }
    dispatch(*r);
    if (orderly_) co_return;
    if (++burst_ >= burst_max) {
      burst_ = 0;
      co_await reactor_.yield();
    }
  }
}

// More bytes for data under way. False: the stream ended.
Task<bool> Connection::receive_more() {
  if (pdu_since_ == no_deadline) pdu_since_ = reactor_.now();
  const Result<std::size_t> n = co_await stream_->receive(receiver_->room());
  if (!n.ok() || n.value() == 0) co_return false;
  receiver_->filled(n.value());
  heard_at_ = reactor_.now();
  if (receiver_->data_done()) pdu_since_ = no_deadline;
  co_return true;
}

bool Connection::on_ic_req() {
  const auto req = receiver_->header<nvme::IcReq>();
  if (const auto fault = nvme::check(req)) {
    terminate(*fault, receiver_->head());
    return false;
  }
  nvme::IcResp resp{};
  resp.dgst = req.dgst & (nvme::dgst_header | nvme::dgst_data);
  resp.maxh2cdata = context_.config().h2c_data_bytes_max;
  sender_.queue(resp);
  nvme::PduLimits& limits = receiver_->limits();
  limits.phase = nvme::Phase::running;
  limits.header_digest = (req.dgst & nvme::dgst_header) != 0;
  limits.data_digest = (req.dgst & nvme::dgst_data) != 0;
  tcp::SendFormat format;
  format.header_digest = limits.header_digest;
  format.data_digest = limits.data_digest;
  format.pda = req.hpda;
  sender_.set_format(format);
  return true;
}

// The request that an H2CData PDU belongs to, or the fault.
Request* Connection::match_data(const nvme::H2cData& pdu, nvme::Fault& fault) noexcept {
  const std::uint16_t tag = pdu.ttag;
  if (tag >= requests_.size() || requests_[tag].state != Request::State::awaiting_data) {
    fault = {nvme::Fes::invalid_header_field, offsetof(nvme::H2cData, ttag)};
    return nullptr;
  }
  Request& r = requests_[tag];
  const std::uint64_t end = std::uint64_t{pdu.datao} + pdu.datal;
  const bool last = (pdu.ch.flags & nvme::flag_last_pdu) != 0;
  if (pdu.cccid != r.sqe.cid) {
    fault = {nvme::Fes::invalid_header_field, offsetof(nvme::H2cData, cccid)};
  } else if (pdu.datao % 4 != 0) {
    fault = {nvme::Fes::invalid_header_field, offsetof(nvme::H2cData, datao)};
  } else if (pdu.datal % 4 != 0 || pdu.datal != receiver_->shape().data_bytes) {
    fault = {nvme::Fes::invalid_header_field, offsetof(nvme::H2cData, datal)};
  } else if (end > r.vec.size) {
    fault = {nvme::Fes::data_out_of_range, 0};
  } else if (pdu.datao != r.received) {
    fault = {nvme::Fes::sequence_error, 0};
  } else if (last && end != r.vec.size) {
    fault = {nvme::Fes::invalid_header_field, offsetof(nvme::CommonHeader, flags)};
  } else {
    return &r;
  }
  return nullptr;
}

// The data of an H2CData PDU, straight into its request's buffer. False: the connection ends.
Task<bool> Connection::receive_data() {
  const auto pdu = receiver_->header<nvme::H2cData>();
  nvme::Fault fault;
  Request* r = match_data(pdu, fault);
  if (r == nullptr) {
    terminate(fault, receiver_->head());
    co_return false;
  }
  const std::uint32_t end = pdu.datao + pdu.datal;
  receiver_->begin_data(tcp::IoSlice(IoVecs(&r->vec, 1), pdu.datao, pdu.datal));
  while (!receiver_->data_done()) {
    count_arrived(*r, end - static_cast<std::uint32_t>(receiver_->data_left()));
    const bool got = co_await receive_more();
    if (!got) co_return false;
  }
  if (!receiver_->data_digest_ok()) r->transport_error = true;
  count_arrived(*r, end);
  if (r->received == r->vec.size) {
    r->state = Request::State::executing;
    if (r->waiter) reactor_.post(std::exchange(r->waiter, {}));
  }
  co_return true;
}

// Of a request's data, what is before `end` has come. Less than 64 KiB are no progress, else a byte now and then would
// hold a buffer for ever.
void Connection::count_arrived(Request& r, std::uint32_t end) noexcept {
  if (r.received / progress_bytes != end / progress_bytes) {
    r.since = reactor_.now();
    if (pdu_since_ != no_deadline) pdu_since_ = r.since;
  }
  arrived_bytes_ += end - r.received;
  r.received = end;
  if (arrived_bytes_ < progress_bytes_) return;
  const std::uint64_t awaited = asked_bytes_ - arrived_bytes_;
  progress_since_ = reactor_.now();
  progress_bytes_ =
      arrived_bytes_ + std::min(awaited, std::max<std::uint64_t>(progress_bytes, awaited / progress_part));
}

void Connection::terminate(nvme::Fault fault, std::span<const std::byte> header) {
  ++context_.stats().connections_terminated;
  std::string detail = nvme::name(fault.fes);
  if (fault.fei != 0) detail += ", " + std::to_string(fault.fei);
  context_.log_peer(peer(), "connection terminated", detail);
  const nvme::TermReqPdu pdu = nvme::make_term_req(nvme::Role::controller, fault, header);
  sender_.queue_raw(pdu.span());
  sender_.seal();
  orderly_ = true;
}

bool Connection::stalled(Nanos now) {
  const TargetConfig& config = context_.config();
  const char* why = nullptr;
  if (std::exchange(answered_, false)) heard_at_ = now;
  if (closing_ || stop_.stop_requested()) return false;
  if (!is_connected_ && now > accepted_at_ + config.connect_timeout) why = "no Connect in time";
  const bool hurts = held_bytes_ > 0 && context_.short_of_memory();
  const Nanos latest = now - (hurts ? config.shortage_timeout : config.stall_timeout);
  if (sender_.sending_since() != no_deadline && sender_.sending_since() < latest) {
    why = "does not take what is sent";
  }
  if (const char* owed = owes(latest)) why = owed;
  if (why == nullptr) return false;
  context_.log_peer(peer(), "connection stalled", why);
  return true;
}

const char* Connection::owes(Nanos latest) const noexcept {
  if (unread_since_ != no_deadline) return nullptr;
  if (pdu_since_ != no_deadline && pdu_since_ < latest) return "does not finish what it began to send";
  if (fused_first_ != nullptr && fused_first_->since < latest) {
    return "does not send the other half of a fused command";
  }
  for (const Request& r : requests_) {
    if (r.state != Request::State::awaiting_data || r.since >= latest) continue;
    // Its turn comes when what was asked for before has come. A host that sends that is not to blame yet.
    if (progress_since_ < latest || arrived_bytes_ >= r.due)
      return "does not send the data that it was asked for";
  }
  return nullptr;
}

// Our last PDU leaves and ends our direction; then the peer ends the stream. One that we end with unread bytes
// would be reset, and the peer might not see that PDU.
Task<void> Connection::drain() {
  reactor_.arm(linger_, reactor_.now() + linger_time);
  std::array<std::byte, 512> rest;
  const IoVec vec{rest.data(), rest.size()};
  for (;;) {
    const Result<std::size_t> n = co_await stream_->receive(IoVecs(&vec, 1));
    if (!n.ok() || n.value() == 0) break;
  }
  reactor_.disarm(linger_);
}

// Once the host sees the end of the stream, its queue identifier is free again (but for commands that the
// device still holds).
Task<void> Connection::leave_queue() {
  closing_ = true;
  stop_.request_stop();
  for (Request& r : requests_) {
    if (r.waiter) reactor_.post(std::exchange(r.waiter, {}));
  }
  co_await aborts_.close();
  co_await commands_.join();
  if (!is_connected_) co_return;
  Registry& registry = context_.registry();
  auto detach = [&]() -> Task<void> {
    registry.detach(queue_);
    co_return;
  };
  co_await run_on(reactor_, registry.home(), detach);
}

Task<void> Connection::finish() {
  shut_stream();
  sender_.close();
  co_await sending_.join();
  for (Request& r : requests_) drop_buffer(r);
  HF_ASSERT(held_bytes_ == 0);
  reserve_.reset();
  receiver_.reset();
  context_.return_entries(entries_);
  stream_closed_ = true;
  co_await stream_->close();
}

}  // namespace holdfast::nvmf::target
