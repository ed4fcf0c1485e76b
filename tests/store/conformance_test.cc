// The suite of every store, over the wire: the embedded store and real etcds.
#include "store/etcd_rig.h"
#include "store/store_process.h"
#include "store/testing/kv_suite.h"

namespace holdfast::store {
namespace {

using testing_support::StoreProcesses;

// Each is started when the first test needs it, and serves them all.
std::unique_ptr<KvRig> rig_of(const std::unique_ptr<StoreProcesses>& processes) {
  if (processes == nullptr) return nullptr;
  return std::make_unique<EtcdRig>(processes->endpoints());
}
std::unique_ptr<KvRig> embedded() {
  static const auto processes = testing_support::start_embedded();
  return rig_of(processes);
}
std::unique_ptr<KvRig> one_etcd() {
  static const auto processes = testing_support::start_etcd(1);
  return rig_of(processes);
}
std::unique_ptr<KvRig> three_etcds() {
  static const auto processes = testing_support::start_etcd(3);
  return rig_of(processes);
}

INSTANTIATE_TEST_SUITE_P(Wire, KvSuite,
                         testing::Values(KvMaker{"Embedded", embedded}, KvMaker{"Etcd", one_etcd},
                                         KvMaker{"ThreeEtcds", three_etcds}),
                         name_of);

}  // namespace
}  // namespace holdfast::store
