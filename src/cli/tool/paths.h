#pragma once

#include <string>

namespace holdfast::cli {

// Where a cluster of this machine is kept if nothing is said: $HOLDFAST_UP_DIR, $XDG_DATA_HOME/holdfast,
// ~/.local/share/holdfast, /var/tmp/holdfast: the first that makes sense.
std::string default_state_dir();

}  // namespace holdfast::cli
