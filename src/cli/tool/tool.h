// The command line of `holdfast`: groups of commands register here, run() parses and runs the one that was
// given.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "cli/tool/completion.h"
#include "cli/tool/output.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace holdfast::cli {

class Tool {
 public:
  // Streams outlive the Tool. live: `err` is a terminal.
  Tool(std::ostream& out, std::ostream& err, bool live);
  Tool(const Tool&) = delete;
  Tool& operator=(const Tool&) = delete;
  ~Tool();

  CLI::App& app() noexcept { return *app_; }
  Output& output() noexcept { return output_; }

  // A group of commands: one of them must be given, and the group's options may stand after it, too.
  CLI::App& add_group(CLI::App& parent, const std::string& name, const std::string& about);
  // A command, which runs `action` when it is the one given. The action returns the exit status.
  CLI::App& add_command(CLI::App& parent, const std::string& name, const std::string& about,
                        std::function<int()> action);
  // -o, -q, -v and -u, for a group or command. wide: its tables have more columns to show.
  void add_output_options(CLI::App& to, bool wide = false);

  // A T that lives as long as the Tool: the variables behind a command's options.
  template <class T>
  T& keep() {
    auto kept = std::make_unique<Kept<T>>();
    T& value = kept->value;
    kept_.push_back(std::move(kept));
    return value;
  }

  // `holdfast --version` prints it.
  void set_version(const std::string& version);
  // What shells complete arguments with that only a running system knows.
  void set_names(NamesOf names_of) { names_of_ = std::move(names_of); }

  // Arguments without the program's name. Returns the exit status; help and usage errors are written. It is
  // exit_failed when the answer could not be.
  int run(std::vector<std::string> arguments);

 private:
  void add_completion();
  int parse_and_run(std::vector<std::string> arguments);

  struct KeptBase {
    virtual ~KeptBase() = default;
  };
  template <class T>
  struct Kept final : KeptBase {
    T value{};
  };

  Output output_;
  std::vector<std::unique_ptr<KeptBase>> kept_;
  std::unique_ptr<CLI::App> app_;
  std::function<int()> action_;
  NamesOf names_of_;
  std::ostream& out_;
  std::ostream& err_;
};

// An option or positional that takes a size with a unit ("4KiB", "10 GiB") into bytes.
CLI::Option* add_size(CLI::App& to, const std::string& name, std::uint64_t& bytes, const std::string& about);

}  // namespace holdfast::cli
