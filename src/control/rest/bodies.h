// The bodies of requests (docs: api/openapi.yaml), from JSON to what the service is asked. Checks kinds and names;
// what the values may be is the service's to say. Errors: deserialize, naming the field.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"
#include "control/plan/adopt.h"
#include "control/requests.h"

namespace holdfast::control::rest {

// Each fills what the body says; ids that stand in the path are the caller's to add.
Result<CreatePool> parse_create_pool(std::string_view body);
Result<CreateReplica> parse_create_replica(std::string_view body);
Result<CreateNexus> parse_create_nexus(std::string_view body);
Result<CreateVolume> parse_create_volume(std::string_view body);
Result<PublishVolume> parse_publish_volume(std::string_view body);
Result<std::uint64_t> parse_resize_volume(std::string_view body);
// max_snapshots, the one property that there is.
Result<std::uint32_t> parse_volume_property(std::string_view body);
Result<AppNodeSpec> parse_register_app_node(std::string_view body);
// An empty body is one without fields.
Result<MoveReplica> parse_move_replica(std::string_view body);
Result<AdoptRequest> parse_adopt(std::string_view body);

}  // namespace holdfast::control::rest
