// The initiator against a scripted target in the simulated world: what a well-behaved target never does.
#include "nvmf/initiator/initiator.h"

#include <cstring>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "nvmf/initiator/remote_device.h"
#include "nvmf/initiator/testing/fake_target_fixture.h"
#include "sim/net.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::nvmf {
namespace {

using test::pattern;
using Fixture = test::FakeTargetFixture;

TEST(Initiator, ConnectsReadsAndWrites) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    Fixture f(seed);
    ASSERT_TRUE(f.open().ok());
    EXPECT_EQ(f.device->geometry().block_count, 4096u);
    EXPECT_EQ(f.device->geometry().block_bytes, 512u);
    EXPECT_EQ(f.device->identity().uuid, f.target->uuid);
    EXPECT_EQ(f.target->hostnqn, f.config.hostnqn);
    for (const std::size_t bytes : {512u, 4096u, 8192u, 8704u, 65536u, 1048576u}) {
      auto data = pattern(bytes, seed + bytes);
      ASSERT_TRUE(f.write(3, data).ok());
      std::vector<std::byte> back(bytes);
      ASSERT_TRUE(f.read(3, back).ok());
      EXPECT_EQ(data, back) << bytes;
    }
  }
}

TEST(Initiator, SplitsByTheTargetsLimits) {
  Fixture f;
  f.target->mdts = 3;  // 32 KiB
  f.target->r2t_bytes = 4096;
  f.target->c2h_bytes = 1536;
  f.target->success_flag = false;
  f.target->ic_hook = [](nvme::IcResp& resp) { resp.maxh2cdata = 4096; };
  ASSERT_TRUE(f.open().ok());
  auto data = pattern(512 * 1000, 3);
  ASSERT_TRUE(f.write(1, data).ok());
  EXPECT_EQ(f.target->commands[static_cast<unsigned>(nvme::IoOpcode::write)], 16u);
  std::vector<std::byte> back(data.size());
  ASSERT_TRUE(f.read(1, back).ok());
  EXPECT_EQ(data, back);
}

// The next R2T comes when the data of the first has arrived, which may be before our send of all of it has ended.
TEST(Initiator, AsManyR2tsAsItAnnouncesAreRight) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Fixture f(seed);
    std::uint32_t announced = 0;
    f.target->ic_req_hook = [&](const nvme::IcReq& req) { announced = req.maxr2t + 1u; };
    ASSERT_TRUE(f.open().ok());
    f.target->r2ts_at_once = announced;
    f.target->r2t_bytes = seed % 2 == 0 ? 4096 : 131072;
    auto data = pattern(1 << 20, seed);
    ASSERT_TRUE(f.write(0, data).ok());
    EXPECT_TRUE(std::equal(data.begin(), data.end(), f.target->disk.begin()));
    EXPECT_EQ(f.controller().reconnects(), 0u);
    EXPECT_TRUE(f.target->terminated.empty());
  }
}

TEST(Initiator, ZeroesDeallocatesComparesAndFlushes) {
  Fixture f;
  ASSERT_TRUE(f.open().ok());
  auto data = pattern(8192, 3);
  ASSERT_TRUE(f.write(0, data).ok());
  const IoVec vec{data.data(), data.size()};
  EXPECT_TRUE(f.world.run(f.home(), f.channel->compare(Lba{0}, IoVecs(&vec, 1))).ok());
  EXPECT_EQ(f.world.run(f.home(), f.channel->compare(Lba{1}, IoVecs(&vec, 1))).code(), Errc::miscompare);
  EXPECT_TRUE(f.world.run(f.home(), f.channel->write_zeroes({Lba{0}, 2}, Unmap::yes, Durable::no)).ok());
  EXPECT_TRUE(f.world.run(f.home(), f.channel->deallocate({Lba{4}, 2})).ok());
  EXPECT_TRUE(f.world.run(f.home(), f.channel->flush()).ok());
  std::vector<std::byte> back(8192);
  ASSERT_TRUE(f.read(0, back).ok());
  std::fill_n(data.begin(), 1024, std::byte{0});
  std::fill_n(data.begin() + 2048, 1024, std::byte{0});
  EXPECT_EQ(data, back);
  EXPECT_EQ(f.world.run(f.home(), f.channel->write_zeroes({Lba{4000}, 97}, Unmap::no, Durable::no)).code(),
            Errc::out_of_range);
}

