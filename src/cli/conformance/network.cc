#include "cli/conformance/network.h"

#include <array>

namespace holdfast::cli::conformance {
namespace {

constexpr std::size_t inbox_bytes_max = std::size_t{64} << 20;  // nothing that a test asks for is larger

Task<void> sleep_task(Reactor& reactor, Nanos time) { (void)co_await reactor.sleep(time); }

}  // namespace

Socket::Socket(uring::Runtime& runtime, std::unique_ptr<Stream> stream)
    : runtime_(runtime),
      stream_(std::move(stream)),
      scope_(runtime.home()),
      changed_(runtime.home()),
      released_(runtime.home()) {
  scope_.spawn(pump());
}

Socket::~Socket() {
  end();
  runtime_.run(close());
}

void Socket::shutdown() noexcept { end(); }
void Socket::end_sending() noexcept { stream_->end_sending(); }

void Socket::hold(bool on) noexcept {
  held_ = on;
  if (!on) released_.set();
}

void Socket::end() noexcept {
  hold(false);
  stream_->shutdown();
}

Task<void> Socket::close() {
  co_await scope_.join();
  co_await stream_->close();
}

Task<void> Socket::pump() {
  std::array<std::byte, 65536> piece;
  const IoVec vec{piece.data(), piece.size()};
  for (;;) {
    while (held_) {
      released_.reset();
      co_await released_.wait();
    }
    const Result<std::size_t> n = co_await stream_->receive(IoVecs(&vec, 1));
    if (!n.ok() || n.value() == 0 || inbox_.size() > inbox_bytes_max) break;
    const auto* first = reinterpret_cast<const std::uint8_t*>(piece.data());
    inbox_.insert(inbox_.end(), first, first + n.value());
    changed_.set();
  }
  ended_ = true;
  changed_.set();
}

Task<void> Socket::send_all(View bytes) {
  // The stream only reads them.
  const IoVec vec{reinterpret_cast<std::byte*>(const_cast<std::uint8_t*>(bytes.data())), bytes.size()};
  const Result<std::size_t> n = co_await stream_->send(IoVecs(&vec, 1));
  sent_ = n.ok();
  sending_ = false;
  changed_.set();
}

Task<void> Socket::wait_sent(Nanos deadline) {
  while (sending_) {
    changed_.reset();
    const Wake woken = co_await changed_.wait(deadline);
    if (woken == Wake::timed_out) break;
  }
  if (!sending_) co_return;
  end();
  co_await scope_.join();
}

bool Socket::send(View bytes, Nanos deadline) {
  if (bytes.empty()) return true;
  sending_ = true;
  sent_ = false;
  scope_.spawn(send_all(bytes));
  runtime_.run(wait_sent(deadline));
  return sent_;
}

Task<void> Socket::wait_for(std::size_t bytes, Nanos deadline) {
  while (inbox_.size() < bytes && !ended_) {
    changed_.reset();
    const Wake woken = co_await changed_.wait(deadline);
    if (woken == Wake::timed_out) break;
  }
}

bool Socket::wait(std::size_t bytes, Nanos deadline) {
  if (inbox_.size() < bytes && !ended_) runtime_.run(wait_for(bytes, deadline));
  return inbox_.size() >= bytes || ended_;
}

void Socket::take(std::size_t bytes) {
  inbox_.erase(inbox_.begin(), inbox_.begin() + static_cast<std::ptrdiff_t>(bytes));
}

void Network::sleep(Nanos time) { runtime_.run(sleep_task(runtime_.home(), time)); }

Result<std::unique_ptr<Socket>> Network::connect(Nanos deadline) {
  HF_TRY(auto stream, runtime_.run(runtime_.home().connect(target_, deadline, StopToken())));
  return std::make_unique<Socket>(runtime_, std::move(stream));
}

}  // namespace holdfast::cli::conformance
