#include "store/tls_keys.h"

#include <functional>
#include <utility>

#include "http/tls.h"

namespace holdfast::store {

Task<Result<std::optional<rpc::Tls>>> load_tls_keys(Reactor& home, rpc::TlsPaths paths, const char* flag) {
  if (paths.certificate.empty() && paths.authority.empty()) co_return std::optional<rpc::Tls>();
  if (!paths.certificate.empty()) {
    const http::TlsFiles files{paths.certificate, paths.key, paths.authority};
    std::optional<Error> wrong;
    std::function<void()> look = [&] {
      const auto looked = http::TlsIdentity::load(files);
      if (!looked.ok()) wrong = looked.error();
    };
    co_await home.run_blocking(std::move(look));
    if (wrong) co_return wrong->with_context(flag);
  }
  auto tls = co_await rpc::load_tls(home, std::move(paths));
  if (!tls.ok()) co_return tls.error().with_context(flag);
  co_return std::optional<rpc::Tls>(std::move(tls).value());
}

}  // namespace holdfast::store
