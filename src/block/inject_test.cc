#include <gtest/gtest.h>

#include "block/inject_device.h"
#include "block/leaf_device.h"
#include "block/testing/test_devices.h"
#include "rt/scope.h"

namespace holdfast {
namespace {

using namespace testing_support;

struct Injected {
  explicit Injected(const std::string& query, unsigned cores = 1) : machine(cores) {
    machine.create("malloc:///m0?size_mb=1");
    device = machine.create("inject://m0?" + query);
    channel = std::make_unique<OpenChannel>(machine, *device);
  }
  Machine machine;
  BlockDevice* device = nullptr;
  std::unique_ptr<OpenChannel> channel;
};

Errc read_code(Injected& i, std::uint64_t lba = 0) {
  Bytes b = filled(512, 0);
  return i.channel->read(lba, b);
}

// Of a device whose target keeps the reservations; that of any other host would not be seen there.
class ReservedElsewhere final : public LeafDevice {
 public:
  ReservedElsewhere(const Cores& cores, ReservationGuard& guard)
      : LeafDevice({"far", Uuid(), "far:", "Far"}, cores, Geometry(), Capabilities()),
        client_(guard.client(Uuid::from_name("host"))) {}
  ReservationClient* reservations() noexcept override { return client_.get(); }
  Task<Result<std::unique_ptr<Channel>>> open_channel(Reactor&) override {
    co_return Error(Errc::not_supported);
  }
  Task<void> close() override { co_return; }

