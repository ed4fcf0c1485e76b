// Runs verbs against a FakeAgent.
#pragma once

#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cli/cluster/cluster_commands.h"
#include "cli/rest/testing/fake_agent.h"
#include "cli/tool/tool.h"

namespace holdfast::cli {

// `out` and `err` hold what the last command wrote.
class ClusterCommandsTest : public testing::Test {
 protected:
  int run(std::vector<std::string> words) {
    words.insert(words.end(), {"--rest", agent.url()});
    return run_as_is(std::move(words));
  }
  int run_as_is(std::vector<std::string> words) {
    std::ostringstream out_stream, err_stream;
    Tool tool(out_stream, err_stream, false);
    add_cluster_commands(tool);
    const int status = tool.run(std::move(words));
    out = out_stream.str();
    err = err_stream.str();
    return status;
  }

  FakeAgent agent;
  std::string out, err;
};

}  // namespace holdfast::cli
