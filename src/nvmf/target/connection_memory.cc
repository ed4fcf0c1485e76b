// Connection: requests and buffers, and what waits for them.
#include <algorithm>
#include <cstring>

#include "nvmf/target/connection.h"

namespace holdfast::nvmf::target {

void Request::on_sent(bool sent) noexcept { connection.release(*this, sent); }

// A host may have as many commands under way as its queue has entries. The rest are requests whose response
// is on its way out while the host, which has it already, sends the next command.
std::size_t Connection::requests_max() const noexcept {
  if (!is_connected_) return 4;
  return entries_ + std::min<std::size_t>(entries_ / 4 + 2, 32);
}

Request* Connection::claim() {
  if (free_.empty()) {
    if (requests_.size() >= requests_max()) return nullptr;
    requests_.emplace_back(*this, static_cast<std::uint16_t>(requests_.size()));
    free_.push_back(&requests_.back());
  }
  Request* r = free_.back();
  free_.pop_back();
  ++unanswered_;
  r->state = Request::State::executing;
  return r;
}

// nullptr: the connection ends.
Task<Request*> Connection::wait_claim() {
  for (;;) {
    if (unanswered_ >= requests_max()) {  // no response on its way: the host sent more than its queue holds
      terminate({nvme::Fes::sequence_error, 0}, receiver_->head());
      co_return nullptr;
    }
    const Wake woken = co_await wait_unread();
    if (woken == Wake::stopped) co_return nullptr;
    if (Request* r = claim()) co_return r;
  }
}

// The receiving coroutine waits for something of ours. What the peer owes us may lie unread meanwhile, so that this
// time does not count.
Task<Wake> Connection::wait_unread() {
  unread_since_ = reactor_.now();
  const Wake woken = co_await claim_wait_.wait(no_deadline, stop_.token());
  const Nanos begun = std::exchange(unread_since_, no_deadline), now = reactor_.now();
  const auto excuse = [=](Nanos& since) { since += now - std::max(since, begun); };
  excuse(progress_since_);
  for (Request& r : requests_) excuse(r.since);
  co_return woken;
}

void Connection::release(Request& r, bool sent) noexcept {
  answered_ = answered_ || sent;
  drop_buffer(r);
  r.state = Request::State::free;
  r.transport_error = false;
  if (r.abort != nullptr) [[unlikely]]
    settle_abort(r, false);  // its data was the response
  r.received = 0;
  free_.push_back(&r);
  claim_wait_.wake_one();
}

// Called when no receive is under way and no data is being moved.
void Connection::grow_staging() noexcept {
  if (!context_.may_have_large_staging()) return;
  Buffer larger = reactor_.buffers().try_acquire(context_.config().staging_bytes);
  if (!larger) return;
  receiver_->change_staging(std::move(larger));
  wants_large_staging_ = false;
}

void Connection::give_buffer(Request& r, Buffer buffer) noexcept {
  HF_ASSERT(!r.buffer);  // one that is replaced would never be counted as given back
  r.buffer = std::move(buffer);
  r.vec = r.buffer.vec();
}

// A host may send data with any command, which then has a buffer, maybe the reserve, when it comes to ask for one.
bool Connection::try_buffer(Request& r, std::uint32_t bytes) noexcept {
  drop_buffer(r);
  return buffer_turn_.free() > 0 && take_buffer(r, bytes);
}

bool Connection::take_buffer(Request& r, std::uint32_t bytes) noexcept {
  if (!context_.may_hold(held_bytes_, bytes)) return false;
  Buffer buffer = reactor_.buffers().try_acquire(bytes);
  if (!buffer) return false;
  held_bytes_ += bytes;
  context_.count_held(bytes);
  give_buffer(r, std::move(buffer));
  return true;
}

Task<bool> Connection::wait_buffer(Request& r, std::uint32_t bytes) {
  const Semaphore::Permit turn = co_await buffer_turn_.acquire(no_deadline, stop_.token());
  if (!turn) co_return false;
  // Whoever stands in the pool's line holds up all behind: that is for the case where nobody else gives back.
  while (!context_.holds_nothing()) {
    if (take_buffer(r, bytes)) co_return true;
    const bool for_others = context_.begin_wait(held_bytes_, bytes);
    const Wake woken = co_await buffer_wait_.wait(no_deadline, stop_.token());
    context_.end_wait(for_others);
    if (woken == Wake::stopped) co_return false;
  }
  held_bytes_ += bytes;  // before the wait, so that nobody else counts on them
  context_.count_held(bytes);
  Buffer buffer = co_await reactor_.buffers().acquire(bytes, stop_.token());
  if (!buffer) {
    held_bytes_ -= bytes;
    context_.count_dropped(bytes);
    co_return false;
  }
  give_buffer(r, std::move(buffer));
  co_return true;
}

Task<bool> Connection::replace_buffer(Request& r, std::uint32_t bytes) {
  drop_buffer(r);
  if (try_buffer(r, bytes)) co_return true;
  const bool got = co_await wait_buffer(r, bytes);
  co_return got;
}

bool Connection::try_capsule_buffer(Request& r, std::uint32_t bytes) noexcept {
  if (try_buffer(r, bytes)) return true;
  if (!reserve_) return false;
  give_buffer(r, std::move(reserve_));
  r.vec.size = bytes;
  r.reserve = true;
  return true;
}

// The reserve comes back when its command has been answered, for which nothing in the stream is needed.
Task<bool> Connection::wait_capsule_buffer(Request& r, std::uint32_t bytes) {
  if (!has_reserve_) {  // before the end of Connect: nothing of this connection waits for more data yet
    const bool got = co_await wait_buffer(r, bytes);
    co_return got;
  }
  give_up_fused(nvme::StatusCode::command_interrupted);  // it may hold the reserve
  for (;;) {
    if (try_capsule_buffer(r, bytes)) co_return true;
    const Wake woken = co_await wait_unread();
    if (woken == Wake::stopped) co_return false;
  }
}

void Connection::drop_buffer(Request& r) noexcept {
  r.vec = IoVec();
  if (!r.buffer) return;
  if (std::exchange(r.reserve, false)) {
    reserve_ = std::move(r.buffer);
    claim_wait_.wake_one();  // data in a capsule may wait for it
    return;
  }
  held_bytes_ -= r.buffer.size();
  context_.count_dropped(r.buffer.size());
  r.buffer.reset();
  buffer_wait_.wake_one();
}

nvme::CommandStatus Connection::prepare_host_data(Request& r, std::uint64_t bytes) noexcept {
  const nvme::SglDescriptor& sgl = r.sqe.sgl1;
  if (sgl.is_transport()) {
    drop_buffer(r);  // of a capsule with data that its command does not name
    if (sgl.length != bytes) return nvme::permanent(nvme::StatusCode::data_sgl_length_invalid);
    return {};
  }
  if (!sgl.is_in_capsule()) return nvme::permanent(nvme::StatusCode::sgl_descriptor_type_invalid);
  if (sgl.length != bytes) return nvme::permanent(nvme::StatusCode::data_sgl_length_invalid);
  if (sgl.address > r.received || bytes > r.received - sgl.address) {
    return nvme::permanent(nvme::StatusCode::sgl_offset_invalid);
  }
  // Devices want aligned memory: data that does not begin with the capsule's is moved there.
  if (sgl.address != 0) std::memmove(r.buffer.data(), r.buffer.data() + sgl.address.get(), bytes);
  r.vec.size = bytes;
  return {};
}

nvme::CommandStatus Connection::check_reply(const Request& r, std::uint64_t bytes) const noexcept {
  const nvme::SglDescriptor& sgl = r.sqe.sgl1;
  if (!sgl.is_transport()) return nvme::permanent(nvme::StatusCode::sgl_descriptor_type_invalid);
  if (sgl.length != bytes) return nvme::permanent(nvme::StatusCode::data_sgl_length_invalid);
  return {};
}

namespace {

// Suspends the command until the receiving coroutine has its data.
class DataArrived {
 public:
  explicit DataArrived(Request& r) noexcept : request_(r) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) const noexcept { request_.waiter = h; }
  void await_resume() const noexcept {}

