#include "cli/cluster/archive.h"

#include <ctime>
#include <utility>

#include <archive.h>
#include <archive_entry.h>
#include <fmt/format.h>
#include <unistd.h>

namespace holdfast::cli {

Result<Archive> Archive::create(const std::string& file, const std::string& folder) {
  Archive a(file, folder);
  a.archive_ = archive_write_new();
  if (a.archive_ == nullptr) return Error(Errc::resource_exhausted, "no memory for an archive");
  const bool ready = archive_write_add_filter_gzip(a.archive_) == ARCHIVE_OK &&
                     archive_write_set_format_pax_restricted(a.archive_) == ARCHIVE_OK &&
                     archive_write_open_filename(a.archive_, file.c_str()) == ARCHIVE_OK;
  if (!ready) return a.error();
  return a;
}

Archive::Archive(Archive&& other) noexcept
    : file_(std::move(other.file_)),
      folder_(std::move(other.folder_)),
      archive_(std::exchange(other.archive_, nullptr)) {}

Archive::~Archive() {
  if (archive_ == nullptr) return;
  archive_write_free(archive_);
  ::unlink(file_.c_str());
}

Error Archive::error() const {
  const char* text = archive_error_string(archive_);
  return Error(Errc::io_error, fmt::format("{}: {}", file_, text == nullptr ? "cannot be written" : text));
}

Status Archive::add(const std::string& name, std::string_view content) {
  archive_entry* entry = archive_entry_new();
  if (entry == nullptr) return Error(Errc::resource_exhausted, "no memory for an archive");
  archive_entry_set_pathname(entry, (folder_ + "/" + name).c_str());
  archive_entry_set_size(entry, static_cast<la_int64_t>(content.size()));
  archive_entry_set_filetype(entry, AE_IFREG);
  archive_entry_set_perm(entry, 0644);
  archive_entry_set_mtime(entry, std::time(nullptr), 0);
  const bool begun = archive_write_header(archive_, entry) == ARCHIVE_OK;
  archive_entry_free(entry);
  if (!begun) return error();
  if (archive_write_data(archive_, content.data(), content.size()) !=
      static_cast<la_ssize_t>(content.size())) {
    return error();
  }
  return {};
}

Status Archive::finish() {
  if (archive_write_close(archive_) != ARCHIVE_OK) return error();
  archive_write_free(std::exchange(archive_, nullptr));
  return {};
}

}  // namespace holdfast::cli