TEST(Initiator, ComparesByItselfWhereTheTargetCannot) {
  Fixture f;
  f.target->oncs = 0;
  ASSERT_TRUE(f.open().ok());
  EXPECT_FALSE(f.device->capabilities().deallocate);
  auto data = pattern(1048576 + 512, 3);
  ASSERT_TRUE(f.write(0, data).ok());
  const IoVec vec{data.data(), data.size()};
  EXPECT_TRUE(f.world.run(f.home(), f.channel->compare(Lba{0}, IoVecs(&vec, 1))).ok());
  data.back() ^= std::byte{1};
  EXPECT_EQ(f.world.run(f.home(), f.channel->compare(Lba{0}, IoVecs(&vec, 1))).code(), Errc::miscompare);
  EXPECT_EQ(f.world.run(f.home(), f.channel->deallocate({Lba{0}, 1})).code(), Errc::not_supported);
}

TEST(Initiator, OpenErrorsNameWhatIsWrong) {
  {
    Fixture f;
    f.world.net().refuse(f.target_node, true);
    const Status opened = f.open();
    EXPECT_EQ(opened.code(), Errc::not_connected);
    EXPECT_NE(opened.error().message().find("10.0.0.2:8420"), std::string::npos) << opened.error().message();
  }
  {
    Fixture f;
    f.target->has_namespace = false;
    EXPECT_EQ(f.open().code(), Errc::not_found);
  }
  {
    Fixture f;
    RemoteConfig r = f.remote();
    Prng prng(99);
    r.uuid = Uuid::random(prng);
    const auto opened = f.world.run(f.home(), RemoteDevice::open(f.host->cores(), r, "nvmf://x"));
    ASSERT_EQ(opened.code(), Errc::not_found);
    EXPECT_NE(opened.error().message().find(f.target->uuid.to_string()), std::string::npos);
    EXPECT_NE(opened.error().message().find(r.uuid->to_string()), std::string::npos);
  }
  {
    Fixture f;
    f.target->hook = [](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
      if (sqe.opc != 0x7f) return false;
      c.respond(sqe.cid, nvme::permanent(nvme::StatusCode::connect_invalid_host));
      return true;
    };
    const Status opened = f.open();
    EXPECT_EQ(opened.code(), Errc::not_found);
    EXPECT_NE(opened.error().message().find("not allowed"), std::string::npos) << opened.error().message();
  }
  {
    Fixture f;  // a target that never answers
    f.target->hook = [](test::FakeConnection&, const nvme::Sqe&, std::span<const std::byte>) { return true; };
    EXPECT_EQ(f.open().code(), Errc::timed_out);
  }
}

TEST(Initiator, IoErrorsKeepTheirMeaning) {
  struct Case {
    nvme::StatusCode status;
    Errc code;
  };
  const Case cases[] = {{nvme::StatusCode::unrecovered_read_error, Errc::io_error},
                        {nvme::StatusCode::capacity_exceeded, Errc::out_of_space},
                        {nvme::StatusCode::reservation_conflict, Errc::reservation_conflict},
                        {nvme::StatusCode::lba_out_of_range, Errc::out_of_range},
                        {nvme::StatusCode::namespace_write_protected, Errc::read_only}};
  Fixture f;
  ASSERT_TRUE(f.open().ok());
  for (const Case& c : cases) {
    f.target->hook = [&](test::FakeConnection& connection, const nvme::Sqe& sqe, std::span<const std::byte>) {
      if (connection.qid() == 0) return false;
      connection.respond(sqe.cid, nvme::permanent(c.status));
      return true;
    };
    auto data = pattern(4096, 1);
    EXPECT_EQ(f.write(0, data).code(), c.code);
    EXPECT_EQ(f.read(0, data).code(), c.code);
  }
}

