#include "engine/sharing.h"

#include <algorithm>

#include <fmt/format.h>

#include "engine/naming.h"

namespace holdfast::engine {

Status check_protocol(mayastor::v1::ShareProtocol protocol) {
  if (protocol == mayastor::v1::ShareProtocol::NVMF) return Status();
  if (protocol == mayastor::v1::ShareProtocol::NONE) {
    return Error(Errc::invalid_argument, "share: the protocol NONE exports nothing; use NVMF");
  }
  if (protocol == mayastor::v1::ShareProtocol::ISCSI) {
    return Error(Errc::invalid_argument, "share: iSCSI is not supported; use NVMF");
  }
  return Error(Errc::invalid_argument,
               fmt::format("share: {} is not a protocol; use NVMF", static_cast<int>(protocol)));
}

Result<std::vector<std::string>> allowed_hosts(const google::protobuf::RepeatedPtrField<std::string>& given) {
  if (given.size() > static_cast<int>(allowed_hosts_max)) {
    return Error(Errc::invalid_argument, fmt::format("allowed_hosts: {} given, at most {} are possible",
                                                     given.size(), allowed_hosts_max));
  }
  std::vector<std::string> hosts(given.begin(), given.end());
  for (const auto& host : hosts) HF_CHECK(check_host_nqn(host));
  std::sort(hosts.begin(), hosts.end());
  hosts.erase(std::unique(hosts.begin(), hosts.end()), hosts.end());
  return hosts;
}

}  // namespace holdfast::engine
