#include "nvmf/tcp/pdu_receiver.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace holdfast::nvmf::tcp {

PduReceiver::PduReceiver(nvme::Role sender, Buffer staging) noexcept
    : sender_(sender), staging_(std::move(staging)) {
  HF_ASSERT(staging_.size() >= staging_bytes_min);
}

void PduReceiver::change_staging(Buffer staging) noexcept {
  HF_ASSERT(data_done() && staging.size() >= std::max(staging_bytes_min, end_ - begin_));
  head_ = {};
  if (begin_ != end_) std::memcpy(staging.data(), staging_.data() + begin_, end_ - begin_);
  end_ -= begin_;
  begin_ = 0;
  staging_ = std::move(staging);
}

bool PduReceiver::skip_rest() noexcept {
  if (data_state_ == DataState::waiting) {  // nobody wanted it
    skip_bytes_ = shape_.plen - shape_.data_start;
    data_state_ = DataState::none;
  }
  const std::size_t n = std::min(skip_bytes_, end_ - begin_);
  begin_ += n;
  skip_bytes_ -= n;
  return skip_bytes_ == 0;
}

PduReceiver::Next PduReceiver::next() noexcept {
  HF_ASSERT(data_done());
  head_ = {};
  if (!skip_rest()) return Next::starved;
  if (end_ - begin_ < sizeof(nvme::CommonHeader)) return Next::starved;
  return judge(load<nvme::CommonHeader>(staged()));
}

PduReceiver::Next PduReceiver::judge(const nvme::CommonHeader& ch) noexcept {
  const nvme::PduCheck verdict = nvme::check(ch, sender_, limits_);
  const auto bytes = staged();
  if (!verdict.ok()) {
    fault_ = verdict.fault();
    head_ = bytes.first(std::min<std::size_t>(bytes.size(), std::max<std::size_t>(ch.hlen, sizeof ch)));
    return Next::fault;
  }
  shape_ = verdict.shape();
  if (bytes.size() < shape_.head_bytes()) return Next::starved;
  head_ = bytes.first(shape_.hlen);
  if (shape_.has_header_digest && !header_digest_matches(bytes)) return Next::fault;
  begin_ += shape_.head_bytes();
  data_state_ = shape_.data_bytes > 0 ? DataState::waiting : DataState::none;
  return Next::pdu;
}

bool PduReceiver::header_digest_matches(std::span<const std::byte> head_bytes) noexcept {
  const std::uint32_t received = load<le32>(head_bytes.subspan(shape_.hlen));
  if (received == crc32c(head_)) return true;
  fault_ = nvme::Fault{nvme::Fes::header_digest_error, received};
  return false;
}

std::span<const std::byte> PduReceiver::staged_data() noexcept {
  HF_ASSERT(data_state_ == DataState::waiting);
  const std::size_t behind_head = shape_.plen - shape_.data_start;
  if (end_ - begin_ < behind_head) return {};
  const auto data = staged().first(shape_.data_bytes);
  data_digest_ok_ =
      !shape_.has_data_digest || load<le32>(staged().subspan(shape_.data_bytes)) == crc32c(data);
  begin_ += behind_head;
  data_state_ = DataState::none;
  return data;
}

bool PduReceiver::begin_data(IoSlice into) noexcept {
  HF_ASSERT(data_state_ == DataState::waiting && into.bytes() == shape_.data_bytes);
  data_state_ = DataState::moving;
  into_ = into;
  data_crc_ = Crc32c();
  take_staged();
  return data_done();
}

void PduReceiver::take_staged() noexcept {
  while (!into_.empty() && begin_ < end_) {
    const IoVec piece = into_.front();
    const std::size_t n = std::min(piece.size, end_ - begin_);
    std::memcpy(piece.data, staging_.data() + begin_, n);
    if (shape_.has_data_digest) data_crc_.update(std::span(piece.data, n));
    begin_ += n;
    into_.advance(n);
  }
  if (into_.empty()) finish_data();
}

void PduReceiver::finish_data() noexcept {
  if (shape_.has_data_digest) {
    if (end_ - begin_ < nvme::digest_bytes) return;
    data_digest_ok_ = load<le32>(staged()) == data_crc_.value();
    begin_ += nvme::digest_bytes;
  } else {
    data_digest_ok_ = true;
  }
  data_state_ = DataState::none;
}

IoVecs PduReceiver::room() noexcept {
  head_ = {};
  if (begin_ == end_) {
    begin_ = end_ = 0;
  } else if (begin_ > staging_.size() / 2) {
    // What is left is an incomplete head, or a digest: a few bytes.
    std::memmove(staging_.data(), staging_.data() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  std::size_t n = 0;
  into_.for_each([&](IoVec piece) {
    if (n == direct_pieces_max) return false;
    room_[n++] = piece;
    return true;
  });
  // Behind a part of the destination nothing but the destination may follow.
  const bool whole = data_state_ != DataState::moving || into_.empty() || n < direct_pieces_max;
  if (whole) room_[n++] = IoVec{staging_.data() + end_, staging_.size() - end_};
  HF_ASSERT(room_[n - 1].size > 0);
  return IoVecs(room_.data(), n);
}

void PduReceiver::filled(std::size_t n) noexcept {
  HF_ASSERT(n > 0);
  while (n > 0 && !into_.empty()) {
    const IoVec piece = into_.front();
    const std::size_t got = std::min(piece.size, n);
    if (shape_.has_data_digest) data_crc_.update(std::span(piece.data, got));
    into_.advance(got);
    n -= got;
  }
  end_ += n;
  HF_ASSERT(end_ <= staging_.size());
  if (data_state_ == DataState::moving && into_.empty()) finish_data();
}

}  // namespace holdfast::nvmf::tcp
