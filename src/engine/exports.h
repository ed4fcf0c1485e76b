// What this engine exports over NVMe/TCP: one subsystem with one namespace for each shared device or
// published nexus. Home core.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "block/registry.h"
#include "nvme/log_page.h"
#include "nvmf/target/target.h"
#include "rt/reactor.h"
#include "rt/task.h"
#include "rt/wait.h"

namespace holdfast::engine {

class Exports {
 public:
  struct Export {
    std::string nqn;
    std::string uri;
    std::vector<std::string> allowed_hosts;  // empty: every host
    nvme::AnaState ana = nvme::AnaState::optimized;
    bool is_nexus = false;
    DeviceClaim claim;
  };
  struct Request {
    std::vector<std::string> allowed_hosts;
    bool is_nexus = false;  // reports ANA
    std::uint16_t cntlid_min = 1;
    std::uint16_t cntlid_max = 0xffef;
  };

  // Of whoever works on a device that is no nexus.
  static std::string lock_key(std::string_view device_name) { return "device " + std::string(device_name); }

  // The registry and the target outlive it.
  Exports(DeviceRegistry& devices, nvmf::Target& target, std::vector<Endpoint> addresses)
      : devices_(devices),
        target_(target),
        addresses_(std::move(addresses)),
        sharing_(devices.cores().home()) {}
  ~Exports();  // close() was awaited
  Exports(const Exports&) = delete;
  Exports& operator=(const Exports&) = delete;

  // A device that is exported already keeps its subsystem and gets the allowed hosts given. Errors: busy,
  // naming who uses the device; invalid_argument.
  Task<Status> share(BlockDevice& device, Request request);
  // Ends the connections of its hosts. Ok when it is not exported.
  Task<Status> unshare(std::string device_name);
  // Errors: failed_precondition when it is not exported.
  Task<Status> set_ana(std::string device_name, nvme::AnaState state);
  const Export* find(std::string_view device_name) const;
  // Who uses a device besides this. Empty: nobody.
  std::string other_user(std::string_view device_name) const;
  std::size_t size() const noexcept { return exports_.size(); }
  // Until no host is connected to what is left, `patience` at most.
  Task<void> let_hosts_leave(Reactor& home, Nanos patience) const;
  // Everything is unshared, and nothing is shared any more.
  Task<void> close();

 private:
  bool has_hosts() const;
  Task<Status> update_hosts(Export& known, std::vector<std::string> allowed_hosts);

  DeviceRegistry& devices_;
  nvmf::Target& target_;
  const std::vector<Endpoint> addresses_;
  std::map<std::string, Export, std::less<>> exports_;  // by device name
  Gate sharing_;                                        // calls of share()
};

}  // namespace holdfast::engine
