// Goal: Connect makes exactly the controllers and queues that NVMe-oF allows; every refusal has its status
// and says where the wrong parameter is; controllers end when they should, and only then.
#include "base/log.h"
#include "nvmf/target/target.h"
#include "nvmf/target/testing/device_over.h"
#include "nvmf/target/testing/raw_host.h"

namespace holdfast::nvmf::test {
namespace {

constexpr std::uint32_t in_data(std::size_t offset) { return static_cast<std::uint32_t>(offset) | 1u << 16; }

struct Refusal {
  const char* what;
  Sqe sqe;
  nvme::ConnectData data;
  StatusCode code;
  std::uint32_t where;
};

TEST(Connect, RefusalsOfAnAdminQueue) {
  Rig rig;
  SubsystemConfig c = Rig::volume();
  c.allowed_hosts = {host_nqn};
  ASSERT_EQ(rig.add_volume(c), Errc::ok);
  RawHost h(rig);
  auto unterminated = RawHost::connect_data();
  std::fill(std::begin(unterminated.subnqn), std::end(unterminated.subnqn), 'n');
  auto no_host = RawHost::connect_data();
  no_host.hostnqn[0] = '\0';
  auto bad_host = RawHost::connect_data();
  bad_host.hostnqn[0] = 'm';
  auto no_id = RawHost::connect_data();
  std::fill(std::begin(no_id.hostid), std::end(no_id.hostid), std::uint8_t{0});
  Sqe format = h.connect_sqe(0);
  format.cdw10 = 1;
  Sqe other_length = h.connect_sqe(0);
  other_length.sgl1.length = 512;
  Sqe other_pointer = h.connect_sqe(0);
  other_pointer.sgl1.id = 0x40;
  const Refusal refusals[] = {
      {"record format", format, RawHost::connect_data(), StatusCode::connect_incompatible_format, 40},
      {"queue of one entry", h.connect_sqe(0, 0), RawHost::connect_data(),
       StatusCode::connect_invalid_parameters, 44},
      {"queue too large", h.connect_sqe(0, 1024), RawHost::connect_data(),
       StatusCode::connect_invalid_parameters, 44},
      {"unknown subsystem", h.connect_sqe(0), RawHost::connect_data(0xffff, subsystem_nqn("other")),
       StatusCode::connect_invalid_parameters, in_data(256)},
      {"subsystem NQN without an end", h.connect_sqe(0), unterminated, StatusCode::connect_invalid_parameters,
       in_data(256)},
      {"no host NQN", h.connect_sqe(0), no_host, StatusCode::connect_invalid_host, in_data(512)},
      {"no NQN as host NQN", h.connect_sqe(0), bad_host, StatusCode::connect_invalid_parameters,
       in_data(512)},
      {"host not allowed", h.connect_sqe(0), RawHost::connect_data(0xffff, volume_nqn, host_nqn + "0"),
       StatusCode::connect_invalid_host, in_data(512)},
      {"no host identifier", h.connect_sqe(0), no_id, StatusCode::connect_invalid_parameters, in_data(0)},
      {"a controller of its choice", h.connect_sqe(0), RawHost::connect_data(1),
       StatusCode::connect_invalid_parameters, in_data(16)},
      {"data too short", other_length, RawHost::connect_data(), StatusCode::data_sgl_length_invalid, 0},
      {"another data pointer", other_pointer, RawHost::connect_data(),
       StatusCode::sgl_descriptor_type_invalid, 0},
  };
  ASSERT_TRUE(h.set_up());
  for (const Refusal& r :
       refusals) {  // one after the other on one connection: a refused Connect may be repeated
    SCOPED_TRACE(r.what);
    Sqe sqe = r.sqe;
    sqe.cid = 5;
    nvme::CapsuleCmd pdu{};
    pdu.ccsqe = sqe;
    const auto bytes = bytes_of(r.data);
    h.send(h.make(PduType::capsule_cmd, pdu, Bytes(bytes.begin(), bytes.end())));
    const Outcome o = h.wait_for(5);
    EXPECT_EQ(o.status, nvme::permanent(r.code)) << nvme::name(o.status.code);
    EXPECT_EQ(o.result, r.where);
  }
  EXPECT_TRUE(rig.target->subsystem(volume_nqn).value().controllers.empty());
  EXPECT_TRUE(h.connect(h.connect_sqe(0), RawHost::connect_data()).status.ok())
      << "and the right one is accepted";
}

TEST(Connect, AHostWithoutANameIsOneOfAnyHosts) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(Rig::volume()), Errc::ok);
  RawHost h(rig);
  ASSERT_TRUE(h.set_up());
  auto no_host = RawHost::connect_data();
  no_host.hostnqn[0] = '\0';
  EXPECT_TRUE(h.connect(h.connect_sqe(0), no_host).status.ok());
}

