#include "uring/zero_copy.h"

#include <cerrno>
#include <utility>

#include "base/assert.h"
#include "uring/uring_reactor.h"

namespace holdfast::uring {

namespace {

// Not in liburing 2.3. Asks for, and says in the result of the notice, whether there was a copy (Linux 6.2).
constexpr std::uint16_t report_usage = 1U << 3;
constexpr std::uint32_t usage_copied = 1U << 31;

}  // namespace

ZeroCopy::~ZeroCopy() { HF_ASSERT(in_use_ == 0); }

bool ZeroCopy::pays(std::size_t bytes) const noexcept {
  if (state_ == State::off || bytes < bytes_min || !reactor_.may_send_without_copy()) return false;
  return in_use_ < (state_ == State::works ? held_max : 1);
}

void ZeroCopy::submit(int fd, msghdr& header, SendHold& hold) noexcept {
  if (free_.empty()) {
    sends_.push_back(std::make_unique<Send>(*this));
    free_.push_back(sends_.back().get());
  }
  Send* send = free_.back();
  free_.pop_back();
  ++in_use_;
  send->hold = &hold;
  current_ = send;
  auto& sqe = reactor_.request(send);
  io_uring_prep_sendmsg_zc(&sqe, fd, &header, MSG_WAITALL | MSG_NOSIGNAL);
  sqe.ioprio |= report_usage;
}

bool ZeroCopy::is_refusal(std::int32_t result) noexcept {
  switch (-result) {
    case EINVAL:
    case EOPNOTSUPP:
    case ENOMEM:  // the limit of locked memory
    case ENOBUFS:
      return true;
    default:
      return false;
  }
}

// The first end of a send is its result; with memory that is held a notice follows, when it is not any more.
void ZeroCopy::Send::complete(std::int32_t result, std::uint32_t flags) noexcept {
  if ((flags & IORING_CQE_F_NOTIF) != 0)
    return owner.on_notice(*this, (static_cast<std::uint32_t>(result) & usage_copied) != 0);
  owner.on_result(*this, result, (flags & IORING_CQE_F_MORE) != 0);
}

void ZeroCopy::on_result(Send& send, std::int32_t result, bool held) noexcept {
  if (result == -EINVAL || result == -EOPNOTSUPP) reactor_.never_send_without_copy();
  if (!held) {
    current_ = nullptr;
    give_back(send);
  }
  sender_.on_zero_copy_sent(result);
}

void ZeroCopy::end_send() noexcept {
  if (Send* send = std::exchange(current_, nullptr)) send->hold->hold();
}

void ZeroCopy::on_notice(Send& send, bool copied) noexcept {
  if (copied) {
    const unsigned limit = state_ == State::works ? copied_in_a_row_max : experiments_max;
    if (++copied_in_a_row_ >= limit) state_ = State::off;
  } else {
    ++reactor_.send_counts().without_copy;
    copied_in_a_row_ = 0;
    if (state_ == State::untried) state_ = State::works;
  }
  SendHold* const hold = send.hold;
  give_back(send);
  if (&send == current_) {
    current_ = nullptr;  // the rest of it is still being sent from that memory
  } else {
    hold->release();
  }
}

void ZeroCopy::give_back(Send& send) noexcept {
  send.hold = nullptr;
  free_.push_back(&send);
  --in_use_;
}

}  // namespace holdfast::uring
