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

// What a client must not send besides: a range with a revision in a transaction. Members of an etcd 3.4 that did not
// take the request leave its ranges out, so where one of them is refused for its revision, the others do the rest
// of the transaction, and the members come apart. Errors: invalid_argument.
Status check_reads_now(const Txn& request);

// About what the request is on the wire: what etcd's limit of its size is compared with.
std::size_t wire_bytes(const PutRequest& request) noexcept;
std::size_t wire_bytes(const DeleteRequest& request) noexcept;
std::size_t wire_bytes(const RangeRequest& request) noexcept;
std::size_t wire_bytes(const Txn& request) noexcept;

}  // namespace holdfast::store