TEST(Connect, RefusalsOfAnIoQueue) {
  TargetConfig config;
  config.io_queues_max = 4;
  Rig rig(1, 2, config);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  RawHost disabled(rig);
  ASSERT_TRUE(disabled.set_up());
  const auto second = disabled.connect(disabled.connect_sqe(0), RawHost::connect_data());
  ASSERT_TRUE(second.status.ok());
  const auto other = static_cast<std::uint16_t>(second.result);  // a controller that is not enabled
  auto other_id = RawHost::connect_data(s.cntlid);
  other_id.hostid[0] = 2;
  auto no_id = RawHost::connect_data(s.cntlid);
  std::fill(std::begin(no_id.hostid), std::end(no_id.hostid), std::uint8_t{0});
  RawHost h(rig);
  ASSERT_TRUE(h.set_up());
  const Refusal refusals[] = {
      {"unknown controller", h.connect_sqe(2), RawHost::connect_data(999),
       StatusCode::connect_invalid_parameters, in_data(16)},
      {"another host's controller", h.connect_sqe(2),
       RawHost::connect_data(s.cntlid, volume_nqn, host_nqn + "0"), StatusCode::connect_invalid_parameters,
       in_data(512)},
      {"another host identifier", h.connect_sqe(2), other_id, StatusCode::connect_invalid_parameters,
       in_data(0)},
      {"no host identifier", h.connect_sqe(2), no_id, StatusCode::connect_invalid_parameters, in_data(0)},
      {"more queues than granted", h.connect_sqe(5), RawHost::connect_data(s.cntlid),
       StatusCode::connect_invalid_parameters, 42},
      {"the queue exists", h.connect_sqe(1), RawHost::connect_data(s.cntlid),
       StatusCode::command_sequence_error, 0},
      {"the controller is not enabled", h.connect_sqe(1), RawHost::connect_data(other),
       StatusCode::command_sequence_error, 0},
      {"of the discovery subsystem", h.connect_sqe(1),
       RawHost::connect_data(1, std::string(nvme::discovery_nqn)), StatusCode::connect_invalid_parameters,
       42},
  };
  for (const Refusal& r : refusals) {
    SCOPED_TRACE(r.what);
    const Outcome o = h.connect(r.sqe, r.data);
    EXPECT_EQ(o.status, nvme::permanent(r.code)) << nvme::name(o.status.code);
    EXPECT_EQ(o.result, r.where);
  }
  EXPECT_TRUE(h.connect(h.connect_sqe(2), RawHost::connect_data(s.cntlid)).status.ok());
}

TEST(Connect, CommandsOutOfTurn) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  RawHost h(rig);
  ASSERT_TRUE(h.set_up());
  const auto too_early = nvme::permanent(StatusCode::command_sequence_error);
  EXPECT_EQ(h.read(0, 1).status, too_early) << "I/O before Connect";
  EXPECT_EQ(h.identify(nvme::Cns::controller).status, too_early) << "admin before Connect";
  EXPECT_EQ(h.property_get(nvme::Property::csts).status, too_early);
  ASSERT_TRUE(h.connect(h.connect_sqe(0), RawHost::connect_data()).status.ok());
  EXPECT_EQ(h.connect(h.connect_sqe(0), RawHost::connect_data()).status, too_early) << "Connect twice";
  EXPECT_EQ(h.identify(nvme::Cns::controller).status, too_early) << "before CC.EN";
  EXPECT_TRUE(h.property_get(nvme::Property::csts).status.ok()) << "properties are there from the start";
}

