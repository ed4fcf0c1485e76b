// Goal: hosts find reservations as NVMe Base 2.0 has them: commands, access, notifications, features, and the
// status of everything that is malformed. The rules themselves are tested with the state machine.
#include <gtest/gtest.h>

#include "block/reservation_guard.h"
#include "nvme/reservation.h"
#include "nvmf/target/target.h"
#include "nvmf/target/testing/raw_host.h"

namespace holdfast::nvmf::test {
namespace {

using nvme::Feature;
using nvme::LogPage;
using nvme::permanent;

constexpr CommandStatus ok;
const CommandStatus conflict(StatusCode::reservation_conflict);
const CommandStatus invalid_field = permanent(StatusCode::invalid_field);

// A volume that can be reserved, with two cores, so that the home core and the queue's are different.
struct ReservedRig : Rig {
  explicit ReservedRig(bool with_store = true)
      : Rig(1, 2), guard(process->cores(), device->identity().uuid, with_store ? &store : nullptr) {
    SubsystemConfig c = volume();
    NamespaceConfig ns;
    ns.uuid = device->identity().uuid;
    if (!run(target->add_subsystem(c)).ok()) panic("no subsystem");
    if (!run(target->add_namespace(c.nqn, ns, *device, &guard)).ok()) panic("no namespace");
  }
  ~ReservedRig() { run(target->remove_subsystem(volume_nqn)).ignore("the rig ends"); }
  MemoryReservationStore store;
  ReservationGuard guard;
};

struct ResvHost : Session {
  ResvHost(Rig& rig, std::uint8_t id) : Session(rig, 0, 0, 0, 31, id) {}

