#include "rpc/status.h"
#include "store/embedded_services.h"
#include "store/embedded_unary.h"
#include "store/wire.h"

namespace holdfast::store {

namespace pb = etcdserverpb;

void EmbeddedShared::fill(pb::ResponseHeader& header, Revision revision) const {
  header.set_cluster_id(cluster_id);
  header.set_member_id(member_id);
  header.set_revision(revision);
  header.set_raft_term(1);
}

grpc::Status status_of(const Error& error) {
  using grpc::StatusCode;
  const auto with = [&](StatusCode code) { return grpc::Status(code, rpc::header_text(error.message())); };
  switch (error.code()) {
    case Errc::invalid_argument:
      return with(StatusCode::INVALID_ARGUMENT);
    case Errc::out_of_range:
      return with(StatusCode::OUT_OF_RANGE);
    case Errc::not_found:
      return with(StatusCode::NOT_FOUND);
    case Errc::already_exists:
      return with(StatusCode::FAILED_PRECONDITION);
    case Errc::resource_exhausted:
      return with(StatusCode::RESOURCE_EXHAUSTED);
    default:
      return with(StatusCode::UNAVAILABLE);
  }
}

grpc::ServerUnaryReactor* EmbeddedKv::Range(grpc::CallbackServerContext* context,
                                            const pb::RangeRequest* request, pb::RangeResponse* reply) {
  const auto work = [copy = *request](Mvcc& state, Nanos) -> Result<pb::RangeResponse> {
    HF_TRY(const RangeRequest wanted, wire::read(copy));
    HF_TRY(RangeResult result, state.range(wanted));
    return wire::write(std::move(result));
  };
  return answer_on_worker(shared_, context, reply, Access::read, work);
}

grpc::ServerUnaryReactor* EmbeddedKv::Put(grpc::CallbackServerContext* context, const pb::PutRequest* request,
                                          pb::PutResponse* reply) {
  const auto work = [wanted = wire::read(*request)](Mvcc& state, Nanos) -> Result<pb::PutResponse> {
    HF_TRY(PutResult result, state.put(wanted));
    return wire::write(std::move(result));
  };
  return answer_on_worker(shared_, context, reply, Access::write, work);
}

grpc::ServerUnaryReactor* EmbeddedKv::DeleteRange(grpc::CallbackServerContext* context,
                                                  const pb::DeleteRangeRequest* request,
                                                  pb::DeleteRangeResponse* reply) {
  const auto work = [wanted = wire::read(*request)](Mvcc& state, Nanos) -> Result<pb::DeleteRangeResponse> {
    HF_TRY(DeleteResult result, state.delete_range(wanted));
    return wire::write(std::move(result));
  };
  return answer_on_worker(shared_, context, reply, Access::write, work);
}

grpc::ServerUnaryReactor* EmbeddedKv::Txn(grpc::CallbackServerContext* context, const pb::TxnRequest* request,
                                          pb::TxnResponse* reply) {
  const auto work = [copy = *request](Mvcc& state, Nanos) -> Result<pb::TxnResponse> {
    HF_TRY(const store::Txn wanted, wire::read(copy));
    HF_TRY(TxnResult result, state.txn(wanted));
    return wire::write(std::move(result));
  };
  return answer_on_worker(shared_, context, reply, Access::write, work);
}

grpc::ServerUnaryReactor* EmbeddedKv::Compact(grpc::CallbackServerContext* context,
                                              const pb::CompactionRequest* request,
                                              pb::CompactionResponse* reply) {
  const auto work = [at = request->revision()](Mvcc& state, Nanos) -> Result<pb::CompactionResponse> {
    HF_CHECK(state.compact(at));
    return pb::CompactionResponse();
  };
  return answer_on_worker(shared_, context, reply, Access::write, work);
}

grpc::ServerUnaryReactor* EmbeddedMaintenance::Status(grpc::CallbackServerContext* context,
                                                      const pb::StatusRequest*, pb::StatusResponse* reply) {
  const auto work = [member = shared_.member_id](Mvcc& state, Nanos) -> Result<pb::StatusResponse> {
    HF_TRY(const std::uint64_t bytes, state.table_bytes());
    pb::StatusResponse answer;
    answer.set_version("3.4.0-holdfast");
    answer.set_dbsize(static_cast<std::int64_t>(bytes));
    answer.set_dbsizeinuse(static_cast<std::int64_t>(bytes));
    answer.set_leader(member);
    answer.set_raftterm(1);
    answer.set_raftindex(static_cast<std::uint64_t>(state.revision()));
    answer.set_raftappliedindex(static_cast<std::uint64_t>(state.revision()));
    return answer;
  };
  return answer_on_worker(shared_, context, reply, Access::read, work);
}

}  // namespace holdfast::store