// NVMe Base 2.0, section 6.3: a Connect that fails is no entry of the error log.
TEST(Connect, AFailedOneIsNotLogged) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  for (RawHost* h : {&s.admin, &s.io}) {
    EXPECT_EQ(h->connect(h->connect_sqe(1), RawHost::connect_data(s.cntlid)).status.code,
              StatusCode::command_sequence_error);
  }
  rig.world.run_for(10ms);
  EXPECT_EQ(load<nvme::ErrorLogEntry>(s.admin.log_page(nvme::LogPage::error, 64).data).error_count, 0u);
  (void)s.admin.identify(static_cast<nvme::Cns>(0x7f));
  rig.world.run_for(10ms);
  EXPECT_EQ(load<nvme::ErrorLogEntry>(s.admin.log_page(nvme::LogPage::error, 64).data).error_count, 1u)
      << "what else is refused is one";
}

TEST(Connect, FlowControlByTheHostsChoice) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  RawHost with(rig), without(rig);
  ASSERT_TRUE(with.set_up() && without.set_up());
  EXPECT_EQ(with.connect(with.connect_sqe(0), RawHost::connect_data()).sqhd, 1);
  const auto o = without.connect(without.connect_sqe(0, 31, nvme::ConnectCmd::cattr_no_sq_flow_control),
                                 RawHost::connect_data());
  EXPECT_EQ(o.sqhd, 0xffff) << "the controller agrees";

  Session s(rig, 0, 0, 0, 3);  // four entries: 1 after Connect
  for (const unsigned want : {2u, 3u, 0u, 1u, 2u}) EXPECT_EQ(s.io.read(0, 0x10000).sqhd, want);
}

TEST(Connect, ControllerIdentifiersComeFromTheWindow) {
  Rig rig;
  SubsystemConfig c = Rig::volume();
  c.cntlid_min = 10;
  c.cntlid_max = 11;
  ASSERT_EQ(rig.add_volume(c), Errc::ok);
  auto one = std::make_unique<Session>(rig);
  Session two(rig);
  EXPECT_EQ(one->cntlid, 10);
  EXPECT_EQ(two.cntlid, 11);
  RawHost three(rig);
  ASSERT_TRUE(three.set_up());
  const auto full = three.connect(three.connect_sqe(0), RawHost::connect_data());
  EXPECT_EQ(full.status, CommandStatus(StatusCode::connect_controller_busy)) << "later, it may be accepted";
  one.reset();
  rig.world.run_for(100ms);
  EXPECT_EQ(three.connect(three.connect_sqe(0), RawHost::connect_data()).result, 10u);
}

TEST(Connect, TheControllerEndsWithItsAdminQueue) {
  Rig rig(1, 2);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  auto info = rig.target->subsystem(volume_nqn).value();
  ASSERT_EQ(info.controllers.size(), 1u);
  EXPECT_EQ(info.controllers[0].host_nqn, host_nqn);
  EXPECT_TRUE(info.controllers[0].enabled);
  ASSERT_EQ(info.controllers[0].queues.size(), 2u);
  EXPECT_EQ(info.controllers[0].queues[1].qid, 1);
  EXPECT_EQ(info.controllers[0].queues[1].entries, 32u);
  EXPECT_EQ(info.controllers[0].queues[1].host.address, rig.host_node.ipv4());
  EXPECT_NE(info.controllers[0].queues[0].core, info.controllers[0].queues[1].core)
      << "spread over the cores";
  s.admin.close();
  EXPECT_TRUE(s.io.ends());
  rig.world.run_for(100ms);
  EXPECT_TRUE(rig.target->subsystem(volume_nqn).value().controllers.empty());
}

