// The edge between our error codes and NVMe status: the target sends to_nvme(), the initiator reads
// to_errc(). They mirror each other where a code exists on both sides, so an error that crosses a hop keeps
// its meaning.
#pragma once

#include "base/error.h"
#include "nvme/status.h"

namespace holdfast::nvme {

// What the failed command did: a medium's failure has one code for reads and another for writes.
enum class IoKind : std::uint8_t { read, write, compare, other };

// The status of a command that failed with `code`. Retryable errors carry a command retry delay: 1 for a path
// or a passing lack of resources, 2 for a reservation or capacity that somebody has to free, 3 for the
// medium.
CommandStatus to_nvme(Errc code, IoKind kind) noexcept;

// The code for a status that a controller sent; Errc::ok for success. Unknown values go by their type.
Errc to_errc(const CommandStatus& status) noexcept;
// The same for a command of an I/O queue: some values mean another thing there than with Fabrics commands.
Errc to_errc_of_io(const CommandStatus& status) noexcept;

}  // namespace holdfast::nvme
