// Any command and any Connect data are taken apart without a fault of ours, as is any snapshot request. Input: 64
// bytes of command, then Connect data; all of it is also the snapshot request.
#include <algorithm>
#include <cstdlib>

#include "nvme/errc_status.h"
#include "nvme/fabrics.h"
#include "nvme/identify.h"
#include "nvme/log_page.h"
#include "nvme/property.h"
#include "nvme/vendor.h"

using namespace holdfast;
using namespace holdfast::nvme;

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

void nqn(const char (&field)[nqn_field_bytes]) {
  const auto text = nqn_from_field(field);
  if (!text.ok()) return;
  require(text.value().size() <= nqn_length_max && is_valid_nqn(text.value()));
  char again[nqn_field_bytes];
  nqn_to_field(text.value(), again);
  require(nqn_from_field(again).value() == text.value());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::array<std::byte, sizeof(Sqe) + sizeof(ConnectData)> raw{};
  std::copy_n(std::as_bytes(std::span(data, size)).begin(), std::min(size, raw.size()), raw.begin());
  const auto sqe = load<Sqe>(raw);
  const auto connect = load<ConnectData>(std::span(raw).subspan(sizeof(Sqe)));

  const IoRange range = io_range(sqe);
  require(range.blocks >= 1 && range.blocks <= 65536);
  Sqe copy = sqe;
  set_io_range(copy, range.slba, range.blocks);
  require(bytes_of(copy).size() == 64 && io_range(copy).slba == range.slba);
  const auto log = LogPageArgs::unpack(sqe.cdw10, sqe.cdw11, sqe.cdw12, sqe.cdw13, sqe.cdw14);
  require(log.bytes >= 4 && log.bytes <= std::uint64_t{1} << 34);
  (void)IdentifyArgs::unpack(sqe.cdw10, sqe.cdw11);
  const auto connect_cmd = as<ConnectCmd>(sqe);
  require(connect_cmd.sgl1.length == sqe.sgl1.length);
  const auto set = as<PropertySetCmd>(sqe);
  require(Cc::unpack(static_cast<std::uint32_t>(set.value)).mps <= 15);
  require(Cap::unpack(Cap::unpack(set.value).pack()).mqes == Cap::unpack(set.value).mqes);
  const auto status = CommandStatus::unpack(le16(static_cast<std::uint16_t>(sqe.cdw12)));
  require(status.ok() == (to_errc(status) == Errc::ok));
  nqn(connect.subnqn);
  nqn(connect.hostnqn);
  const auto snapshot = parse_snapshot(std::as_bytes(std::span(data, size)));
  require(!snapshot.ok() || parse_snapshot(encode(snapshot.value()).value()).value() == snapshot.value());
  return 0;
}