// A command that is never answered is aborted, then its connection is reset, and it ends once with timed_out.
TEST(Initiator, TimeOutAbortsThenResets) {
  Fixture f;
  ASSERT_TRUE(f.open().ok());
  unsigned aborts = 0;
  bool swallow = true;
  f.target->hook = [&](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
    if (c.qid() == 0) {
      if (sqe.opc == static_cast<std::uint8_t>(nvme::AdminOpcode::abort)) ++aborts;
      return false;
    }
    return swallow && std::exchange(swallow, false);
  };
  std::vector<std::byte> data(4096);
  const Nanos began = f.world.now();
  EXPECT_EQ(f.read(0, data).code(), Errc::timed_out);
  EXPECT_EQ(aborts, 1u);
  EXPECT_LT(f.world.now() - began, Nanos(2s));
  EXPECT_TRUE(f.read(0, data).ok());
  EXPECT_EQ(f.controller().reconnects(), 1u);
  EXPECT_FALSE(f.observer.saw(DeviceEvent::failed));
}

// Whatever it answers: the data that it does not take is the caller's, who would wait for ever.
TEST(Initiator, AnAnsweredCommandWhoseDataIsNotTakenTimesOut) {
  for (const bool good : {true, false}) {
    Fixture f;
    ASSERT_TRUE(f.open().ok());
    bool once = true;
    unsigned aborts = 0;
    f.target->hook = [&](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
      if (c.qid() == 0 && sqe.opc == static_cast<std::uint8_t>(nvme::AdminOpcode::abort)) ++aborts;
      if (c.qid() == 0 || !std::exchange(once, false)) return false;
      c.deaf = true;
      c.r2t(sqe.cid, 1, 0, sqe.sgl1.length);
      const nvme::CommandStatus bad(nvme::StatusCode::unrecovered_read_error);
      c.respond(sqe.cid, good ? nvme::CommandStatus() : bad);
      return true;
    };
    auto data = pattern(1 << 20, 1);
    const Nanos began = f.world.now();
    const Status wrote = f.write(0, data);
    EXPECT_EQ(wrote.code(), Errc::timed_out);
    EXPECT_LT(f.world.now() - began, f.config.io_timeout + f.config.abort_timeout + Nanos(1s));
    EXPECT_EQ(aborts, 0u) << "there is nothing to abort";
    ASSERT_TRUE(f.write(0, data).ok());
    EXPECT_TRUE(std::equal(data.begin(), data.end(), f.target->disk.begin()));
    EXPECT_EQ(f.controller().reconnects(), 1u);
  }
}

TEST(Initiator, AbortedCommandEndsWithoutAReset) {
  Fixture f;
  ASSERT_TRUE(f.open().ok());
  test::FakeConnection* io = nullptr;
  std::uint16_t stuck = 0;
  f.target->hook = [&](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
    if (c.qid() == 0 && sqe.opc == static_cast<std::uint8_t>(nvme::AdminOpcode::abort)) {
      EXPECT_EQ(sqe.cdw10.get() & 0xffff, 1u);
      EXPECT_EQ(sqe.cdw10.get() >> 16, stuck);
      io->respond(stuck, nvme::StatusCode::abort_requested);
      return false;
    }
    if (c.qid() == 0) return false;
    io = &c;
    stuck = sqe.cid;
    return true;
  };
  std::vector<std::byte> data(4096);
  EXPECT_EQ(f.read(0, data).code(), Errc::timed_out);
  f.world.run_for(1s);
  EXPECT_EQ(f.controller().reconnects(), 0u);
  f.target->hook = {};
}

TEST(Initiator, MissingKeepAliveAnswersEndTheAssociation) {
  Fixture f;
  ASSERT_TRUE(f.open().ok());
  bool deaf = true;
  f.target->hook = [&](test::FakeConnection&, const nvme::Sqe& sqe, std::span<const std::byte>) {
    return deaf && sqe.opc == static_cast<std::uint8_t>(nvme::AdminOpcode::keep_alive);
  };
  f.world.run_for(4s);
  EXPECT_GE(f.controller().reconnects(), 1u);
  deaf = false;
  f.world.run_for(4s);
  std::vector<std::byte> data(4096);
  EXPECT_TRUE(f.read(0, data).ok());
}

