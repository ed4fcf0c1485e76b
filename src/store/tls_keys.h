// The keys of a connection with the store, read from files.
#pragma once

#include <optional>

#include "base/error.h"
#include "rpc/tls.h"
#include "rt/reactor.h"
#include "rt/task.h"

namespace holdfast::store {

// Nothing when no path is given. The files are looked at before they are used. Errors: those of Reactor::read_file;
// invalid_argument, naming `flag`, the file and what is wrong with it.
Task<Result<std::optional<rpc::Tls>>> load_tls_keys(Reactor& home, rpc::TlsPaths paths, const char* flag);

}  // namespace holdfast::store
