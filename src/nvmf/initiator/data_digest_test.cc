// Data that is damaged on its way, against a target that makes wrong digests on purpose: the command fails and is
// sent again, the connection stays.
#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "nvme/reservation.h"
#include "nvme/status.h"
#include "nvmf/initiator/queue.h"
#include "nvmf/initiator/testing/fake_target_fixture.h"

namespace holdfast::nvmf {
namespace {

using test::pattern, test::port;

constexpr std::uint8_t last = nvme::flag_last_pdu;
constexpr std::uint8_t success = nvme::flag_last_pdu | nvme::flag_success;

struct Fixture : test::FakeTargetFixture {
  Fixture() { config.data_digest = true; }

  // Sees commands of I/O queues with that opcode. True: answered.
  void on_io(nvme::IoOpcode opcode, std::function<bool(test::FakeConnection&, const nvme::Sqe&)> answer) {
    target->hook = [opcode, answer = std::move(answer)](test::FakeConnection& c, const nvme::Sqe& sqe,
                                                        std::span<const std::byte>) {
      return c.qid() != 0 && sqe.opc == static_cast<std::uint8_t>(opcode) && answer(c, sqe);
    };
  }
};

// ---- one queue, as its user sees it

struct QueueEnd final : host::QueueObserver {
  void on_queue_dead(host::Queue&, const Error&) noexcept override { dead = true; }
  void on_command_late(host::Queue&, host::Command&) noexcept override {}
  bool dead = false;
};

// A read of 8 KiB on a queue, in guarded memory.
struct QueuedRead {
  QueuedRead() : memory(guard + 8192 + guard, std::byte{0xee}), vec{memory.data() + guard, 8192} {
    command.sqe.opc = static_cast<std::uint8_t>(nvme::AdminOpcode::get_log_page);
    command.transfer = host::Transfer::to_host;
    command.length = 8192;
    command.data = IoVecs(&vec, 1);
  }
  Task<void> run(host::Queue& queue) {
    co_await queue.issue(command);
    ended = true;
  }
  nvme::CommandStatus status() const { return nvme::CommandStatus::unpack(command.cqe.status); }
  std::span<const std::byte> data() const { return std::span(memory).subspan(guard, 8192); }
  bool guards_hold() const {
    const auto intact = [](std::byte b) { return b == std::byte{0xee}; };
    return std::all_of(memory.begin(), memory.begin() + guard, intact) &&
           std::all_of(memory.end() - guard, memory.end(), intact);
  }
  static constexpr std::ptrdiff_t guard = 512;
  std::vector<std::byte> memory;
  IoVec vec;
  host::Command command;
  bool ended = false;
};

struct QueueFixture : Fixture {
  QueueFixture() {
    host::QueueOptions options;
    options.to = Endpoint{target_node.ipv4(), port};
    options.data_digest = true;
    auto opened = world.run(home(), host::Queue::open(home(), options, end, no_deadline, StopToken()));
    EXPECT_TRUE(opened.ok());
    queue = std::move(opened).value();
    target->hook = [this](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
      connection = &c;
      cid = sqe.cid;
      return true;
    };
  }
  ~QueueFixture() { world.run(home(), queue->close()); }

  void start(QueuedRead& read) {
    connection = nullptr;
    world.spawn(home(), read.run(*queue));
    ASSERT_TRUE(world.run_until([&] { return connection != nullptr; }, world.now() + 1s));
  }
  void send(std::uint32_t offset, std::uint8_t flags, bool damaged) {
    connection->digest_error = damaged ? 0x10 : 0;
    connection->data(cid, offset, std::span<const std::byte>(bytes).subspan(offset, 4096), flags);
    world.run_for(10ms);
  }