TEST(Initiator, FollowsTheNamespaceSize) {
  Fixture f;
  ASSERT_TRUE(f.open().ok());
  f.target->disk.resize(8192 * 512);
  f.target->raise(
      {nvme::AsyncEventType::notice, 0, static_cast<std::uint8_t>(nvme::LogPage::changed_namespaces)});
  ASSERT_TRUE(f.world.run_until([&] { return f.observer.saw(DeviceEvent::resized); }, f.world.now() + 1s));
  EXPECT_EQ(f.device->geometry().block_count, 8192u);
  auto data = pattern(4096, 1);
  EXPECT_TRUE(f.write(8000, data).ok());
  // Without a notice: by asking.
  f.target->disk.resize(9000 * 512);
  EXPECT_TRUE(f.world.run(f.home(), f.device->rescan()).ok());
  EXPECT_EQ(f.device->geometry().block_count, 9000u);
}

TEST(Initiator, ATargetThatTellsWithoutEndIsHeardNowAndThen) {
  Fixture f;
  ASSERT_TRUE(f.open().ok());
  unsigned told = 0;
  const auto is_request = [](const test::FakeConnection& c, const nvme::Sqe& sqe) {
    return c.qid() == 0 && sqe.opc == static_cast<std::uint8_t>(nvme::AdminOpcode::async_event_request);
  };
  const nvme::AsyncEvent event{nvme::AsyncEventType::smart, 0,
                               static_cast<std::uint8_t>(nvme::LogPage::smart)};
  f.target->hook = [&](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
    if (!is_request(c, sqe)) return false;
    ++told;
    c.respond(sqe.cid, {}, event.pack());
    return true;
  };
  f.target->raise(event);
  f.world.run_for(2s);
  EXPECT_GT(told, 300u);
  EXPECT_LT(told, 1000u) << "of tens of thousands";
  std::vector<std::byte> data(4096);
  EXPECT_TRUE(f.read(0, data).ok());
  EXPECT_EQ(f.controller().reconnects(), 0u);
}

TEST(Initiator, ATargetThatLosesEveryConnectionIsTriedMoreAndMoreSlowly) {
  Fixture f;
  ASSERT_TRUE(f.open().ok());
  f.target->hook = [](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
    if (c.qid() == 0 || sqe.opc != static_cast<std::uint8_t>(nvme::IoOpcode::read)) return false;
    c.hang_up();
    return true;
  };
  std::vector<std::byte> data(4096);
  EXPECT_FALSE(f.read(0, data).ok());
  EXPECT_GT(f.controller().reconnects(), 2u);
  EXPECT_LT(f.controller().reconnects(), 20u);
  f.target->hook = {};
  EXPECT_TRUE(f.read(0, data).ok());
  // One that stood for a while is tried again at once.
  f.world.run_for(f.config.backoff_max + Nanos(1s));
  f.world.net().cut(f.host_node, f.target_node);
  const Nanos began = f.world.now();
  EXPECT_TRUE(f.read(0, data).ok());
  EXPECT_LT(f.world.now() - began, f.config.backoff_min / 2);
}

TEST(Initiator, NamespaceGoneIsRemoved) {
  Fixture f;
  ASSERT_TRUE(f.open().ok());
  f.target->has_namespace = false;
  f.target->raise(
      {nvme::AsyncEventType::notice, 0, static_cast<std::uint8_t>(nvme::LogPage::changed_namespaces)});
  ASSERT_TRUE(f.world.run_until([&] { return f.observer.saw(DeviceEvent::removed); }, f.world.now() + 1s));
  std::vector<std::byte> data(4096);
  EXPECT_EQ(f.read(0, data).code(), Errc::not_connected);
}

