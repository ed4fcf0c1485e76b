#include "pool/journal.h"

#include <memory>
#include <string>
#include <vector>

#include "pool/testing/pool_machine.h"
#include "rt/when_all.h"
#include "sim/disk.h"

namespace holdfast::pool {
namespace {

using testing_support::Bytes;
using testing_support::Machine;
using testing_support::OpenDisk;

constexpr std::uint64_t ring_bytes = 64 * KiB;

// Remembers what it was told; ends checkpoints when the test says so.
struct Client final : JournalClient {
  Task<Status> before_commit(std::span<const Record* const> records) override {
    ++batches;
    before += records.size();
    EXPECT_EQ(applied.size() + records.size(), before);
    if (refuse) co_return Error(Errc::io_error);
    co_return Status();
  }
  void apply(Record& record) noexcept override {
    applied.push_back(to_index(std::get<DeleteRecord>(record).volume));
  }
  void checkpoint_wanted() noexcept override {
    ++wanted;
    if (at_once) journal->checkpoint_ended(Status(), journal->mark());
  }
  void journal_failed(const Error& error, std::span<const Record* const>) noexcept override {
    failure = error.message();
  }

  Journal* journal = nullptr;
  std::vector<std::uint32_t> applied;
  std::size_t before = 0;
  unsigned batches = 0;
  unsigned wanted = 0;
  bool refuse = false;
  bool at_once = true;
  std::string failure;
};

std::vector<Record> one(std::uint32_t n) {
  std::vector<Record> records;
  records.emplace_back(DeleteRecord{VolumeId{n}});
  return records;
}

struct JournalTest : testing::Test {
  JournalTest() {
    sim::DiskOptions options;
    options.size_bytes = 4 << 20;
    machine.node.add_disk("/disk", options);
    disk = std::make_unique<OpenDisk>(machine, "/disk");
  }
  ~JournalTest() override { close(); }

  void open(std::uint64_t incarnation, Journal::Mark begin, Journal::Mark end) {
    close();
    journal = std::make_unique<Journal>(machine.home(), disk->port(), ring, incarnation, begin, end, client);
    client.journal = journal.get();
  }
  void close() {
    if (journal) machine.run(journal->close());
    journal.reset();
  }
  Errc commit(std::uint32_t n, Durable durable = Durable::no) {
    return machine.run(journal->commit(one(n), durable)).code();
  }
  Result<JournalScan> recover(Journal::Mark begin, JournalAge age = {1, 0}) {
    found.clear();
    RecordSink take = [this](std::uint64_t, Record& record) -> Status {
      found.push_back(to_index(std::get<DeleteRecord>(record).volume));
      return Status();
    };
    return machine.run(recover_journal(machine.home(), disk->port(), ring, begin, age, take));
  }
  Bytes at(std::uint64_t position, std::size_t bytes = 4096) {
    return disk->read(ring.offset + position % ring.bytes, bytes);
  }
  void put(std::uint64_t position, const Bytes& bytes) {
    disk->write(ring.offset + position % ring.bytes, bytes);
  }

