// Nexuses as mayastor.v1 shows them, and requests as the nexus takes them.
#pragma once

#include <optional>
#include <span>
#include <string>

#include <google/protobuf/timestamp.pb.h>

#include "base/error.h"
#include "mayastor/v1/nexus.pb.h"
#include "nexus/types.h"
#include "rt/time.h"

namespace holdfast::engine {

struct ControllerIds {
  std::uint16_t min = 1;
  std::uint16_t max = 0xffef;  // NVMe Base 2.0: 0xfff0 and above are reserved
};

google::protobuf::Timestamp to_message(WallTime time);
// Nanoseconds since the epoch. Errors: invalid_argument for what is no timestamp.
Result<WallTime> to_wall_time(const google::protobuf::Timestamp& time);

mayastor::v1::Nexus to_message(const nexus::NexusView& view);
mayastor::v1::RebuildStatsResponse to_message(const nexus::RebuildStats& stats);
mayastor::v1::RebuildHistoryRecord to_message(const nexus::RebuildRecord& record);
// At most `count` records, the newest of those that ended after `since`, oldest first.
mayastor::v1::RebuildHistoryResponse to_message(const nexus::NexusView& view,
                                                std::span<const nexus::RebuildRecord> records,
                                                std::size_t count, WallTime since);

// Checks everything that can be checked before a device is touched: names, UUIDs, sizes, bounds, reservation
// arguments. Errors: invalid_argument, naming the field.
Result<nexus::NexusParams> to_params(const mayastor::v1::CreateNexusRequest& request);
// The window of controller ids that the nexus gives to hosts; checked by to_params.
ControllerIds controller_ids(const mayastor::v1::CreateNexusRequest& request);
// `field` begins the text: "uuid", "nexus_uuid".
Result<Uuid> to_uuid(std::string_view field, const std::string& text);
// Of a field that may be absent.
Result<std::optional<Uuid>> to_uuid_if(bool given, std::string_view field, const std::string& text);

}  // namespace holdfast::engine
