// Runs `holdfast nvme-conformance` as the program that it is.
#pragma once

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "support/engine_process.h"

namespace holdfast::conformance_test {

inline std::string program() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / "holdfast";
}

inline std::string content_of(const std::string& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
}

struct ToolRun {
  int status = -1;
  std::string messages;   // standard error
  nlohmann::json report;  // null when there is none
};

inline ToolRun run_tool(const testing_support::ScratchDir& scratch, const std::string& target,
                        std::vector<std::string> more) {
  const std::string path = scratch.path("report.json");
  std::filesystem::remove(path);
  std::vector<std::string> command = {program(), "nvme-conformance", target, "--output",
                                      "json",    "--output-file",    path};
  command.insert(command.end(), more.begin(), more.end());
  const auto done = testing_support::run(command);
  ToolRun run;
  run.status = done.status;
  run.messages = done.output;
  run.report = nlohmann::json::parse(content_of(path), nullptr, false);
  return run;
}

// An engine with a malloc device that is exported.
class Exported {
 public:
  Exported() : engine_(scratch_, "conformance") {
    if (!engine_.start()) return;
    cli({"bdev", "create", "malloc:///m?size_mb=64"});
    cli({"bdev", "share", "m"});
  }
  const testing_support::ScratchDir& scratch() const { return scratch_; }
  testing_support::EngineProcess& engine() { return engine_; }
  std::string nqn() const { return "nqn.2019-05.io.openebs:m"; }
  std::string target() const {
    return "nvmf://127.0.0.1:" + std::to_string(engine_.nvmf_port()) + "/" + nqn();
  }

 private:
  void cli(std::vector<std::string> words) {
    words.insert(words.begin(),
                 {program(), "engine", "-b", "http://127.0.0.1:" + std::to_string(engine_.grpc_port())});
    EXPECT_EQ(testing_support::run(words).status, 0) << testing::PrintToString(words);
  }

  testing_support::ScratchDir scratch_;
  testing_support::EngineProcess engine_;
};

}  // namespace holdfast::conformance_test
