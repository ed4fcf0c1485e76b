// From processes that were started to a cluster that can be used: everybody answers, every node has its pool.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "cli/rest/rest_client.h"
#include "cli/up/plan.h"

namespace holdfast::cli {

class BringUp {
 public:
  // agent: there is one; without it engines that answer are all there is to wait for. `say` is told each step.
  BringUp(const ClusterPlan& plan, bool agent, std::function<void(const std::string&)> say);

  // Goes as far as it can without waiting long. True once everything is there. Errors: of what will not get
  // better by waiting, naming it.
  Result<bool> advance();
  // What is being waited for.
  const std::string& waiting_for() const noexcept { return waiting_for_; }

 private:
  bool engines_answer();
  Result<bool> nodes_online();
  Result<bool> pool_online(const EnginePlan& engine);

  const ClusterPlan& plan_;
  const bool agent_;
  std::function<void(const std::string&)> say_;
  RestClient rest_;
  enum class Stage : std::uint8_t { engines, nodes, pools, done } stage_ = Stage::engines;
  std::size_t next_pool_ = 0;
  std::string waiting_for_;
};

}  // namespace holdfast::cli
