// API messages as people and programs see them.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

namespace google::protobuf {
class Message;
class Timestamp;
}  // namespace google::protobuf

namespace holdfast::cli {

// The whole content in protobuf's JSON form: original field names, fields at their defaults included, 64 bit
// numbers as strings.
nlohmann::ordered_json to_tree(const google::protobuf::Message& message);

// The words in which tables name the values of an enum: "NEXUS_SHUTTING_DOWN" as "shutting_down",
// "CHILD_STATE_REASON_IO_FAILURE" as "io_failure", no reason as "". A value unknown here: its number.
std::string nexus_state_word(int state);
std::string child_state_word(int state);
std::string child_reason_word(int reason);
std::string ana_state_word(int state);
std::string rebuild_state_word(int state);
std::string controller_state_word(int state);
std::string pool_state_word(int state);
std::string snapshot_rebuild_word(int status);

// UTC: "2024-10-23T08:15:00Z".
std::string format_time(const google::protobuf::Timestamp& time);

}  // namespace holdfast::cli