 private:
  std::unique_ptr<ReservationClient> client_;
};

TEST(Inject, ReservationsAreThoseOfTheDeviceBelow) {
  Machine machine;
  ReservationGuard guard(machine.process.cores(), Uuid(), nullptr);
  const auto far =
      machine.registry.adopt(std::make_unique<ReservedElsewhere>(machine.process.cores(), guard));
  ASSERT_TRUE(far.ok());
  EXPECT_EQ(machine.create("inject://far")->reservations(), far.value()->reservations());
  machine.create("malloc:///m0?size_mb=1");
  EXPECT_EQ(machine.create("inject://m0")->reservations(), nullptr);
  machine.run(machine.registry.close());
}

TEST(Inject, FailsReadsOnly) {
  Injected i("op=r");
  EXPECT_EQ(i.device->name(), "m0-inject");
  EXPECT_EQ(read_code(i), Errc::io_error);
  EXPECT_EQ(i.channel->write(0, filled(512, 1)), Errc::ok);
  EXPECT_EQ(i.channel->compare(0, filled(512, 1)), Errc::io_error);
  EXPECT_TRUE(i.machine.run(i.channel->channel->flush()).ok());
}

TEST(Inject, FailsWritesBeforeOrAfterTheyHappen) {
  for (const bool before : {true, false}) {
    Injected i(std::string("op=w&retries=1&stage=") + (before ? "submit" : "compl"));
    EXPECT_EQ(i.channel->write(0, filled(512, 1)), Errc::io_error);
    EXPECT_EQ(i.channel->content(0, 512), filled(512, before ? 0 : 1));
    EXPECT_EQ(i.channel->write(0, filled(512, 2)), Errc::ok);  // one time only
  }
}

TEST(Inject, WritesAreZeroesAndDeallocationsToo) {
  Injected i("op=w&offset=8&num_blk=8");
  Channel& c = *i.channel->channel;
  EXPECT_EQ(i.machine.run(c.write_zeroes(BlockRange{Lba{0}, 8}, Unmap::no, Durable::no)).code(), Errc::ok);
  EXPECT_EQ(i.machine.run(c.write_zeroes(BlockRange{Lba{0}, 9}, Unmap::no, Durable::no)).code(),
            Errc::io_error);
  EXPECT_EQ(i.machine.run(c.deallocate(BlockRange{Lba{15}, 8})).code(), Errc::io_error);
  EXPECT_EQ(i.machine.run(c.deallocate(BlockRange{Lba{16}, 8})).code(), Errc::ok);
}

TEST(Inject, ChangesDataThatIsRead) {
  Injected i("op=r&stage=compl&method=data&offset=1&num_blk=1");
  EXPECT_EQ(i.channel->write(0, filled(1024, 5)), Errc::ok);
  EXPECT_EQ(i.channel->content(0, 512), filled(512, 5));
  EXPECT_NE(i.channel->content(1, 512), filled(512, 5));
}

TEST(Inject, ChangesDataThatIsWrittenButNotTheCallersBuffer) {
  Injected i("op=w&method=data");
  Bytes mine = filled(1024, 5);
  const IoVec v = vec(mine);
  EXPECT_TRUE(i.machine.run(i.channel->channel->write(Lba{0}, IoVecs(&v, 1), Durable::no)).ok());
  EXPECT_EQ(mine, filled(1024, 5));
  EXPECT_NE(i.channel->content(0, 512), filled(512, 5));
  EXPECT_NE(i.channel->content(1, 512), filled(512, 5));
}

TEST(Inject, GivesTheStatusAskedFor) {
  const std::pair<const char*, Errc> table[] = {{"status", Errc::io_error},
                                                {"status-lvol-nospace", Errc::out_of_space},
                                                {"status-submit-read", Errc::resource_exhausted},
                                                {"status-nvme-0-0x83", Errc::reservation_conflict},
                                                {"status-nvme-0-128", Errc::out_of_range},
                                                {"status-nvme-2-0x81", Errc::io_error}};
  for (const auto& [method, code] : table) {
    Injected i(std::string("method=") + method);
    EXPECT_EQ(read_code(i), code) << method;
  }
}

Task<Nanos> timed_read(Reactor& r, Channel& c) {
  Bytes b = filled(512, 0);
  const IoVec v = vec(b);
  const Nanos begun = r.now();
  const Status got = co_await c.read(Lba{0}, IoVecs(&v, 1));
  EXPECT_TRUE(got.ok());
  co_return r.now() - begun;
}

TEST(Inject, DelaysWithoutFailing) {
  Injected i("delay=250&op=r");
  EXPECT_GE(i.machine.run(timed_read(i.machine.home(), *i.channel->channel)), 250ms);
  EXPECT_EQ(i.channel->write(0, filled(512, 1)), Errc::ok);
}

Task<void> nap(Reactor& r, Nanos d) { co_await r.sleep(d); }

TEST(Inject, ActsInItsWindowOfTime) {
  Injected i("begin_at=100&end_at=200");
  EXPECT_EQ(read_code(i), Errc::ok);  // starts the clock
  i.machine.run(nap(i.machine.home(), 120ms));
  EXPECT_EQ(read_code(i), Errc::io_error);
  i.machine.run(nap(i.machine.home(), 100ms));
  EXPECT_EQ(read_code(i), Errc::ok);
}

Task<Errc> cancelled_while_delayed(Reactor& r, Channel& c) {
  TaskScope scope(r);
  Errc code = Errc::ok;
  struct Reading {
    static Task<void> run(Channel& channel, Errc& out) {
      Bytes b = filled(512, 0);
      const IoVec v = vec(b);
      const Status got = co_await channel.read(Lba{0}, IoVecs(&v, 1));
      out = got.code();
    }
  };
  scope.spawn(Reading::run(c, code));
  co_await r.sleep(1ms);
  const Nanos begun = r.now();
  c.cancel_all();
  co_await scope.join();
  EXPECT_LT(r.now() - begun, 1s);
  co_return code;
}

TEST(Inject, CancelAllEndsADelay) {
  Injected i("delay=3600000");
  EXPECT_EQ(i.machine.run(cancelled_while_delayed(i.machine.home(), *i.channel->channel)), Errc::cancelled);
  EXPECT_EQ(read_code(i), Errc::cancelled);
}

TEST(Inject, MakesTheDeviceBelowAndDestroysItToo) {
  Machine m;
  BlockDevice* d = m.create("inject://" + percent_encode("malloc:///m7?size_mb=1") + "?op=r");
  ASSERT_NE(d, nullptr);
  EXPECT_EQ(d->name(), "m7-inject");
  EXPECT_NE(m.registry.find("m7"), nullptr);
  EXPECT_EQ(m.run(m.registry.destroy("m7")).code(), Errc::failed_precondition);
  EXPECT_TRUE(m.run(m.registry.destroy("m7-inject")).ok());
  EXPECT_EQ(m.registry.find("m7"), nullptr);
}

TEST(Inject, LeavesADeviceThatWasThereBefore) {
  Machine m;
  m.create("malloc:///m0?size_mb=1");
  m.create("inject:///m0?op=r");
  m.create("inject://m0-inject?op=w");
  EXPECT_TRUE(m.run(m.registry.destroy("m0-inject-inject")).ok());
  EXPECT_TRUE(m.run(m.registry.destroy("m0-inject")).ok());
  EXPECT_NE(m.registry.find("m0"), nullptr);
}

TEST(Inject, InjectionsComeAndGoOnEveryCore) {
  Injected i("", 2);
  auto* device = dynamic_cast<InjectDevice*>(i.device);
  ASSERT_NE(device, nullptr);
  EXPECT_EQ(read_code(i), Errc::ok);  // no parameters: nothing is injected yet
  const std::uint64_t id = i.machine.run(device->add(Injection()));
  EXPECT_EQ(read_code(i), Errc::io_error);
  EXPECT_EQ(device->active(1).size(), 1u);
  EXPECT_TRUE(i.machine.run(device->remove(id)).ok());
  EXPECT_EQ(read_code(i), Errc::ok);
  EXPECT_TRUE(device->active(1).empty());
  EXPECT_EQ(i.machine.run(device->remove(id)).code(), Errc::not_found);
}

TEST(Inject, SaysWhatIsWrongWithItsUri) {
  Machine m;
  m.create("malloc:///m0?size_mb=1");
  const auto why = [&](const char* query) {
    return m.refused(std::string("inject://m0?") + query, Errc::invalid_argument);
  };
  EXPECT_NE(why("op=x").find("one of r, w, rw"), std::string::npos);
  EXPECT_NE(why("stage=later").find("submit, compl"), std::string::npos);
  EXPECT_NE(why("domain=disk").find("child, block, bdev_io"), std::string::npos);
  EXPECT_NE(why("method=explode").find("status-lvol-nospace"), std::string::npos);
  EXPECT_NE(why("method=status-nvme-9-1").find("status-nvme-<type"), std::string::npos);
  EXPECT_NE(why("method=status-nvme-0-0").find("of an error"), std::string::npos);
  EXPECT_NE(why("method=status-nvme-1").find("status-nvme-<type"), std::string::npos);
  EXPECT_NE(why("begin_at=5&end_at=5").find("end_at must be later"), std::string::npos);
  EXPECT_NE(why("num_blk=0").find("num_blk"), std::string::npos);
  EXPECT_NE(why("delay=soon").find("'delay' is 'soon'"), std::string::npos);
  EXPECT_NE(why("size=1").find("no parameter 'size'"), std::string::npos);
  m.refused("inject://nobody?op=r", Errc::not_found);
  m.refused("inject://?op=r", Errc::invalid_argument);
  m.refused("inject://malloc%3A%2F%2F%2Fm1?op=r", Errc::invalid_argument);
  auto claim = m.registry.claim(*m.registry.find("m0"), "somebody");
  ASSERT_TRUE(claim.ok());
  EXPECT_NE(m.refused("inject://m0?op=r", Errc::busy).find("somebody"), std::string::npos);
}

}  // namespace
}  // namespace holdfast
