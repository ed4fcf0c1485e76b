// What TCP alone costs: requests and answers of given sizes over loopback, both sides spinning, no protocol.
// The floor under every figure of the target.
//   tcp-pingpong --request BYTES --answer BYTES --qd N --time S [--batch] [--cpus SERVER,CLIENT]
// --batch: the server answers all requests that one receive brought with one send, and the client likewise;
// without it each request and each answer is a system call of its own. Prints one JSON object.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <string>
#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace {

struct Options {
  std::size_t request = 64, answer = 4096, depth = 1;
  double seconds = 5;
  bool batch = false;
  int server_cpu = 0, client_cpu = 1;
};

[[noreturn]] void die(const char* what) {
  std::perror(what);
  std::exit(1);
}

double now() {
  timespec ts{};
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return static_cast<double>(ts.tv_sec) + static_cast<double>(ts.tv_nsec) * 1e-9;
}

void pin(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(0, sizeof set, &set);
}

void prepare(int fd) {
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  fcntl(fd, F_SETFL, O_NONBLOCK);
}

// Spins until all bytes are out. False when the peer is gone.
bool send_all(int fd, const char* data, std::size_t bytes) {
  while (bytes > 0) {
    const ssize_t n = ::send(fd, data, bytes, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) return false;
    if (n <= 0) continue;
    data += n;
    bytes -= static_cast<std::size_t>(n);
  }
  return true;
}

// Spins until something arrived; 0 when the peer is gone.
std::size_t receive_some(int fd, std::vector<char>& into) {
  for (;;) {
    const ssize_t n = ::recv(fd, into.data(), into.size(), 0);
    if (n >= 0) return static_cast<std::size_t>(n);
    if (errno != EAGAIN) return 0;
  }
}

// Sends `count` messages of `bytes`, in one call or one by one.
bool send_messages(int fd, const std::vector<char>& data, std::size_t bytes, std::size_t count, bool batch) {
  if (batch) return send_all(fd, data.data(), bytes * count);
  for (std::size_t i = 0; i < count; ++i) {
    if (!send_all(fd, data.data(), bytes)) return false;
  }
  return true;
}

void serve(int fd, const Options& o) {
  pin(o.server_cpu);
  prepare(fd);
  const std::vector<char> answers(o.answer * o.depth, 'a');
  std::vector<char> buffer(o.request * o.depth);
  std::size_t partial = 0;
  while (const std::size_t n = receive_some(fd, buffer)) {
    partial += n;
    const std::size_t whole = partial / o.request;
    partial %= o.request;
    if (!send_messages(fd, answers, o.answer, whole, o.batch)) return;
  }
}

struct Figures {
  std::vector<float> microseconds;
  double seconds = 0;
};

Figures drive(int fd, const Options& o) {
  pin(o.client_cpu);
  prepare(fd);
  const std::vector<char> requests(o.request * o.depth, 'r');
  std::vector<char> buffer(o.answer * o.depth);
  std::deque<double> begun;
  Figures f;
  f.microseconds.reserve(1 << 22);
  std::size_t partial = 0, free = o.depth;
  const double begin = now(), from = begin + 0.3, to = from + o.seconds;
  for (double t = begin; t < to; t = now()) {
    begun.insert(begun.end(), free, t);
    if (!send_messages(fd, requests, o.request, free, o.batch)) break;
    partial += receive_some(fd, buffer);
    free = partial / o.answer;
    partial %= o.answer;
    const double end = now();
    for (std::size_t i = 0; i < free; ++i, begun.pop_front()) {
      if (end >= from) f.microseconds.push_back(static_cast<float>((end - begun.front()) * 1e6));
    }
  }
  f.seconds = now() - from;
  return f;
}

void print(Figures& f) {
  std::sort(f.microseconds.begin(), f.microseconds.end());
  const auto at = [&](double q) {
    if (f.microseconds.empty()) return 0.0;
    const double last = static_cast<double>(f.microseconds.size() - 1);
    return static_cast<double>(f.microseconds[static_cast<std::size_t>(q * last)]);
  };
  double sum = 0;
  for (const float us : f.microseconds) sum += static_cast<double>(us);
  const double count = static_cast<double>(f.microseconds.size());
  std::printf("{\"iops\": %.0f, \"mean_us\": %.2f, \"p50_us\": %.2f, \"p99_us\": %.2f, \"p999_us\": %.2f}\n",
              count / f.seconds, count > 0 ? sum / count : 0, at(0.5), at(0.99), at(0.999));
}

Options parse(int argc, char** argv) {
  Options o;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--batch") {
      o.batch = true;
      continue;
    }
    if (i + 1 == argc) die("a value is missing");
    const char* value = argv[++i];
    if (flag == "--request") o.request = std::strtoul(value, nullptr, 10);
    if (flag == "--answer") o.answer = std::strtoul(value, nullptr, 10);
    if (flag == "--qd") o.depth = std::strtoul(value, nullptr, 10);
    if (flag == "--time") o.seconds = std::strtod(value, nullptr);
    if (flag == "--cpus") std::sscanf(value, "%d,%d", &o.server_cpu, &o.client_cpu);
  }
  return o;
}

}  // namespace

int main(int argc, char** argv) {
  const Options o = parse(argc, argv);
  const int listener = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof at;
  sockaddr* raw = static_cast<sockaddr*>(static_cast<void*>(&at));
  if (::bind(listener, raw, length) != 0 || ::listen(listener, 1) != 0) die("listen");
  getsockname(listener, raw, &length);
  const pid_t server = ::fork();
  if (server == 0) {
    serve(::accept(listener, nullptr, nullptr), o);
    return 0;
  }
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  if (::connect(fd, raw, length) != 0) die("connect");
  Figures f = drive(fd, o);
  ::close(fd);
  ::waitpid(server, nullptr, 0);
  print(f);
  return 0;
}
