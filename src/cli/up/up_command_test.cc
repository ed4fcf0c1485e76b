#include "cli/up/up_command.h"

#include <atomic>
#include <filesystem>
#include <sstream>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <unistd.h>

#include "cli/tool/tool.h"
#include "cli/up/control_socket.h"

namespace holdfast::cli {
namespace {

using testing::HasSubstr;

// One that keeps a cluster, as far as its socket tells.
class Keeper {
 public:
  explicit Keeper(std::function<Tree(const Tree& request)> answer)
      : dir_(testing::TempDir() + "/keeper-" + std::to_string(::getpid())) {
    std::filesystem::create_directories(dir_);
    EXPECT_TRUE(socket_.listen(dir_ + "/control").ok());
    thread_ = std::thread([this, answer = std::move(answer)] {
      while (!ending_) {
        socket_.serve(answer);
        std::this_thread::yield();
      }
    });
  }
  ~Keeper() {
    ending_ = true;
    thread_.join();
    std::filesystem::remove_all(dir_);
  }
  Keeper(const Keeper&) = delete;
  Keeper& operator=(const Keeper&) = delete;

  const std::string& dir() const { return dir_; }

 private:
  const std::string dir_;
  ControlSocket socket_;
  std::atomic<bool> ending_ = false;
  std::thread thread_;
};

Tree status_with(const char* state) {
  return {{"processes", {{{"name", "agent"}, {"state", "running"}}, {{"name", "node-1"}, {"state", state}}}}};
}

TEST(Down, ANodeHasStoppedWhenItReturns) {
  std::vector<Tree> asked;
  std::ostringstream out, err;
  {
    const Keeper keeper([&asked](const Tree& request) {
      asked.push_back(request);
      return status_with(asked.size() < 3 ? "stopping" : "stopped");
    });
    Tool tool(out, err, false);
    add_up_commands(tool);
    EXPECT_EQ(tool.run({"down", "--node", "node-1", "--state-dir", keeper.dir()}), exit_ok);
  }
  ASSERT_EQ(asked.size(), 3u);
  EXPECT_EQ(asked[0], (Tree{{"do", "stop"}, {"node", "node-1"}, {"kill", false}}));
  EXPECT_EQ(asked[2], (Tree{{"do", "status"}}));
  EXPECT_THAT(err.str(), HasSubstr("stopping node-1 cleanly"));
  EXPECT_THAT(out.str(), HasSubstr("node-1  stopped"));
}

}  // namespace
}  // namespace holdfast::cli
