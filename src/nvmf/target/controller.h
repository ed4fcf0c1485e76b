// Controller: one host's association with a subsystem: its queues, properties, features, timers and events.
// Home core only. Made by Connect on the admin queue; gone when the last of its queues has ended.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "block/reservation.h"
#include "nvme/cqe.h"
#include "nvme/feature.h"
#include "nvme/identify.h"
#include "nvme/log_page.h"
#include "nvme/property.h"
#include "nvme/reservation.h"
#include "nvmf/target/registry.h"
#include "nvmf/target/types.h"
#include "rt/reactor.h"
#include "rt/wait.h"

namespace holdfast::nvmf::target {

class Connection;
class Subsystem;

// What Set Features keeps for a controller (NVMe Base 2.0, section 5.27).
struct FeatureValues {
  std::uint32_t arbitration = 0;
  std::uint32_t error_recovery = 0;
  std::uint32_t write_atomicity = 0;
  std::uint32_t temperature_over = 0xffff, temperature_under = 0;  // kelvin; the composite sensor's
  std::uint32_t async_event_config = 0;
  std::uint32_t queue_counts = 0;                           // as granted; 0 before the host asked
  std::uint8_t acre = 0;                                    // host behavior support
  std::map<std::uint32_t, std::uint32_t> reservation_mask;  // by namespace; none: nothing is masked
};

class Controller {
 public:
  struct Host {
    std::string nqn;
    Uuid id;
  };
  Controller(Subsystem& subsystem, std::uint16_t cntlid, Host host, std::uint32_t keep_alive_ms);
  Controller(const Controller&) = delete;
  Controller& operator=(const Controller&) = delete;
  ~Controller();

  Subsystem& subsystem() const noexcept { return subsystem_; }
  std::uint16_t cntlid() const noexcept { return cntlid_; }
  const std::string& host_nqn() const noexcept { return host_.nqn; }
  const Uuid& host_id() const noexcept { return host_.id; }
  bool is_discovery() const noexcept;
  ControllerInfo info() const;

  // --- Queues. ---
  void add_queue(const ConnectCall& call);
  bool has_queue(std::uint16_t qid) const noexcept;
  bool has_io_queues() const noexcept;
  // The largest identifier of an I/O queue: as many as the host was granted.
  std::uint32_t io_queues_max() const noexcept;
  // May destroy the controller.
  void remove_queue(std::uint16_t qid);
  // Disconnects everything soon. It is gone when the connections have ended.
  void end(std::string_view why);
  bool ending() const noexcept { return ending_; }
  // The address that the host reached, for the discovery log.
  const Endpoint& local() const noexcept { return local_; }

  // --- Commands (admin.cc). ---
  Task<AdminReply> admin(const AdminCall& call);
  bool enabled() const noexcept { return csts_.rdy; }
  bool shutting_down() const noexcept { return csts_.shst != nvme::ShutdownStatus::none; }
  FeatureValues& features() noexcept { return features_; }
  const FeatureValues& features() const noexcept { return features_; }
  // Host behavior support: whether completions carry a command retry delay.
  void set_retry_delays(bool on);
  std::uint32_t keep_alive_ms() const noexcept { return keep_alive_ms_; }
  void set_keep_alive(std::uint32_t milliseconds);
  nvme::Timestamp timestamp(bool current) const noexcept;
  void set_timestamp(const nvme::Timestamp& value) noexcept;

  // --- Events. ---
  void namespace_changed(std::uint32_t nsid);
  void ana_changed() { raise(Notice::ana); }
  void discovery_changed() { raise(Notice::discovery); }
  // For the reservation notification log, unless the host masked it (controller_reservations.cc).
  void reservation_changed(std::uint32_t nsid, ReservationNotice notice);
  // The oldest notification; zeroes when there is none.
  nvme::ReservationNotificationLog reservation_log() const;
  // The device of a namespace has failed: an entry in the error log that belongs to no command, an error event
  // and a SMART event.
  void device_failed(std::uint32_t nsid);
  void record_error(const ErrorReport& report);
  // Newest first.
  const std::deque<nvme::ErrorLogEntry>& errors() const noexcept { return errors_; }
  std::uint64_t error_count() const noexcept { return error_count_; }
  // Since the host read of them.
  const std::set<std::uint32_t>& changed_namespaces() const noexcept { return changed_namespaces_; }
  // The host has read a log page, and unless it is to be retained: what is told only once is forgotten (of
  // reservations: the oldest notification), and the page's event may be raised again.
  void log_was_read(nvme::LogPage page, bool retain);
  // How long the discovery log was when the host read its header last; 0: it has not.
  std::size_t discovery_bytes_told() const noexcept { return discovery_bytes_told_; }
  void set_discovery_bytes_told(std::size_t bytes) noexcept { discovery_bytes_told_ = bytes; }
  // What is wrong already is told to whoever asks for it now.
  void async_event_config_changed();

  static constexpr std::size_t errors_max = 64;
  static constexpr unsigned aborts_max = 4;  // ACL + 1

