#include <deque>
#include <memory>
#include <mutex>
#include <utility>

#include "store/embedded_services.h"
#include "store/wire.h"

namespace holdfast::store {

namespace pb = etcdserverpb;

namespace {

// What waits to be sent before the worker gives no more, and what lets it go on.
constexpr std::size_t outbox_full = 32;
constexpr std::size_t outbox_low = 8;
constexpr std::size_t watchers_max = 10'000;
constexpr std::int64_t no_watch_id = -1;

// The watches of one stream. gRPC's threads read and write it, the worker feeds it; it lives until both are done
// with it.
class Session final : public grpc::ServerBidiReactor<pb::WatchRequest, pb::WatchResponse>,
                      public WatchSession,
                      public std::enable_shared_from_this<Session> {
 public:
  explicit Session(EmbeddedShared& shared) : shared_(shared) {}
  void begin() {
    self_ = shared_from_this();
    shared_.worker.add(self_);
    StartRead(&request_);
  }

  void give(std::int64_t id, History history) override {
    pb::WatchResponse response = answer(id, history.through);
    for (KeyEvent& event : history.events) *response.add_events() = wire::write(std::move(event));
    send(std::move(response));
  }
  void give_compacted(std::int64_t id, Revision compacted) override {
    pb::WatchResponse response = answer(id, compacted);
    response.set_canceled(true);
    response.set_compact_revision(compacted);
    response.set_cancel_reason("etcdserver: mvcc: required revision has been compacted");
    send(std::move(response));
  }
  bool full() override {
    const std::lock_guard lock(mutex_);
    return over_ || outbox_.size() >= outbox_full;
  }

 private:
  pb::WatchResponse answer(std::int64_t id, Revision revision) const {
    pb::WatchResponse response;
    response.set_watch_id(id);
    shared_.fill(*response.mutable_header(), revision);
    return response;
  }
  void send(pb::WatchResponse response) {
    const std::lock_guard lock(mutex_);
    if (over_) return;
    outbox_.push_back(std::move(response));
    if (!std::exchange(writing_, true)) StartWrite(&outbox_.front());
  }
  void end(const grpc::Status& status) {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(over_, true)) Finish(status);
  }
  void read_on() {
    const std::lock_guard lock(mutex_);
    if (over_) return;
    if (outbox_.size() >= outbox_full) {
      read_waits_ = true;
    } else {
      StartRead(&request_);
    }
  }

  void OnReadDone(bool ok) override {
    if (!ok) return end(grpc::Status::OK);
    StoreJob job;
    // One request at a time: the next is read when this one is answered.
    job.run = [self = self_](Mvcc& state, Nanos now) {
      self->handle(state, now);
      return Status();
    };
    job.answer = [self = self_](const Status& durable) {
      if (!durable.ok()) return self->end(status_of(durable.error()));
      self->read_on();
    };
    if (!shared_.worker.submit(std::move(job))) {
      end({grpc::StatusCode::RESOURCE_EXHAUSTED, "etcdserver: too many requests"});
    }
  }
  void OnWriteDone(bool ok) override {
    bool low = false;
    {
      const std::lock_guard lock(mutex_);
      outbox_.pop_front();
      writing_ = false;
      if (over_) return;
      if (ok && !outbox_.empty()) {
        writing_ = true;
        StartWrite(&outbox_.front());
      }
      low = outbox_.size() == outbox_low || outbox_.empty();
      if (read_waits_ && outbox_.size() <= outbox_low) {
        read_waits_ = false;
        StartRead(&request_);
      }
    }
    if (!ok) return end(grpc::Status::OK);
    if (low) shared_.worker.poke();
  }
  void OnCancel() override { end(grpc::Status::CANCELLED); }
  void OnDone() override {
    shared_.worker.remove(self_);
    self_.reset();
  }

  // The rest is on the worker's thread.
  void handle(const Mvcc& state, Nanos now) {
    switch (request_.request_union_case()) {
      case pb::WatchRequest::kCreateRequest:
        return create(request_.create_request(), state, now);
      case pb::WatchRequest::kCancelRequest:
        return cancel(request_.cancel_request().watch_id(), state);
      case pb::WatchRequest::kProgressRequest:
        return progress(state);
      case pb::WatchRequest::REQUEST_UNION_NOT_SET:
        return;
    }
  }
  void create(const pb::WatchCreateRequest& wanted, const Mvcc& state, Nanos now) {
    Watcher watcher;
    watcher.request = wire::read(wanted);
    watcher.next = watcher.request.start_revision > 0 ? watcher.request.start_revision : state.revision() + 1;
    watcher.wants_progress = wanted.progress_notify();
    watcher.fed_at = now;
    pb::WatchResponse response = answer(no_watch_id, state.revision());
    response.set_created(true);
    const Status fits = Mvcc::check_watch(watcher.request);
    std::string why;
    if (!fits.ok()) why = fits.error().message();
    if (wanted.watch_id() != 0 && watchers.contains(wanted.watch_id())) {
      why = "mvcc: duplicate watch ID provided on the WatchStream";
    }
    if (watchers.size() >= watchers_max) why = "etcdserver: too many requests";
    if (!why.empty()) {
      response.set_canceled(true);
      response.set_cancel_reason(why);
      return send(std::move(response));
    }
    std::int64_t id = wanted.watch_id();
    while (id == 0 && watchers.contains(next_id_)) ++next_id_;
    if (id == 0) id = next_id_++;
    response.set_watch_id(id);
    send(std::move(response));
    watchers.emplace(id, std::move(watcher));
  }
  void cancel(std::int64_t id, const Mvcc& state) {
    if (watchers.erase(id) == 0) return;
    pb::WatchResponse response = answer(id, state.revision());
    response.set_canceled(true);
    send(std::move(response));
  }
  void progress(const Mvcc& state) {
    // Of all watches at once, so only when all of them have everything.
    for (const auto& [id, watcher] : watchers) {
      if (watcher.next <= state.revision()) return;
    }
    send(answer(no_watch_id, state.revision()));
  }

  EmbeddedShared& shared_;
  std::shared_ptr<Session> self_;
  pb::WatchRequest request_;
  std::int64_t next_id_ = 0;
  std::mutex mutex_;
  std::deque<pb::WatchResponse> outbox_;
  bool writing_ = false;
  bool read_waits_ = false;
  bool over_ = false;
};

}  // namespace

grpc::ServerBidiReactor<pb::WatchRequest, pb::WatchResponse>* EmbeddedWatch::Watch(
    grpc::CallbackServerContext*) {
  auto session = std::make_shared<Session>(shared_);
  session->begin();
  return session.get();
}

}  // namespace holdfast::store
