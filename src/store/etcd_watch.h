// The watch of an EtcdClient. gRPC's headers: for .cc files only.
#pragma once

#include <deque>
#include <optional>

#include "rt/scope.h"
#include "rt/wait.h"
#include "store/etcd_connections.h"

namespace holdfast::store {

// A task reads the stream and begins a new one, at the next endpoint and from the next revision, when it ends.
class EtcdClient::WatchStream final : public Watch, StopCallback {
 public:
  WatchStream(Connections& connections, WatchRequest request);
  ~WatchStream() override;

  // Until the store watches, or the call's deadline. close() in any case.
  Task<Status> begin();
  using Watch::next;
  Task<Result<WatchBatch>> next(Nanos deadline, StopToken stop) override;
  Task<void> close() override;

 private:
  using Stream = rpc::Duplex<etcdserverpb::WatchRequest, etcdserverpb::WatchResponse>;
  void on_stop() noexcept override { stop_.request_stop(); }
  Task<void> read_all();
  // False: the watch is over, `end_` says why.
  Task<bool> read_stream(Connections::Member& member);
  Task<bool> take(etcdserverpb::WatchResponse response);
  void finish(Error why);

  Connections& all_;
  WatchRequest request_;
  // What the next stream begins with: everything before it was given to batches_. 0: nothing is known yet.
  Revision next_ = 0;
  std::deque<WatchBatch> batches_;
  std::optional<Error> end_;
  bool watching_ = false;  // some stream has begun
  bool progress_ = false;  // this stream has given something
  Event changed_;
  Event drained_;
  TaskScope scope_;
  StopSource stop_;
  bool closed_ = false;
};

}  // namespace holdfast::store