TEST(Initiator, WaitsWhileTheAnaGroupIsInaccessible) {
  Fixture f;
  f.target->ana = true;
  ASSERT_TRUE(f.open().ok());
  EXPECT_EQ(f.controller().ana_state(), nvme::AnaState::optimized);
  f.target->ana_state = nvme::AnaState::inaccessible;
  f.world.after(1s, [&] { f.target->ana_state = nvme::AnaState::non_optimized; });
  std::vector<std::byte> data(4096);
  const Nanos began = f.world.now();
  EXPECT_TRUE(f.read(0, data).ok());
  EXPECT_GE(f.world.now() - began, Nanos(1s));
  EXPECT_EQ(f.controller().ana_state(), nvme::AnaState::non_optimized);
  // For longer than the grace period.
  f.target->ana_state = nvme::AnaState::inaccessible;
  EXPECT_EQ(f.read(0, data).code(), Errc::not_connected);
  EXPECT_TRUE(f.observer.saw(DeviceEvent::failed));
  f.target->ana_state = nvme::AnaState::optimized;
  EXPECT_TRUE(f.world.run_until([&] { return f.observer.saw(DeviceEvent::recovered); }, f.world.now() + 5s));
  EXPECT_TRUE(f.read(0, data).ok());
}

TEST(Initiator, GraceExceededFailsAndRecovers) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    Fixture f(seed);
    ASSERT_TRUE(f.open().ok());
    f.world.net().refuse(f.target_node, true);
    f.world.net().cut(f.host_node, f.target_node);
    std::vector<std::byte> data(4096);
    const Nanos began = f.world.now();
    EXPECT_EQ(f.read(0, data).code(), Errc::not_connected);
    EXPECT_GE(f.world.now() - began, f.config.grace - Nanos(100ms));
    EXPECT_LE(f.world.now() - began, f.config.grace + Nanos(100ms));
    EXPECT_TRUE(f.observer.saw(DeviceEvent::failed));
    const Nanos failed = f.world.now();
    EXPECT_EQ(f.read(0, data).code(), Errc::not_connected);
    EXPECT_LT(f.world.now() - failed, Nanos(1ms)) << "a failed device answers at once";
    f.world.net().refuse(f.target_node, false);
    ASSERT_TRUE(
        f.world.run_until([&] { return f.observer.saw(DeviceEvent::recovered); }, f.world.now() + 20s));
    EXPECT_TRUE(f.read(0, data).ok());
  }
}

TEST(Initiator, WithoutGraceItFailsAtOnce) {
  Fixture f;
  f.config.grace = Nanos{0};
  ASSERT_TRUE(f.open().ok());
  bool swallow = true;
  f.target->hook = [&](test::FakeConnection& c, const nvme::Sqe&, std::span<const std::byte>) {
    if (c.qid() == 0 || !swallow) return false;
    c.hang_up();
    return true;
  };
  std::vector<std::byte> data(4096);
  const Nanos began = f.world.now();
  EXPECT_EQ(f.read(0, data).code(), Errc::not_connected);
  EXPECT_LT(f.world.now() - began, Nanos(50ms));
  swallow = false;
  ASSERT_TRUE(f.world.run_until([&] { return f.observer.saw(DeviceEvent::recovered); }, f.world.now() + 20s));
  EXPECT_TRUE(f.read(0, data).ok());
}

TEST(Initiator, AnotherNamespaceIsNotTakenForTheOldOne) {
  Fixture f;
  ASSERT_TRUE(f.open().ok());
  Prng prng(5);
  const Uuid old = std::exchange(f.target->uuid, Uuid::random(prng));
  f.world.net().cut(f.host_node, f.target_node);
  std::vector<std::byte> data(4096);
  EXPECT_EQ(f.read(0, data).code(), Errc::not_connected);
  f.world.run_for(20s);
  EXPECT_FALSE(f.observer.saw(DeviceEvent::recovered));
  f.target->uuid = old;
  EXPECT_TRUE(f.world.run_until([&] { return f.observer.saw(DeviceEvent::recovered); }, f.world.now() + 20s));
}

// A write of unknown fate is acknowledged only when the old connection can not deliver it any more.
TEST(Initiator, RetriedWriteWaitsForTheFence) {
  Fixture f;
  f.config.keep_alive = 2s;
  ASSERT_TRUE(f.open().ok());
  bool swallow = true;
  f.target->hook = [&](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
    if (c.qid() == 0 || sqe.opc != static_cast<std::uint8_t>(nvme::IoOpcode::write)) return false;
    if (!std::exchange(swallow, false)) return false;
    f.world.after(0s, [&] { f.world.net().cut(f.host_node, f.target_node); });
    return true;
  };
  auto data = pattern(4096, 1);
  const Nanos began = f.world.now();
  EXPECT_TRUE(f.write(0, data).ok());
  EXPECT_GE(f.world.now() - began, Nanos(2s));
  EXPECT_LE(f.world.now() - began, Nanos(3s));
  EXPECT_EQ(f.controller().reconnects(), 1u);
}