  Machine machine;
  std::unique_ptr<OpenDisk> disk;
  Journal::Ring ring{MiB, ring_bytes, Uuid::from_name("ring")};
  Client client;
  std::unique_ptr<Journal> journal;
  std::vector<std::uint32_t> found;
};

// A record that could not be read again would make the pool one that cannot be opened.
TEST_F(JournalTest, WhatCouldNotBeReadAgainIsNotWritten) {
  open(1, {}, {});
  ASSERT_EQ(commit(1), Errc::ok);
  std::vector<Record> records = one(2);
  records.emplace_back(AttributesRecord{VolumeId{1}, {{"two\nlines", "x"}}});
  const Status refused = machine.run(journal->commit(std::move(records), Durable::no));
  EXPECT_EQ(refused.code(), Errc::invalid_argument);
  EXPECT_NE(refused.error().message().find("control characters"), std::string::npos);
  ASSERT_EQ(commit(3), Errc::ok);
  ASSERT_TRUE(recover({}).ok());
  EXPECT_EQ(found, (std::vector<std::uint32_t>{1, 3}));
}

// What goes on alongside a commit, for the test to end.
struct Other {
  explicit Other(Machine& machine) : alongside(machine.home()) {}
  Task<Status> end(Reactor& home, std::optional<Error> how) {
    co_await home.sleep(10ms);
    alongside.error = std::move(how);
    alongside.ended.set();
    co_return Status();
  }
  Journal::Alongside alongside;
};

TEST_F(JournalTest, ACommitCountsWhenWhatGoesOnAlongsideHasEnded) {
  open(1, {}, {});
  Other good(machine), bad(machine), late(machine);
  std::vector<Task<Status>> tasks;
  tasks.push_back(journal->commit(one(1), Durable::no, &good.alongside));
  tasks.push_back(journal->commit(one(2), Durable::no, &bad.alongside));
  tasks.push_back(journal->commit(one(3), Durable::no));
  tasks.push_back(journal->commit(one(4), Durable::no, &late.alongside));
  tasks.push_back(good.end(machine.home(), std::nullopt));
  tasks.push_back(bad.end(machine.home(), Error(Errc::io_error)));
  tasks.push_back(late.end(machine.home(), std::nullopt));
  EXPECT_EQ(machine.run(when_all_ok(std::move(tasks))).code(), Errc::io_error);
  EXPECT_EQ(client.applied, (std::vector<std::uint32_t>{1, 3, 4}));
  ASSERT_TRUE(recover({}).ok());
  EXPECT_EQ(found, client.applied) << "the commit is there, without the record that was dropped";
  EXPECT_EQ(journal->durable_sequence(), 2u) << "nothing comes back under what follows";
}

TEST_F(JournalTest, ACommitOfNothingIsOneAsWell) {
  open(1, {}, {});
  Other bad(machine);
  std::vector<Task<Status>> tasks;
  tasks.push_back(journal->commit(one(1), Durable::no, &bad.alongside));
  tasks.push_back(bad.end(machine.home(), Error(Errc::io_error)));
  EXPECT_EQ(machine.run(when_all_ok(std::move(tasks))).code(), Errc::io_error);
  client.before = 0;
  EXPECT_EQ(commit(2), Errc::ok);
  ASSERT_TRUE(recover({}).ok());
  EXPECT_EQ(found, (std::vector<std::uint32_t>{2}));
}

TEST_F(JournalTest, WhatWasCommittedIsFoundInOrder) {
  open(1, {}, {});
  for (std::uint32_t n = 1; n <= 5; ++n) ASSERT_EQ(commit(n), Errc::ok);
  auto scan = recover({});
  ASSERT_TRUE(scan.ok()) << scan.error().message();
  const std::vector<std::uint32_t> expected{1, 2, 3, 4, 5};
  EXPECT_EQ(found, expected);
  EXPECT_EQ(client.applied, expected);
  EXPECT_EQ(scan.value().end, journal->mark());
  EXPECT_EQ(scan.value().commits, 5u);
  // From a mark in the middle.
  scan = recover({3, 3 * 4096});
  ASSERT_TRUE(scan.ok());
  EXPECT_EQ(found, (std::vector<std::uint32_t>{4, 5}));
}

TEST_F(JournalTest, CommitsThatArriveTogetherAreOne) {
  open(1, {}, {});
  std::vector<Task<Status>> all;
  for (std::uint32_t n = 1; n <= 40; ++n) all.push_back(journal->commit(one(n), Durable::no));
  auto together = [&]() -> Task<void> { co_await when_all(std::span(all)); };
  machine.run(together());
  for (auto& task : all) EXPECT_TRUE(task.take().ok());
  EXPECT_EQ(journal->stats().commits, 2u);  // the first, and all that came while it was written
  ASSERT_TRUE(recover({}).ok());
  EXPECT_EQ(found, client.applied);
  EXPECT_EQ(found.size(), 40u);
}

TEST_F(JournalTest, GoesRoundTheRing) {
  open(1, {}, {});
  for (std::uint32_t n = 1; n <= 200; ++n) {
    std::vector<Record> records;
    for (std::uint32_t i = 0; i < n * 7 % 400; ++i) records.emplace_back(DeleteRecord{VolumeId{n}});
    records.emplace_back(DeleteRecord{VolumeId{n}});
    ASSERT_TRUE(machine.run(journal->commit(std::move(records), Durable::no)).ok());
    if (n % 50 != 0) continue;
    client.at_once = false;
    const Journal::Mark mark = journal->mark();
    const std::size_t before = client.applied.size();
    ASSERT_EQ(commit(1000 + n), Errc::ok);
    ASSERT_EQ(commit(2000 + n), Errc::ok);
    auto scan = recover(mark);
    ASSERT_TRUE(scan.ok()) << scan.error().message();
    EXPECT_EQ(found, std::vector<std::uint32_t>(client.applied.begin() + static_cast<std::ptrdiff_t>(before),
                                                client.applied.end()));
    client.at_once = true;
    if (client.wanted > 0) journal->checkpoint_ended(Status(), journal->mark());
  }
  EXPECT_GT(client.wanted, 3u);
  EXPECT_GT(journal->mark().position, 4 * ring_bytes);
}

TEST_F(JournalTest, AFullRingWaitsForTheCheckpoint) {
  client.at_once = false;
  open(1, {}, {});
  bool done = false;
  auto fill = [&]() -> Task<void> {
    for (std::uint32_t n = 1; n <= 20; ++n) {
      const Status s = co_await journal->commit(one(n), Durable::no);
      EXPECT_TRUE(s.ok());
    }
    done = true;
  };
  machine.world.spawn(machine.process.core(0), fill());
  machine.world.run_for(1s);
  EXPECT_FALSE(done);
  EXPECT_EQ(client.applied.size(), 16u);
  EXPECT_EQ(client.wanted, 1u);
  journal->checkpoint_ended(Status(), {10, 10 * 4096});
  machine.world.run_for(1s);
  EXPECT_TRUE(done);
}

TEST_F(JournalTest, AFullRingWithoutCheckpointsRefusesAndHeals) {
  client.at_once = false;
  open(1, {}, {});
  for (std::uint32_t n = 1; n <= 16; ++n) ASSERT_EQ(commit(n), Errc::ok);
  journal->checkpoint_ended(Error(Errc::out_of_space), journal->mark());
  Errc outcome = Errc::ok;
  std::string text;
  auto try_one = [&]() -> Task<void> {
    const Status s = co_await journal->commit(one(17), Durable::no);
    outcome = s.code();
    if (!s.ok()) text = s.error().message();
  };
  machine.world.spawn(machine.process.core(0), try_one());
  machine.world.run_for(1s);
  EXPECT_EQ(client.wanted, 2u);  // it was asked for once more
  journal->checkpoint_ended(Error(Errc::out_of_space, "nothing free"), journal->mark());
  machine.world.run_for(1s);
  EXPECT_EQ(outcome, Errc::out_of_space);
  EXPECT_NE(text.find("nothing free"), std::string::npos) << text;
  EXPECT_FALSE(journal->frozen());
  EXPECT_EQ(client.wanted, 3u);  // and again, for those who come later
  journal->checkpoint_ended(Status(), journal->mark());
  EXPECT_EQ(commit(18), Errc::ok);
}

TEST_F(JournalTest, AFailedWriteFreezesAndNothingIsApplied) {
  open(1, {}, {});
  ASSERT_EQ(commit(1), Errc::ok);
  machine.node.disk("/disk").faults().failed = true;
  EXPECT_EQ(commit(2), Errc::io_error);
  EXPECT_NE(client.failure.find("pool 'p': disk '/disk'"), std::string::npos) << client.failure;
  machine.node.disk("/disk").faults().failed = false;
  EXPECT_EQ(commit(3), Errc::failed_precondition);
  EXPECT_EQ(client.applied, std::vector<std::uint32_t>{1});
}

TEST_F(JournalTest, DataThatCannotBeMadeDurableFailsItsRecordsAlone) {
  open(1, {}, {});
  client.refuse = true;
  EXPECT_EQ(commit(1), Errc::io_error);
  client.refuse = false;
  client.before = 0;
  EXPECT_EQ(commit(2), Errc::ok);
  EXPECT_EQ(client.applied, std::vector<std::uint32_t>{2});
}

TEST_F(JournalTest, TooLargeForTheRingIsRefused) {
  open(1, {}, {});
  std::vector<Record> records;
  AttributesRecord record{VolumeId{1}, {}};
  record.changes["k"] = std::string(20'000, 'x');
  records.emplace_back(std::move(record));
  const Status s = machine.run(journal->commit(std::move(records), Durable::no));
  EXPECT_EQ(s.code(), Errc::invalid_argument);
}

TEST_F(JournalTest, DurableMeansThatAllBeforeIsDurable) {
  open(1, {}, {});
  ASSERT_EQ(commit(1), Errc::ok);
  EXPECT_EQ(journal->durable_sequence(), 0u);
  ASSERT_EQ(commit(2, Durable::yes), Errc::ok);
  EXPECT_EQ(journal->durable_sequence(), 2u);
  EXPECT_EQ(machine.node.disk("/disk").undurable_sectors(), 0u);
  ASSERT_EQ(commit(3, Durable::yes), Errc::ok);
  EXPECT_EQ(machine.node.disk("/disk").undurable_sectors(), 0u);
  ASSERT_EQ(commit(4), Errc::ok);
  ASSERT_TRUE(machine.run(journal->flush()).ok());
  EXPECT_EQ(journal->durable_sequence(), 4u);
}

TEST_F(JournalTest, WhatAnEarlierRunLeftBehindItsEndNeverCountsAgain) {
  open(1, {}, {});
  for (std::uint32_t n = 1; n <= 3; ++n) ASSERT_EQ(commit(n), Errc::ok);
  const Bytes second = at(4096);
  put(4096, Bytes(4096, std::byte{0}));  // a loss of power took the second and left the third
  auto scan = recover({});
  ASSERT_TRUE(scan.ok());
  EXPECT_EQ(found, std::vector<std::uint32_t>{1});
  open(2, {}, scan.value().end);
  ASSERT_EQ(commit(20), Errc::ok);
  ASSERT_TRUE(recover({}, {2, 1}).ok());
  EXPECT_EQ(found, (std::vector<std::uint32_t>{1, 20}));
  // A torn write of the second run that puts what the first one wrote together again.
  put(4096, second);
  ASSERT_TRUE(recover({}, {2, 1}).ok());
  EXPECT_EQ(found, std::vector<std::uint32_t>{1});
}

TEST_F(JournalTest, CommitsOfTheFutureOrOfAnotherPoolDoNotCount) {
  open(5, {}, {});
  ASSERT_EQ(commit(1), Errc::ok);
  for (const JournalAge age : {JournalAge{4, 0}, JournalAge{6, 0}}) {
    ASSERT_TRUE(recover({}, age).ok());
    EXPECT_TRUE(found.empty());
  }
  // The label knew a commit of an earlier run in this place.
  EXPECT_EQ(recover({}, {5, 1}).code(), Errc::bad_format);
  EXPECT_TRUE(found.empty());
  ASSERT_TRUE(recover({}, {6, 1}).ok());
  EXPECT_EQ(found.size(), 1u);
  ring.instance = Uuid::from_name("another");
  EXPECT_EQ(recover({}, {6, 1}).code(), Errc::bad_format);
  EXPECT_TRUE(found.empty());
}

TEST_F(JournalTest, AnyByteOfTheLastCommitEndsTheJournalBeforeIt) {
  open(1, {}, {});
  for (std::uint32_t n = 1; n <= 3; ++n) ASSERT_EQ(commit(n), Errc::ok);
  const Bytes whole = at(2 * 4096);
  for (std::size_t byte = 0; byte < whole.size(); byte += byte < 128 ? 1 : 97) {
    Bytes flipped = whole;
    flipped[byte] ^= std::byte{0x10};
    put(2 * 4096, flipped);
    ASSERT_TRUE(recover({}).ok()) << byte;
    EXPECT_EQ(found, (std::vector<std::uint32_t>{1, 2})) << byte;
  }
}

TEST_F(JournalTest, ADamagedCommitThatWasDurableIsNotTakenForTheEnd) {
  open(1, {}, {});
  ASSERT_EQ(commit(1), Errc::ok);
  ASSERT_EQ(commit(2), Errc::ok);
  ASSERT_EQ(commit(3), Errc::ok);
  Bytes damaged = at(4096);
  damaged[100] ^= std::byte{1};
  put(4096, damaged);
  ASSERT_TRUE(recover({}).ok());  // none of them was durable: it may have been lost
  EXPECT_EQ(found, std::vector<std::uint32_t>{1});
  ASSERT_TRUE(machine.run(journal->flush()).ok());
  ASSERT_EQ(commit(4), Errc::ok);
  const auto scan = recover({});
  EXPECT_EQ(scan.code(), Errc::bad_format);
  EXPECT_NE(scan.error().message().find("commit 2"), std::string::npos) << scan.error().message();
}

// Until then it cannot be told from one that a loss of power tore: AnyByteOfTheLastCommitEndsTheJournalBeforeIt.
TEST_F(JournalTest, TheNewestCommitHasAWitnessSoonAndIsNotDroppedAnyMore) {
  open(1, {}, {});
  for (std::uint32_t n = 1; n <= 3; ++n) ASSERT_EQ(commit(n), Errc::ok);
  machine.world.run_for(3 * Journal::witness_pause);
  EXPECT_EQ(journal->mark().sequence, 4u);
  EXPECT_EQ(journal->durable_sequence(), 4u);
  EXPECT_EQ(machine.node.disk("/disk").undurable_sectors(), 0u);
  machine.world.run_for(10 * Journal::witness_pause);
  EXPECT_EQ(journal->mark().sequence, 4u);  // it has none itself
  const Bytes newest = at(2 * 4096), witness = at(3 * 4096);
  for (std::size_t byte = 0; byte < newest.size(); byte += byte < 128 ? 1 : 97) {
    Bytes flipped = newest;
    flipped[byte] ^= std::byte{0x10};
    put(2 * 4096, flipped);
    EXPECT_EQ(recover({}).code(), Errc::bad_format) << byte;
    put(2 * 4096, newest);
    // The witness itself may go: it says nothing else.
    flipped = witness;
    flipped[byte] ^= std::byte{0x10};
    put(3 * 4096, flipped);
    ASSERT_TRUE(recover({}).ok()) << byte;
    EXPECT_EQ(found, (std::vector<std::uint32_t>{1, 2, 3})) << byte;
    put(3 * 4096, witness);
  }
  ASSERT_EQ(commit(5), Errc::ok);
  machine.world.run_for(3 * Journal::witness_pause);
  EXPECT_EQ(journal->mark().sequence, 6u);
}

TEST_F(JournalTest, WhatTheLabelKnewIsNotTakenForLost) {
  open(1, {}, {});
  for (std::uint32_t n = 1; n <= 3; ++n) ASSERT_EQ(commit(n), Errc::ok);
  ASSERT_TRUE(recover({}, {2, 3}).ok());
  put(2 * 4096, Bytes(4096, std::byte{0}));
  ASSERT_TRUE(recover({}, {2, 2}).ok());
  const auto scan = recover({}, {2, 3});
  ASSERT_EQ(scan.code(), Errc::bad_format);
  EXPECT_NE(scan.error().message().find("commit 3"), std::string::npos) << scan.error().message();
}

}  // namespace
}  // namespace holdfast::pool