TEST(Connect, AnIoQueueEndsAlone) {
  Rig rig(1, 2);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  nvme::DisconnectCmd d{};
  d.opc = static_cast<std::uint8_t>(AdminOpcode::fabrics);
  d.flags = Sqe::psdt_sgl;
  d.fctype = static_cast<std::uint8_t>(nvme::FabricsType::disconnect);
  EXPECT_EQ(s.admin.execute(nvme::to_sqe(d)).status, nvme::permanent(StatusCode::invalid_queue_type));
  d.recfmt = 1;
  EXPECT_EQ(s.io.execute(nvme::to_sqe(d)).status, nvme::permanent(StatusCode::connect_incompatible_format));
  d.recfmt = 0;
  EXPECT_TRUE(s.io.execute(nvme::to_sqe(d)).status.ok());
  EXPECT_TRUE(s.io.ends());
  rig.world.run_for(100ms);
  EXPECT_TRUE(s.admin.identify(nvme::Cns::controller).status.ok());
  RawHost again(rig);
  ASSERT_TRUE(again.set_up());
  EXPECT_TRUE(again.connect(again.connect_sqe(1), RawHost::connect_data(s.cntlid)).status.ok());
}

TEST(Connect, HostsThatAreNotAllowedAnyMoreAreDisconnected) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  EXPECT_EQ(rig.run(rig.target->set_allowed_hosts(volume_nqn, {host_nqn})).code(), Errc::ok);
  EXPECT_TRUE(s.io.read(0, 1).status.ok()) << "still allowed";
  EXPECT_EQ(rig.run(rig.target->set_allowed_hosts(volume_nqn, {host_nqn + "0"})).code(), Errc::ok);
  EXPECT_TRUE(rig.target->subsystem(volume_nqn).value().controllers.empty());
  EXPECT_TRUE(s.admin.ends());
  EXPECT_TRUE(s.io.ends());
  EXPECT_EQ(rig.run(rig.target->set_allowed_hosts(volume_nqn, {"not an nqn"})).code(),
            Errc::invalid_argument);
  EXPECT_EQ(rig.run(rig.target->set_allowed_hosts("nqn.none", {})).code(), Errc::not_found);
}

// Block n is read in 3 n seconds.
class TrickleDevice final : public DeviceOver {
 public:
  class TrickleChannel final : public ChannelOver {
   public:
    TrickleChannel(Reactor& core, std::unique_ptr<Channel> below)
        : ChannelOver(std::move(below)), core_(core) {}
    Task<Status> read(Lba first, IoVecs into) override {
      co_await core_.sleep(3s * static_cast<std::int64_t>(to_blocks(first)));
      co_return co_await ChannelOver::read(first, into);
    }

   private:
    Reactor& core_;
  };

  using DeviceOver::DeviceOver;

 private:
  std::unique_ptr<Channel> channel_over(Reactor& core, std::unique_ptr<Channel> below) override {
    return std::make_unique<TrickleChannel>(core, std::move(below));
  }
};

TEST(KeepAlive, AHostThatFallsSilentLosesItsController) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig, 0, 0, 4500);  // rounded up to five seconds
  EXPECT_EQ(rig.target->subsystem(volume_nqn).value().controllers[0].keep_alive_ms, 5000u);
  for (unsigned i = 0; i < 5; ++i) {
    rig.world.run_for(3s);
    EXPECT_TRUE(s.admin.execute(RawHost::admin(AdminOpcode::keep_alive)).status.ok());
  }
  rig.world.run_for(4900ms);
  EXPECT_EQ(rig.target->subsystem(volume_nqn).value().controllers.size(), 1u);
  rig.world.run_for(300ms);
  EXPECT_TRUE(rig.target->subsystem(volume_nqn).value().controllers.empty());
  EXPECT_TRUE(s.admin.ends());
  EXPECT_TRUE(s.io.ends());
}

TEST(KeepAlive, CommandsOnIoQueuesCount) {
  Rig rig(2, 2);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig, 0, 0, 5000);
  for (unsigned i = 0; i < 10; ++i) {
    rig.world.run_for(3s);
    ASSERT_TRUE(s.io.read(0, 1).status.ok()) << i;
  }
  rig.world.run_for(12s);
  EXPECT_TRUE(s.io.ends());
}

