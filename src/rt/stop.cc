#include "rt/stop.h"

namespace holdfast {

void StopCallback::unregister() noexcept {
  if (source_ == nullptr) return;
  if (prev_ != nullptr) {
    prev_->next_ = next_;
  } else {
    source_->first_ = next_;
  }
  if (next_ != nullptr) next_->prev_ = prev_;
  source_ = nullptr;
  prev_ = next_ = nullptr;
}

bool StopToken::stop_requested() const noexcept { return source_ != nullptr && source_->stop_requested(); }

void StopToken::subscribe(StopCallback& cb) const noexcept {
  if (source_ == nullptr) return;
  HF_ASSERT(cb.source_ == nullptr);
  if (source_->requested_) {
    cb.on_stop();
    return;
  }
  cb.source_ = source_;
  cb.next_ = source_->first_;
  if (cb.next_ != nullptr) cb.next_->prev_ = &cb;
  source_->first_ = &cb;
}

void StopSource::request_stop() noexcept {
  requested_ = true;
  while (first_ != nullptr) {
    StopCallback& cb = *first_;
    cb.unregister();
    cb.on_stop();
  }
}

}  // namespace holdfast
