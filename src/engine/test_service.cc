#include "engine/test_service.h"

#include <condition_variable>
#include <deque>
#include <mutex>

#include <fmt/format.h>

#include "engine/answer.h"
#include "engine/fault_injections.h"
#include "engine/grpc_status.h"
#include "engine/naming.h"
#include "engine/replica_operations.h"
#include "engine/wipe.h"

namespace holdfast::engine {

namespace v1 = mayastor::v1;
using google::protobuf::Empty;

namespace {

using WipeOptions = v1::WipeOptions;

// Reports on their way from the home core to the thread that serves the call.
class Reports {
 public:
  // Home core.
  void put(const WipeProgress& progress) {
    const std::lock_guard guard(mutex_);
    if (refused_) return;
    waiting_.push_back(progress);
    more_.notify_one();
  }
  bool wanted() {
    const std::lock_guard guard(mutex_);
    return !refused_;
  }
  // Nothing when there was none for a moment.
  std::optional<WipeProgress> take(std::chrono::milliseconds patience) {
    std::unique_lock guard(mutex_);
    more_.wait_for(guard, patience, [this] { return !waiting_.empty(); });
    if (waiting_.empty()) return std::nullopt;
    const WipeProgress first = waiting_.front();
    waiting_.pop_front();
    return first;
  }
  void refuse() {
    const std::lock_guard guard(mutex_);
    refused_ = true;
  }

 private:
  std::mutex mutex_;
  std::condition_variable more_;
  std::deque<WipeProgress> waiting_;
  bool refused_ = false;
};

Result<WipeParams> to_params(const v1::StreamWipeOptions& request) {
  const WipeOptions& options = request.options();
  if (!WipeOptions::WipeMethod_IsValid(options.wipe_method())) {
    return Error(Errc::invalid_argument,
                 fmt::format("wipe_method: {} is not a method", static_cast<int>(options.wipe_method())));
  }
  if (options.cksum_alg() != WipeOptions::Crc32c) {
    return Error(Errc::invalid_argument, fmt::format("cksum_alg: {} is not an algorithm; use Crc32c",
                                                     static_cast<int>(options.cksum_alg())));
  }
  WipeParams params;
  params.method = static_cast<WipeMethod>(options.wipe_method());
  params.pattern = options.write_pattern();
  params.chunk_bytes = request.chunk_size();
  return params;
}

v1::WipeReplicaResponse message(const std::string& uuid, const WipeProgress& p) {
  v1::WipeReplicaResponse m;
  m.set_uuid(uuid);
  m.set_total_bytes(p.total_bytes);
  m.set_chunk_size(p.chunk_bytes);
  m.set_last_chunk_size(p.last_chunk_bytes);
  m.set_total_chunks(p.total_chunks);
  m.set_wiped_bytes(p.wiped_bytes);
  m.set_wiped_chunks(p.wiped_chunks);
  m.set_remaining_bytes(p.total_bytes - p.wiped_bytes);
  m.mutable_since()->set_seconds(p.since / 1s);
  m.mutable_since()->set_nanos(static_cast<std::int32_t>((p.since % 1s).count()));
  if (p.crc32c) m.set_crc32(*p.crc32c);
  return m;
}

// The device is claimed while the work goes on, so the lock of its pool is not needed for longer.
Task<Result<Empty>> run(Engine& engine, v1::WipeReplicaRequest request, Reports& reports) {
  HF_CO_TRY(const auto params, to_params(request.wipe_options()));
  const NamedPool named = named_pool(request);
  HF_CO_CHECK(check_pool(engine, named));
  HF_CO_TRY(const Uuid uuid, to_uuid("uuid", request.uuid()));
  HF_CO_TRY(auto locked, co_await lock_volume(engine, "replica", uuid, &named));
  HF_CO_CHECK(check_in_pool(named, "replica", locked));
  HF_CO_TRY(BlockDevice * device, Pools::device_of(*locked.known, locked.volume.spec));
  locked.lock.release();
  std::function<void(const WipeProgress&)> report = [&reports](const WipeProgress& p) { reports.put(p); };
  // An engine that stops waits for its calls.
  std::function<bool()> wanted = [&engine, &reports] {
    return reports.wanted() && !engine.port().gate().closed();
  };
  HF_CO_CHECK(co_await wipe(engine.devices(), *device, params, std::move(report), std::move(wanted)));
  co_return Empty();
}

}  // namespace

grpc::Status TestService::GetFeatures(grpc::ServerContext*, const Empty*, v1::TestFeatures* reply) {
  for (const auto method : {WipeOptions::NONE, WipeOptions::WRITE_ZEROES, WipeOptions::UNMAP,
                            WipeOptions::WRITE_PATTERN, WipeOptions::CHECKSUM}) {
    reply->add_wipe_methods(method);
  }
  reply->add_cksum_algs(WipeOptions::Crc32c);
  return grpc::Status::OK;
}

grpc::Status TestService::WipeReplica(grpc::ServerContext* context, const v1::WipeReplicaRequest* request,
                                      grpc::ServerWriter<v1::WipeReplicaResponse>* writer) {
  constexpr auto look_for_the_caller = std::chrono::milliseconds(100);
  Reports reports;
  const auto work = [this, &reports, copy = *request] { return run(engine_, copy, reports); };
  const auto convert = [](Result<Empty>& result) {
    return result.ok() ? grpc::Status::OK : pool_status(result.error());
  };
  grpc::Status refused(grpc::StatusCode::UNAVAILABLE, "this engine is stopping");
  auto ended = rpc::detail::HomeCall<decltype(work), decltype(convert)>::start(engine_.port(), work, convert,
                                                                               std::move(refused));
  // Everything that was put is there before the end is.
  bool over = false;
  for (;;) {
    over = ended.wait_for(std::chrono::milliseconds(0)) == std::future_status::ready;
    const auto progress = reports.take(over ? std::chrono::milliseconds(0) : look_for_the_caller);
    if (progress && !writer->Write(message(request->uuid(), *progress))) reports.refuse();
    if (context->IsCancelled()) reports.refuse();
    if (over && !progress) return ended.get();
  }
}

grpc::Status TestService::AddFaultInjection(grpc::ServerContext* context,
                                            const v1::AddFaultInjectionRequest* request, Empty* reply) {
  return answer(engine_, context, request, reply, bdev_status, fault_injections::add);
}
grpc::Status TestService::RemoveFaultInjection(grpc::ServerContext* context,
                                               const v1::RemoveFaultInjectionRequest* request, Empty* reply) {
  return answer(engine_, context, request, reply, bdev_status, fault_injections::remove);
}
grpc::Status TestService::ListFaultInjections(grpc::ServerContext* context,
                                              const v1::ListFaultInjectionsRequest* request,
                                              v1::ListFaultInjectionsReply* reply) {
  return answer(engine_, context, request, reply, bdev_status, fault_injections::list);
}

}  // namespace holdfast::engine