// A host that sees commands complete needs no Keep Alive, however long ago it has sent them.
TEST(KeepAlive, ResponsesOnIoQueuesCount) {
  Rig rig(2, 2);
  TrickleDevice slow(*rig.device);
  ASSERT_EQ(rig.run(rig.target->add_subsystem(Rig::volume())).code(), Errc::ok);
  ASSERT_EQ(rig.run(rig.target->add_namespace(volume_nqn, NamespaceConfig(), slow)).code(), Errc::ok);
  Session s(rig, 0, 0, 5000);
  Bytes burst;
  for (std::uint16_t i = 1; i <= 10; ++i) {
    Sqe r = RawHost::io(IoOpcode::read, i, 1);
    r.cid = i;
    r.sgl1 = nvme::SglDescriptor::transport(512);
    append(burst, s.io.make_command(r));
  }
  s.io.send(burst);
  for (std::uint16_t i = 1; i <= 10; ++i) {
    rig.world.run_for(3s);
    const Outcome out = s.io.wait_for(i);
    ASSERT_TRUE(out.answered && out.status.ok()) << i;
  }
  rig.world.run_for(8s);
  EXPECT_TRUE(s.io.ends());
  ASSERT_EQ(rig.run(rig.target->remove_subsystem(volume_nqn)).code(), Errc::ok);
}

TEST(KeepAlive, ControllersThatAreNeverEnabledEndAfterTheAssociationTimeout) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  RawHost h(rig);
  ASSERT_TRUE(h.set_up());
  ASSERT_TRUE(h.connect(h.connect_sqe(0), RawHost::connect_data()).status.ok());
  rig.world.run_for(119s);
  EXPECT_EQ(rig.target->subsystem(volume_nqn).value().controllers.size(), 1u);
  rig.world.run_for(2s);
  EXPECT_TRUE(h.ends());

  Session s(rig);
  rig.world.run_for(1000s);
  EXPECT_TRUE(s.io.read(0, 1).status.ok()) << "an enabled one without a keep alive timeout stays";
  const nvme::Cc shutdown{true, 0, 0, 0, nvme::ShutdownNotice::normal, 6, 4};
  EXPECT_TRUE(s.admin.property_set(nvme::Property::cc, shutdown.pack()).status.ok());
  for (unsigned i = 0; i < 10 && s.admin.property_get(nvme::Property::csts).result == 0x5; ++i) {
    rig.world.run_for(10ms);  // it occurs
  }
  EXPECT_EQ(s.admin.property_get(nvme::Property::csts).result, 0x9u) << "ready, shutdown complete";
  RawHost late(rig);
  ASSERT_TRUE(late.set_up());
  EXPECT_EQ(late.connect(late.connect_sqe(1), RawHost::connect_data(s.cntlid)).status.code,
            StatusCode::command_sequence_error)
      << "nor gets any";
  EXPECT_TRUE(s.io.ends()) << "a controller that was shut down has no I/O queues";
  rig.world.run_for(121s);
  EXPECT_TRUE(s.admin.ends());
}

