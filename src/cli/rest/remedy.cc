#include <fmt/format.h>

#include "cli/rest/rest_client.h"

namespace holdfast::cli {
namespace {

// "volume", "pool", "node" or "snapshot": what a path is about. "" for anything else.
std::string_view subject(std::string_view path) noexcept {
  if (path.find("/snapshots") != std::string_view::npos) return "snapshot";
  if (path.find("/volumes") != std::string_view::npos) return "volume";
  if (path.find("/pools") != std::string_view::npos) return "pool";
  if (path.find("/nodes") != std::string_view::npos) return "node";
  return {};
}

struct Advice {
  std::string_view kind;
  std::string_view text;
};

constexpr Advice advices[] = {
    {"Unauthorized", "give a token with --token-file or HOLDFAST_TOKEN_FILE"},
    {"Unauthenticated", "give a token with --token-file or HOLDFAST_TOKEN_FILE"},
    {"PermissionDenied", "the token does not allow this; give another with --token-file"},
    {"Timeout", "it may still happen. Look before you repeat it, or wait longer with --timeout"},
    {"DeadlineExceeded", "it may still happen. Look before you repeat it, or wait longer with --timeout"},
    {"Unavailable", "a part of the cluster does not answer: 'holdfast get nodes' shows which"},
    {"Aborted", "something changed meanwhile: try again"},
    {"Conflict", "another request is being carried out: try again in a moment"},
    {"Deleting", "it is being deleted: wait until it is gone"},
    {"InUse", "end what uses it first"},
    {"ResourceExhausted", "'holdfast get pools -o wide' shows where room is left"},
    {"CapacityLimitExceeded", "'holdfast get pools -o wide' shows where room is left"},
    {"FailedPersist", "the store does not take changes: its state is in the agent's log"},
    {"NotPublished", "publish it first: holdfast publish volume ID"},
    {"AlreadyPublished", "'holdfast get volume ID' shows where; unpublish it to publish it elsewhere"},
};

}  // namespace

std::string remedy(const RestFailure& failure, std::string_view path) {
  if (failure.kind == "NotFound" && !subject(path).empty()) {
    const bool snapshot = subject(path) == "snapshot";
    return fmt::format("'holdfast get {}{}s' lists what there is", snapshot ? "volume-" : "", subject(path));
  }
  for (const Advice& advice : advices) {
    if (advice.kind == failure.kind) return std::string(advice.text);
  }
  return {};
}

}  // namespace holdfast::cli
