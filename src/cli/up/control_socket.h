// How `holdfast up --status`, `holdfast down` and the like speak to the process that keeps a cluster: one JSON
// message there, one back, over a socket in the state directory.
#pragma once

#include <functional>
#include <string>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/rest/json_view.h"

namespace holdfast::cli {

class ControlSocket {
 public:
  ControlSocket() = default;
  ~ControlSocket();
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;

  // Errors: invalid_argument when the path is too long for a socket; of the system.
  Status listen(const std::string& path);
  int fd() const noexcept { return fd_; }
  // Answers one caller, if one is there. A caller that says nothing for long is dropped.
  void serve(const std::function<Tree(const Tree& request)>& answer);

 private:
  int fd_ = -1;
  std::string path_;
};

// Errors: not_found when nobody listens; failed_precondition when it is another user's; timed_out.
Result<Tree> ask(const std::string& path, const Tree& request);

}  // namespace holdfast::cli
