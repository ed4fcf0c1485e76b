// Get Features and Set Features (NVMe Base 2.0, sections 5.15 and 5.27). No feature can be saved.
#include <algorithm>
#include <cstring>

#include "nvme/feature.h"
#include "nvmf/target/controller.h"
#include "nvmf/target/subsystem.h"

namespace holdfast::nvmf::target {

using nvme::CommandStatus;
using nvme::Feature;
using nvme::FeatureSelect;
using nvme::permanent;
using nvme::StatusCode;

namespace {

constexpr std::uint32_t save_bit = 1u << 31;  // of Set Features, command dword 10
// Events that a host may ask for. The rest of the feature is refused, so nobody waits for what never comes.
constexpr std::uint32_t async_events_known = nvme::oaes_namespace_attribute | nvme::oaes_firmware_activation |
                                             nvme::oaes_ana_change | nvme::oaes_discovery_change |
                                             0xff;  // SMART critical warnings

bool is_known(Feature feature) noexcept {
  switch (feature) {
    case Feature::arbitration:
    case Feature::power_management:
    case Feature::temperature_threshold:
    case Feature::error_recovery:
    case Feature::volatile_write_cache:
    case Feature::number_of_queues:
    case Feature::write_atomicity:
    case Feature::async_event_config:
    case Feature::timestamp:
    case Feature::keep_alive_timer:
    case Feature::host_behavior_support:
    case Feature::command_set_profile:
    case Feature::host_identifier:
    case Feature::reservation_mask:
    case Feature::reservation_persistence:
      return true;
  }
  return false;
}

// DW11 of the temperature threshold: threshold 15:0, sensor 19:16 (0 composite, 1111b all), type 21:20.
bool is_composite(std::uint32_t cdw11) noexcept { return (cdw11 >> 16 & 0xf) == 0; }
bool is_under(std::uint32_t cdw11) noexcept { return (cdw11 >> 20 & 3) == 1; }

std::uint32_t granted_queues(const Controller& c) noexcept {
  const std::uint32_t most = c.is_discovery() ? 1 : c.subsystem().registry().config().io_queues_max;
  return nvme::pack_queue_counts(most, most);
}

AdminReply get_host_identifier(const Controller& c, const nvme::Sqe& sqe, std::span<std::byte> into) {
  if ((sqe.cdw11 & 1) == 0) return permanent(StatusCode::invalid_field);  // fabrics: 128 bits only
  std::memcpy(into.data(), c.host_id().bytes.data(), 16);
  return CommandStatus();
}

bool is_of_namespace(Feature feature) noexcept {
  return feature == Feature::error_recovery || feature == Feature::reservation_mask ||
         feature == Feature::reservation_persistence;
}

// Which namespace a feature is set for (section 5.27.1): those of the controller take none, or all.
CommandStatus judge_scope(const Controller& c, Feature feature, std::uint32_t nsid) noexcept {
  if (nsid == 0 || nsid == nvme::nsid_all) return {};
  if (c.subsystem().find(nsid) == nullptr) return permanent(StatusCode::invalid_namespace);
  return is_of_namespace(feature) ? CommandStatus() : permanent(StatusCode::feature_not_namespace_specific);
}

AdminReply set_number_of_queues(Controller& c, std::uint32_t cdw11) {
  if (c.has_io_queues()) return permanent(StatusCode::command_sequence_error);
  const std::uint32_t submission = cdw11 & 0xffff, completion = cdw11 >> 16;
  if (submission == 0xffff || completion == 0xffff) return permanent(StatusCode::invalid_field);
  const std::uint32_t most = c.is_discovery() ? 1 : c.subsystem().registry().config().io_queues_max;
  // One of each makes a fabrics queue: the smaller request counts.
  const std::uint32_t granted = std::min(std::min(submission, completion) + 1, most);
  c.features().queue_counts = nvme::pack_queue_counts(granted, granted);
  return AdminReply(CommandStatus(), c.features().queue_counts);
}

AdminReply set_temperature_threshold(Controller& c, std::uint32_t cdw11) {
  if (!is_composite(cdw11) && (cdw11 >> 16 & 0xf) != 0xf) return permanent(StatusCode::invalid_field);
  if ((cdw11 >> 20 & 3) > 1) return permanent(StatusCode::invalid_field);
  (is_under(cdw11) ? c.features().temperature_under : c.features().temperature_over) = cdw11 & 0xffff;
  return CommandStatus();
}

}  // namespace

AdminReply get_features(Controller& c, const nvme::Sqe& sqe, std::span<std::byte> into) {
  const auto feature = static_cast<Feature>(sqe.cdw10 & 0xff);
  const auto select = static_cast<FeatureSelect>(sqe.cdw10 >> 8 & 7);
  if (!is_known(feature)) return permanent(StatusCode::invalid_field);
  if (select == FeatureSelect::capabilities) {
    const bool fixed = feature == Feature::host_identifier || feature == Feature::volatile_write_cache ||
                       feature == Feature::command_set_profile;
    const std::uint32_t scope = is_of_namespace(feature) ? nvme::feature_namespace_specific : 0;
    return AdminReply(CommandStatus(), fixed ? 0 : nvme::feature_changeable | scope);
  }
  if (select > FeatureSelect::capabilities) return permanent(StatusCode::invalid_field);
  FeatureValues standard;
  const FeatureValues& values = select == FeatureSelect::current ? c.features() : standard;
  const auto value = [](std::uint32_t v) { return AdminReply(CommandStatus(), v); };
  switch (feature) {
    case Feature::arbitration:
      return value(values.arbitration);
    case Feature::power_management:
      return value(0);
    case Feature::temperature_threshold:
      if (!is_composite(sqe.cdw11)) return permanent(StatusCode::invalid_field);
      return value(is_under(sqe.cdw11) ? values.temperature_under : values.temperature_over);
    case Feature::error_recovery:
      return value(values.error_recovery);
    case Feature::volatile_write_cache:
      return value(1);
    case Feature::number_of_queues:
      return value(values.queue_counts != 0 ? values.queue_counts : granted_queues(c));
    case Feature::write_atomicity:
      return value(values.write_atomicity);
    case Feature::async_event_config:
      return value(values.async_event_config);
    case Feature::timestamp:
      store(into, c.timestamp(select == FeatureSelect::current));
      return CommandStatus();
    case Feature::command_set_profile:  // the first combination of CNS 1Ch
      return value(0);
    case Feature::keep_alive_timer:
      return value(select == FeatureSelect::current ? c.keep_alive_ms() : 0);
    case Feature::host_behavior_support:
      into[0] = static_cast<std::byte>(values.acre);
      return CommandStatus();
    case Feature::host_identifier:
      return get_host_identifier(c, sqe, into);
    case Feature::reservation_mask:
    case Feature::reservation_persistence:
      return get_reservation_feature(c, sqe, select == FeatureSelect::current);
  }
  return permanent(StatusCode::invalid_field);
}

AdminReply set_features(Controller& c, const nvme::Sqe& sqe, std::span<const std::byte> from) {
  const auto feature = static_cast<Feature>(sqe.cdw10 & 0xff);
  const std::uint32_t value = sqe.cdw11;
  if (!is_known(feature)) return permanent(StatusCode::invalid_field);
  if ((sqe.cdw10 & save_bit) != 0) return permanent(StatusCode::feature_not_saveable);
  if (const CommandStatus scope = judge_scope(c, feature, sqe.nsid); !scope.ok()) return scope;
  FeatureValues& values = c.features();
  switch (feature) {
    case Feature::arbitration:
      values.arbitration = value;
      return CommandStatus();
    case Feature::power_management:  // one power state
      return (value & 0x1f) == 0 ? CommandStatus() : permanent(StatusCode::invalid_field);
    case Feature::temperature_threshold:
      return set_temperature_threshold(c, value);
    case Feature::error_recovery:
      if ((value & 1u << 16) != 0)
        return permanent(StatusCode::invalid_field);  // DULBE: identify does not offer it
      values.error_recovery = value;
      return CommandStatus();
    case Feature::volatile_write_cache:  // the cache below is not ours to switch off
      return (value & 1) != 0 ? CommandStatus() : permanent(StatusCode::feature_not_changeable);
    case Feature::number_of_queues:
      return set_number_of_queues(c, value);
    case Feature::write_atomicity:
      values.write_atomicity = value;
      return CommandStatus();
    case Feature::async_event_config:
      if ((value & ~async_events_known) != 0) return permanent(StatusCode::invalid_field);
      values.async_event_config = value;
      c.async_event_config_changed();
      return CommandStatus();
    case Feature::timestamp:
      c.set_timestamp(load<nvme::Timestamp>(from));
      return CommandStatus();
    case Feature::command_set_profile:
      if ((value & 0x1ff) != 0) return permanent(StatusCode::command_set_combination_rejected);
      return CommandStatus();
    case Feature::keep_alive_timer:
      c.set_keep_alive(value);
      return CommandStatus();
    case Feature::host_behavior_support: {
      const auto acre = std::to_integer<std::uint8_t>(from[0]);
      if (acre > 1) return permanent(StatusCode::invalid_field);
      c.set_retry_delays(acre != 0);
      return CommandStatus();
    }
    case Feature::host_identifier:
      return permanent(StatusCode::command_sequence_error);  // Connect has set it
    case Feature::reservation_mask:                          // set_reservation_feature()
    case Feature::reservation_persistence:
      break;
  }
  return permanent(StatusCode::invalid_field);
}

}  // namespace holdfast::nvmf::target