  CommandStatus keys(IoOpcode opcode, std::uint32_t cdw10, std::uint64_t first, std::uint64_t second) {
    Sqe s = RawHost::io(opcode, 0, 1);
    s.cdw10 = cdw10;
    s.cdw11 = 0;
    s.cdw12 = 0;
    Bytes data;
    append(data, bytes_of(le64(first)));
    if (opcode != IoOpcode::reservation_release) append(data, bytes_of(le64(second)));
    s.sgl1 = nvme::SglDescriptor::in_capsule(static_cast<std::uint32_t>(data.size()));
    return io.execute(s, data).status;
  }
  CommandStatus add(std::uint64_t key, std::uint32_t cptpl = 0) {
    return keys(IoOpcode::reservation_register, cptpl << 30, 0, key);
  }
  CommandStatus remove(std::uint64_t key) { return keys(IoOpcode::reservation_register, 1, key, 0); }
  CommandStatus acquire(std::uint64_t key, std::uint32_t type) {
    return keys(IoOpcode::reservation_acquire, type << 8, key, 0);
  }
  CommandStatus preempt(std::uint64_t key, std::uint64_t prey, std::uint32_t type, bool abort) {
    return keys(IoOpcode::reservation_acquire, (abort ? 2u : 1u) | type << 8, key, prey);
  }
  CommandStatus release(std::uint64_t key, std::uint32_t type) {
    return keys(IoOpcode::reservation_release, type << 8, key, 0);
  }
  CommandStatus clear(std::uint64_t key) { return keys(IoOpcode::reservation_release, 1, key, 0); }
  Outcome report(std::uint32_t bytes = 4096, std::uint32_t cdw11 = nvme::cdw11_extended_data) {
    Sqe s = RawHost::io(IoOpcode::reservation_report, 0, 1);
    s.cdw10 = bytes / 4 - 1;
    s.cdw11 = cdw11;
    s.cdw12 = 0;
    s.sgl1 = nvme::SglDescriptor::transport(bytes);
    return io.execute(s);
  }
  CommandStatus writes() { return io.write(0, Bytes(512), true).status; }
  CommandStatus reads() { return io.read(0, 1).status; }
  CommandStatus runs(IoOpcode opcode) {
    Sqe s = RawHost::io(opcode, 0, 1);
    Bytes data;
    if (opcode == IoOpcode::dataset_management || opcode == IoOpcode::copy) {
      s.cdw10 = 0;  // one range; the destination of a copy is block 0
      s.cdw11 = opcode == IoOpcode::copy ? 0 : nvme::cdw11_dsm_deallocate;
      s.cdw12 = 0;
      data.resize(opcode == IoOpcode::copy ? sizeof(nvme::CopyRange) : sizeof(nvme::DsmRange));
    }
    if (opcode == IoOpcode::compare) data = io.read(0, 1).data;
    if (opcode == IoOpcode::compare && data.empty()) data.resize(512);
    if (!data.empty()) s.sgl1 = nvme::SglDescriptor::in_capsule(static_cast<std::uint32_t>(data.size()));
    return io.execute(s, data).status;
  }
  Outcome feature(AdminOpcode opcode, Feature f, std::uint32_t value = 0, std::uint32_t nsid = 1) {
    return admin.execute(RawHost::admin(opcode, static_cast<std::uint32_t>(f), value, nsid));
  }
  nvme::ReservationNotificationLog log(bool retain = false) {
    const Outcome out = admin.log_page(LogPage::reservation, 64, nvme::nsid_all, 0, 0, retain);
    EXPECT_EQ(out.status, ok);
    return load<nvme::ReservationNotificationLog>(out.data);
  }
};

TEST(Reservations, AreShownByIdentify) {
  for (const bool with_store : {true, false}) {
    ReservedRig rig(with_store);
    ResvHost h(rig, 1);
    const auto ctrl = load<nvme::IdentifyController>(h.admin.identify(nvme::Cns::controller).data);
    EXPECT_NE(ctrl.oncs & nvme::oncs_reservations, 0);
    const auto ns = load<nvme::IdentifyNamespace>(h.admin.identify(nvme::Cns::namespace_nvm, 1).data);
    EXPECT_EQ(ns.rescap, with_store ? 0xff : 0xfe);
    const auto independent =
        load<nvme::IdentifyNamespaceIndependent>(h.admin.identify(nvme::Cns::namespace_independent, 1).data);
    EXPECT_EQ(independent.rescap, ns.rescap);
  }
}

TEST(Reservations, HoldOthersOffOnEveryQueue) {
  ReservedRig rig;
  ResvHost a(rig, 1), b(rig, 2), second_of_a(rig, 1);
  ASSERT_EQ(a.add(11), ok);
  ASSERT_EQ(a.acquire(11, 2), ok);
  EXPECT_EQ(a.writes(), ok);
  EXPECT_EQ(second_of_a.writes(), ok) << "rights are a host's, on all its controllers";
  EXPECT_EQ(b.writes(), conflict);
  EXPECT_EQ(b.reads(), conflict);
  EXPECT_EQ(b.acquire(22, 2), conflict) << "not registered";
  ASSERT_EQ(b.add(22), ok);
  EXPECT_EQ(b.acquire(22, 2), conflict);
  EXPECT_EQ(b.preempt(22, 11, 2, false), ok);
  EXPECT_EQ(b.writes(), ok);
  EXPECT_EQ(a.writes(), conflict);
  EXPECT_EQ(second_of_a.reads(), conflict);
  EXPECT_EQ(b.release(22, 2), ok);
  EXPECT_EQ(a.writes(), ok);
  EXPECT_EQ(b.remove(22), ok);
  EXPECT_EQ(b.remove(22), conflict);
}

TEST(Reservations, EachCommandBelongsToItsGroup) {
  ReservedRig rig;
  ResvHost holder(rig, 1), other(rig, 2);
  ASSERT_EQ(holder.add(1), ok);
  constexpr IoOpcode reading[] = {IoOpcode::read, IoOpcode::compare, IoOpcode::verify};
  constexpr IoOpcode writing[] = {IoOpcode::write, IoOpcode::write_zeroes, IoOpcode::dataset_management,
                                  IoOpcode::flush, IoOpcode::copy};
  for (std::uint32_t type = 1; type <= 6; ++type) {
    SCOPED_TRACE(type);
    ASSERT_EQ(holder.acquire(1, type), ok);
    const bool may_read = type % 2 == 1;
    for (const IoOpcode opcode : reading) {
      if (opcode == IoOpcode::read) {
        EXPECT_EQ(other.reads(), may_read ? ok : conflict);
        continue;
      }
      EXPECT_EQ(other.runs(opcode), may_read ? ok : conflict) << static_cast<int>(opcode);
      EXPECT_EQ(holder.runs(opcode), ok) << static_cast<int>(opcode);
    }
    for (const IoOpcode opcode : writing) {
      const auto run = [&](ResvHost& h) { return opcode == IoOpcode::write ? h.writes() : h.runs(opcode); };
      EXPECT_EQ(run(other), conflict) << static_cast<int>(opcode);
      EXPECT_EQ(run(holder), ok) << static_cast<int>(opcode);
    }
    Sqe all = RawHost::io(IoOpcode::flush, 0, 1, nvme::nsid_all);
    EXPECT_EQ(other.io.execute(all).status, conflict);
    ASSERT_EQ(holder.release(1, type), ok);
  }
}

TEST(Reservations, AreReported) {
  ReservedRig rig;
  ResvHost a(rig, 1), b(rig, 2);
  ASSERT_EQ(a.add(11, 3), ok);
  ASSERT_EQ(b.add(22), ok);
  ASSERT_EQ(a.acquire(11, 1), ok);
  const Outcome out = b.report();
  ASSERT_EQ(out.status, ok);
  const auto header = load<nvme::ReservationStatusHeader>(out.data);
  EXPECT_EQ(header.gen, 2u);
  EXPECT_EQ(header.rtype, 1);
  EXPECT_EQ(header.regctl, 2);
  EXPECT_EQ(header.ptpls, 1);
  const auto first = load<nvme::RegisteredController>(std::span(out.data).subspan(64));
  const auto second = load<nvme::RegisteredController>(std::span(out.data).subspan(128));
  EXPECT_EQ(first.cntlid, 0xffff);
  EXPECT_EQ(first.rcsts, 1);
  EXPECT_EQ(first.rkey, 11u);
  EXPECT_EQ(first.hostid[0], 1);
  EXPECT_EQ(second.rcsts, 0);
  EXPECT_EQ(second.rkey, 22u);
  const Outcome part = b.report(8);
  EXPECT_EQ(part.status, ok);
  EXPECT_EQ(part.data, Bytes(out.data.begin(), out.data.begin() + 8)) << "as much as the host asked for";
  EXPECT_EQ(b.report(4096, 0).status, permanent(StatusCode::host_identifier_inconsistent));
  Sqe wrong = RawHost::io(IoOpcode::reservation_report, 0, 1);
  wrong.cdw10 = 0;
  wrong.cdw11 = nvme::cdw11_extended_data;
  wrong.sgl1 = nvme::SglDescriptor::transport(4096);
  EXPECT_EQ(b.io.execute(wrong).status, permanent(StatusCode::data_sgl_length_invalid));
}

TEST(Reservations, MalformedCommandsChangeNothing) {
  struct Row {
    const char* what;
    IoOpcode opcode;
    std::uint32_t cdw10;
    std::uint64_t first, second;
  };
  constexpr Row rows[] = {
      {"no such register action", IoOpcode::reservation_register, 3, 1, 1},
      {"key zero", IoOpcode::reservation_register, 0, 0, 0},
      {"no such change of persistence", IoOpcode::reservation_register, 1u << 30, 0, 1},
      {"no such acquire action", IoOpcode::reservation_acquire, 3 | 1 << 8, 1, 0},
      {"no such type", IoOpcode::reservation_acquire, 7 << 8, 1, 0},
      {"type zero", IoOpcode::reservation_acquire, 0, 1, 0},
      {"acquire with IEKEY", IoOpcode::reservation_acquire, 8 | 1 << 8, 1, 0},
      {"no such release action", IoOpcode::reservation_release, 2, 1, 0},
      {"release with IEKEY", IoOpcode::reservation_release, 8 | 1 << 8, 1, 0},
      {"another type than held", IoOpcode::reservation_release, 1 << 8, 1, 0},
      {"preempt nobody", IoOpcode::reservation_acquire, 1 | 2 << 8, 1, 0},
  };
  ReservedRig rig;
  ResvHost h(rig, 1);
  ASSERT_EQ(h.add(1), ok);
  ASSERT_EQ(h.acquire(1, 2), ok);
  const Bytes before = h.report().data;
  for (const Row& row : rows) {
    EXPECT_EQ(h.keys(row.opcode, row.cdw10, row.first, row.second), invalid_field) << row.what;
  }
  for (const IoOpcode opcode :
       {IoOpcode::reservation_register, IoOpcode::reservation_acquire, IoOpcode::reservation_release}) {
    for (const std::uint32_t bytes : {0u, 4u, 12u, 24u, 4096u}) {
      Sqe s = RawHost::io(opcode, 0, 1);
      s.cdw10 = 1 << 8;
      s.sgl1 = nvme::SglDescriptor::in_capsule(bytes);
      EXPECT_EQ(h.io.execute(s, Bytes(bytes)).status, permanent(StatusCode::data_sgl_length_invalid));
    }
    Sqe s = RawHost::io(opcode, 0, 1, 9);
    EXPECT_EQ(h.io.execute(s).status, permanent(StatusCode::invalid_namespace));
  }
  EXPECT_EQ(h.report().data, before);
}

TEST(Reservations, AreNotOfferedWithoutAGuard) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  ResvHost h(rig, 1);
  EXPECT_EQ(h.add(1), permanent(StatusCode::invalid_command_opcode));
  EXPECT_EQ(h.report().status, permanent(StatusCode::invalid_command_opcode));
  EXPECT_EQ(h.feature(AdminOpcode::get_features, Feature::reservation_persistence).status, invalid_field);
}

// The keys may also come by R2T.
TEST(Reservations, TheDataOfARegistrationByR2t) {
  ReservedRig rig;
  ResvHost h(rig, 1);
  Sqe s = RawHost::io(IoOpcode::reservation_register, 0, 1);
  s.cdw10 = s.cdw11 = s.cdw12 = 0;
  s.sgl1 = nvme::SglDescriptor::transport(16);
  Bytes data(16);
  data[8] = std::byte{5};
  const Outcome out = h.io.execute(s, data);
  EXPECT_EQ(out.status, ok);
  EXPECT_EQ(out.r2ts, 1u);
  EXPECT_EQ(rig.guard.report().registrants.at(0).key, 5u);
}

TEST(Reservations, HostsAreTold) {
  ReservedRig rig;
  ResvHost a(rig, 1), b(rig, 2), c(rig, 3);
  EXPECT_EQ(a.log().count, 0u) << "nothing yet";
  ASSERT_EQ(a.add(1), ok);
  ASSERT_EQ(b.add(2), ok);
  ASSERT_EQ(c.add(3), ok);
  ASSERT_EQ(a.acquire(1, 3), ok);
  const std::uint16_t parked = a.admin.park_event_request();
  ASSERT_EQ(b.preempt(2, 1, 1, true), ok);
  const Outcome event = a.admin.wait_for(parked);
  EXPECT_EQ(event.status, ok);
  const auto what = nvme::AsyncEvent::unpack(static_cast<std::uint32_t>(event.result));
  EXPECT_EQ(what.type, nvme::AsyncEventType::io_command_set);
  EXPECT_EQ(what.info, 0);
  EXPECT_EQ(what.lid, static_cast<std::uint8_t>(LogPage::reservation));
  EXPECT_EQ(a.log(true).type, 1) << "registration preempted";
  auto log = a.log();
  EXPECT_EQ(log.count, 1u);
  EXPECT_EQ(log.type, 1);
  EXPECT_EQ(log.nsid, 1u);
  EXPECT_EQ(log.available, 0);
  EXPECT_EQ(a.log().count, 0u) << "it was read";
  EXPECT_EQ(c.log().type, 2) << "the type changed: reservation released";
  EXPECT_EQ(b.log().count, 0u) << "whoever did it is not told";
  ASSERT_EQ(b.clear(2), ok);
  EXPECT_EQ(c.log().type, 3) << "reservation preempted";
}

TEST(Reservations, NotificationsQueueUpAndCanBeMasked) {
  ReservedRig rig;
  ResvHost a(rig, 1), b(rig, 2);
  ASSERT_EQ(b.add(2), ok);
  const auto preempted = [&] {
    ASSERT_EQ(a.add(1), ok);
    ASSERT_EQ(b.preempt(2, 1, 1, false), ok);
  };
  preempted();
  preempted();
  auto log = a.log();
  EXPECT_EQ(log.count, 1u);
  EXPECT_EQ(log.available, 1);
  EXPECT_EQ(a.log().count, 2u);
  const auto mask = Feature::reservation_mask;
  EXPECT_EQ(a.feature(AdminOpcode::set_features, mask, 1 << 1).status, ok);
  EXPECT_EQ(a.feature(AdminOpcode::get_features, mask).result, 2u);
  preempted();
  EXPECT_EQ(a.log().count, 0u);
  EXPECT_EQ(a.feature(AdminOpcode::set_features, mask, 0, nvme::nsid_all).status, ok);
  preempted();
  EXPECT_EQ(a.log().count, 3u);
  EXPECT_EQ(a.feature(AdminOpcode::set_features, mask, 1).status, invalid_field);
  EXPECT_EQ(a.feature(AdminOpcode::set_features, mask, 0, 7).status,
            permanent(StatusCode::invalid_namespace));
  EXPECT_EQ(a.feature(AdminOpcode::get_features, mask, 0, 7).status,
            permanent(StatusCode::invalid_namespace));
}

TEST(Reservations, PersistWhenAskedTo) {
  const auto persistence = Feature::reservation_persistence;
  ReservedRig rig;
  ResvHost h(rig, 1);
  EXPECT_EQ(h.feature(AdminOpcode::get_features, persistence).result, 0u);
  EXPECT_EQ(h.feature(AdminOpcode::set_features, persistence, 1).status, ok);
  EXPECT_EQ(h.feature(AdminOpcode::get_features, persistence).result, 1u);
  ASSERT_EQ(h.add(5), ok);
  ASSERT_EQ(h.acquire(5, 2), ok);
  ReservationGuard again(rig.process->cores(), rig.device->identity().uuid, &rig.store);
  ASSERT_TRUE(rig.run(again.load()).ok());
  EXPECT_EQ(again.report(), rig.guard.report());
  EXPECT_EQ(h.feature(AdminOpcode::set_features, persistence, 0, nvme::nsid_all).status, ok);
  ReservationGuard third(rig.process->cores(), rig.device->identity().uuid, &rig.store);
  ASSERT_TRUE(rig.run(third.load()).ok());
  EXPECT_TRUE(third.report().registrants.empty());
  EXPECT_EQ(h.feature(AdminOpcode::set_features, persistence, 2).status, invalid_field);
  EXPECT_EQ(h.feature(AdminOpcode::set_features, persistence, 1, 9).status,
            permanent(StatusCode::invalid_namespace));
  ReservedRig without(false);
  ResvHost other(without, 1);
  EXPECT_EQ(other.add(1, 3), invalid_field);
  EXPECT_EQ(other.feature(AdminOpcode::set_features, persistence, 1).status, invalid_field);
}

}  // namespace
}  // namespace holdfast::nvmf::test
