// What the control plane costs when there is much to control. The engines are still (still_engine.h).
//   control-figures pass VOLUMES NODES            one pass over everything, nothing to do, and after the loss of a node
//   control-figures seed FILE VOLUMES NODES       makes an embedded store with such a cluster in it
//   control-figures serve FILE VOLUMES NODES PORT an agent over that store, with its REST API at the port, until its
//                                                 input ends
// Each prints one JSON object; times are in milliseconds.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include "agent/rest_front.h"
#include "base/log.h"
#include "control/agent.h"
#include "control/model/codec.h"
#include "control/plan/decide.h"
#include "control/plan/records.h"
#include "control/plan/status.h"
#include "control_cluster.h"
#include "rpc/home_call.h"
#include "still_engine.h"
#include "store/embedded_server.h"
#include "store/etcd_client.h"
#include "uring/runtime.h"

namespace {

using namespace holdfast;
using namespace holdfast::control;

// Of this thread alone, so that what else the machine does is left out.
double cpu_ms() {
  timespec ts{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
  return static_cast<double>(ts.tv_sec) * 1e3 + static_cast<double>(ts.tv_nsec) * 1e-6;
}

using Clock = std::chrono::steady_clock;
double ms_since(Clock::time_point begun) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begun).count();
}

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "control-figures: %s\n", why.c_str());
  std::exit(EXIT_FAILURE);
}
template <class T>
T must(Result<T> result, const char* what) {
  if (!result.ok()) die(fmt::format("{}: {}", what, result.error().message()));
  return std::move(result).value();
}
void must(const Status& status, const char* what) {
  if (!status.ok()) die(fmt::format("{}: {}", what, status.error().message()));
}

// What the caches of the core hold is none of ours after it.
void chill() {
  static std::vector<std::uint64_t> other(std::size_t{256} << 17);  // 256 MiB
  for (std::size_t i = 0; i < other.size(); i += 8) ++other[i];
}

// The median of so many, each with caches as cold as half a minute of other work leaves them.
double median_ms(const std::function<void()>& work, unsigned rounds = 9) {
  std::vector<double> took;
  for (unsigned i = 0; i < rounds; ++i) {
    chill();
    const double begun = cpu_ms();
    work();
    took.push_back(cpu_ms() - begun);
  }
  std::sort(took.begin(), took.end());
  return took[took.size() / 2];
}

// ---- one pass

struct PassTimes {
  double ms = 0;
  std::size_t actions = 0;
  std::size_t restless = 0;  // volumes
};

// `some`: the volumes that it is over; null: all of them.
PassTimes time_pass(const figures::ClusterData& data, const Index& index, const RecordDigests& digests,
                    Outages& outages, UnixNanos now, const std::set<Uuid>* some = nullptr) {
  const Policy policy;
  const Claims claims;
  PassTimes times;
  times.ms = median_ms([&] {
    const Cluster cluster(data.specs, index, data.observed, claims);
    const Decision decision = decide(cluster, outages, {policy, now, &digests, some});
    times.actions = decision.actions.size();
    times.restless = decision.restless.size();
  });
  return times;
}

// Every replica says of its volume what it should.
RecordDigests write_records(figures::ClusterData& data, const Index& index) {
  RecordDigests digests;
  for (const auto& [id, v] : data.specs.volumes) digests.volumes[id] = digests.memberships[id] = 1;
  for (const auto& [id, n] : data.specs.nexuses) digests.nexuses[id] = 1;
  const Claims claims;
  const Cluster cluster(data.specs, index, data.observed, claims);
  for (auto& [id, replica] : data.observed.replicas) {
    const auto wanted = wanted_record(cluster, digests, id, 0);
    if (!wanted) die("a replica has nothing to say");
    replica.record = wanted->digest;
  }
  return digests;
}

