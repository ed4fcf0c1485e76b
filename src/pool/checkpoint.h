// Checkpoints: the image of a pool's metadata in clusters of the pool, as a chain of pieces with a checksum each.
// What the bytes of an image mean is the state's affair (image.h). Layout: docs/format/pool.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "pool/disk_set.h"
#include "pool/journal.h"
#include "pool/superblock.h"

namespace holdfast::pool {

// Where an image comes from: next() puts bytes at the front of the span and gives their number, less than fit also
// when others shall have their turn before it is called again; done(): all was given.
struct ImageSource {
  std::function<std::size_t(std::span<std::byte>)> next;
  std::function<bool()> done;
};
// A free cluster for the image; nullopt: none is left.
using ImageClusters = std::function<std::optional<Cluster>()>;
using ImageSink = std::function<Status(std::span<const std::byte>)>;

struct ImageIdentity {
  Uuid instance;
  Journal::Mark mark;
};

// Writes the image, durable when it is done. `taken` gets the clusters that were taken, after an error too.
// Errors: out_of_space; io_error. Texts name the disk.
Task<Result<Root>> write_image(Reactor& home, DiskSet& disks, ImageIdentity identity, ImageSource source,
                               ImageClusters clusters, std::vector<Cluster>& taken);

// nullptr: no such disk is there.
using DiskOfIndex = std::function<Disk*(std::uint16_t)>;
// Reads the image of a root and hands it over in order. The clusters that it lies in. Errors: bad_format, saying
// what is wrong, or what the sink said; failed_precondition when a piece lies on a disk that is not there;
// io_error.
Task<Result<std::vector<DiskCluster>>> read_image(Reactor& home, DiskOfIndex disks, Superblock superblock,
                                                  ImageSink sink);

}  // namespace holdfast::pool
