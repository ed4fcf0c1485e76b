// A command whose data the target asks for by R2T, stopped at the point where the host would send it. Compare
// where the target has it, because it changes nothing; else Write, and then only when the run may write.
#pragma once

#include <memory>

#include "cli/conformance/session.h"

namespace holdfast::cli::conformance {

class DataFlow {
 public:
  // The command's data is at least `bytes` and more than a capsule carries, in whole blocks and within MDTS.
  explicit DataFlow(Test& test, std::uint32_t bytes = 32768, SessionOptions options = SessionOptions());

  Session& session() noexcept { return session_; }
  Connection& queue() noexcept { return *queue_; }
  const Bytes& data() const noexcept { return data_; }
  std::uint16_t cid() const noexcept { return u16(r2t_.raw, pdu::at_cccid); }
  std::uint16_t ttag() const noexcept { return u16(r2t_.raw, pdu::at_ttag); }
  std::uint32_t r2to() const noexcept { return u32(r2t_.raw, pdu::at_datao); }
  std::uint32_t r2tl() const noexcept { return u32(r2t_.raw, pdu::at_datal); }
  // H2CData that answers the R2T rightly: its part from `from` on.
  const Agreed& agreed() const noexcept { return queue_->agreed(); }
  Bytes h2c(std::uint32_t from, std::uint32_t bytes, bool last) const;
  // H2CData that answers the R2T whole, in PDUs that MAXH2CDATA allows.
  Bytes h2c_all() const;

 private:
  Session session_;
  std::unique_ptr<Connection> queue_;
  Bytes data_;
  Pdu r2t_;
};

}  // namespace holdfast::cli::conformance
