#include "store/etcd_watch.h"

#include <utility>

#include "base/assert.h"
#include "base/log.h"
#include "store/wire.h"

namespace holdfast::store {
namespace {

// Batches that wait for next() before the stream is left to wait itself.
constexpr std::size_t batches_max = 16;
constexpr Nanos reconnect_first = 50ms;
constexpr Nanos reconnect_max = 2s;

}  // namespace

EtcdClient::WatchStream::WatchStream(Connections& connections, WatchRequest request)
    : all_(connections),
      request_(std::move(request)),
      next_(request_.start_revision),
      changed_(connections.home()),
      drained_(connections.home()),
      scope_(connections.home()) {
  connections.stop_token().subscribe(*this);
}

EtcdClient::WatchStream::~WatchStream() { HF_ASSERT(closed_); }

Task<Status> EtcdClient::WatchStream::begin() {
  const Nanos deadline = all_.home().now() + all_.options().call_timeout;
  scope_.spawn(read_all());
  while (!watching_ && !end_.has_value()) {
    changed_.reset();
    const Wake woken = co_await changed_.wait(deadline, stop_.token());
    if (woken == Wake::timed_out) co_return Error(Errc::timed_out, "the store does not begin to watch");
    if (woken == Wake::stopped) co_return all_.cancelled();
  }
  // A range that is refused is the caller's mistake; what is compacted shows in next().
  if (end_.has_value() && end_->code() == Errc::invalid_argument) co_return *end_;
  co_return Status();
}

Task<Result<WatchBatch>> EtcdClient::WatchStream::next(Nanos deadline, StopToken stop) {
  for (;;) {
    if (closed_ || stop_.stop_requested()) co_return Error(Errc::cancelled, "the watch is over");
    if (!batches_.empty()) {
      WatchBatch batch = std::move(batches_.front());
      batches_.pop_front();
      drained_.set();
      co_return batch;
    }
    if (end_.has_value()) co_return *end_;
    changed_.reset();
    const Wake woken = co_await changed_.wait(deadline, stop);
    if (woken == Wake::timed_out) co_return Error(Errc::timed_out);
    if (woken == Wake::stopped) co_return Error(Errc::cancelled);
  }
}

Task<void> EtcdClient::WatchStream::close() {
  if (closed_) co_return;
  stop_.request_stop();
  changed_.set();
  drained_.set();
  co_await scope_.join();
  unregister();
  closed_ = true;
}

void EtcdClient::WatchStream::finish(Error why) {
  end_.emplace(std::move(why));
  changed_.set();
}

Task<void> EtcdClient::WatchStream::read_all() {
  Nanos pause = reconnect_first;
  while (!stop_.stop_requested()) {
    Connections::Member& member = all_.pick();
    progress_ = false;
    const bool goes_on = co_await read_stream(member);
    if (!goes_on || stop_.stop_requested()) break;
    pause = progress_ ? reconnect_first : std::min(2 * pause, reconnect_max);
    co_await all_.home().sleep(pause, stop_.token());
  }
  changed_.set();
}

Task<bool> EtcdClient::WatchStream::read_stream(Connections::Member& member) {
  Stream stream(all_.home());
  rpc::CallOptions options = all_.call_options(no_deadline);
  options.stop = stop_.token();
  stream.begin(*member.watch->async(), &etcdserverpb::Watch::Stub::async::Watch, options);
  etcdserverpb::WatchRequest create;
  WatchRequest from = request_;
  from.start_revision = next_;
  *create.mutable_create_request() = wire::write(from);
  bool goes_on = co_await stream.write(create);
  while (goes_on) {
    etcdserverpb::WatchResponse response;
    const bool read = co_await stream.read(response);
    if (!read) break;
    goes_on = co_await take(std::move(response));
  }
  const grpc::Status ended = co_await stream.end();
  if (end_.has_value() || stop_.stop_requested()) co_return false;
  const Error why =
      ended.ok() ? Error(Errc::not_connected, "the stream ended") : all_.error_of(member, ended);
  all_.failed(member);
  HF_LOG(debug, "store", "watch goes on elsewhere", {"endpoint", member.name}, {"why", why});
  co_return true;
}

// False: this stream has nothing more to give.
Task<bool> EtcdClient::WatchStream::take(etcdserverpb::WatchResponse response) {
  if (response.canceled()) {
    if (response.compact_revision() > 0) {
      finish(Error(Errc::out_of_range, "etcdserver: mvcc: required revision has been compacted"));
    } else if (response.created()) {
      finish(Error(Errc::invalid_argument, response.cancel_reason()));
    }
    co_return false;
  }
  progress_ = true;
  const Revision at = response.header().revision();
  if (response.created()) {
    if (next_ == 0) next_ = at + 1;
    watching_ = true;
    changed_.set();
    co_return true;
  }
  WatchBatch batch;
  for (auto& event : *response.mutable_events()) batch.events.push_back(wire::read(std::move(event)));
  // With events the header's revision may be of a time whose other changes come in the next batch.
  batch.revision = batch.events.empty() ? at : batch.events.back().kv.mod_revision;
  if (batch.revision < next_) co_return true;
  next_ = batch.revision + 1;
  while (batches_.size() >= batches_max && !stop_.stop_requested()) {
    drained_.reset();
    co_await drained_.wait();
  }
  batches_.push_back(std::move(batch));
  changed_.set();
  co_return true;
}

}  // namespace holdfast::store
