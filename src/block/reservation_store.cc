#include "block/reservation_store.h"

#include <utility>

namespace holdfast {

Task<Result<std::optional<std::string>>> FileReservationStore::load(Uuid device) {
  auto content = co_await home_.read_file(path_of(device));
  std::optional<std::string> record;
  if (content.code() == Errc::not_found) co_return record;
  if (!content.ok()) co_return content.error();
  record = std::move(content).value();
  co_return record;
}

Task<Status> FileReservationStore::save(Uuid device, std::string record) {
  return home_.replace_file(path_of(device), std::move(record));
}

Task<Status> FileReservationStore::remove(Uuid device) { return home_.remove_file(path_of(device)); }

Task<Result<std::optional<std::string>>> MemoryReservationStore::load(Uuid device) {
  const auto found = records_.find(device);
  std::optional<std::string> record;
  if (found != records_.end()) record = found->second;
  co_return record;
}

Task<Status> MemoryReservationStore::save(Uuid device, std::string record) {
  records_[device] = std::move(record);
  co_return Status();
}

Task<Status> MemoryReservationStore::remove(Uuid device) {
  records_.erase(device);
  co_return Status();
}

}  // namespace holdfast
