#include <utility>

#include "store/wire.h"

namespace holdfast::store::wire {
namespace {

KeyRange range_of(const std::string& key, const std::string& end) { return KeyRange(key, end); }

Error invalid_sort() { return Error(Errc::invalid_argument, "etcdserver: invalid sort option"); }

Result<Compare> read_compare(const pb::Compare& message) {
  if (!pb::Compare::CompareResult_IsValid(message.result()) ||
      !pb::Compare::CompareTarget_IsValid(message.target())) {
    return Error(Errc::invalid_argument, "etcdserver: invalid compare");
  }
  Compare compare;
  compare.range = range_of(message.key(), message.range_end());
  compare.relation = static_cast<Compare::Relation>(message.result());
  compare.target = static_cast<Compare::Target>(message.target());
  switch (compare.target) {
    case Compare::Target::version:
      compare.number = message.version();
      break;
    case Compare::Target::create:
      compare.number = message.create_revision();
      break;
    case Compare::Target::mod:
      compare.number = message.mod_revision();
      break;
    case Compare::Target::value:
      compare.value = message.value();
      break;
    case Compare::Target::lease:
      compare.number = message.lease();
      break;
  }
  return compare;
}

pb::Compare write_compare(Compare compare) {
  pb::Compare message;
  message.set_key(std::move(compare.range.key));
  message.set_range_end(std::move(compare.range.end));
  message.set_result(static_cast<pb::Compare::CompareResult>(compare.relation));
  message.set_target(static_cast<pb::Compare::CompareTarget>(compare.target));
  switch (compare.target) {
    case Compare::Target::version:
      message.set_version(compare.number);
      break;
    case Compare::Target::create:
      message.set_create_revision(compare.number);
      break;
    case Compare::Target::mod:
      message.set_mod_revision(compare.number);
      break;
    case Compare::Target::value:
      message.set_value(std::move(compare.value));
      break;
    case Compare::Target::lease:
      message.set_lease(compare.number);
      break;
  }
  return message;
}

Result<Op> read_op(const pb::RequestOp& message) {
  switch (message.request_case()) {
    case pb::RequestOp::kRequestRange: {
      HF_TRY(RangeRequest range, read(message.request_range()));
      return Op(std::move(range));
    }
    case pb::RequestOp::kRequestPut:
      return Op(read(message.request_put()));
    case pb::RequestOp::kRequestDeleteRange:
      return Op(read(message.request_delete_range()));
    case pb::RequestOp::kRequestTxn: {
      HF_TRY(Txn nested, read(message.request_txn()));
      return Op(std::move(nested));
    }
    case pb::RequestOp::REQUEST_NOT_SET:
      break;
  }
  return Error(Errc::invalid_argument, "etcdserver: key not found");
}

void write_op(Op op, pb::RequestOp& message) {
  if (auto* range = std::get_if<RangeRequest>(&op.what)) {
    *message.mutable_request_range() = write(*range);
  } else if (auto* put = std::get_if<PutRequest>(&op.what)) {
    *message.mutable_request_put() = write(std::move(*put));
  } else if (auto* removal = std::get_if<DeleteRequest>(&op.what)) {
    *message.mutable_request_delete_range() = write(*removal);
  } else {
    *message.mutable_request_txn() = write(std::move(std::get<Txn>(op.what)));
  }
}

}  // namespace

Result<RangeRequest> read(const pb::RangeRequest& message) {
  if (!pb::RangeRequest::SortOrder_IsValid(message.sort_order()) ||
      !pb::RangeRequest::SortTarget_IsValid(message.sort_target())) {
    return invalid_sort();
  }
  RangeRequest request(range_of(message.key(), message.range_end()));
  request.limit = message.limit();
  request.revision = message.revision();
  request.keys_only = message.keys_only();
  request.count_only = message.count_only();
  request.sort_order = static_cast<SortOrder>(message.sort_order());
  request.sort_target = static_cast<SortTarget>(message.sort_target());
  request.min_mod_revision = message.min_mod_revision();
  request.max_mod_revision = message.max_mod_revision();
  request.min_create_revision = message.min_create_revision();
  request.max_create_revision = message.max_create_revision();
  return request;
}

pb::RangeRequest write(const RangeRequest& request) {
  pb::RangeRequest message;
  message.set_key(request.range.key);
  message.set_range_end(request.range.end);
  message.set_limit(request.limit);
  message.set_revision(request.revision);
  message.set_keys_only(request.keys_only);
  message.set_count_only(request.count_only);
  message.set_sort_order(static_cast<pb::RangeRequest::SortOrder>(request.sort_order));
  message.set_sort_target(static_cast<pb::RangeRequest::SortTarget>(request.sort_target));
  message.set_min_mod_revision(request.min_mod_revision);
  message.set_max_mod_revision(request.max_mod_revision);
  message.set_min_create_revision(request.min_create_revision);
  message.set_max_create_revision(request.max_create_revision);
  return message;
}

PutRequest read(const pb::PutRequest& message) {
  PutRequest request(message.key(), message.value(), message.lease());
  request.want_previous = message.prev_kv();
  request.keep_value = message.ignore_value();
  request.keep_lease = message.ignore_lease();
  return request;
}

pb::PutRequest write(PutRequest request) {
  pb::PutRequest message;
  message.set_key(std::move(request.key));
  message.set_value(std::move(request.value));
  message.set_lease(request.lease);
  message.set_prev_kv(request.want_previous);
  message.set_ignore_value(request.keep_value);
  message.set_ignore_lease(request.keep_lease);
  return message;
}

DeleteRequest read(const pb::DeleteRangeRequest& message) {
  DeleteRequest request(range_of(message.key(), message.range_end()));
  request.want_previous = message.prev_kv();
  return request;
}

pb::DeleteRangeRequest write(const DeleteRequest& request) {
  pb::DeleteRangeRequest message;
  message.set_key(request.range.key);
  message.set_range_end(request.range.end);
  message.set_prev_kv(request.want_previous);
  return message;
}

Result<Txn> read(const pb::TxnRequest& message) {
  Txn request;
  for (const pb::Compare& one : message.compare()) {
    HF_TRY(Compare compare, read_compare(one));
    request.compares.push_back(std::move(compare));
  }
  for (const pb::RequestOp& one : message.success()) {
    HF_TRY(Op op, read_op(one));
    request.success.push_back(std::move(op));
  }
  for (const pb::RequestOp& one : message.failure()) {
    HF_TRY(Op op, read_op(one));
    request.failure.push_back(std::move(op));
  }
  return request;
}

pb::TxnRequest write(Txn request) {
  pb::TxnRequest message;
  for (Compare& compare : request.compares) *message.add_compare() = write_compare(std::move(compare));
  for (Op& op : request.success) write_op(std::move(op), *message.add_success());
  for (Op& op : request.failure) write_op(std::move(op), *message.add_failure());
  return message;
}

WatchRequest read(const pb::WatchCreateRequest& message) {
  // A watch, unlike a range, may begin at the empty key.
  WatchRequest request(range_of(message.key(), message.range_end()), message.start_revision());
  if (request.range.key.empty()) request.range.key.assign(1, '\0');
  request.want_previous = message.prev_kv();
  for (const int filter : message.filters()) {
    if (filter == pb::WatchCreateRequest::NOPUT) request.without_puts = true;
    if (filter == pb::WatchCreateRequest::NODELETE) request.without_removals = true;
  }
  return request;
}

pb::WatchCreateRequest write(const WatchRequest& request) {
  pb::WatchCreateRequest message;
  message.set_key(request.range.key);
  message.set_range_end(request.range.end);
  message.set_start_revision(request.start_revision);
  message.set_progress_notify(true);
  message.set_prev_kv(request.want_previous);
  if (request.without_puts) message.add_filters(pb::WatchCreateRequest::NOPUT);
  if (request.without_removals) message.add_filters(pb::WatchCreateRequest::NODELETE);
  return message;
}

}  // namespace holdfast::store::wire
