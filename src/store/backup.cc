#include "store/backup.h"

#include <algorithm>
#include <set>
#include <span>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/crc32c.h"
#include "store/kv_calls.h"

namespace holdfast::store {
namespace {

// magic  version:le32  cluster:text  revision:le64  count:le64  count x (key:text value:text)  crc32c:le32
// text := length:le32 bytes; the checksum is of everything before it.
constexpr std::string_view magic = "holdfast store backup\n";
constexpr std::uint32_t version = 1;
constexpr std::size_t checksum_bytes = 4;

Error bad(std::string what) { return Error(Errc::bad_format, "backup: " + std::move(what)); }

void put_number(std::string& to, std::uint64_t n, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) to.push_back(static_cast<char>((n >> (8 * i)) & 0xff));
}

void put_text(std::string& to, std::string_view text) {
  put_number(to, text.size(), 4);
  to += text;
}

std::uint32_t checksum(std::string_view bytes) { return crc32c(std::as_bytes(std::span(bytes))); }

class Reader {
 public:
  explicit Reader(std::string_view bytes) noexcept : rest_(bytes) {}
  Result<std::uint64_t> number(std::size_t bytes) {
    if (rest_.size() < bytes) return bad("it is cut off");
    std::uint64_t n = 0;
    for (std::size_t i = 0; i < bytes; ++i)
      n |= std::uint64_t{static_cast<unsigned char>(rest_[i])} << (8 * i);
    rest_.remove_prefix(bytes);
    return n;
  }
  Result<std::string> text() {
    HF_TRY(const std::uint64_t size, number(4));
    if (rest_.size() < size) return bad("it is cut off");
    std::string found(rest_.substr(0, size));
    rest_.remove_prefix(size);
    return found;
  }
  bool at_end() const noexcept { return rest_.empty(); }

 private:
  std::string_view rest_;
};

// Beside the cluster's own keys, so that it is in no backup.
std::string marker_of(const Keys& keys) { return "/holdfast/v1/restoring/" + keys.cluster(); }

}  // namespace

std::string encode(const Backup& backup) {
  std::string bytes(magic);
  put_number(bytes, version, 4);
  put_text(bytes, backup.cluster);
  put_number(bytes, static_cast<std::uint64_t>(backup.revision), 8);
  put_number(bytes, backup.keys.size(), 8);
  for (const auto& [key, value] : backup.keys) {
    put_text(bytes, key);
    put_text(bytes, value);
  }
  put_number(bytes, checksum(bytes), checksum_bytes);
  return bytes;
}

Result<Backup> decode_backup(std::string_view bytes) {
  if (bytes.substr(0, magic.size()) != magic) return bad("this is not a backup of a store");
  if (bytes.size() < magic.size() + checksum_bytes) return bad("it is cut off");
  const std::string_view body = bytes.substr(0, bytes.size() - checksum_bytes);
  Reader reader(body.substr(magic.size()));
  HF_TRY(const std::uint64_t found_version, reader.number(4));
  if (found_version != version) {
    return bad(fmt::format("its version is {}, this program knows {}", found_version, version));
  }
  Reader end(bytes.substr(body.size()));
  HF_TRY(const std::uint64_t sum, end.number(checksum_bytes));
  if (sum != checksum(body)) return bad("its checksum is wrong: it is cut off or was changed");
  Backup backup;
  HF_TRY(backup.cluster, reader.text());
  const auto keys = Keys::of_cluster(backup.cluster);
  if (!keys.ok()) return bad("its cluster has no name");
  HF_TRY(const std::uint64_t revision, reader.number(8));
  backup.revision = static_cast<Revision>(revision);
  HF_TRY(const std::uint64_t count, reader.number(8));
  for (std::uint64_t i = 0; i < count; ++i) {
    HF_TRY(std::string key, reader.text());
    HF_TRY(std::string value, reader.text());
    if (!keys.value().everything().contains(key)) return bad("it has keys of another cluster");
    if (!backup.keys.empty() && key <= backup.keys.back().first) return bad("its keys are out of order");
    backup.keys.emplace_back(std::move(key), std::move(value));
  }
  if (!reader.at_end()) return bad("there is more after its last key");
  return backup;
}

Task<Result<Backup>> read_backup(Kv& kv, Keys keys) {
  HF_CO_TRY(Snapshot all, co_await read_all(kv, keys.everything()));
  Backup backup;
  backup.cluster = keys.cluster();
  backup.revision = all.revision;
  for (KeyValue& one : all.kvs) {
    if (one.lease == no_lease) backup.keys.emplace_back(std::move(one.key), std::move(one.value));
  }
  co_return backup;
}

namespace {

// Carries out a list of operations in transactions as large as a store takes, each only while the marker is ours.
class Batches {
 public:
  Batches(Kv& kv, std::string marker, Revision mine) : kv_(kv), marker_(std::move(marker)), mine_(mine) {}

