// RemoteReservations: the reservations of a remote namespace, kept by its target, as this host uses them.
#pragma once

#include <functional>
#include <memory>

#include "block/reservation.h"
#include "nvmf/initiator/core_io.h"

namespace holdfast::nvmf::host {

// What the commands are sent through, on the home core: the device's own I/O, so that they wait, are repeated
// and fail as it does. Errors: those of opening the queue.
using ReservationPath = std::function<Task<Result<CoreIo*>>()>;

// A request whose answer was lost is sent again, and may find that it was executed before: report() tells.
std::unique_ptr<ReservationClient> make_remote_reservations(ReservationPath path, Uuid host);

}  // namespace holdfast::nvmf::host
