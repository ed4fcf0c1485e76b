#include "uring/uring_reactor.h"

#include <algorithm>
#include <cerrno>

#include <sched.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "uring/uring_stream.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace holdfast::uring {

namespace {

std::uint64_t seed_from_system() {
  std::uint64_t seed = 0;
  if (getrandom(&seed, sizeof seed, 0) != sizeof seed) panic("the system gives no random numbers");
  return seed;
}

std::int64_t read_clock(clockid_t id) noexcept {
  timespec ts{};
  clock_gettime(id, &ts);
  return std::int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
}

void relax() noexcept {
#if defined(__x86_64__)
  _mm_pause();
#endif
}

}  // namespace

void UringReactor::ReadyQueue::grow() noexcept {
  std::vector<std::coroutine_handle<>> larger(slots_.size() * 2);
  const std::size_t count = size();
  for (std::size_t i = 0; i < count; ++i) larger[i] = slots_[(head_ + i) & (slots_.size() - 1)];
  slots_ = std::move(larger);
  head_ = 0;
  tail_ = count;
}

UringReactor::UringReactor(const Options& options, Helpers& helpers)
    : options_(options),
      helpers_(helpers),
      random_(seed_from_system()),
      buffers_(*this, options.buffer_bytes, BufferPool::Pages::huge) {}

UringReactor::~UringReactor() {
  HF_ASSERT(timers_.empty() && ready_.size() == 0 && deferred_first_ == nullptr && receives_.empty());
  if (doorbell_.fd >= 0) ::close(doorbell_.fd);
}

Status UringReactor::open() {
  HF_CHECK(ring_.open());
  opened_at_ = now();
  doorbell_.reactor = this;
  // Blocking on purpose: io_uring answers EAGAIN for a non-blocking descriptor and does not wait.
  doorbell_.fd = ::eventfd(0, EFD_CLOEXEC);
  if (doorbell_.fd < 0) return error_from_errno(errno).with_context("cannot make an eventfd");
  return Status();
}

Nanos UringReactor::now() const noexcept { return Nanos{read_clock(CLOCK_MONOTONIC)}; }
WallTime UringReactor::wall_now() const noexcept { return WallTime{read_clock(CLOCK_REALTIME)}; }

void UringReactor::defer(Message& m) noexcept {
  m.next = nullptr;
  (deferred_first_ == nullptr ? deferred_first_ : deferred_last_->next) = &m;
  deferred_last_ = &m;
}

