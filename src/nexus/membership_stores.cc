#include "nexus/membership_stores.h"

#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "base/units.h"

namespace holdfast::nexus {
namespace {

Error lost(const std::string& key, std::uint64_t expected, std::uint64_t found) {
  return Error(Errc::fenced,
               fmt::format("membership record '{}' has revision {}, not {}: another owner changed it", key,
                           found, expected));
}

}  // namespace

Task<Result<std::optional<StoredRecord>>> MemoryStore::load(std::string key) {
  const auto it = records_.find(key);
  std::optional<StoredRecord> found;
  if (it != records_.end()) found = it->second;
  co_return found;
}

Task<Result<std::uint64_t>> MemoryStore::swap(std::string key, std::uint64_t expected_revision, Record next) {
  StoredRecord& stored = records_[key];
  if (stored.revision != expected_revision) co_return lost(key, expected_revision, stored.revision);
  stored.record = std::move(next);
  co_return ++stored.revision;
}

Task<Status> MemoryStore::remove(std::string key) {
  records_.erase(key);
  co_return Status();
}

FileStore::FileStore(Reactor& home, std::string directory)
    : home_(home), directory_(std::move(directory)), one_at_a_time_(home, 1) {}

std::string FileStore::file_name(std::string_view key) {
  std::string made;
  for (const char c : key) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '_' || (c == '.' && !made.empty());
    if (plain) {
      made.push_back(c);
    } else {
      made += fmt::format("%{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    }
  }
  // A file name has at most 255 bytes, and the file that replaces another has a longer one for a moment.
  constexpr std::size_t plain_bytes_max = 200;
  constexpr std::size_t kept_bytes = 120;
  if (made.size() > plain_bytes_max)
    made = made.substr(0, kept_bytes) + "-" + Uuid::from_name(key).to_string();
  return made + ".json";
}

// The file: the revision in decimal, a line end, the record's JSON.
Task<Result<std::optional<StoredRecord>>> FileStore::load(std::string key) {
  auto text = co_await home_.read_file(directory_ + "/" + file_name(key));
  std::optional<StoredRecord> found;
  if (text.code() == Errc::not_found) co_return found;
  if (!text.ok()) co_return text.error().with_context(fmt::format("membership record '{}'", key));
  const std::string_view content = text.value();
  const std::size_t line = content.find('\n');
  const auto revision = parse_number(content.substr(0, line));
  if (!revision.ok() || line == std::string_view::npos || revision.value() == 0) {
    co_return Error(Errc::bad_format,
                    fmt::format("{}/{}: no revision in its first line", directory_, file_name(key)));
  }
  auto record = parse_record(content.substr(line + 1));
  if (!record.ok()) co_return record.error().with_context(directory_ + "/" + file_name(key));
  found.emplace();
  found->record = std::move(record).value();
  found->revision = revision.value();
  co_return found;
}

Task<Result<std::uint64_t>> FileStore::swap(std::string key, std::uint64_t expected_revision, Record next) {
  const Semaphore::Permit turn = co_await one_at_a_time_.acquire();
  HF_CO_TRY(const auto stored, co_await load(key));
  const std::uint64_t found = stored ? stored->revision : 0;
  if (found != expected_revision) co_return lost(key, expected_revision, found);
  HF_CO_CHECK(co_await home_.replace_file(directory_ + "/" + file_name(key),
                                          fmt::format("{}\n{}\n", found + 1, to_json(next))));
  co_return found + 1;
}

Task<Status> FileStore::remove(std::string key) {
  const Semaphore::Permit turn = co_await one_at_a_time_.acquire();
  co_return co_await home_.remove_file(directory_ + "/" + file_name(key));
}

}  // namespace holdfast::nexus
