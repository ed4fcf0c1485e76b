#include "block/uri_names.h"

namespace holdfast {

Result<std::string> name_with_slash(const Uri& uri) {
  if (!uri.authority.empty()) {
    return Error(Errc::invalid_argument, "'" + uri.text + "': expected three slashes: " + uri.scheme +
                                             ":///" + uri.authority + uri.path);
  }
  if (uri.path.size() < 2)
    return Error(Errc::invalid_argument,
                 "'" + uri.text + "': the name is missing after " + uri.scheme + ":///");
  return uri.path;
}

Result<std::string> name_without_slash(const Uri& uri) {
  HF_TRY(const std::string path, name_with_slash(uri));
  return path.substr(1);
}

std::string name_with_uuid(std::string_view name, const Uuid& uuid) {
  return std::string(name) + "@" + uuid.to_string();
}

}  // namespace holdfast
