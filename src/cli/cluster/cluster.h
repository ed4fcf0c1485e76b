// What every verb of this folder works with: the connection, how answers and errors are shown, and waiting.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cli/rest/rest_client.h"
#include "cli/tool/duration.h"
#include "cli/tool/tool.h"

namespace holdfast::cli {

// Exit statuses besides those of cli/tool/output.h.
inline constexpr int exit_unreachable = 3;  // no agent answered
inline constexpr int exit_waited = 4;       // accepted, but --wait ended before it was done

class Cluster {
 public:
  explicit Cluster(Tool& tool) : tool_(tool) {}

  RestOptions rest;  // of the command line; read when the first request is made

  Tool& tool() noexcept { return tool_; }
  Output& out() noexcept { return tool_.output(); }
  RestClient& client();

  // -r, -t, the token's and the certificate's options, and those of the output.
  void add_options(CLI::App& to);
  // A verb, such as get, with kinds of things below it.
  CLI::App& add_verb(const std::string& name, const std::string& about);
  // A command with everything that a verb's options are about.
  CLI::App& add_command(const std::string& name, const std::string& about, std::function<int()> action);

  // Writes the failure; the exit status for it.
  int fail(const RestFailure& failure);
  // The answer of a request: its failure, or the content in full for programs, and by `table` for people.
  int show(const RestAnswer& answer, const std::function<void(const Tree&)>& table);
  // The same for what people only want to hear that it is done.
  int done(const RestAnswer& answer, std::string_view text);

 private:
  Tool& tool_;
  std::unique_ptr<RestClient> client_;
};

// A positional that must be given, and not as "": an id or label that paths of the API are made of.
CLI::Option* add_id(CLI::App& to, const std::string& name, std::string& id, const std::string& about);

// --wait and --wait-timeout.
struct WaitOptions {
  bool wait = false;
  double timeout_seconds = 600;
};
void add_wait_options(CLI::App& to, WaitOptions& options);

// How far something is. `failed`: it will never be done, and this is why.
struct Progress {
  bool done = false;
  std::string text;  // "2 of 3 replicas, 45 %"
  std::optional<std::uint64_t> percent;
  std::string failed;
};
// Asks `look` again and again until it is done, with its progress drawn in place on a terminal and as lines
// elsewhere. The exit status: exit_ok, exit_failed, or exit_waited after the timeout. Passing trouble, such as
// an agent that restarts, is waited out.
int wait_until(Cluster& cluster, const WaitOptions& options, const std::string& what,
               const std::function<Progress(const RestAnswer&)>& judge, const std::string& path);

// --accept-volume-loss and the like: what deleting something for good may cost.
struct PurgeOptions {
  bool purge = false;
  bool show_impact = false;
  bool accept_volume_loss = false;
  bool accept_snapshot_loss = false;
};
void add_purge_options(CLI::App& to, PurgeOptions& options);
struct DeletePaths {
  std::string plain;   // DELETE: only what is empty
  std::string purge;   // DELETE: with everything; ends where parameters follow
  std::string impact;  // GET
};
// Deletes something, purges it, or only shows what that would do.
int delete_or_purge(Cluster& cluster, const PurgeOptions& options, const std::string& what,
                    const DeletePaths& paths);

// The families of verbs, a file each. `create` and `delete_verb` are groups that several add to.
void add_get_commands(Cluster& cluster);
void add_volume_verbs(Cluster& cluster, CLI::App& create, CLI::App& delete_verb);
void add_pool_verbs(Cluster& cluster, CLI::App& create, CLI::App& delete_verb);
void add_node_verbs(Cluster& cluster, CLI::App& delete_verb);
void add_snapshot_verbs(Cluster& cluster);
void add_events_command(Cluster& cluster);
void add_top_command(Cluster& cluster);
void add_dump_commands(Cluster& cluster);
void add_adopt_command(Cluster& cluster);

}  // namespace holdfast::cli
