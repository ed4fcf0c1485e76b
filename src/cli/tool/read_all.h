#pragma once

#include <iosfwd>
#include <string>

namespace holdfast::cli {

// The rest of a stream. What cannot be read, such as a file that is not there or a directory, is empty.
std::string read_all(std::istream& from);

}  // namespace holdfast::cli
