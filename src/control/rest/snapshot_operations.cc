#include <utility>

#include "control/rest/json_views.h"
#include "control/rest/operations.h"

namespace holdfast::control::rest {
namespace {

struct SnapshotIds {
  Uuid snapshot;
  std::optional<Uuid> volume;
};

// Of "/volumes/{volume_id}/snapshots/{snapshot_id}" and "/volumes/snapshots/{snapshot_id}".
template <bool with_volume>
Result<SnapshotIds> ids_of(const Call& call) {
  SnapshotIds ids;
  HF_TRY(ids.snapshot, call.parameters.uuid("snapshot_id"));
  if constexpr (with_volume) {
    HF_TRY(ids.volume, call.parameters.uuid("volume_id"));
  }
  return ids;
}

Result<Answer> list(Call& call, std::optional<Uuid> snapshot, std::optional<Uuid> volume) {
  HF_TRY(const auto page, call.parameters.page());
  HF_CHECK(call.parameters.finish());
  HF_TRY(const auto views, call.read([snapshot, volume, page](const Service& service) {
    return service.snapshots(snapshot, volume, page);
  }));
  return Answer{page_json(views, snapshot_json), {}};
}

Result<Answer> get_volume_snapshots(Call& call) {
  HF_TRY(const auto volume, call.parameters.uuid("volume_id"));
  return list(call, std::nullopt, volume);
}

Result<Answer> get_volumes_snapshots(Call& call) {
  HF_TRY(const auto snapshot, call.parameters.query_uuid("snapshot_id"));
  HF_TRY(const auto volume, call.parameters.query_uuid("volume_id"));
  return list(call, snapshot, volume);
}

template <bool with_volume>
Result<Answer> get_snapshot(Call& call) {
  HF_TRY(const auto ids, ids_of<with_volume>(call));
  HF_TRY(const auto view,
         call.read([ids](const Service& service) { return service.snapshot(ids.snapshot, ids.volume); }));
  return Answer{snapshot_json(view), {}};
}

Result<Answer> put_snapshot(Call& call) {
  HF_TRY(const auto ids, ids_of<true>(call));
  HF_TRY(const auto view,
         call.change([ids](Service& service) { return service.create_snapshot(*ids.volume, ids.snapshot); }));
  return Answer{snapshot_json(view), {}};
}

template <bool with_volume>
Result<Answer> delete_snapshot(Call& call) {
  HF_TRY(const auto ids, ids_of<with_volume>(call));
  HF_CHECK(
      call.change([ids](Service& service) { return service.delete_snapshot(ids.snapshot, ids.volume); }));
  return no_content();
}

constexpr Operation operations[] = {
    {"GET", "/v0/volumes/{volume_id}/snapshots", "get_volume_snapshots", no_minimum, get_volume_snapshots},
    {"GET", "/v0/volumes/{volume_id}/snapshots/{snapshot_id}", "get_volume_snapshot", no_minimum,
     get_snapshot<true>},
    {"PUT", "/v0/volumes/{volume_id}/snapshots/{snapshot_id}", "put_volume_snapshot", volume_patience,
     put_snapshot},
    {"DELETE", "/v0/volumes/{volume_id}/snapshots/{snapshot_id}", "del_volume_snapshot", volume_patience,
     delete_snapshot<true>},
    {"GET", "/v0/volumes/snapshots", "get_volumes_snapshots", no_minimum, get_volumes_snapshots},
    {"GET", "/v0/volumes/snapshots/{snapshot_id}", "get_volumes_snapshot", no_minimum, get_snapshot<false>},
    {"DELETE", "/v0/volumes/snapshots/{snapshot_id}", "del_snapshot", volume_patience,
     delete_snapshot<false>},
};

}  // namespace

std::span<const Operation> snapshot_operations() { return operations; }

}  // namespace holdfast::control::rest
