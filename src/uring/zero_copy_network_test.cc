// Sends from the caller's memory where the kernel does not copy: between two network namespaces whose receiving
// end has an XDP program, which takes packets before the kernel would copy what they point to, as a network card
// does. Needs root.
#include <cstring>
#include <deque>
#include <string>

#include <gtest/gtest.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rt/stop.h"
#include "uring/runtime.h"
#include "uring/socket.h"

namespace holdfast::uring {
namespace {

using Bytes = std::vector<std::byte>;

constexpr int cannot = 77;  // be tested here
constexpr int copied = 78;
constexpr unsigned sends = 200;
constexpr std::size_t send_bytes = 300'001;
const Endpoint receiver{"10.8.0.2", 7420};

bool run(const std::string& command) { return std::system((command + " >/dev/null 2>&1").c_str()) == 0; }

Bytes pattern(unsigned number) {
  Bytes v(send_bytes);
  Prng prng(number);
  for (auto& b : v) b = static_cast<std::byte>(prng.next());
  return v;
}

// A program that lets every packet of the interface pass. Attached as long as this process lives.
bool attach_xdp(const char* interface) {
  const bpf_insn code[] = {
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = XDP_PASS},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  constexpr std::uint32_t in_the_driver = 1U << 2, takes_fragments = 1U << 5;
  bpf_attr program{};
  program.prog_type = BPF_PROG_TYPE_XDP;
  program.insns = reinterpret_cast<std::uint64_t>(code);
  program.insn_cnt = 2;
  program.license = reinterpret_cast<std::uint64_t>("GPL");
  program.prog_flags = takes_fragments;
  program.expected_attach_type = BPF_XDP;
  const long loaded = ::syscall(SYS_bpf, BPF_PROG_LOAD, &program, sizeof program);
  if (loaded < 0) return false;
  bpf_attr link{};
  link.link_create.prog_fd = static_cast<std::uint32_t>(loaded);
  link.link_create.target_ifindex = if_nametoindex(interface);
  link.link_create.attach_type = BPF_XDP;
  link.link_create.flags = in_the_driver;
  return ::syscall(SYS_bpf, BPF_LINK_CREATE, &link, sizeof link) >= 0;
}

bool tell(int channel, char what) { return ::write(channel, &what, 1) == 1; }
bool hear(int channel, char what) {
  char got = 0;
  return ::read(channel, &got, 1) == 1 && got == what;
}

// The process of the receiver: takes what comes, with a pause now and then, and says by its exit whether it was right.
int receive_process(int channel) {
  if (::unshare(CLONE_NEWNET) != 0 || !tell(channel, 'n') || !hear(channel, 'm')) return cannot;
  if (!run("ip addr add 10.8.0.2/24 dev hfzcb && ip link set hfzcb mtu 9000 up") || !attach_xdp("hfzcb"))
    return cannot;
  auto address = SocketAddress::from(receiver);
  const Fd listener(::socket(AF_INET, SOCK_STREAM, 0));
  if (!address.ok() || ::bind(listener.get(), address.value().raw(), address.value().length) != 0 ||
      ::listen(listener.get(), 1) != 0 || !tell(channel, 'l'))
    return cannot;
  const Fd connection(::accept(listener.get(), nullptr, nullptr));
  for (unsigned i = 0; i < sends; ++i) {
    const Bytes wanted = pattern(i);
    Bytes got(send_bytes);
    for (std::size_t at = 0; at < got.size();) {
      const ssize_t n = ::recv(connection.get(), got.data() + at, got.size() - at, 0);
      if (n <= 0) return 1;
      at += static_cast<std::size_t>(n);
    }
    if (got != wanted) return 2;
    if (i % 20 == 0) ::usleep(20'000);
  }
  return 0;
}

// Uses its memory for something else as soon as it may.
struct Owner final : SendHold {
  explicit Owner(Bytes content, unsigned& held)
      : data(std::move(content)), vec{data.data(), data.size()}, count(held) {}
  void on_released() noexcept override {
    --count;
    std::memset(data.data(), 0xee, data.size());
  }
  Bytes data;
  IoVec vec;
  unsigned& count;
};

struct Seen {
  unsigned held = 0;
  unsigned held_most = 0;
};

Task<void> send_all(Reactor& r, Seen& seen) {
  Endpoint to = receiver;
  auto connected = co_await r.connect(std::move(to), r.now() + 5s, StopToken());
  if (!connected.ok()) panic(connected.error().message().c_str());
  Stream& stream = *connected.value();
  std::deque<Owner> owners;
  for (unsigned i = 0; i < sends; ++i) {
    Owner& owner = owners.emplace_back(pattern(i), seen.held);
    ++seen.held;  // before it could be given back
    const Result<std::size_t> sent = co_await stream.send(IoVecs(&owner.vec, 1), &owner);
    EXPECT_TRUE(sent.ok() && sent.value() == send_bytes);
    if (!owner.held() && owner.data[0] == pattern(i)[0]) --seen.held;  // never was
    seen.held_most = std::max(seen.held_most, seen.held);
  }
  const Nanos limit = r.now() + 20s;
  while (seen.held > 0 && r.now() < limit) co_await r.sleep(1ms);
  stream.shutdown();
  co_await stream.close();
}

int send_process() {
  int channel[2];
  if (::unshare(CLONE_NEWNET) != 0 || ::socketpair(AF_UNIX, SOCK_STREAM, 0, channel) != 0) return cannot;
  const pid_t other = ::fork();
  if (other == 0) {
    ::close(channel[0]);
    ::_exit(receive_process(channel[1]));
  }
  ::close(channel[1]);
  const bool ready =
      hear(channel[0], 'n') &&
      run("ip link add hfzca type veth peer name hfzcb && ip addr add 10.8.0.1/24 dev hfzca && "
          "ip link set hfzca mtu 9000 up && ip link set hfzcb netns " +
          std::to_string(other)) &&
      tell(channel[0], 'm') && hear(channel[0], 'l');
  Seen seen;
  bool enough = false;
  if (ready) {
    auto made = Runtime::create(Runtime::Options());
    if (!made.ok()) panic(made.error().message().c_str());
    made.value()->run(send_all(made.value()->home(), seen));
    EXPECT_EQ(seen.held, 0u);
    // The others found enough held, or were sent again.
    enough = made.value()->home().sends().without_copy > sends / 10;
    if (enough) {
      EXPECT_GT(seen.held_most, 1u) << "what is held does not hold up what comes after it";
    }
  }
  ::close(channel[0]);
  int status = 0;
  ::waitpid(other, &status, 0);
  if (!ready) return cannot;
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "1: not all came; 2: other bytes";
  if (testing::Test::HasFailure()) return 1;
  return enough ? 0 : copied;
}

// In namespaces of its own. Its exit status.
int send_in_a_process() {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(send_process());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// What the kernel sends again, on a busy machine, it copies; when that is the first send, all are copied. Other
// failures are none of chance.
TEST(ZeroCopy, WhereNothingIsCopied) {
  int status = copied;
  for (unsigned i = 0; i < 3 && status == copied; ++i) status = send_in_a_process();
  if (status == cannot) GTEST_SKIP() << "needs root, network namespaces and XDP";
  EXPECT_EQ(status, 0) << copied << ": the kernel copies all the same";
}

}  // namespace
}  // namespace holdfast::uring
