// A request of a client: whatever the bytes, it is refused or carried out, twice the same, and the store's history
// fits what it holds.
#include <cstdint>

#include "base/assert.h"
#include "store/mvcc.h"
#include "store/wire.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace holdfast;
  using namespace holdfast::store;
  if (size == 0) return 0;
  MemoryTable table;
  Mvcc mvcc = std::move(Mvcc::open(table, MvccLimits(), Nanos{0})).value();
  mvcc.put(PutRequest("a", "1")).ignore("content to meet");
  mvcc.put(PutRequest("b", "2")).ignore("content to meet");
  const Revision before = mvcc.revision();
  const int length = static_cast<int>(size - 1);
  Errc code = Errc::ok;
  if (data[0] % 4 == 0) {
    etcdserverpb::TxnRequest message;
    if (!message.ParseFromArray(data + 1, length)) return 0;
    auto txn = wire::read(message);
    code = txn.ok() ? mvcc.txn(txn.value()).code() : txn.code();
  } else if (data[0] % 4 == 1) {
    etcdserverpb::RangeRequest message;
    if (!message.ParseFromArray(data + 1, length)) return 0;
    auto range = wire::read(message);
    code = range.ok() ? mvcc.range(range.value()).code() : range.code();
  } else if (data[0] % 4 == 2) {
    etcdserverpb::PutRequest message;
    if (!message.ParseFromArray(data + 1, length)) return 0;
    code = mvcc.put(wire::read(message)).code();
  } else {
    etcdserverpb::WatchCreateRequest message;
    if (!message.ParseFromArray(data + 1, length)) return 0;
    const WatchRequest watch = wire::read(message);
    code = Mvcc::check_watch(watch).code();
    if (code == Errc::ok) code = mvcc.history(watch, watch.start_revision, 10).code();
  }
  HF_ASSERT(code == Errc::ok || code == Errc::invalid_argument || code == Errc::out_of_range ||
            code == Errc::not_found);
  HF_ASSERT(code == Errc::ok || mvcc.revision() == before);
  return 0;
}
