// What a controller tells of reservations: the notification log (NVMe Base 2.0, section 5.16.1.24), and the
// two features about them (sections 5.27.1.26 and 5.27.1.27).
#include <algorithm>

#include "nvme/feature.h"
#include "nvme/reservation.h"
#include "nvmf/target/controller.h"
#include "nvmf/target/subsystem.h"

namespace holdfast::nvmf::target {

using nvme::CommandStatus;
using nvme::Feature;
using nvme::permanent;
using nvme::StatusCode;

namespace {

// The mask that counts for a namespace.
std::uint32_t mask_of(const FeatureValues& values, std::uint32_t nsid) {
  const auto found = values.reservation_mask.find(nsid);
  return found == values.reservation_mask.end() ? 0 : found->second;
}

AdminReply set_mask(Controller& c, std::uint32_t nsid, std::uint32_t value) {
  if ((value & ~nvme::reservation_mask_known) != 0) return permanent(StatusCode::invalid_field);
  bool any = false;
  for (const auto& [id, ns] : c.subsystem().namespaces()) {
    if ((id != nsid && nsid != nvme::nsid_all) || ns->guard == nullptr) continue;
    c.features().reservation_mask[id] = value;
    any = true;
  }
  if (any) return CommandStatus();
  const bool known = nsid == nvme::nsid_all || c.subsystem().find(nsid) != nullptr;
  return permanent(known ? StatusCode::invalid_field : StatusCode::invalid_namespace);
}

}  // namespace

void Controller::reservation_changed(std::uint32_t nsid, ReservationNotice notice) {
  const std::uint32_t bit = 1u << static_cast<unsigned>(notice);
  if ((mask_of(features_, nsid) & bit) != 0) return;
  reservation_events_.push_back({++reservation_event_count_, nsid, notice});
  // A host that does not read loses the oldest ones; the count tells it.
  if (reservation_events_.size() > reservation_events_max) reservation_events_.pop_front();
  raise(Notice::reservation);
}

nvme::ReservationNotificationLog Controller::reservation_log() const {
  nvme::ReservationNotificationLog log{};
  if (reservation_events_.empty()) return log;
  const ReservationEvent event = reservation_events_.front();
  log.count = event.number;
  log.type = static_cast<std::uint8_t>(event.notice);
  log.available = static_cast<std::uint8_t>(std::min<std::size_t>(reservation_events_.size() - 1, 255));
  log.nsid = event.nsid;
  return log;
}

AdminReply get_reservation_feature(const Controller& c, const nvme::Sqe& sqe, bool current) {
  if (c.is_discovery()) return permanent(StatusCode::invalid_field);
  const Subsystem::Namespace* ns = c.subsystem().find(sqe.nsid);
  if (ns == nullptr) return permanent(StatusCode::invalid_namespace);
  if (ns->guard == nullptr) return permanent(StatusCode::invalid_field);
  if (!current) return AdminReply(CommandStatus(), 0);
  if (static_cast<Feature>(sqe.cdw10 & 0xff) == Feature::reservation_mask) {
    return AdminReply(CommandStatus(), mask_of(c.features(), sqe.nsid));
  }
  return AdminReply(CommandStatus(), ns->guard->report().persists ? nvme::reservation_persists : 0);
}

Task<AdminReply> set_reservation_feature(Controller& c, const nvme::Sqe& sqe) {
  constexpr std::uint32_t save_bit = 1u << 31;
  const std::uint32_t value = sqe.cdw11;
  if (c.is_discovery()) co_return permanent(StatusCode::invalid_field);
  if ((sqe.cdw10 & save_bit) != 0) co_return permanent(StatusCode::feature_not_saveable);
  if (static_cast<Feature>(sqe.cdw10 & 0xff) == Feature::reservation_mask) {
    co_return set_mask(c, sqe.nsid, value);
  }
  if (value > nvme::reservation_persists) co_return permanent(StatusCode::invalid_field);
  const CommandStatus status = co_await c.subsystem().set_reservations_persist(sqe.nsid, value != 0);
  co_return status;
}

}  // namespace holdfast::nvmf::target
