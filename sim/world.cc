#include "sim/world.h"

#include <algorithm>

#include "base/assert.h"
#include "sim/net.h"
#include "sim/node.h"
#include "sim/reactor.h"

namespace holdfast::sim {

namespace {

struct Graveyard {
  std::vector<void*> objects;
  std::vector<std::function<void()>> events;
};

// Never destroyed: what is in it must stay reachable until the program has ended.
Graveyard& graveyard() {
  static auto* yard = new Graveyard;
  return *yard;
}

constexpr Nanos step_cost_min = 50ns;
constexpr Nanos step_cost_max = 400ns;

}  // namespace

void bury(void* p) {
  if (p != nullptr) graveyard().objects.push_back(p);
}
void bury(std::function<void()> event) { graveyard().events.push_back(std::move(event)); }

World::World(std::uint64_t seed)
    : seed_(seed),
      schedule_(seed),
      random_(schedule_.next()),
      trace_(seed),
      net_(std::make_unique<SimNet>(*this)) {}

World::~World() {
  drop_finished_roots();
  for (auto& node : nodes_) {
    if (node->process() == nullptr) continue;
    if (roots_.empty()) {
      node->stop();
    } else {
      node->crash(CrashKind::process);
    }
  }
  for (auto& root : roots_) bury(root.release());
  for (auto& event : events_) bury(std::move(event.run));
}

Node& World::add_node(std::string name) {
  nodes_.push_back(std::make_unique<Node>(*this, static_cast<unsigned>(nodes_.size()), std::move(name)));
  return *nodes_.back();
}

void World::at(Nanos when, std::function<void()> event, SimReactor* on) {
  events_.push_back({std::max(when, now_), order_++, on, std::move(event)});
  std::push_heap(events_.begin(), events_.end(), later);
}

bool World::has_events_on(const SimReactor& r) const noexcept {
  return std::any_of(events_.begin(), events_.end(), [&](const Event& e) { return e.on == &r; });
}

void World::note(std::uint64_t what) noexcept {
  trace_ = (trace_ ^ what) * 0x9e3779b97f4a7c15;
  trace_ ^= trace_ >> 29;
}

bool World::step() {
  ++steps_;
  // A timer that is due and a completion that is ready race on a real machine too.
  if (schedule_.chance(1, 4) && run_ready()) return true;
  if (run_due()) return true;
  if (run_ready()) return true;
  const Nanos next = next_time();
  if (next == no_deadline) return false;
  now_ = std::max(now_, next);
  run_due();
  return true;
}

Nanos World::next_time() const noexcept {
  Nanos next = events_.empty() ? no_deadline : events_.front().when;
  for (const SimReactor* r : live_) next = std::min(next, r->next_time());
  return next;
}

bool World::run_due() {
  SimReactor* first = nullptr;
  Nanos when = events_.empty() ? no_deadline : events_.front().when;
  for (SimReactor* r : live_) {
    const Nanos at = r->next_timer();
    if (at < when) {
      when = at;
      first = r;
    }
  }
  if (when > now_) return false;
  if (first == nullptr) {
    run_event();
    return true;
  }
  note(first->id() * 4 + 1);
  current_ = first;
  first->fire_timer();
  current_ = nullptr;
  return true;
}

void World::run_event() {
  std::pop_heap(events_.begin(), events_.end(), later);
  Event event = std::move(events_.back());
  events_.pop_back();
  note(event.order * 4 + 2);
  if (event.on != nullptr) {
    if (event.on->dead()) return bury(std::move(event.run));
    if (event.on->frozen_until() > now_) {
      return at(event.on->frozen_until(), std::move(event.run), event.on);
    }
  }
  current_ = event.on;
  event.run();
  current_ = nullptr;
}

bool World::run_ready() {
  std::size_t runnable = 0;
  for (const SimReactor* r : live_) runnable += r->runnable() ? 1 : 0;
  if (runnable == 0) return false;
  std::size_t chosen = schedule_.below(runnable);
  for (SimReactor* r : live_) {
    if (!r->runnable() || chosen-- > 0) continue;
    note(r->id() * 4 + 3);
    current_ = r;
    r->run_one(schedule_);
    current_ = nullptr;
    break;
  }
  now_ += Nanos(schedule_.between(step_cost_min.count(), step_cost_max.count()));
  return true;
}

bool World::run_until(const std::function<bool()>& done, Nanos deadline) {
  while (!done()) {
    if (now_ > deadline || !step()) return false;
  }
  return true;
}

void World::run_for(Nanos duration) {
  const Nanos end = now_ + duration;
  bool reached = false;
  at(end, [&reached] { reached = true; });
  while (!reached) step();
}

void World::start(SimReactor& on, Message& first) {
  auto run = [&first] { first.run(); };
  at(now_, run, &on);
}

void World::run_root(SimReactor& on, Root& root, Nanos limit) {
  HF_ASSERT(current_ == nullptr);
  start(on, root);
  const Nanos deadline = now_ + limit;
  while (!root.task.done()) {
    if (!step()) panic("the simulated world is stuck: nothing is left to happen, and the task has not ended");
    if (now_ > deadline) panic("the task took more virtual time than its limit");
  }
}

void World::spawn(SimReactor& on, Task<void> task) {
  drop_finished_roots();
  roots_.push_back(std::make_unique<Root>(std::move(task)));
  start(on, *roots_.back());
}

void World::drop_finished_roots() {
  std::erase_if(roots_, [](const std::unique_ptr<Root>& root) { return root->task.done(); });
}

}  // namespace holdfast::sim
