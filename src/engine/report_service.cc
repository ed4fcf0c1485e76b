#include "engine/report_service.h"

#include "engine/answer.h"
#include "engine/grpc_status.h"

namespace holdfast::engine {

namespace own = holdfast::v1;

namespace {

Task<Result<own::Report>> get(Engine& engine, const own::GetReportRequest& request) {
  co_return engine.state_reports().answer(engine, request);
}

}  // namespace

grpc::Status ReportService::GetReport(grpc::ServerContext* context, const own::GetReportRequest* request,
                                      own::Report* reply) {
  return answer(engine_, context, request, reply, pool_status, get);
}

}  // namespace holdfast::engine
