#include "cluster/rig.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include <httplib.h>

#include "e2e/remote_disk.h"

namespace holdfast::cluster {

using namespace std::chrono_literals;
using testing_support::AgentProcess;
using testing_support::EngineProcess;

namespace {

constexpr auto patience = 180s;
constexpr auto pause = 50ms;

// What depends on time goes faster than in production; a busy machine still keeps up. Each has a value.
Strings agent_flags(const Strings& more) {
  Strings flags = {"--cache-period",
                   "500ms",
                   "--deadline",
                   "4s",
                   "--reconcile-period",
                   "2s",
                   "--faulted-child-wait-period",
                   "600s"};
  for (const std::string& word : more) {
    const auto same = std::find(flags.begin(), flags.end(), word);
    if (word.starts_with("--") && same != flags.end()) flags.erase(same, same + 2);
  }
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

}  // namespace

std::string Answer::summary() const {
  if (status < 400 || !body.is_object()) return std::to_string(status);
  return std::to_string(status) + " " + body.value("kind", "");
}

std::string Answer::message() const {
  return body.is_object() ? body.value("message", "") + " " + body.value("details", "") : "";
}

Rest::Rest(const AgentProcess& agent)
    : http_(std::make_unique<httplib::Client>(agent.address(), agent.http_port())) {
  http_->set_read_timeout(90);
  http_->set_keep_alive(true);
}

Rest::~Rest() = default;

Rig::Rig(Shape shape) : shape_(std::move(shape)) {}

Rig::~Rig() = default;

bool Rig::start() {
  agent_ =
      std::make_unique<AgentProcess>(scratch_, "agent", agent_flags(shape_.agent_flags), shape_.agent_place);
  if (!agent_->start()) return false;
  rest_ = std::make_unique<Rest>(*agent_);
  // An engine that registers before anybody leads tries again only seconds later.
  if (!wait("the agent to lead", [&] { return get("/readyz").ok(); })) return false;
  for (std::size_t i = 1; i <= shape_.engines; ++i) {
    Strings flags = {"--registration-endpoint", agent_->registration_endpoint(), "--store",
                     agent_->store_url()};
    const auto place =
        i <= shape_.engine_places.size() ? shape_.engine_places[i - 1] : testing_support::Place();
    engines_.push_back(std::make_unique<EngineProcess>(scratch_, node(i), flags, place));
    if (!engines_.back()->start()) return false;
  }
  for (std::size_t i = 1; i <= engines(); ++i) {
    if (!wait(node(i) + " to register", [&] { return node_status(i) == "Online"; })) return false;
  }
  clean_pools();
  return !testing::Test::HasFailure();
}

void Rig::clean() {
  if (testing::Test::HasFailure()) {
    std::printf("the agent's log:\n%s\n", agent_->log().c_str());
    for (std::size_t i = 1; i <= engines(); ++i)
      std::printf("%s:\n%s\n", node(i).c_str(), engine(i).log().c_str());
  }
  if (ended_) return;
  restore_engines();
  clean_nodes();
  clean_volumes();
  clean_pools();
}

void Rig::restore_engines() {
  for (std::size_t i = 1; i <= engines(); ++i) {
    engine(i).signal(SIGCONT);
    const bool runs = engine(i).pid() > 0 || engine(i).start();
    EXPECT_TRUE(runs);
  }
  for (std::size_t i = 1; i <= engines(); ++i) {
    wait(node(i) + " to be online", [&] { return serves(i); });
  }
}

void Rig::clean_nodes() {
  for (const Json& n : get("/v0/nodes").body) {
    const std::string id = n["id"];
    const Json spec = n.value("spec", Json::object());
    const Json cordons = spec.value("cordondrainstate", Json::object());
    for (const auto& [name, state] : cordons.items()) {
      for (const char* kind : {"cordonlabels", "drainlabels"}) {
        for (const Json& label : state.value(kind, Json::array())) {
          del("/v0/nodes/" + id + "/cordon/" + label.get<std::string>());
        }
      }
    }
    const Json labels = spec.value("labels", Json::object());
    for (const auto& [key, value] : labels.items()) {
      del("/v0/nodes/" + id + "/label/" + key);
    }
  }
}

void Rig::clean_volumes() {
  const auto none = [&] {
    bool empty = true;
    for (const Json& v : get("/v0/volumes?max_entries=0").body.value("entries", Json::array())) {
      del("/v0/volumes/" + v["spec"]["uuid"].get<std::string>());
      empty = false;
    }
    for (const Json& s : get("/v0/volumes/snapshots?max_entries=0").body.value("entries", Json::array())) {
      del("/v0/volumes/snapshots/" + s["definition"]["spec"]["uuid"].get<std::string>());
      empty = false;
    }
    for (const Json& r : get("/v0/replicas").body) {
      const Answer gone =
          del("/v0/pools/" + r["pool"].get<std::string>() + "/replicas/" + r["uuid"].get<std::string>());
      if (gone.status == 404) destroy_unknown_replica(r);
      empty = false;
    }
    // The spec of a target that is gone stays while a request for it may still be on its way.
    const Json specs = get("/v0/specs").body;
    const Json targets = specs.value("nexuses", Json::array());
    const bool left = std::any_of(targets.begin(), targets.end(),
                                  [](const Json& one) { return one.value("status", "") != "Deleting"; });
    return empty && specs.value("replicas", Json::array()).empty() && !left &&
           get("/v0/nexuses").body.empty();
  };
  wait("everything of the test to be deleted", none);
}

// One that the agent was told to give up, and that its engine still has.
void Rig::destroy_unknown_replica(const Json& replica) {
  mayastor::v1::DestroyReplicaRequest request;
  request.set_uuid(replica["uuid"]);
  google::protobuf::Empty reply;
  auto& stub = engine(number_of(replica["node"])).replica();
  (void)testing_support::call(stub, &mayastor::v1::ReplicaRpc::Stub::DestroyReplica, request, &reply);
}

// One pool on each node, as at the start.
void Rig::clean_pools() {
  std::vector<bool> there(engines(), false);
  for (const Json& p : get("/v0/pools").body) {
    const std::string id = p["id"];
    if (id == pool(number_of(p["spec"]["node"]))) {
      there[number_of(id) - 1] = true;
      const Json labels = p["spec"].value("labels", Json::object());
      for (const auto& [key, value] : labels.items()) {
        del("/v0/pools/" + id + "/label/" + key);
      }
    } else {
      wait("pool " + id + " to be deleted", [&] { return del("/v0/pools/" + id).status == 404; });
    }
  }
  for (std::size_t i = 1; i <= engines(); ++i) {
    if (there[i - 1]) continue;
    const Answer made = create_pool(i, pool(i), {make_disk(pool(i))});
    EXPECT_EQ(made.summary(), "200") << made.message();
  }
  for (std::size_t i = 1; i <= engines(); ++i) {
    wait(pool(i) + " to be online", [&] { return pools_online(i); });
  }
}

Answer Rest::send(const std::string& method, const std::string& path, const std::string& body) {
  httplib::Request request;
  request.method = method;
  request.path = path;
  request.body = body;
  if (!body.empty()) request.headers.emplace("Content-Type", "application/json");
  const auto result = http_->send(request);
  if (!result) return {0, Json(httplib::to_string(result.error()))};
  return {result->status, Json::parse(result->body, nullptr, false)};
}

std::string Rig::make_disk(const std::string& name) const {
  std::filesystem::remove(disk(name));
  std::ofstream(disk(name)).put('\0');
  std::filesystem::resize_file(disk(name), shape_.pool_bytes);
  return disk(name);
}

std::size_t Rig::number_of(const std::string& node_or_pool) {
  return std::stoul(node_or_pool.substr(node_or_pool.rfind('-') + 1));
}

std::string Rig::node_status(std::size_t i) {
  const Answer answer = get("/v0/nodes/" + node(i));
  if (!answer.ok() || !answer.body.contains("state")) return answer.ok() ? "" : answer.summary();
  return answer.body["state"]["status"];
}

bool Rig::pools_online(std::size_t i) {
  for (const Json& p : get("/v0/pools").body) {
    const bool here = p.contains("spec") && p["spec"]["node"] == node(i);
    if (here && (!p.contains("state") || p["state"]["status"] != "Online")) return false;
  }
  return true;
}

// A call goes through, too: the connection to the process before it may take a while to be given up.
bool Rig::serves(std::size_t i) {
  return node_status(i) == "Online" && pools_online(i) && get("/v0/nodes/" + node(i) + "/block_devices").ok();
}

void Rig::stop(std::size_t i) {
  engine(i).signal(SIGTERM);
  EXPECT_EQ(engine(i).wait_exit(60s), 0);
  wait(node(i) + " to be known as stopped", [&] { return node_status(i) != "Online"; });
}

void Rig::kill(std::size_t i) {
  engine(i).kill();
  wait(node(i) + " to be known as lost", [&] { return node_status(i) != "Online"; });
}

void Rig::start_engine(std::size_t i) {
  EXPECT_TRUE(engine(i).start());
  wait(node(i) + " to be online", [&] { return serves(i); });
}

Answer Rig::create_pool(std::size_t node_number, const std::string& id, const Strings& disks) {
  return put("/v0/nodes/" + node(node_number) + "/pools/" + id, {{"disks", disks}});
}

// ---- volumes

std::string Rig::new_id() {
  static std::atomic<int> last = 0;
  char text[40];
  std::snprintf(text, sizeof text, "5ce00000-0000-4000-8000-%012d", ++last);
  return text;
}

Answer Rig::try_volume(const std::string& id, unsigned replicas, const Json& more) {
  Json body = {{"policy", {{"self_heal", true}}}, {"replicas", replicas}, {"size", 32 * mib}, {"thin", true}};
  body.update(more);
  return put("/v0/volumes/" + id, body);
}

std::string Rig::volume(unsigned replicas, const Json& more) {
  std::string id = new_id();
  const Answer made = try_volume(id, replicas, more);
  EXPECT_EQ(made.summary(), "200") << made.message();
  return id;
}

Json Rig::get_volume(const std::string& id) {
  const Answer answer = get("/v0/volumes/" + id);
  return answer.ok() ? answer.body
                     : Json{{"spec", Json::object()}, {"state", {{"replica_topology", Json::object()}}}};
}

std::string Rig::status(const std::string& id) { return get_volume(id)["state"].value("status", "none"); }

namespace {

Strings sorted(const Json& volume, const char* field) {
  Strings all;
  for (const auto& [uuid, replica] : volume["state"]["replica_topology"].items()) {
    all.push_back(*field == '\0' ? uuid : replica.value(field, ""));
  }
  std::sort(all.begin(), all.end());
  return all;
}

}  // namespace

Strings Rig::pools_of(const std::string& id) { return sorted(get_volume(id), "pool"); }
Strings Rig::nodes_of(const std::string& id) { return sorted(get_volume(id), "node"); }
Strings Rig::replicas_of(const std::string& id) { return sorted(get_volume(id), ""); }

std::map<std::string, std::string> Rig::children_of(const std::string& id) {
  std::map<std::string, std::string> all;
  const Json volume = get_volume(id);
  for (const Json& r : volume["state"]["replica_topology"]) {
    all[r.value("node", "")] = r.value("child-status", r.value("state", ""));
  }
  return all;
}

Answer Rig::try_publish(const std::string& id, std::size_t on_node, const Json& more) {
  Json body = {{"publish_context", Json::object()}, {"protocol", "nvmf"}};
  if (on_node != 0) body["node"] = node(on_node);
  body.update(more);
  return put("/v0/volumes/" + id + "/target", body);
}

std::string Rig::publish(const std::string& id, std::size_t on_node) {
  const Answer published = try_publish(id, on_node);
  EXPECT_EQ(published.summary(), "200") << published.message();
  if (!published.ok()) return "";
  return published.body["state"]["target"]["deviceUri"];
}

std::string Rig::target_node(const std::string& id) {
  const Json spec = get_volume(id)["spec"];
  return spec.contains("target") ? spec["target"]["node"].get<std::string>() : "";
}

bool Rig::healthy(const std::string& id, std::size_t replicas) {
  if (status(id) != "Online") return false;
  const auto children = children_of(id);
  return children.size() == replicas &&
         std::all_of(children.begin(), children.end(), [](const auto& c) { return c.second == "Online"; });
}

void Rig::wait_healthy(const std::string& id, std::size_t replicas) {
  wait("the volume to be online with " + std::to_string(replicas) + " replicas in sync",
       [&] { return healthy(id, replicas); });
}

std::string Rig::child_uri(const Json& volume, std::size_t on_node) {
  if (!volume["state"].contains("target")) return "";
  for (const auto& [uuid, replica] : volume["state"]["replica_topology"].items()) {
    if (replica.value("node", "") != node(on_node)) continue;
    for (const Json& child : volume["state"]["target"]["children"]) {
      const std::string uri = child["uri"];
      if (uri.find(uuid) != std::string::npos) return uri;
    }
  }
  return "";
}

bool Rig::pause_rebuild(const std::string& id, std::size_t on_node) {
  const Json volume = get_volume(id);
  mayastor::v1::PauseRebuildRequest request;
  request.set_uri(child_uri(volume, on_node));
  if (request.uri().empty()) return false;
  const Json& target = volume["state"]["target"];
  request.set_nexus_uuid(target["uuid"]);
  mayastor::v1::PauseRebuildResponse reply;
  auto& stub = engine(number_of(target["node"])).nexus();
  return testing_support::call(stub, &mayastor::v1::NexusRpc::Stub::PauseRebuild, request, &reply).ok();
}

void Rig::resume_rebuild(const std::string& id, std::size_t on_node) {
  const Json volume = get_volume(id);
  mayastor::v1::ResumeRebuildRequest request;
  request.set_uri(child_uri(volume, on_node));
  if (request.uri().empty()) return;
  const Json& target = volume["state"]["target"];
  request.set_nexus_uuid(target["uuid"]);
  mayastor::v1::ResumeRebuildResponse reply;
  auto& stub = engine(number_of(target["node"])).nexus();
  // One that is not held needs nothing.
  (void)testing_support::call(stub, &mayastor::v1::NexusRpc::Stub::ResumeRebuild, request, &reply);
}

std::uint64_t Rig::pool_used(std::size_t i) { return get("/v0/pools/" + pool(i)).body["state"]["used"]; }

void Rig::write(const std::string& uri, std::uint64_t offset, std::uint32_t generation, std::size_t bytes) {
  e2e::RemoteDisk disk(uri);
  const Status opened = disk.opened();
  ASSERT_TRUE(opened.ok()) << opened.error().message();
  const Status written = disk.write(offset, e2e::pattern(offset, generation, bytes));
  EXPECT_TRUE(written.ok()) << written.error().message();
  const Status flushed = disk.flush();
  EXPECT_TRUE(flushed.ok()) << flushed.error().message();
}

bool Rig::holds(const std::string& uri, std::uint64_t offset, std::uint32_t generation, std::size_t bytes) {
  e2e::RemoteDisk disk(uri);
  if (const Status opened = disk.opened(); !opened.ok()) return false;
  const auto got = disk.read(offset, bytes);
  return got.ok() && got.value() == (generation == 0 ? std::vector<std::byte>(bytes)
                                                     : e2e::pattern(offset, generation, bytes));
}

bool Rig::wait(const std::string& what, const std::function<bool()>& done) {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  while (!done()) {
    if (std::chrono::steady_clock::now() > deadline) {
      ADD_FAILURE() << "waited in vain for " << what
                    << "\nvolumes: " << get("/v0/volumes?max_entries=0").body.dump(1)
                    << "\nspecs: " << get("/v0/specs").body.dump(1)
                    << "\nreplicas: " << get("/v0/replicas").body.dump(1);
      return false;
    }
    std::this_thread::sleep_for(pause);
  }
  return true;
}

}  // namespace holdfast::cluster