void pass(unsigned volumes, unsigned nodes) {
  figures::ClusterData data = figures::make_cluster(volumes, nodes);
  constexpr UnixNanos begun = 1'800'000'000'000'000'000;
  const Index index(data.specs);
  const RecordDigests digests = write_records(data, index);
  Outages outages;
  const PassTimes quiet = time_pass(data, index, digests, outages, begun);
  const std::set<Uuid> one{data.specs.volumes.begin()->first};
  const PassTimes narrow = time_pass(data, index, digests, outages, begun, &one);
  const double states_ms = median_ms([&] {
    const Claims claims;
    const Cluster cluster(data.specs, index, data.observed, claims);
    for (const auto& [id, v] : data.specs.volumes) {
      if (volume_state(cluster, v).status != VolumeStatus::online) die("a volume is not online");
    }
  });
  if (quiet.actions + quiet.restless != 0) die("something is to be done although all is well");
  figures::lose_node(data, data.specs.nodes.begin()->first);
  static_cast<void>(time_pass(data, index, digests, outages, begun));
  const PassTimes lost = time_pass(data, index, digests, outages, begun + Policy().faulted_wait);
  if (lost.actions == 0) die("nothing is to be done although a node is lost");
  std::puts(fmt::format("{{\"pass_ms\": {:.3f}, \"narrow_pass_us\": {:.1f}, \"states_ms\": {:.3f}, "
                        "\"lost_node_pass_ms\": {:.3f}, \"lost_node_actions\": {}}}",
                        quiet.ms, narrow.ms * 1'000, states_ms, lost.ms, lost.actions)
                .c_str());
}

// ---- a store with a cluster in it

std::unique_ptr<store::EmbeddedServer> open_store(const std::string& file) {
  store::EmbeddedOptions options;
  options.path = file;
  options.listen = "127.0.0.1:0";
  options.seed = static_cast<std::uint64_t>(::getpid()) | 1;
  return must(store::EmbeddedServer::start(std::move(options)), "the store");
}

std::vector<std::pair<std::string, std::string>> records_of(const figures::ClusterData& data) {
  const std::string prefix = "/holdfast/v1/clusters/default/";
  std::vector<std::pair<std::string, std::string>> all;
  const auto add = [&](const char* kind, const std::string& id, std::string value) {
    all.emplace_back(prefix + kind + "/" + id, std::move(value));
  };
  for (const auto& [id, s] : data.specs.nodes) add("node", id, to_json(s));
  for (const auto& [id, s] : data.specs.pools) add("pool", id, to_json(s));
  for (const auto& [id, s] : data.specs.replicas) add("replica", id.to_string(), to_json(s));
  for (const auto& [id, s] : data.specs.nexuses) add("nexus", id.to_string(), to_json(s));
  for (const auto& [id, s] : data.specs.volumes) add("volume", id.to_string(), to_json(s));
  for (const auto& [id, m] : data.observed.memberships) {
    std::vector<Uuid> members;
    for (const auto& member : m.members) members.push_back(member.replica);
    add("volume", id.to_string() + "/membership", first_membership(members));
  }
  return all;
}

Task<Status> write_all(store::Kv& kv, const std::vector<std::pair<std::string, std::string>>& records) {
  constexpr std::size_t at_once = 100;
  for (std::size_t i = 0; i < records.size(); i += at_once) {
    store::Txn txn;
    for (std::size_t j = i; j < std::min(records.size(), i + at_once); ++j) {
      txn.then(store::PutRequest(records[j].first, records[j].second));
    }
    HF_CO_CHECK(co_await kv.txn(std::move(txn)));
  }
  co_return Status();
}

std::unique_ptr<uring::Runtime> make_runtime() {
  uring::Runtime::Options options;
  options.spin_us = 0;
  options.memory_bytes = 16 * MiB;
  return must(uring::Runtime::create(options), "the runtime");
}

void seed(const std::string& file, unsigned volumes, unsigned nodes) {
  const auto records = records_of(figures::make_cluster(volumes, nodes));
  const auto server = open_store(file);
  const auto runtime = make_runtime();
  store::EtcdOptions options({server->address()});
  const auto kv = must(store::EtcdClient::create(runtime->home(), std::move(options)), "the client");
  const auto begun = Clock::now();
  must(runtime->run(write_all(*kv, records)), "writing");
  runtime->run(kv->close());
  std::puts(fmt::format("{{\"records\": {}, \"took_ms\": {:.0f}}}", records.size(), ms_since(begun)).c_str());
}

// ---- an agent over it

struct Serving {
  std::string file;
  std::uint16_t port = 0;
  Clock::time_point begun;
};

Task<Status> serve_until_input_ends(Reactor& home, Agent& agent, const Serving& what) {
  while (!agent.ready() || !agent.leading()) co_await home.sleep(1ms);
  const double ready_ms = ms_since(what.begun);
  rpc::HomePort port(home);
  rest::Home rest_home(port, agent);
  agent::Options options;
  options.http = Endpoint{"127.0.0.1", what.port};
  std::unique_ptr<agent::RestFront> front;
  std::function<void()> start = [&] {
    front = must(agent::RestFront::start(options, "bench", rest_home), "REST");
  };
  co_await home.run_blocking(std::move(start));
  std::puts(fmt::format("{{\"ready_ms\": {:.1f}, \"volumes\": {}}}", ready_ms, agent.specs().volumes.size())
                .c_str());
  std::fflush(stdout);
  std::function<void()> wait = [] {
    while (std::getchar() != EOF) {
    }
  };
  co_await home.run_blocking(std::move(wait));
  std::function<void()> stop = [&front] { front.reset(); };
  co_await home.run_blocking(std::move(stop));
  co_await port.close();
  co_return Status();
}

// As engines do.
Task<void> register_often(Reactor& home, Agent& agent, const std::map<NodeId, EngineReport>& reports,
                          StopToken stop) {
  while (!stop.stop_requested()) {
    for (const auto& [id, report] : reports) {
      Registration registration = report.engine;
      (co_await agent.register_node(std::move(registration))).ignore("the next one comes soon");
    }
    co_await home.sleep(5s, stop);
  }
}

Task<Status> run_agent(Reactor& home, store::Kv& kv, EngineDirectory& engines,
                       const std::map<NodeId, EngineReport>& reports, const Serving& what) {
  Options options;
  Agent agent(home, kv, engines, options);
  StopSource stop;
  TaskScope scope(home);
  scope.spawn(agent.run(stop.token()));
  scope.spawn(register_often(home, agent, reports, stop.token()));
  Status served = co_await serve_until_input_ends(home, agent, what);
  stop.request_stop();
  co_await scope.join();
  co_await kv.close();
  co_return served;
}

void serve(Serving what, unsigned volumes, unsigned nodes) {
  const auto reports = figures::make_cluster(volumes, nodes).reports;
  figures::StillDirectory engines(reports);
  const auto runtime = make_runtime();
  what.begun = Clock::now();
  const auto server = open_store(what.file);
  store::EtcdOptions options({server->address()});
  const auto kv = must(store::EtcdClient::create(runtime->home(), std::move(options)), "the client");
  must(runtime->run(run_agent(runtime->home(), *kv, engines, reports, what)), "the agent");
}

unsigned number(const char* text) {
  const int n = std::atoi(text);
  if (n <= 0) die(fmt::format("{}: a number above 0 is wanted", text));
  return static_cast<unsigned>(n);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  log::configure(log::Level::warn, log::Format::text);
  if (what == "pass" && argc == 4) {
    pass(number(argv[2]), number(argv[3]));
  } else if (what == "seed" && argc == 5) {
    seed(argv[2], number(argv[3]), number(argv[4]));
  } else if (what == "serve" && argc == 6) {
    Serving serving;
    serving.file = argv[2];
    serving.port = static_cast<std::uint16_t>(number(argv[5]));
    serve(std::move(serving), number(argv[3]), number(argv[4]));
  } else {
    die("pass VOLUMES NODES | seed FILE VOLUMES NODES | serve FILE VOLUMES NODES PORT");
  }
  return EXIT_SUCCESS;
}