TEST(Properties, AsTheSpecificationHasThem) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  RawHost h(rig);
  ASSERT_TRUE(h.set_up());
  ASSERT_TRUE(h.connect(h.connect_sqe(0), RawHost::connect_data()).status.ok());
  const auto cap = nvme::Cap::unpack(h.property_get(nvme::Property::cap, true).result);
  EXPECT_EQ(cap.mqes, 1023);
  EXPECT_TRUE(cap.cqr);
  EXPECT_EQ(cap.css, 0x41) << "NVM, and every command set that there is";
  EXPECT_EQ(h.property_get(nvme::Property::vs).result, nvme::version_2_0);
  EXPECT_EQ(h.property_get(nvme::Property::crto).result, cap.to);
  EXPECT_EQ(h.property_get(nvme::Property::csts).result, 0u);
  const auto bad = nvme::permanent(StatusCode::invalid_field);
  EXPECT_EQ(h.property_get(nvme::Property::cap, false).status, bad) << "8 bytes asked for as 4";
  EXPECT_EQ(h.property_get(nvme::Property::vs, true).status, bad);
  EXPECT_EQ(h.property_get(nvme::Property::nssr).status, bad);
  EXPECT_EQ(h.property_get(static_cast<nvme::Property>(0x1000)).status, bad);
  EXPECT_EQ(h.property_set(nvme::Property::csts, 1).status, bad);

  const nvme::Cc good{true, 0, 0, 0, nvme::ShutdownNotice::none, 6, 4};
  nvme::Cc wrong = good;
  wrong.iosqes = 7;
  EXPECT_TRUE(h.property_set(nvme::Property::cc, wrong.pack()).status.ok());
  EXPECT_EQ(h.property_get(nvme::Property::csts).result, 0x2u) << "fatal: not ready";
  EXPECT_TRUE(h.property_set(nvme::Property::cc, 0).status.ok());
  EXPECT_EQ(h.property_get(nvme::Property::csts).result, 0u) << "a reset helps";
  EXPECT_TRUE(h.property_set(nvme::Property::cc, good.pack()).status.ok());
  EXPECT_EQ(h.property_get(nvme::Property::csts).result, 1u);
  EXPECT_EQ(h.property_get(nvme::Property::cc).result, good.pack());
}

TEST(Properties, AResetEndsTheIoQueues) {
  Rig rig(1, 2);
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  Session s(rig);
  s.admin.park_event_request();
  EXPECT_TRUE(s.admin.property_set(nvme::Property::cc, 0).status.ok());
  EXPECT_TRUE(s.io.ends());
  EXPECT_EQ(s.admin.property_get(nvme::Property::csts).result, 0u);
  ASSERT_EQ(s.admin.others.size(), 1u);
  EXPECT_EQ(CommandStatus::unpack(s.admin.others[0].status).code, StatusCode::abort_requested);
  s.enable();
  RawHost io(rig);
  ASSERT_TRUE(io.set_up());
  EXPECT_TRUE(io.connect(io.connect_sqe(1), RawHost::connect_data(s.cntlid)).status.ok());
  EXPECT_TRUE(io.read(0, 8).status.ok());
}

// A host that connects again and again has a burst of lines, then one a second that says how many there were not.
TEST(Connect, AHostDoesNotFillTheLogByConnecting) {
  Rig rig;
  ASSERT_EQ(rig.add_volume(), Errc::ok);
  unsigned lines = 0;
  std::uint64_t counted = 0;
  log::configure(log::Level::info, log::Format::text);
  log::set_sink([&](log::Level, std::string_view, std::string_view line) {
    if (line.find("controller ") == std::string_view::npos) return;
    ++lines;
    const std::size_t at = line.find("left_out=");
    ASSERT_NE(at, std::string_view::npos);
    counted += 1 + std::strtoull(std::string(line.substr(at + 9)).c_str(), nullptr, 10);
  });
  constexpr unsigned connections = 1000;
  const Nanos begun = rig.world.now();
  for (unsigned i = 0; i < connections; ++i) {
    RawHost h(rig);
    ASSERT_TRUE(h.set_up());
    ASSERT_TRUE(h.connect(h.connect_sqe(0), RawHost::connect_data()).status.ok());
    h.close();
  }
  rig.world.run_for(2s);
  const auto seconds = static_cast<std::uint64_t>((rig.world.now() - begun) / 1s);
  EXPECT_LE(lines, 100 + seconds + 2);
  // The next one tells of all that were left out.
  RawHost h(rig);
  ASSERT_TRUE(h.set_up());
  ASSERT_TRUE(h.connect(h.connect_sqe(0), RawHost::connect_data()).status.ok());
  EXPECT_EQ(counted, 2 * connections + 1);
  log::set_sink({});
}

}  // namespace
}  // namespace holdfast::nvmf::test
