#include <algorithm>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "control/rest/bodies.h"
#include "control/rest/json_views.h"
#include "control/rest/operations.h"

namespace holdfast::control::rest {
namespace {

template <Detail detail>
Json view_json(const VolumeView& view) {
  return volume_json(view, detail);
}
Answer volume_answer(const VolumeView& view) { return {volume_json(view, Detail::v0), {}}; }

// A long list is put together of short ones: the agent does other things between them, and what they hold is not kept.
constexpr std::uint64_t volumes_at_once = 250;

template <Detail detail>
Result<Answer> list_volumes(Call& call, PageRequest wanted) {
  std::uint64_t left = wanted.max_entries == 0 ? ~std::uint64_t{0} : wanted.max_entries;
  PageRequest part = wanted;
  std::string text = R"({"entries":[)";
  std::optional<std::uint64_t> next;
  do {
    part.max_entries = std::min(left, volumes_at_once);
    HF_TRY(const auto views, call.read([part](const Service& service) { return service.volumes(part); }));
    for (const VolumeView& view : views.entries) {
      if (text.back() != '[') text += ',';
      text += to_text(volume_json(view, detail));
    }
    left -= std::min<std::uint64_t>(left, views.entries.size());
    next = views.next;
    part.starting_token = next.value_or(0);
  } while (next && left > 0);
  text += ']';
  if (next) text += fmt::format(R"(,"next_token":{})", *next);
  text += '}';
  Answer answer;
  answer.reply.emplace().body = std::move(text);
  return answer;
}

template <Detail detail>
Result<Answer> get_volumes(Call& call) {
  HF_TRY(const auto only, call.parameters.query_uuid("volume_id"));
  HF_TRY(const auto page, call.parameters.page());
  HF_CHECK(call.parameters.finish());
  if (!only) return list_volumes<detail>(call, page);
  Page<VolumeView> one;
  auto view = call.read([id = *only](const Service& service) { return service.volume(id); });
  if (!view.ok() && kind_of(view.error()) != Kind::not_found) return view.error();
  if (view.ok()) one.entries.push_back(std::move(view).value());
  return Answer{page_json(one, view_json<detail>), {}};
}

template <Detail detail>
Result<Answer> get_volume(Call& call) {
  HF_TRY(const auto id, call.parameters.uuid("volume_id"));
  HF_TRY(const auto view, call.read([id](const Service& service) { return service.volume(id); }));
  return Answer{view_json<detail>(view), {}};
}

Result<Answer> put_volume(Call& call) {
  HF_TRY(auto request, parse_create_volume(call.request.body));
  HF_TRY(request.volume, call.parameters.uuid("volume_id"));
  HF_TRY(const auto view, call.change([request = std::move(request)](Service& service) mutable {
    return service.create_volume(std::move(request));
  }));
  return volume_answer(view);
}

Result<Answer> put_restore(Call& call) {
  HF_TRY(auto request, parse_create_volume(call.request.body));
  HF_TRY(request.volume, call.parameters.uuid("volume_id"));
  HF_TRY(const auto snapshot, call.parameters.uuid("snapshot_id"));
  HF_TRY(const auto view, call.change([snapshot, request = std::move(request)](Service& service) mutable {
    return service.restore_snapshot(snapshot, std::move(request));
  }));
  return volume_answer(view);
}

Result<Answer> put_clone(Call& call) {
  HF_TRY(auto request, parse_create_volume(call.request.body));
  HF_TRY(request.volume, call.parameters.uuid("clone_id"));
  HF_TRY(const auto source, call.parameters.uuid("volume_id"));
  HF_TRY(const auto view, call.change([source, request = std::move(request)](Service& service) mutable {
    return service.clone_volume(source, std::move(request));
  }));
  return Answer{volume_json(view, Detail::v1), {}};
}

Result<Answer> delete_volume(Call& call) {
  HF_TRY(const auto id, call.parameters.uuid("volume_id"));
  HF_CHECK(call.change([id](Service& service) { return service.delete_volume(id); }));
  return no_content();
}

Result<Answer> put_target(Call& call) {
  HF_TRY(auto request, parse_publish_volume(call.request.body));
  HF_TRY(request.volume, call.parameters.uuid("volume_id"));
  HF_TRY(const auto view, call.change([request = std::move(request)](Service& service) mutable {
    return service.publish_volume(std::move(request));
  }));
  return volume_answer(view);
}

Result<Answer> delete_target(Call& call) {
  HF_TRY(const auto id, call.parameters.uuid("volume_id"));
  HF_TRY(const auto force, call.parameters.query_flag("force", false));
  HF_CHECK(call.parameters.finish());
  HF_TRY(const auto view,
         call.change([id, force](Service& service) { return service.unpublish_volume(id, force); }));
  return volume_answer(view);
}

Result<Answer> delete_shutdown_targets(Call& call) {
  HF_TRY(const auto id, call.parameters.uuid("volume_id"));
  HF_CHECK(call.change([id](Service& service) { return service.destroy_shutdown_targets(id); }));
  return no_content();
}

Result<Answer> put_share(Call& call) {
  HF_TRY(const auto id, call.parameters.uuid("volume_id"));
  HF_TRY(const auto protocol, call.parameters.protocol("protocol"));
  HF_TRY(auto host, call.parameters.query_text("frontend_host"));
  HF_CHECK(call.parameters.finish());
  HF_TRY(auto uri, call.change([id, protocol, host = std::move(host)](Service& service) mutable {
    return service.share_volume(id, protocol, std::move(host));
  }));
  return Answer{Json(std::move(uri)), {}};
}

Result<Answer> delete_share(Call& call) {
  HF_TRY(const auto id, call.parameters.uuid("volume_id"));
  HF_CHECK(call.change([id](Service& service) { return service.unshare_volume(id); }));
  return no_content();
}

Result<Answer> put_replica_count(Call& call) {
  HF_TRY(const auto id, call.parameters.uuid("volume_id"));
  HF_TRY(const auto count, call.parameters.number("replica_count", std::numeric_limits<std::uint8_t>::max()));
  HF_TRY(const auto view, call.change([id, count = static_cast<std::uint32_t>(count)](Service& service) {
    return service.set_replica_count(id, count);
  }));
  return volume_answer(view);
}

Result<Answer> put_size(Call& call) {
  HF_TRY(const auto size, parse_resize_volume(call.request.body));
  HF_TRY(const auto id, call.parameters.uuid("volume_id"));
  HF_TRY(const auto view,
         call.change([id, size](Service& service) { return service.resize_volume(id, size); }));
  return volume_answer(view);
}

Result<Answer> put_property(Call& call) {
  HF_TRY(const auto max, parse_volume_property(call.request.body));
  HF_TRY(const auto id, call.parameters.uuid("volume_id"));
  HF_TRY(const auto view,
         call.change([id, max](Service& service) { return service.set_max_snapshots(id, max); }));
  return volume_answer(view);
}

Result<Answer> get_rebuild_history(Call& call) {
  HF_TRY(const auto id, call.parameters.uuid("volume_id"));
  HF_TRY(const auto history, call.change([id](Service& service) { return service.rebuild_history(id); }));
  return Answer{rebuild_history_json(history), {}};
}

Result<Answer> put_move(Call& call) {
  HF_TRY(auto request, parse_move_replica(call.request.body));
  HF_TRY(request.volume, call.parameters.uuid("volume_id"));
  HF_TRY(request.replica, call.parameters.uuid("replica_id"));
  HF_TRY(const auto view, call.change([request = std::move(request)](Service& service) mutable {
    return service.move_replica(std::move(request));
  }));
  return Answer{volume_json(view, Detail::v1), {}};
}

constexpr Operation operations[] = {
    {"GET", "/v0/volumes", "get_volumes", no_minimum, get_volumes<Detail::v0>},
    {"GET", "/v0/volumes/{volume_id}", "get_volume", no_minimum, get_volume<Detail::v0>},
    {"PUT", "/v0/volumes/{volume_id}", "put_volume", volume_patience, put_volume},
    {"DELETE", "/v0/volumes/{volume_id}", "del_volume", volume_patience, delete_volume},
    {"GET", "/v0/volumes/{volume_id}/rebuild-history", "get_rebuild_history", no_minimum,
     get_rebuild_history},
    {"PUT", "/v0/volumes/{volume_id}/replica_count/{replica_count}", "put_volume_replica_count",
     volume_patience, put_replica_count},
    {"PUT", "/v0/volumes/{volume_id}/property", "put_volume_property", no_minimum, put_property},
    {"PUT", "/v0/volumes/{volume_id}/target", "put_volume_target", volume_patience, put_target},
    {"DELETE", "/v0/volumes/{volume_id}/target", "del_volume_target", volume_patience, delete_target},
    {"PUT", "/v0/volumes/{volume_id}/size", "put_volume_size", volume_patience, put_size},
    {"DELETE", "/v0/volumes/{volume_id}/shutdown_targets", "del_volume_shutdown_targets", volume_patience,
     delete_shutdown_targets},
    {"PUT", "/v0/volumes/{volume_id}/share/{protocol}", "put_volume_share", volume_patience, put_share},
    {"DELETE", "/v0/volumes/{volume_id}/share", "del_volume_share", volume_patience, delete_share},
    // As published by Mayastor, whose clients have it so.
    {"DELETE", "/v0/volumes{volume_id}/share", "del_share", volume_patience, delete_share},
    {"PUT", "/v0/snapshots/{snapshot_id}/volumes/{volume_id}", "put_snapshot_volume", volume_patience,
     put_restore},
    {"GET", "/v1/volumes", "get_volumes_v1", no_minimum, get_volumes<Detail::v1>},
    {"GET", "/v1/volumes/{volume_id}", "get_volume_v1", no_minimum, get_volume<Detail::v1>},
    {"PUT", "/v1/volumes/{volume_id}/clones/{clone_id}", "put_volume_clone", volume_patience, put_clone},
    {"PUT", "/v1/volumes/{volume_id}/replicas/{replica_id}/move", "put_replica_move", volume_patience,
     put_move},
};

}  // namespace

std::span<const Operation> volume_operations() { return operations; }

}  // namespace holdfast::control::rest
