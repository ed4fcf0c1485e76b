#include "http/connections.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"

namespace holdfast::http {

Connections::~Connections() { HF_ASSERT(open_.empty()); }

Connections::Place::Place(Connections& of, int socket) : of_(of), socket_(socket), since_(Clock::now()) {
  const std::scoped_lock lock(of_.mutex_);
  of_.open_.insert(this);
  if (of_.ended_.contains(wanted_)) of_.take(*this);
}

Connections::Place::~Place() {
  const std::scoped_lock lock(of_.mutex_);
  of_.open_.erase(this);
  // Not sooner: another connection's socket would have the number under which this one is shut down.
  ::close(socket_);
  of_.one_ended_.notify_all();
}

void Connections::Place::wait(Clock::time_point since, Wanted wanted) {
  const std::scoped_lock lock(of_.mutex_);
  waiting_ = true;
  wanted_ = wanted;
  since_ = since;
  if (of_.ended_.contains(wanted)) of_.take(*this);
}

bool Connections::Place::work() {
  const std::scoped_lock lock(of_.mutex_);
  waiting_ = false;
  return !lost_;
}

// The peer has done its part, and the thread has not come to see it yet.
bool Connections::Place::is_ready() const {
  pollfd it{socket_, static_cast<short>(wanted_ == Wanted::request ? POLLIN : POLLOUT), 0};
  return ::poll(&it, 1, 0) > 0;
}

// Wakes the thread that waits for the peer.
void Connections::take(Place& from) {
  if (from.lost_) return;
  from.lost_ = true;
  ::shutdown(from.socket_, SHUT_RDWR);
}

bool Connections::has_room() const {
  const std::scoped_lock lock(mutex_);
  return open_.size() < places_;
}

bool Connections::take_one() {
  const std::scoped_lock lock(mutex_);
  Place* longest = nullptr;
  const auto latest = Clock::now() - spared;
  for (Place* p : open_) {
    if (!p->waiting_ || p->lost_ || p->since_ > latest) continue;
    if ((longest == nullptr || p->since_ < longest->since_) && !p->is_ready()) longest = p;
  }
  if (longest == nullptr) return false;
  take(*longest);
  return true;
}

void Connections::take_all(Wanted wanted) {
  const std::scoped_lock lock(mutex_);
  ended_.insert(wanted);
  for (Place* p : open_) {
    if (p->waiting_ && p->wanted_ == wanted) take(*p);
  }
}

bool Connections::wait_for_room(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  return one_ended_.wait_for(lock, patience, [this] { return open_.size() < places_; });
}

bool Connections::wait_for_end(std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  return one_ended_.wait_for(lock, patience, [this] { return open_.empty(); });
}

}  // namespace holdfast::http
