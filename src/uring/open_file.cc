#include "uring/open_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/log.h"
#include "base/units.h"

namespace holdfast::uring {

namespace {

Error path_error(int err, const std::string& path, const char* doing) {
  const std::string what = std::string(doing) + " '" + path + "': ";
  switch (err) {
    case ENOENT:
    case ENOTDIR:
      return Error(Errc::not_found, what + "there is no such file or device");
    case ENXIO:
    case ENODEV:
      return Error(Errc::not_found, what + "the device is gone, or has no driver");
    case EACCES:
    case EPERM:
      return Error(Errc::failed_precondition, what + "permission denied; run as root or change its owner");
    case EBUSY:
      return Error(Errc::busy,
                   what + "in use (mounted, or held by another program); unmount or release it first");
    case EROFS:
      return Error(Errc::read_only, what + "it is read-only");
    case EISDIR:
      return Error(Errc::invalid_argument, what + "it is a directory; name a file or a block device");
    default:
      return error_from_errno(err).with_context(std::string(doing) + " '" + path + "'");
  }
}

// A number from a file of one line under the device's queue folder; 0 when there is none.
std::uint64_t queue_limit(dev_t device, const char* limit) {
  const std::string base =
      "/sys/dev/block/" + std::to_string(major(device)) + ":" + std::to_string(minor(device));
  for (const char* queue : {"/queue/", "/../queue/"}) {  // the second for partitions
    Fd fd(::open((base + queue + limit).c_str(), O_RDONLY | O_CLOEXEC));
    char text[32] = {};
    if (fd && ::read(fd.get(), text, sizeof text - 1) > 0) {
      unsigned long long n = 0;
      if (std::sscanf(text, "%llu", &n) == 1) return n;
    }
  }
  return 0;
}

// `looked_at`: what the path named before it was opened.
Result<File::Id> id_of(int fd, const struct stat& looked_at, const std::string& path) {
  const auto id = [](const struct stat& st) {
    return S_ISBLK(st.st_mode) ? File::Id{st.st_rdev, 0} : File::Id{st.st_dev, st.st_ino};
  };
  struct stat st {};
  if (::fstat(fd, &st) != 0) return path_error(errno, path, "cannot look at");
  if (id(st) == id(looked_at)) return id(st);
  return Error(Errc::busy, "cannot open '" + path + "': another file or device took its place meanwhile");
}

Status measure_device(int fd, dev_t device, const std::string& path, File::Info& info) {
  int logical = 512;
  int read_only = 0;
  if (::ioctl(fd, BLKSSZGET, &logical) != 0) return path_error(errno, path, "cannot measure");
  static_cast<void>(::ioctl(fd, BLKROGET, &read_only));
  info.is_block_device = true;
  info.block_bytes = static_cast<std::uint32_t>(logical);
  info.read_only |= read_only != 0;
  info.can_discard = queue_limit(device, "discard_max_bytes") > 0;
  info.can_write_zeroes = true;  // the kernel writes zeroes where the device cannot
  return Status();
}

void measure_file(int fd, File::Info& info) {
  info.can_discard = !info.read_only;
  info.can_write_zeroes = !info.read_only;
#ifdef STATX_DIOALIGN
  struct statx extended {};
  if (info.direct && ::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &extended) == 0 &&
      (extended.stx_mask & STATX_DIOALIGN) != 0 && extended.stx_dio_offset_align > 0) {
    info.block_bytes = std::max({512u, extended.stx_dio_mem_align, extended.stx_dio_offset_align});
  }
#else
  static_cast<void>(fd);
#endif
}

// Another process, or another device of this one, may hold it.
Status lock(int fd, const std::string& path) {
  if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return Status();
  if (errno == EWOULDBLOCK) {
    return Error(Errc::busy,
                 "cannot open '" + path +
                     "': in use, another device or program holds its lock; release it there first");
  }
  return path_error(errno, path, "cannot lock");
}

Result<Fd> open_descriptor(const std::string& path, const OpenOptions& options, bool is_device,
                           bool& direct) {
  int flags = O_CLOEXEC | O_NONBLOCK | (options.read_only ? O_RDONLY : O_RDWR);
  if (is_device && options.exclusive) flags |= O_EXCL;
  direct = options.direct;
  Fd fd(::open(path.c_str(), flags | (direct ? O_DIRECT : 0)));
  if (!fd && errno == EINVAL && direct) {
    direct = false;
    fd.reset(::open(path.c_str(), flags));
    if (fd) {
      HF_LOG(warn, "uring", "no direct I/O on this file system: going through the page cache",
             {"path", path});
    }
  }
  if (!fd) return path_error(errno, path, "cannot open");
  // O_NONBLOCK was for pipes and locked devices; the ring answers EAGAIN at once for such descriptors.
  static_cast<void>(::fcntl(fd.get(), F_SETFL, ::fcntl(fd.get(), F_GETFL) & ~O_NONBLOCK));
  return fd;
}

}  // namespace

