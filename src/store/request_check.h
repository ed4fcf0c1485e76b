// What a request may look like, before anything is looked up: etcd's rules and texts.
#pragma once

#include <cstddef>

#include "base/error.h"
#include "store/kv.h"

namespace holdfast::store {

// Errors: invalid_argument.
Status check_request(const RangeRequest& request);
Status check_request(const PutRequest& request);
Status check_request(const DeleteRequest& request);
// `ops_max`: compares, and operations in each list; a nested transaction has so many less as are beside it.
Status check_request(const Txn& request, std::size_t ops_max);

// About what the request is on the wire: what etcd's limit of its size is compared with.
std::size_t wire_bytes(const PutRequest& request) noexcept;
std::size_t wire_bytes(const DeleteRequest& request) noexcept;
std::size_t wire_bytes(const RangeRequest& request) noexcept;
std::size_t wire_bytes(const Txn& request) noexcept;

}  // namespace holdfast::store
