// A tar archive, compressed with gzip, written piece by piece.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"

struct archive;

namespace holdfast::cli {

class Archive {
 public:
  // Errors of all: io_error, naming the file. `folder` is the archive's one folder.
  static Result<Archive> create(const std::string& file, const std::string& folder);
  Archive(Archive&& other) noexcept;
  Archive& operator=(Archive&&) = delete;
  ~Archive();  // what was not finished is deleted

  Status add(const std::string& name, std::string_view content);
  // Everything is on the disk then.
  Status finish();

 private:
  Archive(std::string file, std::string folder) : file_(std::move(file)), folder_(std::move(folder)) {}
  Error error() const;

  std::string file_;
  std::string folder_;
  ::archive* archive_ = nullptr;
};

}  // namespace holdfast::cli
