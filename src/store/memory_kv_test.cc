#include "store/memory_kv.h"

#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"
#include "store/testing/kv_suite.h"

namespace holdfast::store {
namespace {

// The store on one simulated machine, its user on the same or on another.
class SimRig final : public KvRig {
 public:
  explicit SimRig(bool apart)
      : store_process_(world_.add_node("store").start()),
        user_process_(apart ? world_.add_node("user").start() : store_process_),
        store_(store_process_.core(0)),
        kv_(user_process_.core(0), store_) {}
  ~SimRig() override { world_.run(user_process_.core(0), kv_.close()); }
  Reactor& home() override { return user_process_.core(0); }
  Kv& kv() override { return kv_; }
  void drive(Task<void> task) override { world_.run(user_process_.core(0), std::move(task)); }

 private:
  sim::World world_{1};
  sim::Process& store_process_;
  sim::Process& user_process_;
  MemoryStore store_;
  MemoryKv kv_;
};

std::unique_ptr<KvRig> together() { return std::make_unique<SimRig>(false); }
std::unique_ptr<KvRig> apart() { return std::make_unique<SimRig>(true); }

INSTANTIATE_TEST_SUITE_P(Memory, KvSuite,
                         testing::Values(KvMaker{"OneMachine", together}, KvMaker{"TwoMachines", apart}),
                         name_of);

}  // namespace
}  // namespace holdfast::store
