// Two places for membership records: memory, and a directory of small files.
#pragma once

#include <map>
#include <string>

#include "nexus/membership.h"
#include "rt/reactor.h"
#include "rt/wait.h"

namespace holdfast::nexus {

// As long as the process. For tests, benchmarks and throw-away volumes.
class MemoryStore final : public MembershipStore {
 public:
  Task<Result<std::optional<StoredRecord>>> load(std::string key) override;
  Task<Result<std::uint64_t>> swap(std::string key, std::uint64_t expected_revision, Record next) override;
  Task<Status> remove(std::string key) override;

 private:
  std::map<std::string, StoredRecord, std::less<>> records_;
};

// One file per key in a directory that exists. A file is replaced whole, so it survives SIGKILL and power
// loss. The revision is in the file. Compare-and-swap holds among the users of ONE FileStore: a directory
// must have one process.
class FileStore final : public MembershipStore {
 public:
  FileStore(Reactor& home, std::string directory);
  Task<Result<std::optional<StoredRecord>>> load(std::string key) override;
  Task<Result<std::uint64_t>> swap(std::string key, std::uint64_t expected_revision, Record next) override;
  Task<Status> remove(std::string key) override;
  // Letters, digits, '-', '_' and '.' stay; every other byte becomes %XX. Ends in ".json".
  // A long name is cut, and a hash of the key tells it apart.
  static std::string file_name(std::string_view key);

 private:
  Reactor& home_;
  std::string directory_;
  Semaphore one_at_a_time_;  // a swap reads, compares and replaces
};

}  // namespace holdfast::nexus
