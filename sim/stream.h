// The objects that SimNet gives out: streams, pending streams, listeners.
#pragma once

#include <deque>
#include <memory>

#include "base/assert.h"
#include "rt/io.h"
#include "rt/wait.h"
#include "sim/net.h"
#include "sim/reactor.h"

namespace holdfast::sim {

class SimStream final : public Stream {
 public:
  SimStream(SimNet& net, SimReactor& reactor, std::uint64_t connection, int side, Endpoint local,
            Endpoint peer)
      : net_(net),
        reactor_(reactor),
        connection_(connection),
        side_(side),
        local_(std::move(local)),
        peer_(std::move(peer)) {}
  ~SimStream() override { HF_ASSERT(closed_); }

  void end_sending() noexcept override {
    if (!closed_) net_.end_sending(connection_, side_);
  }
  void shutdown() noexcept override {
    if (!closed_) net_.shut(connection_, side_);
  }
  void abort() noexcept override {
    if (!closed_) net_.abort(connection_, side_);
  }
  Task<void> close() override {
    HF_ASSERT(!closed_);
    net_.shut(connection_, side_);
    net_.close(connection_, side_);
    closed_ = true;
    co_await reactor_.yield();
  }
  const Endpoint& local() const noexcept override { return local_; }
  const Endpoint& peer() const noexcept override { return peer_; }
  bool may_hold(std::size_t bytes) const noexcept override { return bytes > 0 && net_.hold_per_mille_ > 0; }

 private:
  void start(StreamOp& op) noexcept override {
    HF_ASSERT(!closed_ && net_.world_.current() == &reactor_);
    net_.start(connection_, side_, op);
  }

  SimNet& net_;
  SimReactor& reactor_;
  const std::uint64_t connection_;
  const int side_;
  const Endpoint local_;
  const Endpoint peer_;
  bool closed_ = false;
};

class SimPendingStream final : public PendingStream {
 public:
  SimPendingStream(SimNet& net, std::uint64_t connection, Endpoint peer)
      : PendingStream(std::move(peer)), net_(net), connection_(connection) {}
  ~SimPendingStream() override {
    if (connection_ == 0) return;
    net_.shut(connection_, 1);
    net_.close(connection_, 1);
  }
  std::uint64_t take() noexcept { return std::exchange(connection_, 0); }

 private:
  SimNet& net_;
  std::uint64_t connection_;
};

class SimListener final : public Listener {
 public:
  SimListener(SimNet& net, SimReactor& reactor, Endpoint at)
      : net_(net), reactor_(reactor), at_(std::move(at)), id_(net.ids_++), arrived_(reactor) {
    net_.listeners_.push_back(this);
  }
  ~SimListener() override { HF_ASSERT(closed_ && !accepting_); }

  Task<Result<std::unique_ptr<PendingStream>>> accept() override {
    HF_ASSERT(!accepting_);
    accepting_ = true;
    while (queue_.empty() && !shut_) {
      arrived_.reset();
      co_await arrived_.wait();
    }
    accepting_ = false;
    if (shut_) co_return Error(Errc::cancelled);
    std::unique_ptr<PendingStream> first = std::move(queue_.front());
    queue_.pop_front();
    co_return first;
  }
  void shutdown() noexcept override {
    shut_ = true;
    std::erase(net_.listeners_, this);
    queue_.clear();
    arrived_.set();
  }
  Task<void> close() override {
    HF_ASSERT(!closed_ && !accepting_);
    shutdown();
    closed_ = true;
    co_await reactor_.yield();
  }
  const Endpoint& local() const noexcept override { return at_; }

  SimReactor& reactor() noexcept { return reactor_; }
  std::uint64_t id() const noexcept { return id_; }
  bool full() const noexcept { return queue_.size() >= backlog; }
  // In an event of the reactor.
  void add(std::unique_ptr<PendingStream> pending) {
    queue_.push_back(std::move(pending));
    arrived_.set();
  }

 private:
  static constexpr std::size_t backlog = 128;
  SimNet& net_;
  SimReactor& reactor_;
  const Endpoint at_;
  const std::uint64_t id_;
  Event arrived_;
  std::deque<std::unique_ptr<PendingStream>> queue_;
  bool accepting_ = false;
  bool shut_ = false;
  bool closed_ = false;
};

}  // namespace holdfast::sim
