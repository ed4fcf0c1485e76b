// Where reservations that persist through power loss are kept, by the UUID of their device. Home core.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/uuid.h"
#include "rt/reactor.h"

namespace holdfast {

class ReservationStore {
 public:
  // The newest record that was saved; none when there is none. Errors: those of the medium.
  virtual Task<Result<std::optional<std::string>>> load(Uuid device) = 0;
  // Durable when it is done; after an error the old record or the new one is there.
  virtual Task<Status> save(Uuid device, std::string record) = 0;
  virtual Task<Status> remove(Uuid device) = 0;

  ReservationStore() = default;
  ReservationStore(const ReservationStore&) = delete;
  ReservationStore& operator=(const ReservationStore&) = delete;
  virtual ~ReservationStore() = default;
};

// One file a device in a directory that exists, each replaced at once or not at all.
class FileReservationStore final : public ReservationStore {
 public:
  FileReservationStore(Reactor& home, std::string directory)
      : home_(home), directory_(std::move(directory)) {}
  Task<Result<std::optional<std::string>>> load(Uuid device) override;
  Task<Status> save(Uuid device, std::string record) override;
  Task<Status> remove(Uuid device) override;

 private:
  std::string path_of(const Uuid& device) const { return directory_ + "/" + device.to_string(); }

  Reactor& home_;
  const std::string directory_;
};

// For tests and tools: gone with the object.
class MemoryReservationStore final : public ReservationStore {
 public:
  Task<Result<std::optional<std::string>>> load(Uuid device) override;
  Task<Status> save(Uuid device, std::string record) override;
  Task<Status> remove(Uuid device) override;

 private:
  std::map<Uuid, std::string> records_;
};

}  // namespace holdfast
