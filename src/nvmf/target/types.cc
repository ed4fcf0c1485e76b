#include "nvmf/target/types.h"

namespace holdfast::nvmf {

std::string subsystem_nqn(std::string_view name) {
  return std::string("nqn.2019-05.io.openebs:").append(name);
}

std::string subsystem_serial(const Uuid& uuid) {
  // A hash, not the UUID's own digits: those of a version 4 UUID are random, of others the first ones repeat.
  const Uuid hash = Uuid::from_name(uuid.to_string());
  std::string serial = "DCS";
  for (char c : hash.to_string()) {
    if (c != '-' && serial.size() < 20) serial += c;
  }
  return serial;
}

TargetStats& TargetStats::operator+=(const TargetStats& o) noexcept {
  connections += o.connections;
  connections_accepted += o.connections_accepted;
  connections_refused += o.connections_refused;
  connections_terminated += o.connections_terminated;
  connections_stalled += o.connections_stalled;
  commands += o.commands;
  commands_failed += o.commands_failed;
  read_bytes += o.read_bytes;
  write_bytes += o.write_bytes;
  return *this;
}

}  // namespace holdfast::nvmf
