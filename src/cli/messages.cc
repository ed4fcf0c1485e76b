#include "cli/messages.h"

#include <algorithm>
#include <cctype>

#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/time_util.h>
#include <nlohmann/json.hpp>

#include "mayastor/v1/host.pb.h"
#include "mayastor/v1/nexus.pb.h"
#include "mayastor/v1/pool.pb.h"
#include "mayastor/v1/snapshot_rebuild.pb.h"

namespace holdfast::cli {
namespace {

namespace api = mayastor::v1;

std::string word(std::string name, std::string_view prefix, std::string_view suffix, int number) {
  if (name.empty()) return std::to_string(number);
  if (name.starts_with(prefix)) name.erase(0, prefix.size());
  if (name.ends_with(suffix)) name.erase(name.size() - suffix.size());
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return name;
}

}  // namespace

nlohmann::ordered_json to_tree(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string text;
  const auto status = google::protobuf::util::MessageToJsonString(message, &text, options);
  if (!status.ok()) {  // a timestamp outside the years 1 to 9999
    return {{"unprintable", status.ToString()}, {"type", message.GetTypeName()}};
  }
  return nlohmann::ordered_json::parse(text);
}

std::string nexus_state_word(int state) { return word(api::NexusState_Name(state), "NEXUS_", "", state); }
std::string child_state_word(int state) {
  return word(api::ChildState_Name(state), "CHILD_STATE_", "", state);
}
std::string child_reason_word(int reason) {
  if (reason == api::CHILD_STATE_REASON_NONE) return {};
  return word(api::ChildStateReason_Name(reason), "CHILD_STATE_REASON_", "", reason);
}
std::string ana_state_word(int state) {
  return word(api::NvmeAnaState_Name(state), "NVME_ANA_", "_STATE", state);
}
std::string rebuild_state_word(int state) { return word(api::RebuildJobState_Name(state), "", "", state); }
std::string controller_state_word(int state) {
  return word(api::NvmeControllerState_Name(state), "", "", state);
}

std::string pool_state_word(int state) { return word(api::PoolState_Name(state), "POOL_", "", state); }
std::string snapshot_rebuild_word(int status) {
  return word(api::SnapshotRebuild::RebuildStatus_Name(status), "", "", status);
}

std::string format_time(const google::protobuf::Timestamp& time) {
  return google::protobuf::util::TimeUtil::ToString(time);
}

}  // namespace holdfast::cli
