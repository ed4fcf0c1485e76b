#include "engine/kv_membership_store.h"

#include <utility>

#include <fmt/format.h>

#include "store/kv_calls.h"

namespace holdfast::engine {
namespace {

// Whatever the store's trouble is, trying again later is right, unless the record says otherwise.
Error to_try_again(const Error& error) {
  switch (error.code()) {
    case Errc::not_connected:
    case Errc::timed_out:
    case Errc::cancelled:
      return error;
    default:
      return Error(Errc::io_error, error.message());
  }
}

}  // namespace

std::string KvMembershipStore::store_key(const std::string& key) const {
  return !key.empty() && key.front() == '/' ? key : keys_.membership(key);
}

Task<Result<std::optional<nexus::StoredRecord>>> KvMembershipStore::load(std::string key) {
  auto got = co_await store::get(kv_, store_key(key));
  if (!got.ok()) co_return to_try_again(got.error());
  std::optional<nexus::StoredRecord> found;
  const std::optional<store::KeyValue>& kv = got.value();
  if (!kv.has_value()) co_return found;
  auto record = nexus::parse_record(kv->value);
  if (!record.ok()) co_return record.error().with_context(kv->key);
  found.emplace();
  found->record = std::move(record).value();
  found->revision = static_cast<std::uint64_t>(kv->mod_revision);
  co_return found;
}

Task<Result<std::uint64_t>> KvMembershipStore::swap(std::string key, std::uint64_t expected_revision,
                                                    nexus::Record next) {
  const auto expected = static_cast<store::Revision>(expected_revision);
  auto swapped = co_await store::compare_and_swap(kv_, store_key(key), expected, to_json(next));
  if (!swapped.ok()) co_return to_try_again(swapped.error());
  if (!swapped.value().has_value()) {
    co_return Error(Errc::fenced,
                    fmt::format("membership record '{}' has not the revision {}: another owner changed it",
                                key, expected_revision));
  }
  co_return static_cast<std::uint64_t>(*swapped.value());
}

Task<Status> KvMembershipStore::remove(std::string key) {
  const auto removed = co_await kv_.delete_range(store::DeleteRequest(store::KeyRange(store_key(key))));
  if (!removed.ok()) co_return to_try_again(removed.error());
  co_return Status();
}

}  // namespace holdfast::engine
