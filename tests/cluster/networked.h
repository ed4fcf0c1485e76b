// Tests of a cluster whose links can be cut: each engine, and the agent with its store, in a network namespace of its
// own. Skipped where those cannot be made.
#pragma once

#include <memory>

#include "cluster/rig.h"
#include "support/network.h"

namespace holdfast::cluster {

class Networked : public testing::Test {
 protected:
  explicit Networked(std::size_t engines) : network(engines), engines_(engines) {}
  void SetUp() override {
    if (!network.lacks().empty()) GTEST_SKIP() << "without network namespaces: lacks " << network.lacks();
    Shape shape{.engines = engines_, .pool_bytes = 256 * mib};
    shape.agent_flags = {"--no-auth"};
    shape.agent_place = network.place(network.agent());
    for (std::size_t i = 1; i <= engines_; ++i) shape.engine_places.push_back(network.place(i));
    rig = std::make_unique<Rig>(std::move(shape));
    ASSERT_TRUE(rig->start());
  }

  const testing_support::Network network;
  std::unique_ptr<Rig> rig;

 private:
  const std::size_t engines_;
};

}  // namespace holdfast::cluster
