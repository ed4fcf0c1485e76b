#include "cli/tool/read_all.h"

#include <istream>
#include <sstream>
#include <utility>

namespace holdfast::cli {

std::string read_all(std::istream& from) {
  std::ostringstream content;
  content << from.rdbuf();  // this catches what reading a directory throws
  return std::move(content).str();
}

}  // namespace holdfast::cli
