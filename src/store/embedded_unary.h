// One unary call of an embedded store: work on the worker's thread, and its answer. For .cc files only.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include <grpcpp/support/server_callback.h>

#include "store/embedded_services.h"

namespace holdfast::store {

// The table failed, so nothing of the batch was done; any other error is this request's own.
inline bool is_of_table(const Error& error) noexcept {
  switch (error.code()) {
    case Errc::io_error:
    case Errc::out_of_space:
    case Errc::bad_format:
    case Errc::busy:
    case Errc::failed_precondition:
      return true;
    default:
      return false;
  }
}

enum class Access : std::uint8_t { read, write };

// Runs work(Mvcc&, Nanos now) -> Result<Reply>, whose header has the revision to show.
template <class Reply, class Work>
grpc::ServerUnaryReactor* answer_on_worker(EmbeddedShared& shared, grpc::CallbackServerContext* context,
                                           Reply* reply, Access access, Work work) {
  grpc::ServerUnaryReactor* call = context->DefaultReactor();
  auto refused = std::make_shared<std::optional<Error>>();
  StoreJob job;
  job.writes = access == Access::write;
  job.run = [&shared, reply, refused, work = std::move(work)](Mvcc& state, Nanos now) -> Status {
    Result<Reply> done = work(state, now);
    if (!done.ok()) {
      if (is_of_table(done.error())) return done.error();
      refused->emplace(done.error());
      return Status();
    }
    *reply = std::move(done).value();
    shared.fill(*reply->mutable_header(),
                reply->header().revision() > 0 ? reply->header().revision() : state.revision());
    return Status();
  };
  job.answer = [call, refused](const Status& durable) {
    if (!durable.ok()) {
      call->Finish(status_of(durable.error()));
    } else if (refused->has_value()) {
      call->Finish(status_of(**refused));
    } else {
      call->Finish(grpc::Status::OK);
    }
  };
  if (!shared.worker.submit(std::move(job))) {
    call->Finish({grpc::StatusCode::RESOURCE_EXHAUSTED, "etcdserver: too many requests"});
  }
  return call;
}

}  // namespace holdfast::store
