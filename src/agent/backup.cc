#include "agent/backup.h"

#include <utility>

#include "base/log.h"
#include "store/backup.h"
#include "store/keys.h"

namespace holdfast::agent {
namespace {

Task<Status> back_up(Reactor& home, store::Kv& kv, store::Keys keys, std::string file) {
  auto written = co_await store::back_up_to_file(home, kv, std::move(keys), file);
  if (!written.ok()) co_return written.error().with_context("--backup");
  const store::Backup& backup = written.value();
  HF_LOG(info, "agent", "backup written", {"file", file}, {"cluster", backup.cluster},
         {"keys", backup.keys.size()}, {"revision", backup.revision});
  co_return Status();
}

Task<Status> restore(Reactor& home, store::Kv& kv, store::Keys keys, std::string file,
                     store::Overwrite overwrite) {
  auto restored = co_await store::restore_from_file(home, kv, std::move(keys), file, overwrite);
  if (!restored.ok()) co_return restored.error().with_context("--restore");
  HF_LOG(info, "agent", "backup restored", {"file", file}, {"written", restored.value().written},
         {"removed", restored.value().removed}, {"left_out", restored.value().left_out});
  HF_LOG(
      info, "agent",
      "start the agents; when all nodes are Online, 'holdfast adopt' asks the replicas of each volume which "
      "of them hold all data");
  co_return Status();
}

}  // namespace

Task<Status> back_up_or_restore(Reactor& home, store::Kv& kv, std::string cluster, BackupRequest request) {
  HF_CO_TRY(store::Keys keys, store::Keys::of_cluster(cluster));
  if (!request.backup_file.empty())
    co_return co_await back_up(home, kv, std::move(keys), std::move(request.backup_file));
  const auto overwrite = request.overwrite ? store::Overwrite::yes : store::Overwrite::no;
  co_return co_await restore(home, kv, std::move(keys), std::move(request.restore_file), overwrite);
}

}  // namespace holdfast::agent
