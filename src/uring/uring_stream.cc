#include "uring/uring_stream.h"

#include <cerrno>
#include <cstddef>

#include <netinet/tcp.h>
#include <unistd.h>

#include "uring/uring_op.h"
#include "uring/uring_reactor.h"

namespace holdfast::uring {

static_assert(sizeof(IoVec) == sizeof(iovec) && offsetof(IoVec, size) == offsetof(iovec, iov_len));

namespace {

// The kernel reads the vectors and never writes to them; its structures just do not say so.
iovec* kernel_vectors(IoVecs vectors) noexcept {
  return static_cast<iovec*>(static_cast<void*>(const_cast<IoVec*>(vectors.data())));
}

constexpr Nanos memory_retry = 1ms;

// The call would have to wait, or should be made again.
bool may_pass(int err) noexcept { return err == EAGAIN || err == EINTR || err == ENOMEM || err == ENOBUFS; }

}  // namespace

UringStream::UringStream(UringReactor& reactor, Fd fd, Endpoint local, Endpoint peer)
    : reactor_(reactor),
      fd_(std::move(fd)),
      local_(std::move(local)),
      peer_(std::move(peer)),
      receive_(*this),
      send_(*this),
      zero_copy_(reactor, send_) {
  set_no_delay(fd_.get());
  set_keep_alive(fd_.get());
}

UringStream::~UringStream() { HF_ASSERT(!fd_ && receive_.op == nullptr && send_.op == nullptr); }

void UringStream::end_sending() noexcept {
  HF_ASSERT(send_.op == nullptr);
  static_cast<void>(::shutdown(fd_.get(), SHUT_WR));
}

void UringStream::shutdown() noexcept {
  // The socket would keep trying, for a quarter of an hour, to bring a peer that is gone what it holds.
  if (zero_copy_.in_use()) return abort();
  static_cast<void>(::shutdown(fd_.get(), SHUT_RDWR));
}

// A socket forgets its data when it is connected to nothing; shutdown() alone keeps it there until the peer has it.
void UringStream::abort() noexcept {
  sockaddr nothing{};
  nothing.sa_family = AF_UNSPEC;
  static_cast<void>(::connect(fd_.get(), &nothing, sizeof nothing));
  static_cast<void>(::shutdown(fd_.get(), SHUT_RDWR));
}

Task<void> UringStream::close() {
  HF_ASSERT(receive_.op == nullptr && send_.op == nullptr && !zero_copy_.in_use());
  fd_.reset();
  co_return;
}

void UringStream::start(StreamOp& op) noexcept {
  if (op.kind == StreamOp::Kind::send) return send_.start(op);
  HF_ASSERT(receive_.op == nullptr);
  receive_.op = &op;
  reactor_.receive_at_end_of_turn(*this);
}

bool UringStream::try_receive() noexcept {
  const IoVecs into = receive_.op->vectors;
  ssize_t got = 0;
  if (into.size() == 1) {
    got = ::recv(fd_.get(), into[0].data, into[0].size, MSG_DONTWAIT);
  } else {
    receive_.header.msg_iov = kernel_vectors(into);
    receive_.header.msg_iovlen = into.size();
    got = ::recvmsg(fd_.get(), &receive_.header, MSG_DONTWAIT);
  }
  if (got < 0 && may_pass(errno)) return false;
  receive_.finish(got < 0 ? -errno : got);
  return true;
}

void UringStream::start_receive() noexcept {
  const IoVecs into = receive_.op->vectors;
  auto& sqe = reactor_.request(&receive_);
  if (into.size() == 1) {
    io_uring_prep_recv(&sqe, fd_.get(), into[0].data, into[0].size, 0);
  } else {
    receive_.header.msg_iov = kernel_vectors(into);
    receive_.header.msg_iovlen = into.size();
    io_uring_prep_recvmsg(&sqe, fd_.get(), &receive_.header, 0);
  }
  sqe.ioprio |= IORING_RECVSEND_POLL_FIRST;  // nothing was there a moment ago
}

void UringStream::Receive::complete(std::int32_t result, std::uint32_t) noexcept {
  if (result < 0 && may_pass(-result)) {
    stream.reactor_.receive_at_end_of_turn(stream);
    return;
  }
  finish(result);
}

void UringStream::Receive::finish(std::int64_t result) noexcept {
  op->result = result;
  stream.reactor_.post(std::exchange(op, nullptr)->waiter);
}

void UringStream::Send::start(StreamOp& o) noexcept {
  HF_ASSERT(op == nullptr && o.vectors.size() <= io_vectors_max);
  op = &o;
  left_ = o.vectors;
  partial_ = IoVec();
  sent_ = 0;
  if (o.hold != nullptr && stream.zero_copy_.pays(o.vectors)) return submit_zero_copy();
  if (!try_now()) submit();
}

void UringStream::Send::submit_zero_copy() noexcept {
  header_.msg_iov = kernel_vectors(left_);
  header_.msg_iovlen = left_.size();
  stream.zero_copy_.submit(stream.fd_.get(), header_, *op->hold);
}

void UringStream::Send::on_zero_copy_sent(std::int32_t result) noexcept {
  if (result < 0 && (may_pass(-result) || ZeroCopy::is_refusal(result))) {
    if (!try_now()) submit();
    return;
  }
  if (result < 0) return finish(result);
  if (advance(static_cast<std::size_t>(result))) return finish(static_cast<std::int64_t>(sent_));
  submit();
}

bool UringStream::Send::try_now() noexcept {
  header_.msg_iov = kernel_vectors(left_);
  header_.msg_iovlen = left_.size();
  const ssize_t n = ::sendmsg(stream.fd_.get(), &header_, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (n < 0) {
    if (may_pass(errno)) return false;
    finish(-errno);
    return true;
  }
  if (!advance(static_cast<std::size_t>(n))) return false;
  finish(static_cast<std::int64_t>(sent_));
  return true;
}

void UringStream::Send::submit() noexcept {
  auto& sqe = stream.reactor_.request(this);
  if (partial_.size > 0 || left_.size() == 1) {
    const IoVec& one = partial_.size > 0 ? partial_ : left_[0];
    io_uring_prep_send(&sqe, stream.fd_.get(), one.data, one.size, MSG_WAITALL | MSG_NOSIGNAL);
    return;
  }
  header_.msg_iov = kernel_vectors(left_);
  header_.msg_iovlen = left_.size();
  io_uring_prep_sendmsg(&sqe, stream.fd_.get(), &header_, MSG_WAITALL | MSG_NOSIGNAL);
}

void UringStream::Send::complete(std::int32_t result, std::uint32_t) noexcept {
  if (result == -ENOBUFS || result == -ENOMEM) {
    stream.reactor_.arm(*this, stream.reactor_.now() + memory_retry);
    return;
  }
  if (result < 0 && may_pass(-result)) return submit();
  if (result < 0) return finish(result);
  if (advance(static_cast<std::size_t>(result))) return finish(static_cast<std::int64_t>(sent_));
  submit();
}

bool UringStream::Send::advance(std::size_t bytes) noexcept {
  sent_ += bytes;
  if (partial_.size > 0) {
    HF_ASSERT(bytes <= partial_.size);
    partial_ = IoVec{partial_.data + bytes, partial_.size - bytes};
    return partial_.size == 0 && left_.empty();
  }
  while (!left_.empty() && bytes >= left_[0].size) {
    bytes -= left_[0].size;
    left_ = left_.subspan(1);
  }
  if (bytes > 0) {
    partial_ = IoVec{left_[0].data + bytes, left_[0].size - bytes};
    left_ = left_.subspan(1);
  }
  return partial_.size == 0 && left_.empty();
}

void UringStream::Send::finish(std::int64_t result) noexcept {
  if (op->hold != nullptr) stream.zero_copy_.end_send();
  ++stream.reactor_.send_counts().ended;
  op->result = result;
  stream.reactor_.post(std::exchange(op, nullptr)->waiter);
}

Result<std::unique_ptr<UringListener>> UringListener::open(UringReactor& reactor, const Endpoint& at) {
  HF_TRY(const SocketAddress address, SocketAddress::from(at));
  HF_TRY(Fd fd, make_socket(address));
  const int on = 1;
  static_cast<void>(setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
  // "::" serves IPv4 too, whatever the system's default is.
  const int off = 0;
  if (address.family() == AF_INET6)
    static_cast<void>(setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off));
  const int bound = ::bind(fd.get(), address.raw(), address.length);
  if (bound != 0 || ::listen(fd.get(), SOMAXCONN) != 0) {
    const int err = errno;
    if (err == EADDRINUSE) {
      return Error(Errc::busy,
                   "cannot listen on " + at.to_string() +
                       ": the port is in use; stop the program that has it, or choose another port");
    }
    if (err == EADDRNOTAVAIL) {
      return Error(Errc::invalid_argument,
                   "cannot listen on " + at.to_string() + ": no address of this host");
    }
    return error_from_errno(err).with_context("cannot listen on " + at.to_string());
  }
  return std::make_unique<UringListener>(reactor, std::move(fd));
}

UringListener::UringListener(UringReactor& reactor, Fd fd) noexcept
    : reactor_(reactor), fd_(std::move(fd)), local_(local_endpoint(fd_.get())) {}

UringListener::~UringListener() { HF_ASSERT(!fd_ && !accepting_); }

void UringListener::shutdown() noexcept {
  shut_down_ = true;
  static_cast<void>(::shutdown(fd_.get(), SHUT_RDWR));  // ends the accept that waits
}

Task<void> UringListener::close() {
  HF_ASSERT(!accepting_);
  fd_.reset();
  co_return;
}

Task<Result<std::unique_ptr<PendingStream>>> UringListener::accept() {
  HF_ASSERT(!accepting_);
  SocketAddress from;
  auto prepare = [&](io_uring_sqe& sqe) {
    io_uring_prep_accept(&sqe, fd_.get(), from.raw(), &from.length, SOCK_CLOEXEC);
  };
  while (!shut_down_) {
    from = SocketAddress();
    accepting_ = true;
    const std::int32_t got = co_await UringOp(reactor_, prepare);
    accepting_ = false;
    if (got >= 0) {
      std::unique_ptr<PendingStream> made = std::make_unique<UringPendingStream>(Fd(got), from.endpoint());
      co_return made;
    }
    switch (-got) {
      case EMFILE:
      case ENFILE:
      case ENOBUFS:
      case ENOMEM:
        co_return Error(Errc::resource_exhausted, -got)
            .with_context("cannot accept on " + local_.to_string());
      case EINVAL:
      case EBADF:
        if (shut_down_) break;
        co_return error_from_errno(-got);
      default:  // a connection that broke before we took it: the next one
        break;
    }
  }
  co_return Error(Errc::cancelled);
}

Task<Result<std::unique_ptr<Stream>>> connect_stream(UringReactor& reactor, Endpoint to, Nanos deadline,
                                                     StopToken stop) {
  HF_CO_TRY(const SocketAddress address, SocketAddress::from(to));
  HF_CO_TRY(Fd fd, make_socket(address));
  auto prepare = [&](io_uring_sqe& sqe) {
    io_uring_prep_connect(&sqe, fd.get(), address.raw(), address.length);
  };
  const std::int32_t got = co_await UringOp(reactor, prepare, deadline, stop);
  const std::string context = "cannot connect to " + to.to_string();
  if (got == -ETIME) co_return Error(Errc::timed_out, context + ": no answer in time");
  if (got == -ECANCELED) co_return Error(Errc::cancelled);
  if (got < 0) co_return error_from_errno(-got).with_context(context);
  Endpoint local = local_endpoint(fd.get());
  // TCP connects a socket to itself when a free local port is the one asked for. Addresses can be written in many ways.
  if (local == peer_endpoint(fd.get())) co_return error_from_errno(ECONNREFUSED).with_context(context);
  std::unique_ptr<Stream> made =
      std::make_unique<UringStream>(reactor, std::move(fd), std::move(local), std::move(to));
  co_return made;
}

}  // namespace holdfast::uring
