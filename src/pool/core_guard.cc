#include "pool/core_guard.h"

#include "rt/cross_core.h"

namespace holdfast::pool {

CoreGuard::CoreGuard(const Cores& cores) : cores_(cores), one_(cores.home(), 1) {
  for (Reactor* core : cores) slots_.push_back(std::make_unique<Slot>(*core));
}

Task<void> CoreGuard::grace_period() {
  const Semaphore::Permit alone = co_await one_.acquire();
  auto pass = [this](Reactor& core) -> Task<void> { return at(core.core()).pass(); };
  co_await run_on_all(cores_.home(), cores_, pass);
}

}  // namespace holdfast::pool
