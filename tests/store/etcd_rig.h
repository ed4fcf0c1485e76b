// An EtcdClient on a reactor of its own, and the store that it speaks to.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "store/etcd_client.h"
#include "store/testing/kv_rig.h"
#include "uring/runtime.h"

namespace holdfast::store {

class EtcdRig final : public KvRig {
 public:
  explicit EtcdRig(EtcdOptions options)
      : client_(EtcdClient::create(runtime_->home(), std::move(options)).value()) {}
  explicit EtcdRig(std::vector<std::string> endpoints) : EtcdRig(EtcdOptions(std::move(endpoints))) {}
  ~EtcdRig() override { runtime_->run(client_->close()); }
  Reactor& home() override { return runtime_->home(); }
  Kv& kv() override { return *client_; }
  EtcdClient& client() { return *client_; }
  void drive(Task<void> task) override { runtime_->run(std::move(task)); }

 private:
  std::unique_ptr<uring::Runtime> runtime_ = uring::Runtime::create({}).value();
  std::unique_ptr<EtcdClient> client_;
};

}  // namespace holdfast::store
