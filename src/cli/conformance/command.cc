#include "cli/conformance/command.h"

#include <algorithm>

#include <fmt/format.h>

namespace holdfast::cli::conformance {

namespace sc {
namespace {

struct Named {
  std::uint16_t status;
  const char* name;
};
constexpr Named names[] = {
    {0x000, "success"},
    {0x001, "invalid command opcode"},
    {0x002, "invalid field in command"},
    {0x003, "command id conflict"},
    {0x004, "data transfer error"},
    {0x006, "internal error"},
    {0x007, "command abort requested"},
    {0x008, "command aborted, queue deleted"},
    {0x009, "command aborted, fused command failed"},
    {0x00a, "command aborted, fused command missing"},
    {0x00b, "invalid namespace or format"},
    {0x00c, "command sequence error"},
    {0x00d, "invalid SGL segment descriptor"},
    {0x00e, "invalid number of SGL descriptors"},
    {0x00f, "data SGL length invalid"},
    {0x011, "SGL descriptor type invalid"},
    {0x016, "SGL offset invalid"},
    {0x01a, "keep alive time-out invalid"},
    {0x01e, "SGL data block granularity invalid"},
    {0x022, "transient transport error"},
    {0x080, "LBA out of range"},
    {0x081, "capacity exceeded"},
    {0x082, "namespace not ready"},
    {0x083, "reservation conflict"},
    {0x101, "invalid queue identifier"},
    {0x102, "invalid queue size"},
    {0x103, "abort command limit exceeded"},
    {0x105, "asynchronous event request limit exceeded"},
    {0x109, "invalid log page"},
    {0x10d, "feature not saveable"},
    {0x10e, "feature not changeable"},
    {0x10f, "feature not namespace specific"},
    {0x180, "connect incompatible format / conflicting attributes"},
    {0x181, "connect controller busy"},
    {0x182, "connect invalid parameters"},
    {0x183, "connect restart discovery / command size limit exceeded"},
    {0x184, "connect invalid host"},
    {0x185, "invalid queue type"},
    {0x285, "compare failure"},
    {0x302, "asymmetric access inaccessible"},
};

}  // namespace

std::string text(std::uint16_t status) {
  const auto* it =
      std::find_if(std::begin(names), std::end(names), [&](const Named& n) { return n.status == status; });
  return fmt::format("{} ({:#05x})", it != std::end(names) ? it->name : "status", status);
}

}  // namespace sc

Command fabrics_command(std::uint8_t fctype) {
  Command c(admin::fabrics);
  c.set8(4, fctype);
  return c;
}

Command connect_command(const ConnectParameters& p) {
  Bytes data(1024);
  std::copy(p.hostid.begin(), p.hostid.end(), data.begin());
  put16(data, 16, p.cntlid);
  put_text(data, 256, p.subnqn.substr(0, 256));
  put_text(data, 512, p.hostnqn.substr(0, 256));
  Command c = fabrics_command(fabrics::connect);
  c.sends_in_capsule(std::move(data));
  c.set32(40, p.recfmt | std::uint32_t{p.qid} << 16);
  c.set32(44, p.sqsize | std::uint32_t{p.cattr} << 16);
  c.set32(48, p.kato);
  return c;
}

Command io_command(std::uint8_t opcode, std::uint32_t nsid, std::uint64_t slba, std::uint32_t blocks) {
  Command c(opcode);
  c.nsid(nsid);
  c.set64(40, slba);
  c.dw(12, (blocks - 1) & 0xffff);
  return c;
}

}  // namespace holdfast::cli::conformance
