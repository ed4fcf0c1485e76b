// Between the requests of kv.h and the messages of the etcd API. For .cc files: it brings protobuf's headers.
#pragma once

#include "base/error.h"
#include "etcd/rpc.pb.h"
#include "store/kv.h"
#include "store/mvcc.h"

namespace holdfast::store::wire {

namespace pb = etcdserverpb;

// Of a client's request. Errors: invalid_argument (a value that an enum does not have, an operation without a
// request).
Result<RangeRequest> read(const pb::RangeRequest& message);
PutRequest read(const pb::PutRequest& message);
DeleteRequest read(const pb::DeleteRangeRequest& message);
Result<Txn> read(const pb::TxnRequest& message);
WatchRequest read(const pb::WatchCreateRequest& message);

pb::RangeRequest write(const RangeRequest& request);
pb::PutRequest write(PutRequest request);
pb::DeleteRangeRequest write(const DeleteRequest& request);
pb::TxnRequest write(Txn request);
pb::WatchCreateRequest write(const WatchRequest& request);

// Of a store's answer. What is given is used up.
RangeResult read(pb::RangeResponse message);
PutResult read(pb::PutResponse message);
DeleteResult read(pb::DeleteRangeResponse message);
// Errors: protocol (a response of no kind).
Result<TxnResult> read(pb::TxnResponse message);
KeyEvent read(mvccpb::Event message);

// Without their headers, except for the revision.
pb::RangeResponse write(RangeResult result);
pb::PutResponse write(PutResult result);
pb::DeleteRangeResponse write(DeleteResult result);
pb::TxnResponse write(TxnResult result);
mvccpb::Event write(KeyEvent event);

}  // namespace holdfast::store::wire
