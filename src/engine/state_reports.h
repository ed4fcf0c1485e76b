// All that an engine has, as one message, and whether it is other than before.
#pragma once

#include <cstdint>
#include <string>

#include "holdfast/v1/report.pb.h"

namespace holdfast::engine {

class Engine;

// Home core only.
class StateReports {
 public:
  // Without the content when that is what the request names.
  holdfast::v1::Report answer(Engine& engine, const holdfast::v1::GetReportRequest& request);

 private:
  std::string last_;  // the content of `revision_`, as bytes
  std::uint64_t revision_ = 0;
};

}  // namespace holdfast::engine
