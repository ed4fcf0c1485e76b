// The operations of UringReactor that are not its loop: each hands over to the file that does it.
#include <cstring>
#include <optional>

#include <arpa/inet.h>
#include <netdb.h>

#include "uring/open_file.h"
#include "uring/uring_file.h"
#include "uring/uring_reactor.h"
#include "uring/uring_stream.h"

namespace holdfast::uring {

namespace {

// Waits for a job of the helper threads.
class BlockingCall final : Message {
 public:
  BlockingCall(UringReactor& reactor, HelperThreads& threads, std::function<void()>& work) noexcept
      : reactor_(reactor), threads_(threads), work_(work) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> h) {
    waiter_ = h;
    HelperJob job;
    job.work = std::move(work_);
    job.reactor = &reactor_;
    job.done = this;
    threads_.submit(std::move(job));
  }
  void await_resume() const noexcept {}

 private:
  void run() noexcept override { reactor_.post(waiter_); }
  UringReactor& reactor_;
  HelperThreads& threads_;
  std::function<void()>& work_;
  std::coroutine_handle<> waiter_;
};

Result<std::vector<Endpoint>> resolve_blocking(const Endpoint& name) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* first = nullptr;
  const int err = getaddrinfo(name.address.c_str(), nullptr, &hints, &first);
  if (err != 0)
    return Error(Errc::not_found, "cannot resolve host '" + name.address + "': " + gai_strerror(err));
  std::vector<Endpoint> found;
  for (const addrinfo* a = first; a != nullptr; a = a->ai_next) {
    SocketAddress address;
    if (a->ai_addrlen > sizeof address.storage) continue;
    std::memcpy(&address.storage, a->ai_addr, a->ai_addrlen);
    Endpoint e = address.endpoint();
    e.port = name.port;
    found.push_back(std::move(e));
  }
  freeaddrinfo(first);
  return found;
}

}  // namespace

Task<void> UringReactor::run_blocking(std::function<void()> work) {
  co_await BlockingCall(*this, helpers_.calls, work);
}

Task<void> UringReactor::run_discard(std::function<void()> work) {
  co_await BlockingCall(*this, helpers_.discards, work);
}

Task<Result<std::unique_ptr<File>>> UringReactor::open_file(std::string path, OpenOptions options) {
  return UringFile::open(*this, std::move(path), options);
}

Task<Status> UringReactor::replace_file(std::string path, std::string content) {
  std::optional<Status> done;
  auto work = [&] { done.emplace(replace_blocking(path, content)); };
  std::function<void()> call(std::ref(work));
  co_await run_blocking(std::move(call));
  co_return std::move(*done);
}

Task<Result<std::string>> UringReactor::read_file(std::string path) {
  std::optional<Result<std::string>> content;
  auto work = [&] { content.emplace(read_blocking(path)); };
  std::function<void()> call(std::ref(work));
  co_await run_blocking(std::move(call));
  co_return std::move(*content);
}

Task<Status> UringReactor::remove_file(std::string path) {
  std::optional<Status> done;
  auto work = [&] { done.emplace(remove_blocking(path)); };
  std::function<void()> call(std::ref(work));
  co_await run_blocking(std::move(call));
  co_return std::move(*done);
}

Task<Result<std::unique_ptr<Stream>>> UringReactor::connect(Endpoint to, Nanos deadline, StopToken stop) {
  return connect_stream(*this, std::move(to), deadline, stop);
}

Result<std::unique_ptr<Listener>> UringReactor::listen(const Endpoint& at) {
  HF_TRY(std::unique_ptr<Listener> listener, UringListener::open(*this, at));
  return listener;
}

std::unique_ptr<Stream> UringReactor::adopt(std::unique_ptr<PendingStream> accepted) {
  auto* pending = dynamic_cast<UringPendingStream*>(accepted.get());
  HF_ASSERT(pending != nullptr);  // accepted by another backend
  Fd fd = pending->take_fd();
  Endpoint local = local_endpoint(fd.get());
  return std::make_unique<UringStream>(*this, std::move(fd), std::move(local), pending->peer());
}

Task<Result<std::vector<Endpoint>>> UringReactor::resolve(Endpoint name) {
  if (SocketAddress::from(name).ok()) {
    std::vector<Endpoint> itself(1, name);
    co_return itself;
  }
  std::optional<Result<std::vector<Endpoint>>> found;
  auto work = [&] { found.emplace(resolve_blocking(name)); };
  std::function<void()> call(std::ref(work));
  co_await run_blocking(std::move(call));
  co_return std::move(*found);
}

}  // namespace holdfast::uring
