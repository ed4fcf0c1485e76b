// holdfast.v1.ReportRpc: all that the engine has, when it is other than what the caller knows.
#pragma once

#include "engine/engine.h"
#include "holdfast/v1/report.grpc.pb.h"

namespace holdfast::engine {

class ReportService final : public holdfast::v1::ReportRpc::Service {
 public:
  explicit ReportService(Engine& engine) : engine_(engine) {}

  grpc::Status GetReport(grpc::ServerContext* context, const holdfast::v1::GetReportRequest* request,
                         holdfast::v1::Report* reply) override;

 private:
  Engine& engine_;
};

}  // namespace holdfast::engine
