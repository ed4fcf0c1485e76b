// Fabrics: Connect and Disconnect.
#include <fmt/format.h>

#include "cli/conformance/session.h"
#include "cli/conformance/suite.h"

namespace holdfast::cli::conformance {
namespace {

constexpr const char* connect_section = "6.3 (Connect)";

// Offsets of what Connect names in error: in the command and in its data.
constexpr std::uint16_t at_recfmt = 40, at_qid = 42, at_sqsize = 44;
constexpr std::uint16_t at_hostid = 0, at_cntlid = 16, at_subnqn = 256, at_hostnqn = 512;

// DW0 of a refusal: IPO in bits 15:0, IATTR in bit 16 (1: in the data).
void expect_where(Test& t, const Answer& a, std::uint16_t ipo, bool in_data) {
  if (a.status != sc::connect_parameters) return;
  t.expect(
      (a.dw0 & 0xffff) == ipo && (a.dw0 >> 16 & 1) == (in_data ? 1u : 0u),
      fmt::format("DW0: expected IPO {} in the {}, got IPO {} in the {}", ipo, in_data ? "data" : "command",
                  a.dw0 & 0xffff, (a.dw0 >> 16 & 1) != 0 ? "data" : "command"));
}

struct Refusal {
  const char* id;
  const char* title;
  void (*change)(ConnectParameters&);
  std::vector<std::uint16_t> statuses;
  std::uint16_t ipo;
  bool in_data;
};

const std::vector<Refusal>& refusals() {
  static const std::vector<Refusal> all = {
      {"recfmt",
       "An unknown record format",
       [](ConnectParameters& p) { p.recfmt = 0x77; },
       {sc::connect_format},
       at_recfmt,
       false},
      {"subnqn-unknown",
       "A subsystem that does not exist",
       [](ConnectParameters& p) {
         p.subnqn = "nqn.2014-08.org.nvmexpress:uuid:00000000-dead-beef-0000-000000000000";
       },
       {sc::connect_parameters, sc::connect_host},
       at_subnqn,
       true},
      {"subnqn-empty",
       "An empty subsystem NQN",
       [](ConnectParameters& p) { p.subnqn.clear(); },
       {sc::connect_parameters},
       at_subnqn,
       true},
      {"subnqn-unterminated",
       "A subsystem NQN of 256 bytes",
       [](ConnectParameters& p) { p.subnqn = "nqn." + std::string(252, 'x'); },
       {sc::connect_parameters},
       at_subnqn,
       true},
      {"hostnqn-unterminated",
       "A host NQN of 256 bytes",
       [](ConnectParameters& p) { p.hostnqn = "nqn." + std::string(252, 'x'); },
       {sc::connect_parameters, sc::connect_host},
       at_hostnqn,
       true},
      {"hostid-zero",
       "A host identifier of zero",
       [](ConnectParameters& p) { p.hostid.fill(0); },
       {sc::connect_parameters},
       at_hostid,
       true},
      {"sqsize-zero",
       "A queue of one entry",
       [](ConnectParameters& p) { p.sqsize = 0; },
       {sc::connect_parameters},
       at_sqsize,
       false},
      {"cntlid",
       "A controller that does not exist, for the admin queue",
       [](ConnectParameters& p) { p.cntlid = 0xfffc; },
       {sc::connect_parameters},
       at_cntlid,
       true},
  };
  return all;
}

ConnectParameters admin_parameters(const Test& t) {
  ConnectParameters p;
  p.subnqn = t.settings().subsystem;
  p.hostnqn = t.settings().host_nqn;
  p.hostid[0] = 0x48;
  p.hostid[15] = 1;
  return p;
}

void refuse(Test& t, const Refusal& r) {
  Connection c(t);
  c.set_up();
  ConnectParameters p = admin_parameters(t);
  r.change(p);
  const Answer a = c.execute(connect_command(p));
  if (!a.arrived) return;
  bool right = false;
  for (const std::uint16_t s : r.statuses) right = right || a.status == s;
  if (!right)
    return t.fail(
        fmt::format("Connect: expected {}, got {}", sc::text(r.statuses.front()), sc::text(a.status)));
  expect_where(t, a, r.ipo, r.in_data);
}

void static_or_dynamic(Test& t) {
  Session s(t);
  t.equal("CNTLID of identify data", u16(s.controller(), 78), s.cntlid());
  t.expect(s.cntlid() != 0xffff && s.cntlid() < 0xfff0, fmt::format("CNTLID {:#x} is reserved", s.cntlid()));
}

void two_controllers(Test& t) {
  Session one(t), two(t);
  if (!t.ok()) return;
  t.expect(one.cntlid() != two.cntlid(), fmt::format("two controllers have CNTLID {:#x}", one.cntlid()));
}

void response_form(Test& t) {
  Connection c(t);
  c.set_up();
  const Answer a = c.execute(connect_command(admin_parameters(t)));
  if (!c.expect_good("Connect", a)) return;
  t.expect(a.sqhd < 32, fmt::format("SQHD {:#x} is none of 32 entries", a.sqhd));
}

void no_flow_control(Test& t) {
  Connection c(t);
  c.set_up();
  ConnectParameters p = admin_parameters(t);
  p.cattr = 4;
  const Answer a = c.execute(connect_command(p));
  if (!c.expect_good("Connect", a)) return;
  t.expect(a.sqhd == 0xffff || a.sqhd < 32, fmt::format("SQHD {:#x}: neither FFFFh nor an entry", a.sqhd));
}

void command_first(Test& t) {
  Connection c(t);
  c.set_up();
  Command get = fabrics_command(fabrics::property_get);
  const std::uint16_t cid = c.submit(get.set8(40, 0).set32(44, prop::vs));
  const Answer a = c.await_within(cid, t.settings().timeout);
  if (!a.arrived) return c.expect_end();  // to end the connection is right, too
  c.expect_status("Property Get before Connect", a, {sc::sequence_error});
}

void connect_twice(Test& t) {
  Session s(t);
  const Answer a = s.admin().execute(connect_command(s.parameters(0)));
  s.admin().expect_status("a second Connect on the queue", a, {sc::sequence_error});
}

void io_before_enable(Test& t) {
  SessionOptions o;
  o.enable = false;
  Session s(t, o);
  const auto c = s.wire();
  const Answer a = c->execute(connect_command(s.parameters(1)));
  c->expect_refused("Connect of an I/O queue before CC.EN", a);
}

void duplicate_qid(Test& t) {
  Session s(t);
  const auto first = s.io_queue(1);
  const auto second = s.wire();
  const Answer a = second->execute(connect_command(s.parameters(1)));
  second->expect_status("Connect of queue 1 again", a,
                        {sc::sequence_error, sc::connect_parameters, sc::invalid_queue_id});
  first->expect_good("Read on the first queue 1", first->execute(s.read_command(0, 1)));
}

void io_parameter(Test& t, void (*change)(ConnectParameters&), std::uint16_t ipo, bool in_data,
                  std::vector<std::uint16_t> also = {}) {
  Session s(t);
  const auto c = s.wire();
  ConnectParameters p = s.parameters(1);
  change(p);
  const Answer a = c->execute(connect_command(p));
  if (!a.arrived) return;
  bool right = a.status == sc::connect_parameters;
  for (const std::uint16_t st : also) right = right || a.status == st;
  if (!right)
    return t.fail(
        fmt::format("Connect: expected {}, got {}", sc::text(sc::connect_parameters), sc::text(a.status)));
  const bool names_pair = in_data && ipo == at_hostnqn && a.dw0 == (at_cntlid | 1u << 16);  // as good
  if (!names_pair) expect_where(t, a, ipo, in_data);
}

void sqsize_over_mqes(Test& t) {
  Session s(t);
  const auto mqes = static_cast<std::uint16_t>(s.property(prop::cap, true));
  if (!t.ok()) return;
  if (mqes == 0xffff) return t.not_supported("CAP.MQES is FFFFh: no queue is too large");
  const auto c = s.wire();
  ConnectParameters p = s.parameters(1);
  p.sqsize = static_cast<std::uint16_t>(mqes + 1);
  const Answer a = c->execute(connect_command(p));
  c->expect_status("Connect with SQSIZE over CAP.MQES", a, {sc::connect_parameters, sc::invalid_queue_size});
  if (a.arrived) expect_where(t, a, at_sqsize, false);
}

void queue_of_mqes(Test& t) {
  Session s(t);
  const auto queue = s.io_queue(1, static_cast<std::uint16_t>(s.property(prop::cap, true)));
  queue->expect_good("Read", queue->execute(s.read_command(0, 1)));
}

void several_queues(Test& t) {
  Session s(t);
  const Answer count = s.set_feature(0x07, 3 | 3u << 16);
  s.admin().expect_good("Set Features, number of queues", count);
  const std::uint32_t queues = std::min(4u, (count.dw0 & 0xffff) + 1);
  std::vector<std::unique_ptr<Connection>> all;
  for (std::uint16_t qid = 1; qid <= queues && t.ok(); ++qid) all.push_back(s.io_queue(qid));
  for (auto& queue : all) {
    const Answer a = queue->execute(s.read_command(0, 1));
    queue->expect_good("Read", a);
  }
}

void kato_zero(Test& t) {
  Session s(t);
  t.sleep(1500ms);
  s.admin().expect_good("Identify after a pause", s.identify(0x01));
}

void in_capsule_only(Test& t) {
  Connection c(t);
  c.set_up();
  ConnectParameters p = admin_parameters(t);
  Command command = connect_command(p);
  command.sgl(0, 512, Command::sgl_in_capsule);  // half of what Connect has
  const std::uint16_t cid = c.submit(command);
  const Answer a = c.await_within(cid, t.settings().timeout);
  if (a.arrived) c.expect_refused("Connect with 512 bytes of data", a);
}

void disconnect(Test& t) {
  Session s(t);
  const auto queue = s.io_queue();
  if (!t.needs((u16(s.controller(), 1804) & 1) != 0, "OFCS bit 0 (Disconnect) is clear")) return;
  const Answer a = queue->execute(fabrics_command(fabrics::disconnect));
  queue->expect_good("Disconnect of an I/O queue", a);
  queue->shutdown();  // who ends the connection is left open (6.4)
  s.admin().expect_good("Identify on the admin queue behind it", s.identify(0x01));
  s.io_queue();  // the identifier is free again
}

void disconnect_admin(Test& t) {
  Session s(t);
  if (!t.needs((u16(s.controller(), 1804) & 1) != 0, "OFCS bit 0 (Disconnect) is clear")) return;
  const Answer a = s.admin().execute(fabrics_command(fabrics::disconnect));
  s.admin().expect_status("Disconnect of the admin queue", a, {sc::invalid_queue_type});
}

void disconnect_recfmt(Test& t) {
  Session s(t);
  const auto queue = s.io_queue();
  if (!t.needs((u16(s.controller(), 1804) & 1) != 0, "OFCS bit 0 (Disconnect) is clear")) return;
  Command c = fabrics_command(fabrics::disconnect);
  const Answer a = queue->execute(c.set32(40, 0x55));
  queue->expect_status("Disconnect with an unknown record format", a, {sc::connect_format});
}

void unknown_fctype(Test& t) {
  Session s(t);
  const Answer a = s.admin().execute(fabrics_command(0x7b));
  s.admin().expect_status("Fabrics command type 7Bh", a, {sc::invalid_opcode, sc::invalid_field});
}

}  // namespace

void add_connect_cases(Cases& to) {
  const auto add = [&](const char* id, const char* title, const char* requirement,
                       std::function<void(Test&)> run, const char* section = connect_section,
                       Level level = Level::mandatory) {
    to.push_back({std::string("fabrics.connect.") + id, title, Spec::fabrics, section, requirement, level,
                  false, std::move(run)});
  };
  add("response", "Response of Connect",
      "A successful Connect has the controller's identifier, and SQHD of its queue", response_form);
  add("cntlid-given", "CNTLID",
      "The controller is what Connect said, and its identifier is not a reserved one", static_or_dynamic);
  add("two", "Two controllers",
      "Each Connect of an admin queue makes a controller of its own (dynamic model)", two_controllers);
  add("flow-control", "SQ flow control disabled",
      "SQHD FFFFh says that flow control is disabled as asked for", no_flow_control);
  for (const Refusal& r : refusals()) {
    const std::string what = fmt::format("It is refused with {}, and DW0 says where: byte {} of the {}",
                                         sc::text(r.statuses.front()), r.ipo, r.in_data ? "data" : "command");
    add(r.id, r.title, what.c_str(), [&r](Test& t) { refuse(t, r); });
  }
  add("first", "A command before Connect", "Connect is the first command of a queue", command_first);
  add("twice", "Connect twice on one queue", "A queue is connected once: command sequence error",
      connect_twice);
  add("io-disabled", "An I/O queue before the controller is enabled",
      "I/O queues are made after CC.EN is set", io_before_enable);
  add("qid-duplicate", "An I/O queue that is there already",
      "A queue identifier in use is refused; its queue goes on", duplicate_qid);
  add("qid-range", "Queue identifier FFFFh", "A queue identifier out of range is refused", [](Test& t) {
    io_parameter(t, [](ConnectParameters& p) { p.qid = 0xffff; }, at_qid, false, {sc::invalid_queue_id});
  });
  add("io-cntlid", "An I/O queue of a controller that does not exist", "It is refused, naming CNTLID",
      [](Test& t) {
        io_parameter(
            t, [](ConnectParameters& p) { p.cntlid ^= 0x4000; }, at_cntlid, true);
      });
  add("io-hostnqn", "An I/O queue of another host's controller", "Host NQN and CNTLID must belong together",
      [](Test& t) {
        io_parameter(t,
                     [](ConnectParameters& p) {
                       p.hostnqn = "nqn.2014-08.org.nvmexpress:uuid:00000000-1111-2222-3333-444444444444";
                     },
                     at_hostnqn, true, {sc::connect_host});
      });
  add("io-hostid-zero", "An I/O queue for a host identifier of zero", "It is refused, naming HOSTID",
      [](Test& t) {
        const auto vs = static_cast<std::uint32_t>(Session(t).property(prop::vs));
        if (t.ok() && vs >= 0x00020100)
          return t.not_supported("since NVMe 2.1 zero is ignored for I/O queues");
        io_parameter(
            t, [](ConnectParameters& p) { p.hostid.fill(0); }, at_hostid, true);
      });
  add("sqsize-mqes", "A queue larger than CAP.MQES", "SQSIZE over CAP.MQES is refused", sqsize_over_mqes);
  add("sqsize-max", "A queue as large as CAP.MQES", "Queues up to CAP.MQES work", queue_of_mqes);
  add("queues", "Several I/O queues", "As many I/O queues as Number of Queues grants work", several_queues);
  add("kato-zero", "No keep alive", "With KATO 0 the controller waits for ever", kato_zero);
  add("data-length", "Connect with too little data", "Connect has 1,024 bytes of data", in_capsule_only);
  constexpr const char* disconnect_section = "6.4 (Disconnect)";
  add("disconnect", "Disconnect of an I/O queue", "The queue ends after the response, the controller stays",
      disconnect, disconnect_section, Level::optional);
  add("disconnect-admin", "Disconnect of the admin queue", "It is refused: invalid queue type",
      disconnect_admin, disconnect_section, Level::optional);
  add("disconnect-recfmt", "Disconnect with an unknown record format", "It is refused: incompatible format",
      disconnect_recfmt, disconnect_section, Level::optional);
  add("fctype", "A Fabrics command that does not exist", "It is refused: invalid field", unknown_fctype,
      "3.3.2.1.1, 6 (FCTYPE)");
}

}  // namespace holdfast::cli::conformance
