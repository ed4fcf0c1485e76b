#include "nvmf/tcp/pdu_sender.h"

#include <algorithm>
#include <utility>

#include "base/crc32c.h"

namespace holdfast::nvmf::tcp {
namespace {

std::uint32_t crc_of(IoSlice data) noexcept {
  Crc32c crc;
  data.for_each([&](IoVec piece) {
    crc.update(std::span<const std::byte>(piece.data, piece.size));
    return true;
  });
  return crc.value();
}

}  // namespace

PduSender::PduSender(Reactor& reactor, Stream& stream)
    : reactor_(reactor),
      stream_(stream),
      queued_(std::make_unique<Batch>()),
      leaving_(std::make_unique<Batch>()),
      end_of_turn_(*this) {}

PduSender::~PduSender() {
  HF_ASSERT(queued_->items.empty() && unreported_.empty() && !deferred_ && !waiter_);
}

void PduSender::push(const Item& item) {
  queued_->items.push_back(item);
  ++queued_count_;
  wake_when_needed();
}

void PduSender::append(std::span<const std::byte> bytes) {
  queued_->arena.insert(queued_->arena.end(), bytes.begin(), bytes.end());
}

void PduSender::append_crc(std::uint32_t crc) {
  const le32 digest(crc);
  append(bytes_of(digest));
}

void PduSender::queue_pdu(nvme::PduType type, std::span<std::byte> header, IoSlice data, SendDone* done) {
  if (sealed_) return queue_nothing(done);
  const nvme::PduRule& rule = *nvme::rule_of(static_cast<std::uint8_t>(type));
  HF_ASSERT(rule.hlen == header.size() && (data.empty() || rule.may_carry_data));
  const bool header_digest = format_.header_digest && !rule.set_up;
  const bool data_digest = format_.data_digest && !rule.set_up && !data.empty();
  const auto hlen = static_cast<std::uint32_t>(header.size());
  const std::uint32_t head = hlen + (header_digest ? nvme::digest_bytes : 0);
  const std::uint32_t start = data.empty() ? head : nvme::data_offset(hlen, header_digest, format_.pda);

  auto ch = load<nvme::CommonHeader>(header);
  ch.pdu_type = static_cast<std::uint8_t>(type);
  ch.flags = static_cast<std::uint8_t>(ch.flags | (header_digest ? nvme::flag_header_digest : 0) |
                                       (data_digest ? nvme::flag_data_digest : 0));
  ch.hlen = rule.hlen;
  ch.pdo = static_cast<std::uint8_t>(data.empty() ? 0 : start);
  ch.plen = static_cast<std::uint32_t>(start + data.bytes() + (data_digest ? nvme::digest_bytes : 0));
  store(header, ch);

  append(header);
  if (header_digest) append_crc(crc32c(header));
  queued_->arena.resize(queued_->arena.size() + (start - head));  // padding
  Item item;
  item.head_end = static_cast<std::uint32_t>(queued_->arena.size());
  if (data_digest) append_crc(crc_of(data));
  item.tail_end = static_cast<std::uint32_t>(queued_->arena.size());
  item.data = data;
  item.done = done;
  push(item);
}

// An item without bytes, for its notice.
void PduSender::queue_nothing(SendDone* done) {
  if (done == nullptr) return;
  Item item;
  item.head_end = item.tail_end = static_cast<std::uint32_t>(queued_->arena.size());
  item.done = done;
  push(item);
}

void PduSender::queue_raw(std::span<const std::byte> bytes) {
  append(bytes);
  Item item;
  item.head_end = item.tail_end = static_cast<std::uint32_t>(queued_->arena.size());
  push(item);
}

void PduSender::seal() noexcept {
  sealed_ = true;
  wake_when_needed();
}

void PduSender::close() noexcept {
  closing_ = true;
  wake_when_needed();
}

void PduSender::wake_when_needed() noexcept {
  const bool may_end = closing_ && unreported_.empty();
  const bool has_work = !queued_->items.empty() || may_end || (sealed_ && !ended_);
  if (!waiter_ || deferred_ || !has_work) return;
  deferred_ = true;
  reactor_.defer(end_of_turn_);
}

void PduSender::EndOfTurn::run() noexcept {
  sender_.deferred_ = false;
  std::exchange(sender_.waiter_, {}).resume();
}

Task<void> PduSender::run() {
  for (;;) {
    co_await Wait(*this);
    if (queued_->items.empty()) {
      end_stream();
      if (closing_ && unreported_.empty()) co_return;
      continue;
    }
    std::swap(queued_, leaving_);
    co_await send_batch();
    if (!unreported_.empty()) {
      HF_ASSERT(&unreported_.back().batch == leaving_.get());
      unreported_.back().last_of = std::exchange(leaving_, empty_batch());
      continue;
    }
    leaving_->items.clear();
    leaving_->arena.clear();
  }
}

Task<void> PduSender::send_batch() {
  for (std::size_t first = 0; first < leaving_->items.size();) {
    if (first > 0) co_await reactor_.yield();  // what has arrived meanwhile is started before
    const std::size_t end = gather(first);
    begun_count_ += end - first;
    const bool may_hold = pieces_.size() <= io_vectors_max && stream_.may_hold(data_bytes_);
    if (!may_hold && unreported_.empty()) {
      if (!failed_) co_await send_pieces(nullptr);
      report(*leaving_, first, end);
    } else {
      Unreported& send = unreported_.emplace_back(*this, *leaving_, first, end, reactor_.now());
      if (!failed_) co_await send_pieces(may_hold ? &send : nullptr);
      send.ended = true;
      report_all();
    }
    first = end;
  }
}

std::unique_ptr<PduSender::Batch> PduSender::empty_batch() {
  return spare_ != nullptr ? std::move(spare_) : std::make_unique<Batch>();
}

// After seal() nothing with bytes is queued, so that what left before is the last.
void PduSender::end_stream() noexcept {
  if (!sealed_ || ended_) return;
  ended_ = true;
  if (!failed_) stream_.end_sending();
}

// Fills pieces_ with the PDUs from `first` on that leave in one send; gives the first that does not.
std::size_t PduSender::gather(std::size_t first) {
  pieces_.clear();
  std::byte* const arena = leaving_->arena.data();
  std::size_t from = first == 0 ? 0 : leaving_->items[first - 1].tail_end;
  data_bytes_ = 0;
  std::size_t i = first;
  for (; i < leaving_->items.size(); ++i) {
    const Item& item = leaving_->items[i];
    if (i > first && (data_bytes_ + item.data.bytes() > batch_bytes_ || pieces_.size() + 2 >= io_vectors_max))
      break;
    if (item.data.empty()) continue;  // part of the next piece of the arena
    pieces_.push_back(IoVec{arena + from, item.head_end - from});
    item.data.for_each([&](IoVec piece) {
      pieces_.push_back(piece);
      return true;
    });
    from = item.head_end;
    data_bytes_ += item.data.bytes();
  }
  const std::size_t arena_end = leaving_->items[i - 1].tail_end;
  if (arena_end > from) pieces_.push_back(IoVec{arena + from, arena_end - from});
  return i;
}

Task<void> PduSender::send_pieces(SendHold* hold) {
  for (std::size_t at = 0; at < pieces_.size() && !failed_; at += io_vectors_max) {
    const std::size_t n = std::min(pieces_.size() - at, io_vectors_max);
    sending_since_ = reactor_.now();
    const Result<std::size_t> sent = co_await stream_.send(IoVecs(pieces_).subspan(at, n), hold);
    sending_since_ = no_deadline;
    if (sent.ok()) continue;
    failed_ = true;
    stream_.shutdown();
  }
}

Nanos PduSender::sending_since() const noexcept {
  return unreported_.empty() ? sending_since_ : unreported_.front().since;
}

void PduSender::report(const Batch& batch, std::size_t first, std::size_t end) noexcept {
  for (std::size_t i = first; i < end; ++i) {
    // on_sent() may queue more: that goes into the other batch.
    if (SendDone* done = batch.items[i].done) done->on_sent(!failed_);
  }
}

// As far as there is no hold. In order: of a PDU of data and its response, which may have left in different sends,
// only the latter is reported to whom both belong.
void PduSender::report_all() noexcept {
  while (!unreported_.empty()) {
    Unreported& first = unreported_.front();
    if (!first.ended || first.held()) break;
    report(first.batch, first.first, first.end);
    if (first.last_of != nullptr) {
      spare_ = std::move(first.last_of);
      spare_->items.clear();
      spare_->arena.clear();
    }
    unreported_.pop_front();
  }
  wake_when_needed();  // close() waits for this
}

}  // namespace holdfast::nvmf::tcp
