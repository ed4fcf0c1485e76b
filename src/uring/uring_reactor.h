// UringReactor: the production Reactor, one thread over one io_uring. Made by Runtime.
//
// A turn: what has ended, messages from other threads, due timers, everything that is ready, then deferred
// messages; then one system call hands over all requests of the turn but those of files, which do not wait
// for that (UringFile). Receives come last: an answer leaves before we look for the next question. DirectReceives
// tries them while their connections are busy, the ring afterwards.
//
// Waiting is adaptive: for `spin` after the last event, or longer while a disk is at work (SpinWindow), the thread
// polls memory (no system calls), then it sleeps in the kernel until something ends, a timer is due or another
// thread sends. now() is the precise clock.
#pragma once

#include <optional>
#include <vector>

#include "rt/reactor.h"
#include "uring/courtesy.h"
#include "uring/direct_receives.h"
#include "uring/helper_threads.h"
#include "uring/ring.h"
#include "uring/spin_window.h"

namespace holdfast::uring {

class UringStream;

class UringReactor final : public Reactor {
 public:
  struct Options {
    unsigned core = 0;
    Nanos spin = 50us;  // negative: never sleep
    std::size_t buffer_bytes = 0;
  };

  UringReactor(const Options& options, Helpers& helpers);
  // On the reactor's thread, as all that follows; nothing is under way.
  ~UringReactor() override;

  // Makes the ring. Once, before the first turn.
  Status open();
  // One turn; waits at its end when it found nothing to do.
  void turn() noexcept;

  unsigned core() const noexcept override { return options_.core; }
  Nanos now() const noexcept override;
  Nanos busy() const noexcept override { return now() - opened_at_ - idle_; }
  Sends sends() const noexcept override { return sends_; }
  WallTime wall_now() const noexcept override;
  Prng& random() noexcept override { return random_; }
  BufferPool& buffers() noexcept override { return buffers_; }

  void post(std::coroutine_handle<> h) noexcept override { ready_.push(h); }
  void defer(Message& m) noexcept override;
  void send(Message& m) noexcept override;
  void arm(Timer& t, Nanos when) noexcept override;
  void disarm(Timer& t) noexcept override { timers_.disarm(t); }

  Task<Result<std::unique_ptr<File>>> open_file(std::string path, OpenOptions options) override;
  Task<Status> replace_file(std::string path, std::string content) override;
  Task<Result<std::string>> read_file(std::string path) override;
  Task<Status> remove_file(std::string path) override;

  Task<Result<std::unique_ptr<Stream>>> connect(Endpoint to, Nanos deadline, StopToken stop) override;
  Result<std::unique_ptr<Listener>> listen(const Endpoint& at) override;
  std::unique_ptr<Stream> adopt(std::unique_ptr<PendingStream> accepted) override;
  Task<Result<std::vector<Endpoint>>> resolve(Endpoint name) override;
  Task<void> run_blocking(std::function<void()> work) override;

  // For the files and streams of this reactor.
  io_uring_sqe& request(Completion* to) noexcept { return ring_.request(to); }
  // What was gathered does not wait for the end of the turn when it is that much.
  void submit_early(std::size_t gathered) noexcept {
    if (ring_.gathered() >= gathered) ring_.submit_early();
  }
  // An operation of a file, from its start to its end.
  void disk_answer_is_due() noexcept { ++disk_answers_due_; }
  void disk_answer_came() noexcept { --disk_answers_due_; }
  void receive_at_end_of_turn(UringStream& s) { receives_.add(s); }
  // As run_blocking(), for a disk's discard.
  Task<void> run_discard(std::function<void()> work);
  Sends& send_counts() noexcept { return sends_; }
  // False once this kernel has refused to.
  bool may_send_without_copy() const noexcept { return may_send_without_copy_; }
  void never_send_without_copy() noexcept { may_send_without_copy_ = false; }

 private:
  // A ring buffer of handles that grows.
  class ReadyQueue {
   public:
    ReadyQueue() : slots_(1024) {}
    void push(std::coroutine_handle<> h) noexcept {
      if (tail_ - head_ == slots_.size()) grow();
      slots_[tail_++ & (slots_.size() - 1)] = h;
    }
    std::coroutine_handle<> pop() noexcept { return slots_[head_++ & (slots_.size() - 1)]; }
    std::size_t size() const noexcept { return tail_ - head_; }

   private:
    void grow() noexcept;
    std::vector<std::coroutine_handle<>> slots_;
    std::size_t head_ = 0, tail_ = 0;
  };
  // The read of the eventfd that other threads ring.
  class Doorbell final : public Completion {
   public:
    void complete(std::int32_t result, std::uint32_t flags) noexcept override;
    UringReactor* reactor = nullptr;
    int fd = -1;
    std::uint64_t value = 0;
    bool armed = false;
  };

  bool run_messages() noexcept;
  bool run_timers() noexcept;
  bool run_ready() noexcept;
  bool run_deferred() noexcept;
  bool try_receives(bool other_work) noexcept;
  void wait_for_news() noexcept;
  // True as soon as there is news, or something was received; false when the time is over.
  bool spin(Nanos until) noexcept;
  void offer_processor(Nanos time) noexcept;
  void sleep_in_kernel() noexcept;
  bool has_news() const noexcept { return ring_.has_news() || !messages_.empty(); }

  const Options options_;
  Helpers& helpers_;
  Ring ring_;
  Prng random_;
  ReadyQueue ready_;
  TimerQueue timers_;
  Message* deferred_first_ = nullptr;
  Message* deferred_last_ = nullptr;
  DirectReceives receives_;
  Nanos opened_at_{0};
  Nanos idle_{0};  // polled or slept since then
  Nanos last_event_{0};
  bool was_idle_ = false;
  SpinWindow window_{options_.spin};
  Courtesy courtesy_;
  std::size_t disk_answers_due_ = 0;
  bool may_send_without_copy_ = true;
  Sends sends_;
  Doorbell doorbell_;
  BufferPool buffers_;
  // Written by other threads: apart from the rest.
  alignas(64) MessageQueue messages_;
  std::atomic<bool> sleeping_{false};
};

}  // namespace holdfast::uring