  QueueEnd end;
  std::unique_ptr<host::Queue> queue;
  test::FakeConnection* connection = nullptr;
  std::uint16_t cid = 0;
  const std::vector<std::byte> bytes = pattern(8192, 1);
};

TEST(DataDigest, AWrongOneFailsTheCommandOnceTheTargetIsDoneWithIt) {
  for (const bool by_response : {false, true}) {
    for (const std::uint32_t wrong : {0u, 4096u}) {
      SCOPED_TRACE(testing::Message() << "response " << by_response << ", damaged at " << wrong);
      QueueFixture f;
      QueuedRead read;
      f.start(read);
      f.send(0, 0, wrong == 0);
      EXPECT_FALSE(read.ended) << "more of its data is to come";
      f.send(4096, by_response ? last : success, wrong == 4096);
      if (by_response) {
        EXPECT_FALSE(read.ended) << "the target may still answer under its identifier";
        f.connection->respond(f.cid);
        f.world.run_for(10ms);
      }
      ASSERT_TRUE(read.ended);
      EXPECT_EQ(read.command.end, host::CommandEnd::completed);
      EXPECT_EQ(read.status().code, nvme::StatusCode::transient_transport_error);
      EXPECT_FALSE(read.status().dnr);
      EXPECT_TRUE(host::was_damaged(read.command));
      EXPECT_TRUE(read.guards_hold());
      EXPECT_TRUE(f.queue->alive());

      QueuedRead next;
      f.start(next);
      f.send(0, 0, false);
      f.send(4096, success, false);
      ASSERT_TRUE(next.ended);
      EXPECT_TRUE(next.status().ok());
      EXPECT_TRUE(std::equal(f.bytes.begin(), f.bytes.end(), next.data().begin()));
      EXPECT_FALSE(f.end.dead);
      EXPECT_TRUE(f.target->terminated.empty());
    }
  }
}

TEST(DataDigest, AnErrorThatTheTargetReportsStays) {
  QueueFixture f;
  QueuedRead read;
  f.start(read);
  f.send(0, last, true);
  f.connection->respond(f.cid, nvme::permanent(nvme::StatusCode::unrecovered_read_error));
  ASSERT_TRUE(f.world.run_until([&] { return read.ended; }, f.world.now() + 1s));
  EXPECT_EQ(read.status(), nvme::permanent(nvme::StatusCode::unrecovered_read_error));
}

// ---- a device

TEST(DataDigest, AReadIsSentAgainOnTheSameConnection) {
  Fixture f;
  f.config.grace = Nanos{0};  // as where another copy is asked at once
  ASSERT_TRUE(f.open().ok());
  auto data = pattern(65536, 5);
  ASSERT_TRUE(f.write(8, data).ok());
  const unsigned accepted = f.target->accepted;
  unsigned reads = 0;
  f.on_io(nvme::IoOpcode::read, [&](test::FakeConnection& c, const nvme::Sqe&) {
    c.digest_error = ++reads < host::damaged_tries_max ? reads : 0;
    return false;
  });
  std::vector<std::byte> back(data.size());
  EXPECT_TRUE(f.read(8, back).ok());
  EXPECT_EQ(back, data);
  EXPECT_EQ(reads, host::damaged_tries_max);
  EXPECT_EQ(f.target->accepted, accepted);
  EXPECT_EQ(f.controller().reconnects(), 0u);
}

// The target found the damage: it answers so, and has done nothing.
TEST(DataDigest, AWriteIsSentAgainOnTheSameConnection) {
  for (const std::size_t bytes : {4096u, 65536u}) {  // in the capsule, and by R2T
    Fixture f;
    f.config.grace = Nanos{0};
    ASSERT_TRUE(f.open().ok());
    unsigned writes = 0;
    f.on_io(nvme::IoOpcode::write, [&](test::FakeConnection& c, const nvme::Sqe& sqe) {
      if (++writes == host::damaged_tries_max) return false;
      c.respond(sqe.cid, nvme::StatusCode::transient_transport_error);
      return true;
    });
    auto data = pattern(bytes, 5);
    const Nanos began = f.world.now();
    EXPECT_TRUE(f.write(8, data).ok());
    EXPECT_LT(f.world.now() - began, Nanos(10ms)) << "nothing of it is to be waited for";
    EXPECT_TRUE(std::equal(data.begin(), data.end(), f.target->disk.begin() + 8 * 512));
    EXPECT_EQ(writes, host::damaged_tries_max);
    EXPECT_EQ(f.controller().reconnects(), 0u);
  }
}

TEST(DataDigest, AConnectionThatDamagesTheSameCommandAgainAndAgainIsGivenUp) {
  Fixture f;
  ASSERT_TRUE(f.open().ok());
  auto data = pattern(8192, 5);
  ASSERT_TRUE(f.write(8, data).ok());
  unsigned reads = 0;
  f.on_io(nvme::IoOpcode::read, [&](test::FakeConnection& c, const nvme::Sqe&) {
    c.digest_error = ++reads <= host::damaged_tries_max ? 1 : 0;
    return false;
  });
  std::vector<std::byte> back(data.size());
  EXPECT_TRUE(f.read(8, back).ok());
  EXPECT_EQ(back, data);
  EXPECT_EQ(reads, host::damaged_tries_max + 1);
  EXPECT_EQ(f.controller().reconnects(), 1u);
}

// What a nexus is told of a child whose data never comes through, so that it reads elsewhere.
TEST(DataDigest, DataThatNeverComesThroughIsALostPath) {
  Fixture f;
  f.config.grace = Nanos{0};
  ASSERT_TRUE(f.open().ok());
  unsigned reads = 0;
  f.on_io(nvme::IoOpcode::read, [&](test::FakeConnection& c, const nvme::Sqe&) {
    ++reads;
    c.digest_error = 1;
    return false;
  });
  std::vector<std::byte> back(8192);
  EXPECT_EQ(f.read(8, back).code(), Errc::not_connected);
  EXPECT_EQ(reads, host::damaged_tries_max);
  f.target->hook = {};
  ASSERT_TRUE(f.world.run_until([&] { return f.observer.saw(DeviceEvent::recovered); }, f.world.now() + 20s));
  EXPECT_TRUE(f.read(8, back).ok());
}

TEST(DataDigest, AdminCommandsAreSentAgain) {
  Fixture f;
  unsigned damaged = 0;
  std::optional<std::uint8_t> previous;
  f.target->hook = [&](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
    if (c.qid() != 0) return false;
    // The first try of each kind of command, Connect among them.
    const bool first = previous != sqe.opc;
    previous = sqe.opc;
    if (first && sqe.opc == static_cast<std::uint8_t>(nvme::AdminOpcode::fabrics)) {
      ++damaged;
      c.respond(sqe.cid, nvme::StatusCode::transient_transport_error);
      return true;
    }
    c.digest_error = first ? 1 : 0;
    damaged += first ? 1 : 0;
    return false;
  };
  const Status opened = f.open();
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  EXPECT_GE(damaged, 2u);
  EXPECT_EQ(f.target->accepted, 2u) << "one admin and one I/O queue";
}

// Reading takes a notice out of the log: what it was is not known any more, so it is taken for the worst.
TEST(DataDigest, ADamagedReservationNoticeIsNotLost) {
  for (const bool damage : {false, true}) {
    Fixture f;
    ASSERT_TRUE(f.open().ok());
    unsigned reads = 0;
    f.target->hook = [&](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
      const bool log = c.qid() == 0 && sqe.opc == static_cast<std::uint8_t>(nvme::AdminOpcode::get_log_page);
      if (log) c.digest_error = damage && ++reads == 1 ? 1 : 0;
      return false;  // the log is empty
    };
    f.target->raise(
        {nvme::AsyncEventType::io_command_set, 0, static_cast<std::uint8_t>(nvme::LogPage::reservation)});
    f.world.run_for(1s);
    EXPECT_EQ(f.observer.saw(DeviceEvent::reservations_changed), damage);
    EXPECT_EQ(f.controller().reconnects(), 0u);
  }
}

}  // namespace
}  // namespace holdfast::nvmf
