// One host's mistakes are no other host's affair.
#include <chrono>
#include <thread>

#include <fmt/format.h>

#include "cli/conformance/session.h"
#include "cli/conformance/suite.h"

namespace holdfast::cli::conformance {
namespace {

constexpr int rounds = 5;

// A bystander works before, between and after what another connection does.
void bystander(Test& t, const std::function<void(Connection&)>& mischief) {
  Session s(t);
  const auto queue = s.io_queue();
  for (int i = 0; i < rounds && t.ok(); ++i) {
    Connection other(t);
    mischief(other);
    queue->expect_good("Read of a bystander", queue->execute(s.read_command(0, 1)));
    s.admin().expect_good("Identify of a bystander", s.identify(0x01));
  }
}

// An error ends the connection where it happens, not the controller's other ones: those of other hosts never.
void protocol_error(Test& t) {
  bystander(t, [](Connection& c) { c.send(Bytes(512, 0xff)); });
}

void reset_in_pdu(Test& t) {
  bystander(t, [](Connection& c) {
    c.set_up();
    Command connect = connect_command(ConnectParameters());
    const Bytes capsule = c.capsule(connect.cid(1));
    c.send(slice(capsule, 0, 500));
    c.shutdown();
  });
}

void silent(Test& t) {
  Session s(t);
  const auto queue = s.io_queue();
  std::vector<std::unique_ptr<Connection>> idle;
  for (int i = 0; i < 16 && t.ok(); ++i) idle.push_back(std::make_unique<Connection>(t));
  for (int i = 0; i < rounds; ++i)
    queue->expect_good("Read of a bystander", queue->execute(s.read_command(0, 1)));
}

void refused_connects(Test& t) {
  bystander(t, [&t](Connection& c) {
    c.set_up();
    ConnectParameters p;
    p.subnqn = t.settings().subsystem;
    p.hostnqn = t.settings().host_nqn;
    p.recfmt = 0x99;
    c.expect_refused("Connect", c.execute(connect_command(p)));
  });
}

// A controller that vanishes leaves nothing behind that keeps others out.
void vanishing_controllers(Test& t) {
  for (int i = 0; i < 20 && t.ok(); ++i) {
    Session s(t);
    s.io_queue();
  }
  Session last(t);
  const auto queue = last.io_queue();
  queue->expect_good("Read over the last of 21 controllers", queue->execute(last.read_command(0, 1)));
}

// A host that does not take what it asked for holds up nobody else.
void slow_reader(Test& t) {
  Session slow(t), s(t);
  const auto entries =
      static_cast<std::uint16_t>(std::min<std::uint64_t>(slow.property(prop::cap, true) & 0xffff, 127));
  const auto stuck = slow.io_queue(1, entries);
  const auto queue = s.io_queue();
  const std::uint32_t blocks = static_cast<std::uint32_t>(
      std::min<std::uint64_t>(slow.blocks(), slow.transfer_max() / slow.block_bytes()));
  if (!t.ok()) return;
  // More than the kernel's buffers take.
  const std::uint32_t count =
      std::min<std::uint32_t>(entries, (8u << 20) / (blocks * slow.block_bytes()) + 1);
  stuck->hold(true);
  std::vector<std::uint16_t> cids;
  for (std::uint32_t i = 0; i < count; ++i) cids.push_back(stuck->submit(slow.read_command(0, blocks)));
  std::this_thread::sleep_for(std::chrono::milliseconds(500));  // until they are full
  for (int i = 0; i < 20 && t.ok(); ++i)
    queue->expect_good("Read of a bystander", queue->execute(s.read_command(0, 1)));
  stuck->hold(false);
  if (!t.ok()) return;
  for (const std::uint16_t cid : cids) stuck->expect_good("Read of the slow host", stuck->await(cid));
}

void own_admin_queue(Test& t) {
  Session s(t);
  {
    const auto queue = s.io_queue();
    queue->expect_good("Read", queue->execute(s.read_command(0, 1)));
  }
  Session other(t);
  const auto queue = other.io_queue();
  queue->expect_good("Read over another controller once a queue went away",
                     queue->execute(other.read_command(0, 1)));
}

void admin_ends_queues(Test& t) {
  auto s = std::make_unique<Session>(t);
  const auto queue = s->io_queue();
  s->admin().shutdown();
  if (!queue->ends_within(2 * t.settings().timeout))
    t.fail("the admin queue's connection ended, but the I/O queue stays");
}

}  // namespace

void add_isolation_cases(Cases& to) {
  const auto add = [&](const char* id, const char* title, const char* section, const char* requirement,
                       void (*run)(Test&)) {
    to.push_back({std::string("fabrics.isolation.") + id, title, Spec::fabrics, section, requirement,
                  Level::mandatory, false, run});
  };
  constexpr const char* association = "2.2 (message-based transport)";
  add("protocol-error", "Another connection's protocol errors", "NVMe/TCP 1.0, 3.5",
      "They end that connection only", protocol_error);
  add("half-pdu", "A connection that breaks off within a PDU", "NVMe/TCP 1.0, 3.5",
      "It ends that connection only", reset_in_pdu);
  add("silent", "Connections that say nothing", association, "They keep nobody else waiting", silent);
  add("refused", "Connects that are refused", "6.3 (Connect)", "They make no controller", refused_connects);
  add("vanishing", "Controllers that vanish", association, "What they had is free again",
      vanishing_controllers);
  add("slow-reader", "A host that does not read", association, "It keeps nobody else waiting", slow_reader);
  add("queue-gone", "An I/O queue that vanishes", association, "Other controllers go on", own_admin_queue);
  add("admin-gone", "The admin queue vanishes", association, "The association ends with its admin queue",
      admin_ends_queues);
}

}  // namespace holdfast::cli::conformance
