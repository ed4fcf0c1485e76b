#include "control/testing/records.h"

namespace holdfast::control::fake {

Result<std::optional<nexus::StoredRecord>> MemoryRecords::load(const std::string& key) {
  if (down_) return Error(Errc::not_connected, "the store does not answer");
  const auto found = records_.find(key);
  if (found == records_.end()) return std::optional<nexus::StoredRecord>();
  return std::optional(found->second);
}

Result<std::uint64_t> MemoryRecords::swap(const std::string& key, std::uint64_t expected,
                                          const nexus::Record& next) {
  if (down_) return Error(Errc::not_connected, "the store does not answer");
  const auto found = records_.find(key);
  const std::uint64_t has = found == records_.end() ? 0 : found->second.revision;
  if (has != expected) return Error(Errc::fenced, "another owner changed the record " + key);
  nexus::StoredRecord& kept = records_[key];
  kept.record = next;
  kept.revision = ++revision_;
  return kept.revision;
}

}  // namespace holdfast::control::fake
