#include "e2e/hostile_peer.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nvme/fabrics.h"
#include "nvme/property.h"

namespace holdfast::e2e {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds patience_max{5000};

bool wait_for(int fd, short events, steady_clock::time_point until) {
  pollfd p{fd, events, 0};
  const auto left = std::chrono::ceil<milliseconds>(until - steady_clock::now());
  return ::poll(&p, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0))) > 0;
}

template <Wire H>
Bytes make_pdu(nvme::PduType type, H header, std::span<const std::byte> data, std::uint8_t flags = 0) {
  header.ch = {static_cast<std::uint8_t>(type), flags, sizeof header,
               static_cast<std::uint8_t>(data.empty() ? 0 : sizeof header),
               le32(static_cast<std::uint32_t>(sizeof header + data.size()))};
  Bytes out(sizeof header + data.size());
  store(std::span(out), header);
  if (!data.empty()) std::memcpy(out.data() + sizeof header, data.data(), data.size());
  return out;
}

nvme::Sqe fabrics(nvme::FabricsType type) {
  nvme::FabricsCmd c{};
  c.opc = static_cast<std::uint8_t>(nvme::AdminOpcode::fabrics);
  c.flags = nvme::Sqe::psdt_sgl;
  c.fctype = static_cast<std::uint8_t>(type);
  return nvme::to_sqe(c);
}

}  // namespace

HostilePeer::HostilePeer(std::uint16_t port, const std::string& from, int receive_buffer) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (receive_buffer > 0) ::setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  sockaddr_in local{};
  local.sin_family = AF_INET;
  ::inet_pton(AF_INET, from.c_str(), &local.sin_addr);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  to.sin_port = htons(port);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&local), sizeof local) == 0 &&
      ::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) {
    fd_ = fd;
  } else {
    ::close(fd);
  }
}