 private:
  struct Queue {
    std::uint16_t qid;
    std::uint32_t entries;
    Connection* connection;
    Reactor* core;
    Endpoint peer;
  };
  struct ParkedEvent {
    std::uint16_t tag;
    std::uint16_t cid;
  };
  enum class Notice : std::uint8_t { namespace_attribute, ana, discovery, reservation, error, health };
  static constexpr std::size_t notices = 6;
  struct ReservationEvent {
    std::uint64_t number;
    std::uint32_t nsid;
    ReservationNotice notice;
  };
  static constexpr std::size_t reservation_events_max = 256;
  struct NoticeState {
    bool pending = false;  // to be told
    bool unread = false;   // told; not told again until the host has read the log page
  };
  class KeepAlive final : public Timer {
   public:
    explicit KeepAlive(Controller& c) noexcept : controller_(c) {}
    void fire() noexcept override { controller_.keep_alive_due(); }

   private:
    Controller& controller_;
  };
  class Association final : public Timer {
   public:
    explicit Association(Controller& c) noexcept : controller_(c) {}
    void fire() noexcept override { controller_.end("not enabled in time"); }

   private:
    Controller& controller_;
  };

  // admin.cc
  AdminReply fabrics(const AdminCall& call);
  AdminReply property_get(const AdminCall& call);
  AdminReply property_set(const AdminCall& call);
  AdminReply configure(nvme::Cc cc);
  nvme::Csts status() const noexcept;
  AdminReply async_event_request(const AdminCall& call);
  // controller_ends.cc
  Task<AdminReply> abort(const AdminCall& call);
  void begin_shut_down(nvme::ShutdownNotice how);
  Task<void> shut_down(bool with_flush);

  // controller.cc
  void add_error(nvme::ErrorLogEntry entry);
  NoticeState& state_of(Notice notice) noexcept { return notice_[static_cast<std::size_t>(notice)]; }
  void raise(Notice notice);
  void pump();
  void answer(ParkedEvent event, nvme::CommandStatus status, std::uint32_t dw0);
  void reset();
  void disconnect_io_queues();
  void disconnect(const Queue& queue);
  void watch_association();
  // How long the host may be silent; zero: for ever.
  Nanos silence_max() const noexcept;
  void keep_alive_due();
  Task<void> check_io_traffic();
  void forget_if_over();
  const Queue* find_queue(std::uint16_t qid) const noexcept;
  Reactor& home() const noexcept;

  Subsystem& subsystem_;
  const std::uint16_t cntlid_;
  const Host host_;
  std::uint32_t keep_alive_ms_ = 0;
  Endpoint local_;
  nvme::Cap cap_;
  nvme::Cc cc_{};
  nvme::Csts csts_{};
  FeatureValues features_;
  std::vector<Queue> queues_;
  std::vector<ParkedEvent> parked_;
  std::array<NoticeState, notices> notice_;
  std::set<std::uint32_t> changed_namespaces_;
  std::deque<ReservationEvent> reservation_events_;  // not read yet, oldest first
  std::uint64_t reservation_event_count_ = 0;
  std::size_t discovery_bytes_told_ = 0;
  std::deque<nvme::ErrorLogEntry> errors_;
  std::uint64_t error_count_ = 0;
  KeepAlive keep_alive_;
  Association association_;
  Nanos last_traffic_{0};
  const Nanos made_at_;
  std::uint64_t timestamp_ms_ = 0;  // at timestamp_set_at_
  Nanos timestamp_set_at_;
  bool timestamp_by_host_ = false;
  WaitQueue queue_gone_;
  unsigned aborts_ = 0;                  // under way
  unsigned shutdowns_ = 0;               // asked for; a reset forgets the ones before
  bool flush_asked_ = false;             // by the last of them
  std::array<bool, 2> shutting_down_{};  // without a flush, with one: a task of each kind runs
  unsigned pins_ = 0;                    // tasks of ours that wait
  bool refused_cc_ = false;              // and said so in the log
  bool ending_ = false;
};

// The data of Identify and Get Log Page (identify.cc, log_pages.cc). `into` is zeroes.
nvme::CommandStatus identify(const Controller& controller, const nvme::Sqe& sqe, std::span<std::byte> into);
Task<nvme::CommandStatus> get_log_page(Controller& controller, const nvme::Sqe& sqe,
                                       std::span<std::byte> into);
// features.cc
AdminReply get_features(Controller& controller, const nvme::Sqe& sqe, std::span<std::byte> into);
AdminReply set_features(Controller& controller, const nvme::Sqe& sqe, std::span<const std::byte> from);
// vendor.cc: commands of our own.
AdminTransfer vendor_transfer(const nvme::Sqe& sqe) noexcept;
Task<AdminReply> vendor(Controller& controller, const nvme::Sqe& sqe, std::span<std::byte> data);
// controller_reservations.cc: features 82h and 83h.
AdminReply get_reservation_feature(const Controller& controller, const nvme::Sqe& sqe, bool current);
Task<AdminReply> set_reservation_feature(Controller& controller, const nvme::Sqe& sqe);

}  // namespace holdfast::nvmf::target
