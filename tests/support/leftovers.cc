#include "support/leftovers.h"

#include <cctype>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include "support/engine_process.h"

namespace holdfast::testing_support {

namespace fs = std::filesystem;

namespace {

constexpr const char* own_mark = "hf";

std::vector<fs::path> entries_of(const fs::path& folder) {
  std::vector<fs::path> all;
  std::error_code failure;  // one that is not there has none
  for (const auto& entry : fs::directory_iterator(folder, failure)) all.push_back(entry.path());
  return all;
}

void kill_users(const std::string& folder) {
  for (const fs::path& process : entries_of("/proc")) {
    pid_t pid = 0;
    const std::string name = process.filename();
    const auto number = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (number.ec != std::errc() || pid == ::getpid()) continue;
    std::ifstream in(process / "cmdline");
    const std::string line(std::istreambuf_iterator<char>(in), {});
    if (line.find(folder) == std::string::npos) continue;
    std::printf("process %d of a test that was killed is ended\n", pid);
    ::kill(pid, SIGKILL);
  }
}

void remove_folder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) {
    kill_users(folder);
    std::error_code ignored;
    fs::remove_all(folder, ignored);
  }
  ::close(fd);
}

// Names are "hf", letters that say what for, and a process id, and what of it.
bool is_left(const std::string& name) {
  if (!name.starts_with(own_mark)) return false;
  const auto digits = name.find_first_of("0123456789");
  if (digits > 3) return false;  // or there are none
  pid_t pid = 0;
  std::from_chars(name.data() + digits, name.data() + name.size(), pid);
  // Nothing of this process is there yet.
  return pid > 0 && (pid == ::getpid() || (::kill(pid, 0) != 0 && errno == ESRCH));
}

bool remove_all() {
  for (const fs::path& folder : entries_of(fs::temp_directory_path())) {
    if (folder.filename().string().starts_with(folder_prefix)) remove_folder(folder);
  }
  if (::geteuid() != 0) return true;
  for (const fs::path& network : entries_of("/var/run/netns")) {
    if (is_left(network.filename())) run({"/usr/bin/env", "ip", "netns", "del", network.filename()});
  }
  for (const fs::path& link : entries_of("/sys/class/net")) {
    if (is_left(link.filename())) run({"/usr/bin/env", "ip", "link", "del", link.filename()});
  }
  return true;
}

}  // namespace

void remove_leftovers() {
  static const bool done = remove_all();
  (void)done;
}

std::string network_prefix() { return own_mark + std::to_string(::getpid()); }

}  // namespace holdfast::testing_support
