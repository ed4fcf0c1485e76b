// Where two maps differ, block by block.
#pragma once

#include <cstdint>
#include <functional>

#include "pool/volume_map.h"

namespace holdfast::pool {

// Calls visit(index, first, count) for each run of blocks of one cluster that is not in the same place in both, in
// order, for the clusters [index_first, index_end); it returns false to end. Leaves that are the same are skipped.
// Either may be nullptr: all zero.
void diff_maps(
    const VolumeMap* earlier, const VolumeMap* later, std::uint32_t blocks_per_cluster,
    std::uint64_t index_first, std::uint64_t index_end,
    const std::function<bool(std::uint64_t index, std::uint32_t first, std::uint32_t count)>& visit);

}  // namespace holdfast::pool
