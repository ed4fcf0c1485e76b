#include "rt/wait.h"

namespace holdfast {

void WaitQueue::Awaiter::await_suspend(std::coroutine_handle<> h) noexcept {
  waiter_ = h;
  prev_ = queue_.last_;
  if (prev_ != nullptr) {
    prev_->next_ = this;
  } else {
    queue_.first_ = this;
  }
  queue_.last_ = this;
  if (deadline_ != no_deadline) queue_.reactor_.arm(*this, deadline_);
  stop_.subscribe(*this);
}

void WaitQueue::Awaiter::finish(Wake outcome) noexcept {
  outcome_ = outcome;
  (prev_ != nullptr ? prev_->next_ : queue_.first_) = next_;
  (next_ != nullptr ? next_->prev_ : queue_.last_) = prev_;
  queue_.reactor_.disarm(*this);
  unregister();
  queue_.reactor_.post(waiter_);
}

}  // namespace holdfast