// Where the admin connection survives, a controller reset makes the fence unnecessary.
TEST(Initiator, ControllerResetReplacesTheFence) {
  Fixture f;
  ASSERT_TRUE(f.open().ok());
  bool swallow = true;
  f.target->hook = [&](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
    if (c.qid() == 0 || sqe.opc != static_cast<std::uint8_t>(nvme::IoOpcode::write)) return false;
    if (!std::exchange(swallow, false)) return false;
    c.hang_up();
    return true;
  };
  auto data = pattern(4096, 1);
  const Nanos began = f.world.now();
  EXPECT_TRUE(f.write(0, data).ok());
  EXPECT_LE(f.world.now() - began, Nanos(300ms));
}

TEST(Initiator, CancelAllEndsWhatIsUnderWay) {
  for (const bool connected : {true, false}) {
    Fixture f;
    ASSERT_TRUE(f.open().ok());
    f.target->hook = [](test::FakeConnection& c, const nvme::Sqe&, std::span<const std::byte>) {
      return c.qid() != 0;
    };
    if (!connected) {
      f.world.net().refuse(f.target_node, true);
      f.world.net().cut(f.host_node, f.target_node);
      f.world.run_for(100ms);
    }
    std::optional<Errc> ended;
    std::vector<std::byte> data(4096);
    const IoVec vec{data.data(), data.size()};
    auto stuck = [&]() -> Task<void> {
      const Status s = co_await f.channel->write(Lba{0}, IoVecs(&vec, 1), Durable::no);
      ended = s.code();
    };
    f.world.spawn(f.home(), stuck());
    f.world.run_for(100ms);
    EXPECT_FALSE(ended);
    auto cancel = [&]() -> Task<void> {
      f.channel->cancel_all();
      co_return;
    };
    f.world.run(f.home(), cancel());
    EXPECT_TRUE(f.world.run_until([&] { return ended.has_value(); }, f.world.now() + 50ms));
    EXPECT_EQ(ended, Errc::not_connected);
    EXPECT_EQ(f.read(0, data).code(), Errc::not_connected);
  }
}

TEST(Initiator, ServesEveryCoreWithAQueueOfItsOwnOrWithoutOne) {
  for (const bool enough : {true, false}) {
    Fixture f(3, 3);
    f.target->queues = enough ? 64 : 1;
    ASSERT_TRUE(f.open().ok());
    std::vector<std::unique_ptr<Channel>> channels(3);
    auto use = [&](unsigned core) -> Task<Status> {
      auto opened = co_await f.device->open_channel(f.host->core(core));
      if (!opened.ok()) co_return opened.error();
      channels[core] = std::move(opened).value();
      auto data = pattern(16384, core);
      const IoVec vec{data.data(), data.size()};
      HF_CO_CHECK(co_await channels[core]->write(Lba{core * 100}, IoVecs(&vec, 1), Durable::yes));
      std::vector<std::byte> back(data.size());
      const IoVec into{back.data(), back.size()};
      HF_CO_CHECK(co_await channels[core]->read(Lba{core * 100}, IoVecs(&into, 1)));
      EXPECT_EQ(data, back);
      channels[core]->cancel_all();
      co_await channels[core]->close();
      co_return Status();
    };
    for (unsigned core = 0; core < 3; ++core)
      EXPECT_TRUE(f.world.run(f.host->core(core), use(core)).ok()) << core;
    const IoStats stats = f.world.run(f.home(), f.device->stats());
    EXPECT_EQ(stats.write_ops, 3u);
    EXPECT_EQ(stats.read_bytes, 3u * 16384);
  }
}

