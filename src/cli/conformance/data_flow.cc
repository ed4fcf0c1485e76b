#include "cli/conformance/data_flow.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::cli::conformance {

DataFlow::DataFlow(Test& test, std::uint32_t bytes, SessionOptions options)
    : session_(test, std::move(options)), queue_(session_.io_queue()) {
  const bool compares = session_.has_oncs(0);
  if (test.ok() && !compares && !test.settings().destructive) {
    test.skip("the target has no Compare, and --destructive is not given for Write");
  }
  const std::uint32_t block = session_.block_bytes();
  // Over the capsule's size, where every host sends its data by R2T.
  bytes =
      std::min(std::max(bytes, session_.capsule_data_max() + block), session_.transfer_max()) / block * block;
  data_ = pattern(bytes, test.settings().seed);
  Command c = io_command(compares ? io::compare : io::write, session_.nsid(), 0, bytes / block);
  c.sends(data_).cid(0x4321);
  queue_->send(queue_->capsule(c));
  r2t_ = queue_->receive();
  if (!r2t_) {
    r2t_.raw.resize(24);  // the case has its finding; what follows is not sent
    return;
  }
  if (r2t_.type() == pdu::response) {
    const auto status = static_cast<std::uint16_t>(u16(r2t_.raw, 22) >> 1 & 0x7ff);
    test.fail(fmt::format("expected R2T, got a response: {}", sc::text(status)));
  } else if (test.equal("PDU type", r2t_.type(), pdu::r2t)) {
    test.equal("R2T: CCCID", cid(), 0x4321);
    test.expect(r2tl() > 0 && std::uint64_t{r2to()} + r2tl() <= bytes,
                fmt::format("R2T: asks for {} bytes from {}, the command has {}", r2tl(), r2to(), bytes));
  }
}

Bytes DataFlow::h2c(std::uint32_t from, std::uint32_t bytes, bool last) const {
  return make_h2c_data(cid(), ttag(), from, slice(data_, from, bytes), last, queue_->agreed());
}

Bytes DataFlow::h2c_all() const {
  Bytes all;
  for (std::uint32_t done = 0; done < r2tl();) {
    const std::uint32_t n = std::min(r2tl() - done, std::max(4096u, agreed().maxh2cdata));
    append(all, h2c(r2to() + done, n, done + n == r2tl()));
    done += n;
  }
  return all;
}

}  // namespace holdfast::cli::conformance
