#include "rpc/listen_check.h"

namespace holdfast::rpc {

Task<Status> check_can_listen(Reactor& home, Endpoint at, const char* flags) {
  if (at.address == "::") co_return Status();
  auto listener = home.listen(at);
  if (!listener.ok()) co_return listener.error().with_context(flags);
  co_await listener.value()->close();
  co_return Status();
}

}  // namespace holdfast::rpc
