// Goal: the everyday life of a host: connect, identify, read, write, disconnect, with every option of the
// wire.
#include "nvmf/target/target.h"

#include "nvmf/target/testing/raw_host.h"

namespace holdfast::nvmf::test {
namespace {

TEST(Target, WritesAreReadBackWithEveryKindOfTransferAndDigest) {
  for (std::uint8_t dgst = 0; dgst < 4; ++dgst) {
    for (const std::uint8_t cattr : {std::uint8_t{0}, nvme::ConnectCmd::cattr_no_sq_flow_control}) {
      SCOPED_TRACE(testing::Message() << "digests " << int{dgst} << " cattr " << int{cattr});
      Rig rig(dgst + 1u, 2);
      ASSERT_EQ(rig.add_volume(), Errc::ok);
      Session s(rig, dgst, cattr);
      std::uint64_t lba = 0;
      for (const std::size_t size : {512, 4096, 8192, 16384, 1 << 20}) {
        for (const bool in_capsule : {true, false}) {
          if (in_capsule && size > capsule_data_bytes) continue;
          const Bytes data = pattern(size, lba + 1);
          const Outcome w = s.io.write(lba, data, in_capsule);
          EXPECT_TRUE(w.answered && w.status.ok());
          EXPECT_EQ(w.r2ts, in_capsule ? 0u : 1u);
          const Outcome r = s.io.read(lba, static_cast<std::uint32_t>(size / 512));
          EXPECT_TRUE(r.answered && r.status.ok());
          EXPECT_EQ(r.by_success, cattr != 0) << "no response is needed without flow control";
          EXPECT_EQ(r.data, data);
          lba += size / 512;
        }
      }
    }
  }
}

}  // namespace
}  // namespace holdfast::nvmf::test
