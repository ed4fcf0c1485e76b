// What tests that were killed left on this machine: folders, processes in them, network namespaces and links.
#pragma once

#include <string>
#include <string_view>

namespace holdfast::testing_support {

// Of the folders of tests; what follows is random. The test that a folder is of holds a lock on it (flock(2)).
inline constexpr std::string_view folder_prefix = "holdfast-scratch-";

// Once for each process, before it makes anything itself: folders that nobody holds any more go, with the processes
// whose command lines name them, and namespaces and links whose names say the process id of one that is gone.
void remove_leftovers();

// Of what this process makes in the network: "hf", and its process id.
std::string network_prefix();

}  // namespace holdfast::testing_support
