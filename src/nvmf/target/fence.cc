// Subsystem: one fused command has a range of a namespace for itself, on every core.
#include <algorithm>

#include "nvmf/target/subsystem.h"
#include "rt/cross_core.h"

namespace holdfast::nvmf::target {

// The caller's command holds the gate of its own core's view, so the namespace stays until it has lifted the
// fence.
Task<bool> Subsystem::fence(std::uint32_t nsid, BlockRange range) {
  const auto it = namespaces_.find(nsid);
  if (it == namespaces_.end()) co_return false;
  Namespace& ns = *it->second;
  Semaphore::Permit turn = co_await ns.fence_turn.acquire();
  fences_.emplace(nsid, std::make_unique<Fence>(ns, range, std::move(turn)));
  Fence& fence = *fences_.at(nsid);
  for (auto& view : views_) {
    if (view) co_await fence_view(*view, fence);
  }
  if (!fence.failed) co_return true;
  co_await lift_fence(nsid);
  co_return false;
}

// A view whose namespace is on its way out cannot be fenced. Asked once: a view that is made while the fence goes up is
// found by who raises it and by who makes the view.
Task<void> Subsystem::fence_view(SubsystemView& view, Fence& fence) {
  if (std::find(fence.asked.begin(), fence.asked.end(), &view) != fence.asked.end()) co_return;
  fence.asked.push_back(&view);
  const std::uint32_t nsid = fence.ns.config.nsid;
  auto there = [&]() -> Task<NamespaceView*> { return view.fence(nsid, fence.range); };
  NamespaceView* fenced = co_await run_on(registry_.home(), view.core(), there);
  if (fenced == nullptr) {
    fence.failed = true;
  } else {
    fence.views.push_back(FencedView{&view, fenced});
  }
}

Task<void> Subsystem::lift_fence(std::uint32_t nsid) {
  Fence& fence = *fences_.at(nsid);
  for (std::size_t i = 0;; ++i) {  // views may join meanwhile
    while (fence.joining > 0) (void)co_await fence.joined.wait();
    if (i == fence.views.size()) break;
    const FencedView fenced = fence.views[i];
    auto there = [&]() -> Task<void> {
      fenced.view->lift(*fenced.ns);
      co_return;
    };
    co_await run_on(registry_.home(), fenced.view->core(), there);
  }
  fences_.erase(nsid);
}

// A core that gets its first I/O queue while fences are up.
Task<void> Subsystem::join_fences(SubsystemView& view) {
  for (auto& [nsid, ns] : namespaces_) {
    const auto it = fences_.find(nsid);
    if (it == fences_.end()) continue;
    Fence& fence = *it->second;
    ++fence.joining;
    co_await fence_view(view, fence);
    if (--fence.joining == 0) fence.joined.wake_all();
  }
}

}  // namespace holdfast::nvmf::target
