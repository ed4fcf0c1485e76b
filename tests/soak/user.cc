#include "soak/user.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "e2e/remote_disk.h"

namespace holdfast::soak {

using cluster::Answer;
using cluster::Json;
using cluster::mib;
using cluster::Rig;
using e2e::Content;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t snapshots_max = 6;  // at a time
constexpr std::uint64_t largest = 64 * mib, growth = 4 * mib;
constexpr std::uint64_t unused =
    16 * mib;  // of a volume's end: the load begins with half of it, a target keeps a little
constexpr int attempts = 4;
constexpr const char* label = "soak";

std::string volume_path(const std::string& id) { return "/v0/volumes/" + id; }
std::string snapshot_path(const std::string& id) { return "/v0/volumes/snapshots/" + id; }

}  // namespace

void tell(const std::string& what) {
  static const auto started = std::chrono::steady_clock::now();
  const std::chrono::duration<double> since = std::chrono::steady_clock::now() - started;
  std::printf("[%7.1f s] %s\n", since.count(), what.c_str());
  std::fflush(stdout);
}

User::User(Rig& rig, std::vector<Subject>& subjects, std::uint64_t seed)
    : rig_(rig), subjects_(subjects), rest_(rig.agent()), prng_(seed) {
  thread_ = std::thread([this] { run(); });
}

User::~User() { finish(); }

void User::run() {
  while (true) {
    const auto pause = std::chrono::milliseconds(prng_.below(1200));
    {
      std::unique_lock lock(mutex_);
      asks_ = false;
      changed_.notify_all();
      changed_.wait_for(lock, pause, [this] { return over_; });
      changed_.wait(lock, [this] { return over_ || !held_; });
      if (over_) return;
      asks_ = true;
    }
    step();
  }
}

void User::hold() {
  std::unique_lock lock(mutex_);
  held_ = true;
  changed_.wait(lock, [this] { return !asks_; });
}

void User::resume() {
  const std::lock_guard lock(mutex_);
  held_ = false;
  changed_.notify_all();
}