// The pair of exchanges orders this with sleep_in_kernel(): either the sleeper sees the message, or we see
// that it sleeps. Only who finds the queue empty need look; the others came after one who looks.
void UringReactor::send(Message& m) noexcept {
  if (!messages_.push(m)) return;
  if (!sleeping_.exchange(false, std::memory_order_acq_rel)) return;
  const std::uint64_t one = 1;
  while (::write(doorbell_.fd, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

void UringReactor::arm(Timer& t, Nanos when) noexcept {
  timers_.disarm(t);
  timers_.arm(t, when);
}

void UringReactor::Doorbell::complete(std::int32_t, std::uint32_t) noexcept { armed = false; }

void UringReactor::turn() noexcept {
  bool worked = ring_.reap() > 0;
  worked |= run_messages();
  worked |= run_timers();
  worked |= run_ready();
  worked |= run_deferred();
  worked |= try_receives(worked);
  if (ring_.has_requests() || ring_.has_kernel_work()) {
    worked |= ring_.has_requests();
    ring_.submit();
    worked |= ring_.has_ended();  // or there was no work: a sleeper is woken when there is
  }
  if (worked) {
    was_idle_ = false;
    return;  // the caller may be done now
  }
  wait_for_news();
}

bool UringReactor::run_messages() noexcept {
  Message* m = messages_.take_all();
  if (m == nullptr) return false;
  while (m != nullptr) {
    Message* next = m->next;  // run() may end the message
    m->run();
    m = next;
  }
  return true;
}

bool UringReactor::run_timers() noexcept {
  if (timers_.empty()) return false;
  const Nanos time = now();
  bool fired = false;
  while (Timer* t = timers_.pop_due(time)) {
    t->fire();
    fired = true;
  }
  return fired;
}

// Bounded, so that tasks that yield to each other do not keep I/O waiting.
bool UringReactor::run_ready() noexcept {
  constexpr std::size_t resumes_max = 1024;
  std::size_t n = 0;
  for (; n < resumes_max && ready_.size() > 0; ++n) ready_.pop().resume();
  return n > 0;
}

bool UringReactor::run_deferred() noexcept {
  Message* m = std::exchange(deferred_first_, nullptr);
  if (m == nullptr) return false;
  while (m != nullptr) {
    Message* next = m->next;
    m->run();
    m = next;
  }
  return true;
}

// Without other work the core polls next, and looks there; but not while the kernel announces work, which ends a poll
// before it has begun, and may stay announced without being there (Ring::has_kernel_work).
bool UringReactor::try_receives(bool other_work) noexcept {
  if (receives_.empty()) return false;
  const Nanos time = now();
  bool ended = receives_.try_new(time);
  const bool polls_next = !other_work && !ended && !ring_.has_kernel_work();
  if (!polls_next && receives_.look_due(time)) ended |= receives_.look_and_give_up(time);
  return ended;
}

void UringReactor::wait_for_news() noexcept {
  const Nanos time = now();
  if (!was_idle_) {
    was_idle_ = true;
    last_event_ = time;
  }
  const bool always = options_.spin<Nanos{0}, due = disk_answers_due_> 0;
  Nanos spin_end = always ? time + 1ms : last_event_ + window_.length(due);
  if (courtesy_.pauses(time)) spin_end = std::min(spin_end, last_event_ + Courtesy::poll_max);
  if (time < spin_end) {
    const Nanos next = timers_.next();
    const bool news = spin(std::min(spin_end, next));
    const Nanos end = now();
    idle_ += end - time;
    if (news || always || next <= spin_end) {
      if (news) window_.waited(end - last_event_, due);
      if (ring_.has_kernel_work()) ring_.submit();
      return;
    }
  }
  sleep_in_kernel();
  window_.waited(now() - last_event_, due);
}

bool UringReactor::spin(Nanos until) noexcept {
  constexpr unsigned looks_per_clock = 16, polls_per_clock = 4;
  for (;;) {
    const unsigned looks = receives_.empty() ? looks_per_clock : polls_per_clock;
    for (unsigned i = 0; i < looks; ++i) {
      if (has_news()) return true;
      if (receives_.empty()) {
        relax();
      } else if (receives_.look()) {
        return true;
      }
    }
    const Nanos time = now();
    if (time >= until) return has_news();
    if (!courtesy_.offers(time)) continue;
    offer_processor(time);
    if (courtesy_.pauses(now())) return has_news();
  }
}

void UringReactor::offer_processor(Nanos time) noexcept {
  static_cast<void>(::sched_yield());
  courtesy_.offered(time, now());
}

void UringReactor::sleep_in_kernel() noexcept {
  receives_.give_up();
  if (!doorbell_.armed) {
    doorbell_.armed = true;
    auto& sqe = ring_.request(&doorbell_);
    io_uring_prep_read(&sqe, doorbell_.fd, &doorbell_.value, sizeof doorbell_.value, 0);
  }
  sleeping_.exchange(true, std::memory_order_acq_rel);
  if (messages_.empty()) {
    const Nanos next = timers_.next(), from = now();
    ring_.submit_and_wait(next == no_deadline ? next : next - from);
    idle_ += now() - from;
  }
  sleeping_.exchange(false, std::memory_order_acq_rel);
  was_idle_ = false;
}

}  // namespace holdfast::uring