TEST(Initiator, ADescriptorListThatFailsOnceIsNoOtherNamespace) {
  Fixture f;
  Prng prng(99);
  const Uuid uuid = Uuid::random(prng);  // not the NGUID
  bool fails = false;
  f.target->hook = [&](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
    if (c.qid() != 0 || sqe.opc != static_cast<std::uint8_t>(nvme::AdminOpcode::identify) ||
        (sqe.cdw10.get() & 0xff) != static_cast<std::uint32_t>(nvme::Cns::namespace_descriptors))
      return false;
    if (fails) {
      c.respond(sqe.cid, nvme::StatusCode::command_interrupted);
      return true;
    }
    std::vector<std::byte> page(nvme::identify_bytes);
    store(page, nvme::NamespaceIdDescriptor{static_cast<std::uint8_t>(nvme::NamespaceIdType::uuid), 16, {}});
    std::memcpy(page.data() + 4, uuid.bytes.data(), 16);
    c.data(sqe.cid, 0, page, nvme::flag_last_pdu | nvme::flag_success);
    return true;
  };
  ASSERT_TRUE(f.open().ok());
  fails = true;
  const nvme::AsyncEvent event{nvme::AsyncEventType::notice,
                               static_cast<std::uint8_t>(nvme::AsyncNotice::namespace_attribute_changed),
                               static_cast<std::uint8_t>(nvme::LogPage::changed_namespaces)};
  auto raise = [&]() -> Task<void> {
    f.target->raise(event);
    co_return;
  };
  f.run_target(raise());
  f.world.run_for(100ms);
  EXPECT_FALSE(f.observer.saw(DeviceEvent::removed));
  auto data = pattern(4096, 1);
  EXPECT_TRUE(f.write(0, data).ok());
  f.target->hook = {};
}

TEST(Initiator, ConnectsWhereMemoryIsShort) {
  Fixture f;
  BufferPool& pool = f.home().buffers();
  std::vector<Buffer> held;
  while (Buffer piece = pool.try_acquire(BufferPool::piece_bytes_max)) held.push_back(std::move(piece));
  held.pop_back();
  held.push_back(pool.try_acquire(BufferPool::piece_bytes_min));  // what is left is cut into small pieces
  ASSERT_TRUE(f.open().ok());
  for (const bool is_short : {true, false}) {
    auto data = pattern(65536, is_short ? 1 : 2);
    ASSERT_TRUE(f.write(3, data).ok());
    std::vector<std::byte> back(data.size());
    ASSERT_TRUE(f.read(3, back).ok());
    EXPECT_EQ(data, back);
    held.clear();  // the second time with buffers that grew
  }
}

TEST(Initiator, AnAddressThatDoesNotAnswerLeavesTimeForTheNext) {
  Fixture f;
  sim::Node& other = f.world.add_node(f.target_node.name());  // one name, two machines
  sim::SimReactor& core = other.start().core(0);
  test::FakeTarget second(core, 4096);
  second.uuid = f.target->uuid;
  auto listen = [&]() -> Task<void> {
    second.listen(Endpoint{"0.0.0.0", test::port});
    co_return;
  };
  f.world.run(core, listen());
  f.world.net().partition(f.host_node, f.target_node);
  RemoteConfig r = f.remote();
  r.host.address = f.target_node.name();
  auto opened = f.world.run(f.home(), RemoteDevice::open(f.host->cores(), r, "nvmf://x"));
  EXPECT_EQ(opened.code(), Errc::ok);
  if (opened.ok()) {
    f.device = std::move(opened).value();
    f.close_device();
  }
  f.world.run(core, second.close());
  f.world.run_for(1s);
}

TEST(Initiator, WhatChangesBeforeNoticesAreOnIsSeen) {
  Fixture f;
  f.target->hook = [&](test::FakeConnection& c, const nvme::Sqe& sqe, std::span<const std::byte>) {
    const bool enables =
        c.qid() == 0 && sqe.opc == static_cast<std::uint8_t>(nvme::AdminOpcode::set_features) &&
        (sqe.cdw10.get() & 0xff) == static_cast<std::uint32_t>(nvme::Feature::async_event_config);
    if (enables) f.target->disk.resize(8192 * test::FakeTarget::block_bytes);  // nobody is told
    return false;
  };
  ASSERT_TRUE(f.open().ok());
  EXPECT_EQ(f.device->geometry().block_count, 8192u);
  f.target->hook = {};
}

}  // namespace
}  // namespace holdfast::nvmf
