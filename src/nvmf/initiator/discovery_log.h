// The discovery log page, read from a connected discovery controller (NVMe Base 2.0, section 5.16.1.23).
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "nvmf/initiator/admin.h"
#include "nvmf/initiator/initiator.h"

namespace holdfast::nvmf::host {

// What is taken of one service, and of all together.
inline constexpr std::size_t discovery_entries_max = 4096;
// Services that are asked because another one refers to them.
inline constexpr std::size_t discovery_services_max = 16;

// The whole log of one generation: read again when it changed meanwhile. Reading it lets the controller tell of
// the next change. Errors: those of Admin; protocol (an unknown format, too many entries), busy (it keeps
// changing).
Task<Result<std::vector<DiscoveryEntry>>> read_discovery_log(Admin& admin);

// The list has an entry for the same subsystem at the same address.
bool has_way(const std::vector<DiscoveryEntry>& list, const DiscoveryEntry& entry) noexcept;
// A referral to a service at a numeric TCP address: that one can be asked.
bool is_usable_referral(const DiscoveryEntry& entry) noexcept;
// The name of the service that is referred to: the well-known one where the entry has none.
std::string service_nqn(const DiscoveryEntry& referral);

}  // namespace holdfast::nvmf::host
