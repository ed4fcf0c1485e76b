// Where the model of engines keeps membership records: the store, at once.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "base/error.h"
#include "nexus/membership.h"

namespace holdfast::control::fake {

class Records {
 public:
  Records() = default;
  Records(const Records&) = delete;
  Records& operator=(const Records&) = delete;
  virtual ~Records() = default;

  // As nexus::MembershipStore.
  virtual Result<std::optional<nexus::StoredRecord>> load(const std::string& key) = 0;
  virtual Result<std::uint64_t> swap(const std::string& key, std::uint64_t expected,
                                     const nexus::Record& next) = 0;
};

class MemoryRecords final : public Records {
 public:
  Result<std::optional<nexus::StoredRecord>> load(const std::string& key) override;
  Result<std::uint64_t> swap(const std::string& key, std::uint64_t expected,
                             const nexus::Record& next) override;
  void set_down(bool down) noexcept { down_ = down; }
  void remove(const std::string& key) { records_.erase(key); }

 private:
  std::map<std::string, nexus::StoredRecord> records_;
  std::uint64_t revision_ = 0;
  bool down_ = false;
};

}  // namespace holdfast::control::fake
