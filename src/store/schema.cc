#include "store/schema.h"

#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/assert.h"
#include "base/log.h"
#include "store/backup.h"
#include "store/kv_calls.h"

namespace holdfast::store {
namespace {

std::string text_of(std::uint32_t version) { return fmt::format("{{\"schema\":{}}}", version); }

Result<std::uint32_t> version_in(const KeyValue& kv) {
  constexpr std::size_t bytes_max = 1024;
  const auto bad = [&kv] {
    return Error(Errc::bad_format, fmt::format("'{}' does not say which schema the records have", kv.key));
  };
  if (kv.value.size() > bytes_max) return bad();
  const auto object = nlohmann::json::parse(kv.value, nullptr, false);
  if (!object.is_object()) return bad();
  const auto found = object.find("schema");
  if (found == object.end() || !found->is_number_unsigned()) return bad();
  const auto number = found->get<std::uint64_t>();
  if (number == 0 || number > UINT32_MAX) return bad();
  return static_cast<std::uint32_t>(number);
}

// Notes a version; `revision` is the key's and follows it.
Task<Status> note(Kv& kv, const Keys& keys, std::uint32_t version, Revision& revision) {
  HF_CO_TRY(const std::optional<Revision> noted,
            co_await compare_and_swap(kv, keys.schema(), revision, text_of(version)));
  if (!noted.has_value()) co_return Error(Errc::busy, "another agent changes the schema of the records");
  revision = *noted;
  co_return Status();
}

}  // namespace

std::span<const Migration> migrations() noexcept { return {}; }

Task<Result<std::uint32_t>> open_schema(Kv& kv, Keys keys) {
  return open_schema(kv, std::move(keys), migrations());
}

Task<Result<std::uint32_t>> open_schema(Kv& kv, Keys keys, std::span<const Migration> all) {
  const auto current = static_cast<std::uint32_t>(all.size()) + 1;
  HF_CO_CHECK(co_await check_not_restoring(kv, keys));
  HF_CO_TRY(const std::optional<KeyValue> noted, co_await get(kv, keys.schema()));
  Revision revision = noted.has_value() ? noted->mod_revision : 0;
  if (!noted.has_value()) {
    HF_CO_CHECK(co_await note(kv, keys, current, revision));
    co_return 0u;
  }
  HF_CO_TRY(const std::uint32_t found, version_in(*noted));
  if (found > current) {
    co_return Error(
        Errc::failed_precondition,
        fmt::format("the records of cluster '{}' have schema {}, this program knows {} at most: use "
                    "a newer one",
                    keys.cluster(), found, current));
  }
  for (std::uint32_t version = found; version < current; ++version) {
    const Migration& migration = all[version - 1];
    HF_ASSERT(migration.from == version);
    HF_LOG(info, "store", "migrating records", {"from", version}, {"to", version + 1},
           {"what", migration.what});
    HF_CO_CHECK(co_await migration.run(kv, keys));
    HF_CO_CHECK(co_await note(kv, keys, version + 1, revision));
  }
  co_return found;
}

}  // namespace holdfast::store
