#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "base/log.h"
#include "nvme/reservation.h"
#include "nvmf/initiator/controller.h"

namespace holdfast::nvmf::host {
namespace {

constexpr Nanos ana_poll_interval =
    200ms;  // while the state is not one that does I/O, in case a notice is missed
// Notifications that are read for one event: as many as a target of ours keeps, and a few.
constexpr unsigned reservation_notices_max = 300;
constexpr std::uint32_t wanted_events =
    nvme::oaes_namespace_attribute | nvme::oaes_ana_change;  // and only where the controller has them

}  // namespace

// Before anything is looked at that may change: a target may drop what happens while notices are off.
Task<void> Controller::enable_events(Admin& admin) {
  const auto configured =
      co_await admin.set_features(nvme::Feature::async_event_config, info_.events & wanted_events);
  configured.ignore("a controller that has no notices to configure says so");
}

// Event requests are kept outstanding from here on; what happened before, the target has kept for them.
void Controller::start_events() {
  for (std::uint32_t i = 0; i < info_.event_requests; ++i) session_->scope().spawn(serve_events(*session_));
}

Task<void> Controller::serve_events(AdminSession& session) {
  Admin admin = session.admin();
  for (;;) {
    const auto event = co_await admin.next_event();
    if (!event.ok()) co_return;  // the connection ended, or the controller has enough requests
    co_await handle_event(session, event.value());
    const Nanos pause = event_pace_.pause(home_.now());
    if (pause > Nanos{0}) co_await home_.sleep(pause, session.stop());
  }
}

Task<void> Controller::handle_event(AdminSession& session, nvme::AsyncEvent event) {
  HF_LOG(info, "nvmf", "event of the target", {"device", remote_.device_name()},
         {"type", static_cast<unsigned>(event.type)}, {"info", static_cast<unsigned>(event.info)});
  if (event.type == nvme::AsyncEventType::io_command_set &&
      static_cast<nvme::LogPage>(event.lid) == nvme::LogPage::reservation) {
    const Status read = co_await read_reservation_notices(session);
    if (!read.ok())
      HF_LOG(warn, "nvmf", "event not handled", {"device", remote_.device_name()}, {"error", read.error()});
    co_return;
  }
  if (event.type != nvme::AsyncEventType::notice) co_return;
  switch (static_cast<nvme::AsyncNotice>(event.info)) {
    case nvme::AsyncNotice::namespace_attribute_changed: {
      const Status seen = co_await namespaces_changed(session);
      if (!seen.ok())
        HF_LOG(warn, "nvmf", "event not handled", {"device", remote_.device_name()}, {"error", seen.error()});
      co_return;
    }
    case nvme::AsyncNotice::ana_change:
      on_path_doubt();
      co_return;
    case nvme::AsyncNotice::firmware_activation_starting:
    case nvme::AsyncNotice::discovery_log_change:
      co_return;
  }
}

Task<Status> Controller::namespaces_changed(AdminSession& session) {
  // Reading the log re-arms the notice; which namespaces it lists does not matter, ours is looked at anyway.
  const auto log = std::make_unique<nvme::ChangedNamespacesLog>();
  const auto bytes = std::as_writable_bytes(std::span<nvme::ChangedNamespacesLog, 1>(log.get(), 1));
  Admin admin = session.admin();
  HF_CO_CHECK(co_await admin.log_page(nvme::LogPage::changed_namespaces, nvme::nsid_all, 0, false, bytes));
  co_return co_await identify_again(session);
}

// All of them: each read takes one out of the log and lets the target tell of the next. One that came damaged may
// have been any.
Task<Status> Controller::read_reservation_notices(AdminSession& session) {
  Admin admin = session.admin();
  bool lost = false;
  for (unsigned i = 0; i < reservation_notices_max; ++i) {
    nvme::ReservationNotificationLog log{};
    const auto bytes = std::as_writable_bytes(std::span<nvme::ReservationNotificationLog, 1>(&log, 1));
    HF_CO_CHECK(co_await admin.log_page(nvme::LogPage::reservation, nvme::nsid_all, 0, false, bytes));
    const auto notice = static_cast<ReservationNotice>(log.type);
    const bool ours = log.count.get() != 0 && log.nsid.get() == space_.nsid;
    lost = lost || (ours && (notice == ReservationNotice::registration_preempted ||
                             notice == ReservationNotice::reservation_preempted));
    if (log.count.get() == 0 || log.available == 0) break;
  }
  if (lost || admin.repeated() > 0) owner_.on_reservations_changed();
  co_return Status();
}

Task<Status> Controller::identify_again(AdminSession& session) {
  Admin admin = session.admin();
  RemoteConfig same = remote_;
  same.nsid = space_.nsid;
  const auto found = co_await identify_namespace(admin, info_, same);
  if (!found.ok()) {
    if (found.code() == Errc::not_found) co_await remove();
    co_return found.error();
  }
  const Status admitted = co_await owner_.admit(info_, found.value(), queues_, Seen::by_event);
  if (!admitted.ok()) {
    co_await remove();
    co_return admitted.error();
  }
  space_ = found.value();
  if (std::exchange(removed_, false)) co_await publish();
  co_return Status();
}

Task<void> Controller::remove() {
  if (removed_) co_return;
  removed_ = true;
  co_await publish();
}

Task<Status> Controller::refresh_ana(AdminSession& session) {
  Admin admin = session.admin();
  HF_CO_TRY(const nvme::AnaState state, co_await read_ana_state(admin, space_.ana_group));
  if (state != ana_) {
    HF_LOG(info, "nvmf", "ANA state", {"device", remote_.device_name()}, {"address", address_.to_string()},
           {"state", static_cast<unsigned>(state)});
  }
  const bool changed = state != ana_;
  ana_ = state;
  if (changed) co_await publish();
  co_return Status();
}

void Controller::on_path_doubt() noexcept {
  if (!info_.ana || stop_.stop_requested()) return;
  doubt_again_ = true;
  doubt_wake_.wake_all();
  if (std::exchange(doubt_, true)) return;
  scope_.spawn(check_doubt());
}

// Until the group does I/O again and nobody doubts it, or the association has ended.
Task<void> Controller::check_doubt() {
  std::optional<Nanos> changing;
  while (session_ != nullptr && state_ == ControllerState::live && !stop_.stop_requested()) {
    AdminSession& session = *session_;
    const Gate::Hold hold = session.use();
    if (!hold) break;
    doubt_again_ = false;
    const Status read = co_await refresh_ana(session);
    const bool is_known = read.ok();  // else it is asked again, a little later
    if (removed_ || !session.alive()) break;
    if (is_known && doubt_again_) continue;
    if (is_known && access() != Access::none) break;
    if (ana_ != nvme::AnaState::change) {
      changing.reset();
    } else if (!changing) {
      changing = home_.now();
    } else if (info_.ana_transition_max > Nanos{0} && home_.now() - *changing > info_.ana_transition_max) {
      lost("a change of the ANA state takes longer than the controller said (ANATT)");
      break;
    }
    const Wake woken = co_await doubt_wake_.wait(home_.now() + ana_poll_interval, session.stop());
    if (woken == Wake::stopped) break;
  }
  doubt_ = false;
}

Task<Status> Controller::refresh() {
  if (session_ == nullptr || state_ != ControllerState::live || lost_) co_return Error(Errc::not_connected);
  AdminSession& session = *session_;
  const Gate::Hold hold = session.use();
  if (!hold) co_return Error(Errc::not_connected);
  co_return co_await identify_again(session);
}

Task<Status> Controller::run(const VendorCommand& command) {
  if (session_ == nullptr || state_ != ControllerState::live || lost_) co_return Error(Errc::not_connected);
  AdminSession& session = *session_;
  const Gate::Hold hold = session.use();
  if (!hold) co_return Error(Errc::not_connected);
  Admin admin = session.admin();
  co_return co_await admin.vendor(command, space_.nsid);
}

}  // namespace holdfast::nvmf::host
