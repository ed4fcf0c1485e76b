// Goal: PDUs come out as they went in however the bytes were cut, large data goes straight to its
// destination, and no digest error or broken header gets through. Method: a stream of bytes made by hand is
// fed in pieces of every kind through room() and filled().
#include "nvmf/tcp/pdu_receiver.h"

#include <cstring>
#include <vector>

#include <gtest/gtest.h>

#include "base/prng.h"
#include "sim/node.h"
#include "sim/reactor.h"
#include "sim/world.h"

namespace holdfast::nvmf::tcp {
namespace {

using nvme::CapsuleCmd;
using nvme::H2cData;
using nvme::PduType;
using Bytes = std::vector<std::byte>;

Bytes pattern(std::size_t bytes, unsigned seed) {
  Prng prng(seed);
  Bytes out(bytes);
  for (auto& b : out) b = static_cast<std::byte>(prng.next());
  return out;
}

struct Digests {
  bool header = false, data = false;
};

void append(Bytes& to, std::span<const std::byte> bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }

// One PDU as a peer would send it.
template <Wire H>
Bytes pdu(PduType type, H header, const Bytes& data, Digests digests, std::uint8_t pda = 0) {
  const std::uint32_t head = sizeof(H) + (digests.header ? 4 : 0);
  const std::uint32_t start = data.empty() ? head : nvme::data_offset(sizeof(H), digests.header, pda);
  const bool data_digest = digests.data && !data.empty();
  header.ch = {static_cast<std::uint8_t>(type),
               static_cast<std::uint8_t>((digests.header ? 1 : 0) | (data_digest ? 2 : 0)), sizeof(H),
               static_cast<std::uint8_t>(data.empty() ? 0 : start),
               static_cast<std::uint32_t>(start + data.size() + (data_digest ? 4 : 0))};
  Bytes out;
  append(out, bytes_of(header));
  if (digests.header) append(out, bytes_of(le32(crc32c(bytes_of(header)))));
  out.resize(start);
  append(out, data);
  if (data_digest) append(out, bytes_of(le32(crc32c(data))));
  return out;
}

class PduReceiverTest : public testing::Test {
 protected:
  static constexpr std::size_t staging_bytes = 8192;
  PduReceiverTest() : node_(world_.add_node("n")), reactor_(node_.start().core(0)) { renew(); }
  ~PduReceiverTest() override { rx_.reset(); }

  void renew(Digests digests = {}, std::uint8_t pda = 0) {
    rx_ = std::make_unique<PduReceiver>(nvme::Role::host, reactor_.buffers().try_acquire(staging_bytes));
    rx_->limits() = {nvme::Phase::running, digests.header, digests.data, pda, 8192, 1 << 20};
  }
  // Puts the next bytes of `wire`, at most `most`, where the receiver wants them.
  void feed(std::span<const std::byte>& wire, std::size_t most) {
    std::size_t n = 0;
    for (const IoVec& v : rx_->room()) {
      const std::size_t part = std::min({v.size, wire.size(), most - n});
      std::memcpy(v.data, wire.data(), part);
      wire = wire.subspan(part);
      n += part;
      if (part < v.size) break;
    }
    ASSERT_GT(n, 0u);
    rx_->filled(n);
  }

