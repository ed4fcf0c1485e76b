#include "nvmf/target/subsystem_view.h"

#include <utility>

#include "base/log.h"

namespace holdfast::nvmf::target {

Task<void> SubsystemView::add(Added what, BlockDevice& device) {
  const std::uint32_t nsid = what.nsid;
  HF_ASSERT(find(nsid) == nullptr);
  auto view = std::make_unique<NamespaceView>(core_, nsid, what.incarnation);
  view->geometry = what.geometry;
  view->capabilities = what.capabilities;
  view->ana_state = what.state;
  view->guard = what.guard;
  if (what.guard != nullptr) view->slot = &what.guard->at(core_.core());
  view->gate.set_slot(view->slot);
  auto channel = co_await device.open_channel(core_);
  if (channel.ok()) {
    view->channel = std::move(channel).value();
  } else {
    view->open_error = channel.code();
    HF_LOG(warn, "nvmf", "no channel for namespace", {"device", device.name()}, {"nsid", nsid},
           {"core", core_.core()}, {"error", channel.error()});
  }
  if (table_.size() <= nsid) table_.resize(nsid + 1);
  table_[nsid] = std::move(view);
}

Task<void> SubsystemView::open_again(std::uint32_t nsid, BlockDevice& device) {
  NamespaceView* const ns = find(nsid);  // stays: no namespace is removed while a queue connects
  if (ns == nullptr || ns->channel) co_return;
  auto channel = co_await device.open_channel(core_);
  if (channel.ok()) {
    ns->channel = std::move(channel).value();
  } else {
    ns->open_error = channel.code();
  }
}

Task<void> SubsystemView::remove(std::uint32_t nsid) {
  if (find(nsid) == nullptr) co_return;
  const std::unique_ptr<NamespaceView> view = std::move(table_[nsid]);
  co_await view->gate.close();
  if (view->channel) co_await view->channel->close();
}

Task<void> SubsystemView::remove_all() {
  for (std::uint32_t nsid = 0; nsid < table_.size(); ++nsid) co_await remove(nsid);
}

Task<Status> SubsystemView::flush() {
  Status outcome;  // of the first one that fails; the others are flushed all the same
  for (std::uint32_t nsid = 1; nsid < nsid_end(); ++nsid) {
    NamespaceView* ns = find(nsid);
    if (ns == nullptr || !ns->channel || !ns->capabilities.flush || !ns->capabilities.volatile_cache)
      continue;
    const ChannelGate::Hold hold = ns->gate.enter();
    Status flushed = co_await ns->channel->flush();
    if (!flushed.ok() && outcome.ok()) outcome = std::move(flushed);
  }
  co_return outcome;
}

Task<NamespaceView*> SubsystemView::fence(std::uint32_t nsid, BlockRange range) {
  NamespaceView* ns = find(nsid);
  if (ns == nullptr) co_return nullptr;
  ns->fence_hold.emplace(ns->gate.enter_aside());
  co_await ns->fence.raise(range);
  co_return ns;
}

void SubsystemView::lift(NamespaceView& ns) noexcept {
  ns.fence.lift();
  ns.fence_hold.reset();
}

}  // namespace holdfast::nvmf::target