HostilePeer::~HostilePeer() { close(); }
HostilePeer::HostilePeer(HostilePeer&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

void HostilePeer::close() {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

bool HostilePeer::send(std::span<const std::byte> bytes) {
  const auto until = steady_clock::now() + patience_max;
  while (!bytes.empty()) {
    if (!wait_for(fd_, POLLOUT, until)) return false;
    const ssize_t n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN) return false;
    if (n > 0) bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

void HostilePeer::send_some(std::span<const std::byte> bytes) {
  (void)::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool HostilePeer::receive_exactly(std::span<std::byte> into, steady_clock::time_point until) {
  while (!into.empty()) {
    if (!wait_for(fd_, POLLIN, until)) return false;
    const ssize_t n = ::recv(fd_, into.data(), into.size(), 0);
    if (n <= 0) return false;
    into = into.subspan(static_cast<std::size_t>(n));
  }
  return true;
}

Bytes HostilePeer::receive(milliseconds patience) {
  const auto until = steady_clock::now() + patience;
  Bytes pdu(sizeof(nvme::CommonHeader));
  if (!receive_exactly(pdu, until)) return {};
  const std::uint32_t plen = load<nvme::CommonHeader>(pdu).plen;
  if (plen < pdu.size() || plen > (2u << 20)) return {};
  pdu.resize(plen);
  if (!receive_exactly(std::span(pdu).subspan(sizeof(nvme::CommonHeader)), until)) return {};
  return pdu;
}

bool HostilePeer::ends(milliseconds patience) {
  const auto until = steady_clock::now() + patience;
  std::byte rest[4096];
  while (wait_for(fd_, POLLIN, until)) {
    if (::recv(fd_, rest, sizeof rest, 0) <= 0) return true;
  }
  return false;
}

bool HostilePeer::set_up() {
  if (!connected() || !send(make_ic_req())) return false;
  const Bytes got = receive();
  return !got.empty() && static_cast<nvme::PduType>(got[0]) == nvme::PduType::ic_resp;
}

std::uint16_t HostilePeer::connect_queue(const std::string& nqn, std::uint16_t qid, std::uint16_t cntlid,
                                         unsigned host, std::uint16_t entries, std::uint32_t keep_alive_ms) {
  auto c = nvme::as<nvme::ConnectCmd>(fabrics(nvme::FabricsType::connect));
  c.sgl1 = nvme::SglDescriptor::in_capsule(sizeof(nvme::ConnectData));
  c.qid = qid;
  c.sqsize = static_cast<std::uint16_t>(entries - 1);
  c.kato = keep_alive_ms;
  nvme::ConnectData d{};
  d.hostid[0] = 1;
  store(std::as_writable_bytes(std::span(d.hostid)).subspan(4), le32(host));
  d.cntlid = cntlid;
  nvme::nqn_to_field(nqn, d.subnqn);
  nvme::nqn_to_field("nqn.2019-05.io.openebs:hostile-" + std::to_string(host), d.hostnqn);
  if (!send(make_command(nvme::to_sqe(c), bytes_of(d)))) return 0;
  const Bytes got = receive();
  if (got.size() != sizeof(nvme::CapsuleResp)) return 0;
  const auto cqe = load<nvme::CapsuleResp>(got).rccqe;
  return cqe.status >> 1 == 0 ? static_cast<std::uint16_t>(cqe.result.get()) : std::uint16_t{0};
}

bool HostilePeer::enable() {
  auto c = nvme::as<nvme::PropertySetCmd>(fabrics(nvme::FabricsType::property_set));
  c.ofst = static_cast<std::uint32_t>(nvme::Property::cc);
  c.value = nvme::Cc{true, 0, 0, 0, nvme::ShutdownNotice::none, 6, 4}.pack();
  return execute(nvme::to_sqe(c)) == 0;
}

std::uint16_t HostilePeer::execute(const nvme::Sqe& sqe) {
  if (!send(make_command(sqe))) return 0xffff;
  for (;;) {
    const Bytes got = receive();
    if (got.empty()) return 0xffff;
    const auto type = static_cast<nvme::PduType>(got[0]);
    if (type == nvme::PduType::capsule_resp) {
      return static_cast<std::uint16_t>(load<nvme::CapsuleResp>(got).rccqe.status >> 1);
    }
    if (type == nvme::PduType::r2t) {
      const auto r2t = load<nvme::R2t>(got);
      nvme::H2cData pdu{};
      pdu.cccid = r2t.cccid;
      pdu.ttag = r2t.ttag;
      pdu.datal = r2t.r2tl;
      if (!send(make_pdu(nvme::PduType::h2c_data, pdu, Bytes(r2t.r2tl), nvme::flag_last_pdu))) return 0xffff;
    } else if (type != nvme::PduType::c2h_data) {
      return 0xffff;
    }
  }
}

Bytes make_command(const nvme::Sqe& sqe, std::span<const std::byte> data) {
  nvme::CapsuleCmd pdu{};
  pdu.ccsqe = sqe;
  return make_pdu(nvme::PduType::capsule_cmd, pdu, data);
}

Bytes make_ic_req() { return make_pdu(nvme::PduType::ic_req, nvme::IcReq{}, {}); }

nvme::Sqe io_command(nvme::IoOpcode opcode, std::uint64_t lba, std::uint32_t blocks, std::uint16_t cid) {
  nvme::Sqe s{};
  s.opc = static_cast<std::uint8_t>(opcode);
  s.flags = nvme::Sqe::psdt_sgl;
  s.cid = cid;
  s.nsid = 1;
  nvme::set_io_range(s, lba, blocks);
  s.sgl1 = nvme::SglDescriptor::transport(blocks * 512);
  return s;
}

HostileSession::HostileSession(std::uint16_t port, const std::string& nqn, unsigned host,
                               const std::string& from, std::uint16_t entries, std::uint32_t keep_alive_ms)
    : admin(port, from), io(port, from, 4096) {
  if (!admin.set_up() || !io.set_up()) return;
  const std::uint16_t cntlid = admin.connect_queue(nqn, 0, nvme::cntlid_dynamic, host, 32, keep_alive_ms);
  ok = cntlid != 0 && admin.enable() && io.connect_queue(nqn, 1, cntlid, host, entries) != 0;
}

}  // namespace holdfast::e2e
