#include "cli/tool/tool.h"

#include <algorithm>
#include <map>
#include <ostream>

#include <CLI/CLI.hpp>

#include "base/units.h"
#include "cli/tool/choice.h"

namespace holdfast::cli {

Tool::Tool(std::ostream& out, std::ostream& err, bool live)
    : output_(out, err, live),
      app_(std::make_unique<CLI::App>("Holdfast: replicated block storage for Linux hosts and containers.",
                                      "holdfast")),
      out_(out),
      err_(err) {
  app_->require_subcommand(1);
  app_->set_help_all_flag("--help-all", "Show the help of what is in it, too");
  app_->get_formatter()->column_width(34);
  add_completion();
}

Tool::~Tool() = default;

void Tool::set_version(const std::string& version) {
  app_->set_version_flag("--version", "holdfast " + version, "Print the version and end");
}

CLI::App& Tool::add_group(CLI::App& parent, const std::string& name, const std::string& about) {
  auto* group = parent.add_subcommand(name, about);
  group->require_subcommand(1);
  if (&parent != app_.get()) group->fallthrough();
  return *group;
}

CLI::App& Tool::add_command(CLI::App& parent, const std::string& name, const std::string& about,
                            std::function<int()> action) {
  auto* command = parent.add_subcommand(name, about);
  if (&parent != app_.get()) command->fallthrough();
  command->callback([this, action = std::move(action)] { action_ = action; });
  return *command;
}

void Tool::add_output_options(CLI::App& to, bool wide) {
  std::map<std::string, Format> formats = {
      {"table", Format::table}, {"json", Format::json}, {"yaml", Format::yaml}};
  if (wide) formats.emplace("wide", Format::wide);
  static const std::map<std::string, Units> units = {
      {"i", Units::binary}, {"d", Units::decimal}, {"b", Units::bytes}};
  to.add_option("-o,--output", output_.format,
                wide ? "How to show the answer: table, wide (more columns), json or yaml (full content)"
                     : "How to show the answer: table, json or yaml (full content)")
      ->transform(choice(formats))
      ->type_name("FORMAT")
      ->default_str("table");
  to.add_flag("-q,--quiet", output_.quiet, "No notes and no table titles");
  to.add_flag("-v,--verbose", output_.verbosity, "Tell each call; twice: requests and answers too");
  to.add_option_function<Units>(
        "-u,--units", [this](const Units& chosen) { output_.units = chosen; },
        "Sizes in tables: i for KiB, MiB; d for kB, MB; b for bytes")
      ->transform(choice(units))
      ->type_name("i|d|b");
}

void Tool::add_completion() {
  auto& shell = keep<std::string>();
  auto& command =
      add_command(*app_, "completion", "Print the script that completes command lines in a shell", [&] {
        out_ << completion_script(shell);
        return exit_ok;
      });
  command.add_option("bash|zsh|fish", shell, "The shell")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}).description(""));
  command.footer(
      "In bash, for now and for ever:\n"
      "  source <(holdfast completion bash)\n"
      "  holdfast completion bash > /etc/bash_completion.d/holdfast");
}

int Tool::run(std::vector<std::string> arguments) {
  const int status = parse_and_run(std::move(arguments));
  out_.flush();
  if (status != exit_ok || out_.good()) return status;
  return output_.error(name(Errc::io_error), "standard output takes no more: the answer is not complete");
}

int Tool::parse_and_run(std::vector<std::string> arguments) {
  if (!arguments.empty() && arguments[0] == "__complete") {
    const std::size_t skipped = arguments.size() > 1 && arguments[1] == "--" ? 2 : 1;
    const std::vector<std::string> words(arguments.begin() + static_cast<std::ptrdiff_t>(skipped),
                                         arguments.end());
    out_ << to_string(complete(*app_, words, names_of_));
    return exit_ok;
  }
  std::reverse(arguments.begin(), arguments.end());  // the order that CLI11 asks for
  try {
    app_->parse(std::move(arguments));
  } catch (const CLI::RequiredError& e) {
    // What is missing may be there, in other words.
    const auto unknown = app_->remaining(true);
    if (unknown.empty()) {
      app_->exit(e, out_, err_);
    } else {
      const std::string text = "there is no '" + unknown.front() + "' here";
      app_->exit(CLI::ExtrasError(text, CLI::ExitCodes::ExtrasError), out_, err_);
    }
    return exit_usage;
  } catch (const CLI::ParseError& e) {
    return app_->exit(e, out_, err_) == 0 ? exit_ok : exit_usage;
  }
  HF_ASSERT(action_);  // require_subcommand() sees to it
  return action_();
}

CLI::Option* add_size(CLI::App& to, const std::string& name, std::uint64_t& bytes, const std::string& about) {
  auto to_bytes = [](std::string& text) -> std::string {
    const auto size = parse_size(text);
    if (!size.ok()) return size.error().message();
    text = std::to_string(size.value());
    return {};
  };
  return to.add_option(name, bytes, about)
      ->transform(CLI::Validator(to_bytes, "", "size"))
      ->type_name("SIZE");
}

}  // namespace holdfast::cli