Result<std::uint64_t> size_blocking(int fd, bool is_block_device, const std::string& path) {
  if (is_block_device) {
    std::uint64_t bytes = 0;
    if (::ioctl(fd, BLKGETSIZE64, &bytes) != 0) return path_error(errno, path, "cannot measure");
    return bytes;
  }
  struct stat st {};
  if (::fstat(fd, &st) != 0) return path_error(errno, path, "cannot measure");
  return static_cast<std::uint64_t>(st.st_size);
}

Result<OpenedFile> open_blocking(const std::string& path, const OpenOptions& options) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return path_error(errno, path, "cannot open");
  const bool is_device = S_ISBLK(st.st_mode);
  if (S_ISDIR(st.st_mode)) return path_error(EISDIR, path, "cannot open");
  if (!is_device && !S_ISREG(st.st_mode)) {
    return Error(Errc::invalid_argument,
                 "cannot open '" + path + "': neither a regular file nor a block device");
  }
  OpenedFile opened;
  HF_TRY(opened.fd, open_descriptor(path, options, is_device, opened.info.direct));
  HF_TRY(opened.info.id, id_of(opened.fd.get(), st, path));
  opened.info.read_only = options.read_only;
  if (is_device) {
    HF_CHECK(measure_device(opened.fd.get(), st.st_rdev, path, opened.info));
    if (opened.info.read_only && !options.read_only)
      return path_error(EROFS, path, "cannot open for writing");
  } else {
    if (options.exclusive) HF_CHECK(lock(opened.fd.get(), path));
    measure_file(opened.fd.get(), opened.info);
  }
  HF_TRY(opened.info.size_bytes, size_blocking(opened.fd.get(), is_device, path));
  return opened;
}

namespace {

Status write_all(int fd, const std::string& content, const std::string& path) {
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t n = ::write(fd, content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return path_error(errno, path, "cannot write");
    done += static_cast<std::size_t>(n);
  }
  return Status();
}

Status sync_folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  std::string folder = ".";
  if (slash != std::string::npos) folder = slash == 0 ? "/" : path.substr(0, slash);
  Fd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return path_error(errno, folder, "cannot open");
  if (::fsync(fd.get()) != 0) return path_error(errno, folder, "cannot sync");
  return Status();
}

}  // namespace

// The name is free of the target's own suffix rules: one temporary per target, so that a crash leaves at most
// one.
Status replace_blocking(const std::string& path, const std::string& content) {
  const std::string temporary = path + ".new";
  Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return path_error(errno, temporary, "cannot create");
  Status written = write_all(fd.get(), content, temporary);
  if (written.ok() && ::fsync(fd.get()) != 0) written = path_error(errno, temporary, "cannot sync");
  fd.reset();
  if (written.ok() && ::rename(temporary.c_str(), path.c_str()) != 0)
    written = path_error(errno, path, "cannot replace");
  if (!written.ok()) {
    static_cast<void>(::unlink(temporary.c_str()));
    return written;
  }
  return sync_folder_of(path);
}

Result<std::string> read_blocking(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return path_error(errno, path, "cannot read");
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) return path_error(errno, path, "cannot read");
  // The backup of a store is as large as the store; what is no file may never end.
  const std::size_t bytes_max = S_ISREG(st.st_mode) ? 4 * GiB : 64 * MiB;
  std::string content;
  char piece[16384];
  for (;;) {
    const ssize_t n = ::read(fd.get(), piece, sizeof piece);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return path_error(errno, path, "cannot read");
    if (n == 0) return content;
    content.append(piece, static_cast<std::size_t>(n));
    if (content.size() > bytes_max)
      return Error(Errc::resource_exhausted,
                   "cannot read '" + path + "': larger than " + format_size(bytes_max));
  }
}

Status remove_blocking(const std::string& path) {
  if (::unlink(path.c_str()) != 0) {
    if (errno == ENOENT) return Status();
    return path_error(errno, path, "cannot remove");
  }
  return sync_folder_of(path);
}

}  // namespace holdfast::uring
