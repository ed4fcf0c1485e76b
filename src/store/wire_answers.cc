#include <utility>

#include "store/wire.h"

namespace holdfast::store::wire {
namespace {

KeyValue read_key(mvccpb::KeyValue&& message) {
  KeyValue kv;
  kv.key = std::move(*message.mutable_key());
  kv.value = std::move(*message.mutable_value());
  kv.create_revision = message.create_revision();
  kv.mod_revision = message.mod_revision();
  kv.version = message.version();
  kv.lease = message.lease();
  return kv;
}

void write_key(KeyValue&& kv, mvccpb::KeyValue& message) {
  message.set_key(std::move(kv.key));
  message.set_value(std::move(kv.value));
  message.set_create_revision(kv.create_revision);
  message.set_mod_revision(kv.mod_revision);
  message.set_version(kv.version);
  message.set_lease(kv.lease);
}

Result<OpResult> read_op(pb::ResponseOp&& message) {
  OpResult result;
  switch (message.response_case()) {
    case pb::ResponseOp::kResponseRange:
      result.what = read(std::move(*message.mutable_response_range()));
      return result;
    case pb::ResponseOp::kResponsePut:
      result.what = read(std::move(*message.mutable_response_put()));
      return result;
    case pb::ResponseOp::kResponseDeleteRange:
      result.what = read(std::move(*message.mutable_response_delete_range()));
      return result;
    case pb::ResponseOp::kResponseTxn: {
      HF_TRY(result.what, read(std::move(*message.mutable_response_txn())));
      return result;
    }
    case pb::ResponseOp::RESPONSE_NOT_SET:
      break;
  }
  return Error(Errc::protocol, "the store answered an operation of a transaction with nothing");
}

void write_op(OpResult&& result, pb::ResponseOp& message) {
  if (auto* range = std::get_if<RangeResult>(&result.what)) {
    *message.mutable_response_range() = write(std::move(*range));
  } else if (auto* put = std::get_if<PutResult>(&result.what)) {
    *message.mutable_response_put() = write(std::move(*put));
  } else if (auto* removal = std::get_if<DeleteResult>(&result.what)) {
    *message.mutable_response_delete_range() = write(std::move(*removal));
  } else {
    *message.mutable_response_txn() = write(std::move(std::get<TxnResult>(result.what)));
  }
}

}  // namespace

RangeResult read(pb::RangeResponse message) {
  RangeResult result;
  result.revision = message.header().revision();
  result.more = message.more();
  result.count = message.count();
  for (auto& kv : *message.mutable_kvs()) result.kvs.push_back(read_key(std::move(kv)));
  return result;
}

pb::RangeResponse write(RangeResult result) {
  pb::RangeResponse message;
  message.mutable_header()->set_revision(result.revision);
  message.set_more(result.more);
  message.set_count(result.count);
  for (KeyValue& kv : result.kvs) write_key(std::move(kv), *message.add_kvs());
  return message;
}

PutResult read(pb::PutResponse message) {
  PutResult result;
  result.revision = message.header().revision();
  if (message.has_prev_kv()) result.previous = read_key(std::move(*message.mutable_prev_kv()));
  return result;
}

pb::PutResponse write(PutResult result) {
  pb::PutResponse message;
  message.mutable_header()->set_revision(result.revision);
  if (result.previous.has_value()) write_key(std::move(*result.previous), *message.mutable_prev_kv());
  return message;
}

DeleteResult read(pb::DeleteRangeResponse message) {
  DeleteResult result;
  result.revision = message.header().revision();
  result.deleted = message.deleted();
  for (auto& kv : *message.mutable_prev_kvs()) result.previous.push_back(read_key(std::move(kv)));
  return result;
}

pb::DeleteRangeResponse write(DeleteResult result) {
  pb::DeleteRangeResponse message;
  message.mutable_header()->set_revision(result.revision);
  message.set_deleted(result.deleted);
  for (KeyValue& kv : result.previous) write_key(std::move(kv), *message.add_prev_kvs());
  return message;
}

Result<TxnResult> read(pb::TxnResponse message) {
  TxnResult result;
  result.revision = message.header().revision();
  result.succeeded = message.succeeded();
  for (auto& one : *message.mutable_responses()) {
    HF_TRY(OpResult op, read_op(std::move(one)));
    result.results.push_back(std::move(op));
  }
  return result;
}

pb::TxnResponse write(TxnResult result) {
  pb::TxnResponse message;
  message.mutable_header()->set_revision(result.revision);
  message.set_succeeded(result.succeeded);
  for (OpResult& one : result.results) write_op(std::move(one), *message.add_responses());
  return message;
}

KeyEvent read(mvccpb::Event message) {
  KeyEvent event;
  event.type = message.type() == mvccpb::Event::DELETE ? KeyEvent::Type::remove : KeyEvent::Type::put;
  event.kv = read_key(std::move(*message.mutable_kv()));
  if (message.has_prev_kv()) event.previous = read_key(std::move(*message.mutable_prev_kv()));
  return event;
}

mvccpb::Event write(KeyEvent event) {
  mvccpb::Event message;
  message.set_type(event.type == KeyEvent::Type::remove ? mvccpb::Event::DELETE : mvccpb::Event::PUT);
  write_key(std::move(event.kv), *message.mutable_kv());
  if (event.previous.has_value()) write_key(std::move(*event.previous), *message.mutable_prev_kv());
  return message;
}

}  // namespace holdfast::store::wire