  Task<Status> add(Op op, std::size_t bytes) {
    constexpr std::size_t ops_max = 100;
    constexpr std::size_t bytes_max = request_bytes_max / 2;
    if (ops_ > 0 && (ops_ >= ops_max || bytes_ + bytes > bytes_max)) HF_CO_CHECK(co_await flush());
    txn_.then(std::move(op));
    ++ops_;
    bytes_ += bytes;
    co_return Status();
  }
  Task<Status> flush() {
    if (ops_ == 0) co_return Status();
    Txn txn = std::exchange(txn_, Txn());
    ops_ = 0;
    bytes_ = 0;
    txn.when(Compare::mod_revision_is(marker_, mine_));
    HF_CO_TRY(const TxnResult done, co_await kv_.txn(std::move(txn)));
    if (done.succeeded) co_return Status();
    co_return Error(Errc::failed_precondition, "another restore of this cluster has begun");
  }

 private:
  Kv& kv_;
  const std::string marker_;
  const Revision mine_;
  Txn txn_;
  std::size_t ops_ = 0;
  std::size_t bytes_ = 0;
};

// Volumes with their parts, and snapshots, that were being made. A pool is no such thing: whoever makes it again finds
// it. But one that was being deleted: what has its name by now may be another one, with data.
bool is_not_restored(const Keys& keys, const std::string& key, const std::string& value) {
  constexpr std::string_view kinds[] = {"volume", "replica", "nexus", "snapshot"};
  const bool is_pool = !keys.id_of("pool", key).empty();
  if (!is_pool && std::none_of(std::begin(kinds), std::end(kinds),
                               [&](std::string_view kind) { return !keys.id_of(kind, key).empty(); }))
    return false;
  const auto record = nlohmann::json::parse(value, nullptr, false);
  if (!record.is_object()) return false;
  const auto status = record.find("status");
  return status != record.end() && *status == (is_pool ? "Deleting" : "Creating");
}

// The keys that are there, unless they forbid the restore.
Task<Result<Snapshot>> check_target(Kv& kv, const Keys& keys, const Backup& backup, Overwrite overwrite,
                                    bool interrupted) {
  if (backup.cluster != keys.cluster()) {
    co_return Error(Errc::failed_precondition, fmt::format("the backup is of cluster '{}', not of '{}'",
                                                           backup.cluster, keys.cluster()));
  }
  HF_CO_TRY(Snapshot there, co_await read_all(kv, keys.everything()));
  if (!there.kvs.empty() && overwrite == Overwrite::no && !interrupted) {
    co_return Error(Errc::failed_precondition,
                    fmt::format("the store has {} keys of cluster '{}' already; ask for them to be replaced, "
                                "if that is meant",
                                there.kvs.size(), keys.cluster()));
  }
  co_return there;
}

}  // namespace

Task<Result<Restored>> restore(Kv& kv, Keys keys, Backup backup, Overwrite overwrite) {
  const std::string marker = marker_of(keys);
  HF_CO_TRY(const std::optional<KeyValue> begun, co_await get(kv, marker));
  HF_CO_TRY(Snapshot there, co_await check_target(kv, keys, backup, overwrite, begun.has_value()));
  const Revision before = begun.has_value() ? begun->mod_revision : 0;
  HF_CO_TRY(const std::optional<Revision> mine, co_await compare_and_swap(kv, marker, before, "restoring"));
  if (!mine.has_value()) {
    co_return Error(Errc::failed_precondition, "another restore of this cluster has begun");
  }
  Restored done;
  Batches batches(kv, marker, *mine);
  std::set<std::string_view> wanted;
  const auto is_left_out = [&keys](const std::string& key, const std::string& value) {
    return keys.is_membership(key) || is_not_restored(keys, key, value);
  };
  for (const auto& [key, value] : backup.keys) {
    if (!is_not_restored(keys, key, value)) wanted.insert(key);
  }
  for (const KeyValue& old : there.kvs) {
    if (wanted.contains(old.key) || keys.is_membership(old.key)) continue;
    DeleteRequest removal{KeyRange(old.key)};
    HF_CO_CHECK(co_await batches.add(std::move(removal), old.key.size()));
    ++done.removed;
  }
  for (const auto& [key, value] : backup.keys) {
    if (is_left_out(key, value)) {
      ++done.left_out;
      continue;
    }
    PutRequest put(key, value);
    HF_CO_CHECK(co_await batches.add(std::move(put), key.size() + value.size()));
    ++done.written;
  }
  HF_CO_CHECK(co_await batches.flush());
  HF_CO_CHECK(co_await remove_if(kv, marker, *mine));
  co_return done;
}

Task<Status> check_not_restoring(Kv& kv, Keys keys) {
  HF_CO_TRY(const std::optional<KeyValue> begun, co_await get(kv, marker_of(keys)));
  if (!begun.has_value()) co_return Status();
  co_return Error(
      Errc::failed_precondition,
      fmt::format("a restore of cluster '{}' was begun and not completed: do it again", keys.cluster()));
}

Task<Result<Backup>> back_up_to_file(Reactor& home, Kv& kv, Keys keys, std::string path) {
  HF_CO_TRY(Backup backup, co_await read_backup(kv, std::move(keys)));
  HF_CO_CHECK(co_await home.replace_file(std::move(path), encode(backup)));
  co_return backup;
}

Task<Result<Restored>> restore_from_file(Reactor& home, Kv& kv, Keys keys, std::string path,
                                         Overwrite overwrite) {
  HF_CO_TRY(const std::string bytes, co_await home.read_file(path));
  auto backup = decode_backup(bytes);
  if (!backup.ok()) co_return backup.error().with_context(path);
  co_return co_await restore(kv, std::move(keys), std::move(backup).value(), overwrite);
}

}  // namespace holdfast::store
