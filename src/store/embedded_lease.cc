#include <mutex>

#include "store/embedded_services.h"
#include "store/embedded_unary.h"

namespace holdfast::store {

namespace pb = etcdserverpb;

namespace {

// Reads a question, has it answered by the worker, writes the answer, reads the next. Owns itself until OnDone.
class KeepAlives final
    : public grpc::ServerBidiReactor<pb::LeaseKeepAliveRequest, pb::LeaseKeepAliveResponse> {
 public:
  explicit KeepAlives(EmbeddedShared& shared) : shared_(shared) { StartRead(&request_); }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return end(grpc::Status::OK);
    StoreJob job;
    job.renews = true;
    // OnDone comes after finish(), which waits for the worker's answer.
    job.run = [this, came = StoreWorker::now()](Mvcc& state, Nanos) {
      reply_.Clear();
      reply_.set_id(request_.id());
      const auto left = state.lease_keep_alive(request_.id(), came);
      reply_.set_ttl(left.ok() ? left.value() : 0);
      shared_.fill(*reply_.mutable_header(), state.revision());
      return Status();
    };
    job.answer = [this](const Status& durable) {
      if (!durable.ok()) return end(status_of(durable.error()));
      StartWrite(&reply_);
    };
    if (!shared_.worker.submit(std::move(job))) {
      end({grpc::StatusCode::RESOURCE_EXHAUSTED, "etcdserver: too many requests"});
    }
  }
  void OnWriteDone(bool ok) override {
    if (!ok) return end(grpc::Status::OK);
    StartRead(&request_);
  }
  void OnDone() override { delete this; }
  // One thing at a time is under way, so the end is found by whoever ends it: a cancelled call fails it.
  void end(const grpc::Status& status) { Finish(status); }

  EmbeddedShared& shared_;
  pb::LeaseKeepAliveRequest request_;
  pb::LeaseKeepAliveResponse reply_;
};

}  // namespace

grpc::ServerUnaryReactor* EmbeddedLease::LeaseGrant(grpc::CallbackServerContext* context,
                                                    const pb::LeaseGrantRequest* request,
                                                    pb::LeaseGrantResponse* reply) {
  const auto work = [this, ttl = request->ttl(), id = request->id()](
                        Mvcc& state, Nanos now) -> Result<pb::LeaseGrantResponse> {
    LeaseId chosen = id;
    while (chosen == no_lease || (id == no_lease && state.has_lease(chosen))) chosen = shared_.new_lease_id();
    HF_TRY(const store::Lease lease, state.lease_grant(chosen, ttl, now));
    pb::LeaseGrantResponse answer;
    answer.set_id(lease.id);
    answer.set_ttl(lease.ttl_s);
    return answer;
  };
  return answer_on_worker(shared_, context, reply, Access::write, work);
}

grpc::ServerUnaryReactor* EmbeddedLease::LeaseRevoke(grpc::CallbackServerContext* context,
                                                     const pb::LeaseRevokeRequest* request,
                                                     pb::LeaseRevokeResponse* reply) {
  const auto work = [id = request->id()](Mvcc& state, Nanos) -> Result<pb::LeaseRevokeResponse> {
    HF_CHECK(state.lease_revoke(id));
    return pb::LeaseRevokeResponse();
  };
  return answer_on_worker(shared_, context, reply, Access::write, work);
}

grpc::ServerUnaryReactor* EmbeddedLease::LeaseTimeToLive(grpc::CallbackServerContext* context,
                                                         const pb::LeaseTimeToLiveRequest* request,
                                                         pb::LeaseTimeToLiveResponse* reply) {
  const auto work = [id = request->id(), keys = request->keys()](
                        Mvcc& state, Nanos now) -> Result<pb::LeaseTimeToLiveResponse> {
    const store::LeaseStatus status = state.lease_status(id, keys, now);
    pb::LeaseTimeToLiveResponse answer;
    answer.set_id(id);
    answer.set_ttl(status.left_s);
    answer.set_grantedttl(status.granted_ttl_s);
    for (const std::string& key : status.keys) answer.add_keys(key);
    return answer;
  };
  return answer_on_worker(shared_, context, reply, Access::read, work);
}

grpc::ServerUnaryReactor* EmbeddedLease::LeaseLeases(grpc::CallbackServerContext* context,
                                                     const pb::LeaseLeasesRequest*,
                                                     pb::LeaseLeasesResponse* reply) {
  const auto work = [](Mvcc& state, Nanos) -> Result<pb::LeaseLeasesResponse> {
    pb::LeaseLeasesResponse answer;
    for (const LeaseId id : state.lease_ids()) answer.add_leases()->set_id(id);
    return answer;
  };
  return answer_on_worker(shared_, context, reply, Access::read, work);
}

grpc::ServerBidiReactor<pb::LeaseKeepAliveRequest, pb::LeaseKeepAliveResponse>* EmbeddedLease::LeaseKeepAlive(
    grpc::CallbackServerContext*) {
  return new KeepAlives(shared_);
}

}  // namespace holdfast::store