  sim::World world_{1};
  sim::Node& node_;
  Reactor& reactor_;
  std::unique_ptr<PduReceiver> rx_;
};

CapsuleCmd command(std::uint16_t cid) {
  CapsuleCmd c{};
  c.ccsqe.cid = cid;
  return c;
}

// Commands with and without data and data PDUs of every size, cut at random, with every mix of digests.
TEST_F(PduReceiverTest, AnyCutGivesTheSamePdus) {
  for (unsigned seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed=" << seed);
    Prng prng(seed);
    const Digests digests{prng.chance(1, 2), prng.chance(1, 2)};
    const std::uint8_t pda = prng.chance(1, 2) ? 0 : 15;
    renew(digests, pda);
    std::vector<Bytes> sent;
    Bytes wire;
    for (unsigned i = 0; i < 40; ++i) {
      const bool is_data = prng.chance(1, 3);
      const std::size_t most = is_data ? 60'000 : 8192;
      const std::size_t size = is_data || prng.chance(1, 2) ? prng.between(1, most) : 0;
      sent.push_back(pattern(size, seed * 100 + i));
      H2cData data_header{};
      data_header.cccid = static_cast<std::uint16_t>(i);
      append(wire, is_data ? pdu(PduType::h2c_data, data_header, sent[i], digests, pda)
                           : pdu(PduType::capsule_cmd, command(static_cast<std::uint16_t>(i)), sent[i],
                                 digests, pda));
    }
    std::span<const std::byte> rest(wire);
    const std::size_t cut = prng.chance(1, 2) ? 100 : 70'000;
    for (unsigned i = 0; i < sent.size();) {
      const auto next = rx_->next();
      ASSERT_NE(next, PduReceiver::Next::fault) << i;
      if (next == PduReceiver::Next::starved) {
        feed(rest, prng.between(1, cut));
        continue;
      }
      const nvme::PduShape shape = rx_->shape();
      EXPECT_EQ(shape.data_bytes, sent[i].size());
      const std::uint16_t id = shape.type == PduType::capsule_cmd ? rx_->header<CapsuleCmd>().ccsqe.cid.get()
                                                                  : rx_->header<H2cData>().cccid.get();
      EXPECT_EQ(id, i);
      if (shape.data_bytes > 0 && !prng.chance(1, 8)) {  // else it is dropped
        Bytes into(shape.data_bytes + 64);
        const std::size_t first = prng.below(shape.data_bytes + 1);
        const IoVec pieces[] = {{into.data() + 7, first},
                                {into.data() + 7 + first, shape.data_bytes - first}};
        rx_->begin_data(IoSlice(pieces, 0, shape.data_bytes));
        while (!rx_->data_done()) feed(rest, prng.between(1, cut));
        EXPECT_TRUE(rx_->data_digest_ok());
        EXPECT_EQ(std::memcmp(into.data() + 7, sent[i].data(), sent[i].size()), 0);
      }
      ++i;
    }
    EXPECT_EQ(rx_->next(), PduReceiver::Next::starved);
    while (!rest.empty()) {  // dropped data of the last one
      feed(rest, prng.between(1, cut));
      EXPECT_EQ(rx_->next(), PduReceiver::Next::starved);
    }
  }
}

TEST_F(PduReceiverTest, LargeDataIsReceivedInPlace) {
  const Bytes data = pattern(1 << 20, 3);
  const Bytes wire = pdu(PduType::h2c_data, H2cData{}, data, {});
  std::span<const std::byte> rest(wire);
  feed(rest, 24 + 1000);
  ASSERT_EQ(rx_->next(), PduReceiver::Next::pdu);
  Bytes into(data.size());
  const IoVec vec{into.data(), into.size()};
  EXPECT_FALSE(rx_->begin_data(IoSlice(IoVecs(&vec, 1), 0, into.size())));
  const IoVecs room = rx_->room();
  ASSERT_EQ(room.size(), 2u);
  EXPECT_EQ(room[0].data, into.data() + 1000) << "the rest of the destination";
  EXPECT_EQ(room[0].size, into.size() - 1000);
  EXPECT_EQ(room[1].size, staging_bytes) << "and the staging buffer behind it";
  feed(rest, rest.size());
  EXPECT_TRUE(rx_->data_done());
  EXPECT_EQ(into, data);
}

TEST_F(PduReceiverTest, DataMayBeReadWhereItLies) {
  Bytes wire = pdu(PduType::capsule_cmd, command(1), pattern(1024, 4), {false, true});
  renew({false, true});
  std::span<const std::byte> rest(wire);
  feed(rest, 72 + 1000);
  ASSERT_EQ(rx_->next(), PduReceiver::Next::pdu);
  EXPECT_TRUE(rx_->staged_data().empty()) << "not all of it is there";
  feed(rest, rest.size());
  const auto data = rx_->staged_data();
  ASSERT_EQ(data.size(), 1024u);
  EXPECT_TRUE(rx_->data_digest_ok());
  EXPECT_EQ(Bytes(data.begin(), data.end()), pattern(1024, 4));
  EXPECT_EQ(rx_->next(), PduReceiver::Next::starved);
}

TEST_F(PduReceiverTest, HeaderDigestErrorIsAFaultWithTheDigestReceived) {
  renew({true, false});
  Bytes wire = pdu(PduType::capsule_cmd, command(1), {}, {true, false});
  wire[20] ^= std::byte{1};
  const std::uint32_t digest = load<le32>(std::span(wire).subspan(72));
  std::span<const std::byte> rest(wire);
  feed(rest, rest.size());
  ASSERT_EQ(rx_->next(), PduReceiver::Next::fault);
  EXPECT_EQ(rx_->fault(), (nvme::Fault{nvme::Fes::header_digest_error, digest}));
  EXPECT_EQ(rx_->head().size(), 72u);
}

TEST_F(PduReceiverTest, DataDigestErrorLeavesTheConnectionAlone) {
  renew({false, true});
  for (const bool in_place : {true, false}) {
    Bytes wire = pdu(PduType::capsule_cmd, command(1), pattern(512, 5), {false, true});
    wire[72 + 100] ^= std::byte{1};
    append(wire, pdu(PduType::capsule_cmd, command(2), {}, {}));
    std::span<const std::byte> rest(wire);
    feed(rest, rest.size());
    ASSERT_EQ(rx_->next(), PduReceiver::Next::pdu);
    Bytes into(512);
    const IoVec vec{into.data(), into.size()};
    if (in_place) {
      EXPECT_EQ(rx_->staged_data().size(), 512u);
    } else {
      EXPECT_TRUE(rx_->begin_data(IoSlice(IoVecs(&vec, 1), 0, 512)));
    }
    EXPECT_FALSE(rx_->data_digest_ok());
    ASSERT_EQ(rx_->next(), PduReceiver::Next::pdu);
    EXPECT_EQ(rx_->header<CapsuleCmd>().ccsqe.cid, 2);
  }
}

TEST_F(PduReceiverTest, AFaultIsFoundInTheFirstEightBytes) {
  Bytes wire = pdu(PduType::capsule_cmd, command(1), {}, {});
  store(std::span(wire).subspan(4), le32(0x7fffffff));
  wire[3] = std::byte{72};
  std::span<const std::byte> rest(wire);
  feed(rest, 8);
  ASSERT_EQ(rx_->next(), PduReceiver::Next::fault);
  EXPECT_EQ(rx_->fault(), (nvme::Fault{nvme::Fes::invalid_header_field, 4}));
  EXPECT_EQ(rx_->head().size(), 8u);
}

TEST(IoSlice, PartsOfSeveralPieces) {
  std::array<std::byte, 10> memory{};
  const IoVec pieces[] = {{memory.data(), 3}, {memory.data() + 3, 0}, {memory.data() + 3, 7}};
  IoSlice s(pieces, 2, 5);
  EXPECT_EQ(s.front().data, memory.data() + 2);
  EXPECT_EQ(s.front().size, 1u);
  s.advance(1);
  EXPECT_EQ(s.front().data, memory.data() + 3) << "an empty piece is skipped";
  EXPECT_EQ(s.front().size, 4u);
  s.advance(4);
  EXPECT_TRUE(s.empty());
  EXPECT_TRUE(IoSlice(pieces, 10, 0).empty());
}

}  // namespace
}  // namespace holdfast::nvmf::tcp
