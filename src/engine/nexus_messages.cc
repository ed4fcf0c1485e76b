#include "engine/nexus_messages.h"

#include <algorithm>
#include <limits>
#include <set>

#include <fmt/format.h>

#include "block/uri.h"
#include "engine/naming.h"

namespace holdfast::engine {

namespace v1 = mayastor::v1;

namespace {

constexpr std::int64_t nanos_per_second = 1'000'000'000;

v1::Child child_message(const nexus::ChildView& view) {
  v1::Child child;
  child.set_uri(view.uri);
  child.set_state(static_cast<v1::ChildState>(view.state));
  child.set_state_reason(static_cast<v1::ChildStateReason>(view.reason));
  child.set_rebuild_progress(view.rebuild ? static_cast<std::int32_t>(view.rebuild->progress_percent) : -1);
  if (!view.device_name.empty()) child.set_device_name(view.device_name);
  if (view.fault_timestamp) *child.mutable_fault_timestamp() = to_message(*view.fault_timestamp);
  child.set_has_io_log(view.has_io_log);
  return child;
}

Error bad(std::string text) { return Error(Errc::invalid_argument, std::move(text)); }

Status check_children(const v1::CreateNexusRequest& request) {
  if (request.children().empty()) return bad("children: none given; a nexus needs at least one");
  if (request.children_size() > static_cast<int>(nexus::children_max)) {
    return bad(fmt::format("children: {} given, a nexus has at most {}", request.children_size(),
                           nexus::children_max));
  }
  std::set<std::string> seen;
  for (const auto& text : request.children()) {
    const auto uri = Uri::parse(text);
    if (!uri.ok()) return uri.error().with_context("children");
    if (!seen.insert(text).second) return bad(fmt::format("children: {} is given twice", text));
  }
  return Status();
}

Status check_controller_ids(const v1::CreateNexusRequest& request) {
  // 0 is what a client that knows nothing of these fields sends.
  const std::uint32_t low = request.mincntlid();
  const std::uint32_t high = request.maxcntlid();
  constexpr std::uint32_t controller_id_max = ControllerIds{}.max;
  if (low > high || high > controller_id_max || (low == 0 && high != 0)) {
    return bad(fmt::format("minCntlId {} and maxCntlId {} are no range of controller ids: 1 to {}", low, high,
                           controller_id_max));
  }
  return Status();
}

// Without a key the children are not reserved; then nothing else may be asked for, so that nobody takes a
// nexus for fenced that is not.
Result<nexus::ReservationParams> reservation(const v1::CreateNexusRequest& request) {
  if (request.has_resvtype() && !v1::NvmeReservation_IsValid(request.resvtype())) {
    return bad(fmt::format("resvType: {} is not a reservation type", static_cast<int>(request.resvtype())));
  }
  if (!v1::NexusNvmePreemption_IsValid(request.preemptpolicy())) {
    return bad(fmt::format("preemptPolicy: {} is not a policy", static_cast<int>(request.preemptpolicy())));
  }
  if (request.has_resvtype() && request.resvtype() == v1::NvmeReservation::Reserved) {
    return bad("resvType: Reserved is no type that can be held");
  }
  if (request.preemptpolicy() == v1::NexusNvmePreemption::Holder && request.preemptkey() != 0) {
    return bad("preemptKey: must be 0 with the policy Holder, which finds out the key by itself");
  }
  const bool wants_more = request.has_resvtype() || request.preemptkey() != 0 ||
                          request.preemptpolicy() == v1::NexusNvmePreemption::Holder;
  if (request.resvkey() == 0 && wants_more) {
    return bad("resvKey: 0 is not a key; give one, or leave all fields about reservations out");
  }
  nexus::ReservationParams params;
  params.key = request.resvkey();
  params.preempt_key = request.preemptkey();
  params.policy = static_cast<nexus::PreemptPolicy>(request.preemptpolicy());
  if (request.has_resvtype()) params.type = static_cast<ReservationType>(request.resvtype());
  return params;
}

}  // namespace

google::protobuf::Timestamp to_message(WallTime time) {
  const auto nanos = static_cast<std::int64_t>(time);
  google::protobuf::Timestamp t;
  t.set_seconds(nanos / nanos_per_second);
  t.set_nanos(static_cast<std::int32_t>(nanos % nanos_per_second));
  return t;
}

Result<WallTime> to_wall_time(const google::protobuf::Timestamp& t) {
  if (t.seconds() < 0 || t.seconds() > std::numeric_limits<std::int64_t>::max() / nanos_per_second - 1 ||
      t.nanos() < 0 || t.nanos() >= nanos_per_second) {
    return bad("since_end_time is not a time after 1970");
  }
  return WallTime(t.seconds() * nanos_per_second + t.nanos());
}

v1::Nexus to_message(const nexus::NexusView& view) {
  v1::Nexus n;
  n.set_name(view.name);
  n.set_uuid(view.uuid.to_string());
  n.set_size(view.requested_bytes);
  n.set_state(static_cast<v1::NexusState>(view.state));
  for (const auto& child : view.children) *n.add_children() = child_message(child);
  n.set_rebuilds(view.rebuilds);
  return n;
}

v1::RebuildStatsResponse to_message(const nexus::RebuildStats& s) {
  v1::RebuildStatsResponse r;
  r.set_blocks_total(s.blocks_total);
  r.set_blocks_recovered(s.blocks_recovered);
  r.set_progress(s.progress_percent);
  r.set_blocks_per_task(s.blocks_per_task);
  r.set_block_size(s.block_size);
  r.set_tasks_total(s.tasks_total);
  r.set_tasks_active(s.tasks_active);
  r.set_blocks_transferred(s.blocks_transferred);
  r.set_blocks_remaining(s.blocks_remaining);
  r.set_is_partial(s.is_partial);
  *r.mutable_start_time() = to_message(s.start_time);
  return r;
}

v1::RebuildHistoryRecord to_message(const nexus::RebuildRecord& s) {
  v1::RebuildHistoryRecord r;
  r.set_child_uri(s.child_uri);
  r.set_src_uri(s.source_uri);
  r.set_state(static_cast<v1::RebuildJobState>(s.state));
  r.set_blocks_total(s.blocks_total);
  r.set_blocks_recovered(s.blocks_recovered);
  r.set_blocks_transferred(s.blocks_transferred);
  r.set_blocks_remaining(s.blocks_remaining);
  r.set_blocks_per_task(s.blocks_per_task);
  r.set_block_size(s.block_size);
  r.set_is_partial(s.is_partial);
  *r.mutable_start_time() = to_message(s.start_time);
  *r.mutable_end_time() = to_message(s.end_time);
  return r;
}

v1::RebuildHistoryResponse to_message(const nexus::NexusView& view,
                                      std::span<const nexus::RebuildRecord> records, std::size_t count,
                                      WallTime since) {
  v1::RebuildHistoryResponse history;
  history.set_uuid(view.uuid.to_string());
  history.set_name(view.name);
  const auto newer = [since](const nexus::RebuildRecord& r) { return r.end_time > since; };
  const auto matching = static_cast<std::size_t>(std::count_if(records.begin(), records.end(), newer));
  std::size_t skip = matching > count ? matching - count : 0;
  for (const auto& record : records) {
    if (!newer(record)) continue;
    if (skip > 0) {
      --skip;
    } else {
      *history.add_records() = to_message(record);
    }
  }
  return history;
}

ControllerIds controller_ids(const v1::CreateNexusRequest& request) {
  if (request.maxcntlid() == 0) return ControllerIds();
  return {static_cast<std::uint16_t>(request.mincntlid()), static_cast<std::uint16_t>(request.maxcntlid())};
}

Result<Uuid> to_uuid(std::string_view field, const std::string& text) {
  auto uuid = Uuid::parse(text);
  if (!uuid.ok()) return bad(fmt::format("{}: '{}' is not a UUID", field, text.substr(0, 64)));
  return uuid;
}

Result<std::optional<Uuid>> to_uuid_if(bool given, std::string_view field, const std::string& text) {
  if (!given) return std::optional<Uuid>();
  HF_TRY(const Uuid uuid, to_uuid(field, text));
  return std::optional<Uuid>(uuid);
}

Result<nexus::NexusParams> to_params(const v1::CreateNexusRequest& request) {
  nexus::NexusParams params;
  HF_TRY(params.uuid, to_uuid("uuid", request.uuid()));
  if (params.uuid.is_nil()) return bad("uuid: the nil UUID names nothing");
  // A control plane names the nexus after its volume; without a name it is known by its UUID.
  params.name = request.name().empty() ? "nexus-" + params.uuid.to_string() : request.name();
  HF_CHECK(check_name("name", params.name));
  if (request.size() == 0) return bad("size: 0 bytes; give the size of the volume");
  params.size_bytes = request.size();
  HF_CHECK(check_children(request));
  params.children.assign(request.children().begin(), request.children().end());
  HF_CHECK(check_controller_ids(request));
  HF_TRY(params.reservation, reservation(request));
  constexpr std::size_t key_bytes_max = 1024;
  if (request.nexusinfokey().size() > key_bytes_max) {
    return bad(fmt::format("nexusInfoKey: {} bytes, at most {} are allowed", request.nexusinfokey().size(),
                           key_bytes_max));
  }
  params.membership_key = request.nexusinfokey();
  return params;
}

}  // namespace holdfast::engine