void User::finish() {
  {
    const std::lock_guard lock(mutex_);
    over_ = true;
    changed_.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

// Everything is drawn before anything is looked at, so that the order is the seed's alone.
void User::step() {
  const std::uint64_t what = prng_.below(100);
  const std::size_t subject = prng_.below(subjects_.size());
  const std::uint64_t which = prng_.below(1000);
  const unsigned count = 1 + static_cast<unsigned>(prng_.below(3));
  const auto there = present();
  delete_doomed();
  if (what < 20) {
    if (there.size() < snapshots_max) take_snapshot(subject);
  } else if (what < 32) {
    if (!there.empty()) delete_snapshot(there[which % there.size()]);
  } else if (what < 46) {
    if (!there.empty()) read_snapshot(there[which % there.size()], count);
  } else if (what < 55) {
    grow(subject);
  } else if (what < 67) {
    scale(subject, count);
  } else if (what < 77) {
    move(subject, which);
  } else if (what < 87) {
    cordon_or_not(1 + which % rig_.engines(), what);
  } else {
    visit_guest(which);
  }
}

Answer User::ask(const char* method, const std::string& path, const Json& body) {
  Answer answer = std::strcmp(method, "GET") == 0   ? rest_.get(path)
                  : std::strcmp(method, "PUT") == 0 ? rest_.put(path, body)
                                                    : rest_.del(path);
  if (std::strcmp(method, "GET") != 0) {
    std::string text = std::string("  ") + method + " " + path + (body.is_null() ? "" : " " + body.dump()) +
                       ": " + (answer.status == 0 ? "no answer" : answer.summary());
    if (!answer.ok() && answer.status != 0) text += ", " + answer.message().substr(0, 200);
    tell(text);
  }
  return answer;
}

std::vector<std::size_t> User::present() const {
  std::vector<std::size_t> all;
  for (std::size_t i = 0; i < snapshots_.size(); ++i) {
    if (snapshots_[i].there != Known::no) all.push_back(i);
  }
  return all;
}

// ---- snapshots

void User::take_snapshot(std::size_t which) {
  const Subject& subject = subjects_[which];
  Snapshot s{.id = Rig::new_id(), .subject = which, .content = std::nullopt};
  const Content before = subject.load->content();
  for (int i = 0; i < attempts && s.there == Known::maybe; ++i) {
    if (i > 0) std::this_thread::sleep_for(500ms);
    const Answer taken = ask("PUT", volume_path(subject.id) + "/snapshots/" + s.id);
    const bool exists = taken.status == 422;  // an earlier one had no answer
    if (!taken.ok() && !exists) continue;
    const Answer seen = taken.ok() ? taken : ask("GET", snapshot_path(s.id));
    if (!seen.ok() || seen.body["definition"]["metadata"]["status"] != "Created") continue;
    s.there = Known::yes;
    s.size = seen.body["definition"]["metadata"]["spec_size"];
    s.content = Content::between(before, subject.load->content());
  }
  snapshots_.push_back(std::move(s));
}

void User::delete_snapshot(std::size_t which) {
  Snapshot& s = snapshots_[which];
  s.given_up = true;
  for (int i = 0; i < attempts && s.there != Known::no; ++i) {
    if (i > 0) std::this_thread::sleep_for(500ms);
    const Answer gone = ask("DELETE", snapshot_path(s.id));
    // One that may not be there yet may still come.
    if (gone.ok() || (gone.status == 404 && s.there == Known::yes)) s.there = Known::no;
  }
}

void User::read_snapshot(std::size_t which, unsigned replicas) {
  const Snapshot& s = snapshots_[which];
  if (!s.content || s.given_up) return;
  const std::string id = Rig::new_id();
  const Json body = {{"policy", {{"self_heal", true}}},
                     {"replicas", std::min(replicas, 2U)},
                     {"size", s.size},
                     {"thin", true}};
  const Answer made = ask("PUT", "/v0/snapshots/" + s.id + "/volumes/" + id, body);
  (made.ok() ? doomed_ : unsure_).push_back(id);
  if (!made.ok()) return;
  const std::string uri = publish(id);
  if (uri.empty()) return;
  const std::string wrong = compare(uri, *s.content, false);
  EXPECT_EQ(wrong, "") << "snapshot " << s.id << " read as volume " << id;
}

std::string User::publish(const std::string& volume) {
  for (int i = 0; i < attempts; ++i) {
    if (i > 0) std::this_thread::sleep_for(500ms);
    const Json body = {{"publish_context", Json::object()}, {"protocol", "nvmf"}};
    const Answer published = ask("PUT", volume_path(volume) + "/target", body);
    const Answer seen = published.ok() ? published : ask("GET", volume_path(volume));
    if (!seen.ok() || !seen.body["state"].contains("target")) continue;
    const std::string uri = seen.body["state"]["target"].value("deviceUri", "");
    if (!uri.empty()) return uri;
  }
  return "";
}

std::string User::compare(const std::string& uri, const Content& content, bool must_answer) {
  e2e::RemoteDisk disk(uri);
  const Status opened = disk.opened();
  if (!opened.ok()) return must_answer ? opened.error().message() : "";
  for (std::size_t i = 0; i < content.places(); ++i) {
    const auto data = disk.read(Content::offset(i), Content::place_bytes);
    if (!data.ok()) return must_answer ? data.error().message() : "";
    std::string wrong = content.read_copy(i, data.value());
    if (!wrong.empty()) return wrong;
  }
  return "";
}

// ---- volumes

void User::grow(std::size_t which) {
  Subject& subject = subjects_[which];
  if (subject.size >= largest) return;
  if (subject.size_asked == subject.size) subject.size_asked += growth;
  const Answer grown = ask("PUT", volume_path(subject.id) + "/size", {{"size", subject.size_asked}});
  const Answer seen = grown.ok() ? grown : ask("GET", volume_path(subject.id));
  if (!seen.ok() || seen.body["spec"].value("size", std::uint64_t{0}) != subject.size_asked) return;
  if (seen.body["spec"].contains("operation")) return;
  subject.size = subject.size_asked;
  subject.load->grow(subject.size - unused);
}

void User::scale(std::size_t which, unsigned replicas) {
  Subject& subject = subjects_[which];
  subject.replicas.insert(replicas);
  const Answer done = ask("PUT", volume_path(subject.id) + "/replica_count/" + std::to_string(replicas));
  if (done.ok()) subject.replicas = {replicas};
}

void User::move(std::size_t which, std::size_t replica) {
  const Subject& subject = subjects_[which];
  const Answer seen = ask("GET", volume_path(subject.id));
  if (!seen.ok()) return;
  std::vector<std::string> ids;
  for (const auto& [id, state] : seen.body["state"]["replica_topology"].items()) ids.push_back(id);
  if (ids.empty()) return;
  ask("PUT", "/v1/volumes/" + subject.id + "/replicas/" + ids[replica % ids.size()] + "/move");
}

// One node at a time, so that there is room for what others lose.
void User::cordon_or_not(std::size_t node, std::uint64_t how) {
  if (cordoned_) {
    const std::string path = "/v0/nodes/" + Rig::node(*cordoned_);
    ask("DELETE", path + "/cordon/" + label);
    const Answer seen = ask("GET", path);
    if (seen.ok() && !seen.body["spec"].contains("cordondrainstate")) cordoned_.reset();
    return;
  }
  cordoned_ = node;
  const std::string after = Rig::node(node) + (how % 3 == 0 ? "/cordon/" : "/drain/") + label;
  ask("PUT", how % 3 == 2 ? "/v1/nodes/" + after + "?replicas=true" : "/v0/nodes/" + after);
}

// The next thing in the life of one more volume.
void User::visit_guest(std::size_t drawn) {
  if (!guest_) {
    const std::string id = Rig::new_id();
    const Json body = {
        {"policy", {{"self_heal", true}}}, {"replicas", 2}, {"size", 16 * mib}, {"thin", drawn % 2 == 0}};
    if (ask("PUT", volume_path(id), body).ok()) {
      guest_.emplace(Guest{.id = id});
    } else {
      unsure_.push_back(id);
    }
    return;
  }
  const std::string uri = publish(guest_->id);
  if (!uri.empty()) {
    e2e::RemoteDisk disk(uri);
    const std::size_t place = drawn % guest_->content.places();
    if (disk.opened().ok()) {
      const auto before = disk.read(Content::offset(place), Content::place_bytes);
      const std::string wrong = before.ok() ? guest_->content.read(place, before.value()) : "";
      EXPECT_EQ(wrong, "") << guest_->id;
      const auto data = guest_->content.begin_write(place);
      if (disk.write(Content::offset(place), data).ok()) guest_->content.acknowledge(place);
    }
  }
  ask("DELETE", volume_path(guest_->id) + "/target");
  if (drawn % 4 != 0) return;
  doomed_.push_back(guest_->id);
  guest_.reset();
}

void User::delete_doomed() {
  std::erase_if(doomed_, [this](const std::string& id) {
    const Answer gone = ask("DELETE", volume_path(id));
    return gone.ok() || gone.status == 404;
  });
}

// ---- in the end

void User::clear_up() {
  if (guest_) doomed_.push_back(guest_->id);
  guest_.reset();
  for (std::size_t i = 1; i <= rig_.engines(); ++i) {
    const std::string path = "/v0/nodes/" + Rig::node(i);
    rig_.wait(Rig::node(i) + " to be as any other", [&] {
      const Answer seen = rig_.get(path);
      if (seen.ok() && !seen.body["spec"].contains("cordondrainstate")) return true;
      rig_.del(path + "/cordon/" + label);
      return false;
    });
  }
  cordoned_.reset();
  doomed_.insert(doomed_.end(), unsure_.begin(), unsure_.end());
  unsure_.clear();
  for (const std::string& id : doomed_) {
    rig_.wait("volume " + id + " to be deleted", [&] { return rig_.del(volume_path(id)).status == 404; });
  }
  doomed_.clear();
  for (Snapshot& s : snapshots_) {
    if (s.there == Known::yes && !s.given_up) continue;
    rig_.wait("snapshot " + s.id + " to be deleted",
              [&] { return rig_.del(snapshot_path(s.id)).status == 404; });
    s.there = Known::no;
  }
}

void User::check() {
  for (const Subject& subject : subjects_) {
    const Json volume = rig_.get_volume(subject.id);
    const std::uint64_t size = volume["spec"].value("size", std::uint64_t{0});
    EXPECT_TRUE(size == subject.size || size == subject.size_asked) << subject.id << " has " << size;
    EXPECT_EQ(volume["state"].value("size", std::uint64_t{0}), size) << subject.id;
    const unsigned replicas = volume["spec"].value("num_replicas", 0U);
    EXPECT_TRUE(subject.replicas.contains(replicas)) << subject.id << " has " << replicas;
  }
  std::set<std::string> listed;
  const Json body = rig_.get("/v0/volumes/snapshots?max_entries=0").body;
  for (const Json& s : body["entries"]) {
    listed.insert(s["definition"]["spec"]["uuid"].get<std::string>());
  }
  std::set<std::string> wanted;
  for (const std::size_t i : present()) wanted.insert(snapshots_[i].id);
  EXPECT_EQ(listed, wanted);
  for (const std::size_t i : present()) check_snapshot(snapshots_[i]);
  std::printf("%zu snapshots were asked for, %zu are there\n", snapshots_.size(), wanted.size());
}

void User::check_snapshot(const Snapshot& s) {
  const std::string id = Rig::new_id();
  const Json body = {{"policy", {{"self_heal", true}}}, {"replicas", 1}, {"size", s.size}, {"thin", true}};
  rig_.wait("a volume of snapshot " + s.id,
            [&] { return rig_.put("/v0/snapshots/" + s.id + "/volumes/" + id, body).ok(); });
  std::string uri;
  rig_.wait("it to be published", [&] {
    uri = publish(id);
    return !uri.empty();
  });
  EXPECT_EQ(compare(uri, *s.content, true), "") << "snapshot " << s.id << " read as volume " << id;
  rig_.wait("it to be deleted", [&] { return rig_.del(volume_path(id)).status == 404; });
}

void User::delete_snapshots() {
  for (Snapshot& s : snapshots_) {
    if (s.there != Known::no) s.given_up = true;
  }
  clear_up();
}

}  // namespace holdfast::soak