 private:
  Request& request_;
};

}  // namespace

void Connection::count_asked(Request& r, std::uint32_t bytes) noexcept {
  r.since = reactor_.now();
  if (asked_bytes_ == arrived_bytes_) {  // nothing was awaited
    progress_since_ = r.since;
    progress_bytes_ = arrived_bytes_;
  }
  asked_bytes_ += bytes;
  r.due = asked_bytes_;
}

Task<bool> Connection::fetch_host_data(Request& r, std::uint32_t bytes, ForBuffer without) {
  if (r.sqe.sgl1.is_in_capsule()) co_return true;  // prepare_host_data() named it
  if (!try_buffer(r, bytes)) {
    if (without == ForBuffer::fail) {
      complete(r, nvme::StatusCode::command_interrupted);
      co_return false;
    }
    const bool got = co_await wait_buffer(r, bytes);
    if (!got) co_return false;
  }
  if (closing_) co_return false;
  r.received = 0;
  count_asked(r, bytes);
  r.state = Request::State::awaiting_data;
  // One R2T for all of it: whatever MAXR2T the host allows, it allows one.
  nvme::R2t pdu{};
  pdu.cccid = r.sqe.cid;
  pdu.ttag = r.tag;
  pdu.r2tl = bytes;
  sender_.queue(pdu);
  co_await DataArrived(r);
  if (r.state == Request::State::awaiting_data) co_return false;  // the connection ends
  if (r.transport_error) {
    complete(r, nvme::StatusCode::transient_transport_error);
    co_return false;
  }
  co_return true;
}

}  // namespace holdfast::nvmf::target
