// PduReceiver: takes the PDUs of one NVMe/TCP connection apart. Target and initiator use it alike.
//
// Bytes arrive in a staging buffer; one receive may bring many PDUs, which are judged and read where they
// lie. Data that has not arrived yet when its PDU is met goes straight to its destination: one receive
// scatters over the rest of the destination and the staging buffer behind it. The receiver does no I/O and no
// waiting by itself, so that the one coroutine of a connection needs no child per PDU:
//
//   for (;;) {
//     while (rx.next() == PduReceiver::Next::pdu) {
//       const auto cmd = rx.header<nvme::CapsuleCmd>();
//       if (rx.shape().data_bytes > 0 && !rx.begin_data(destination)) {
//         do { receive as below } while (!rx.data_done());
//       }
//     }
//     Result<std::size_t> n = co_await stream.receive(rx.room());   // 0: the peer closed
//     rx.filled(n.value());
//   }
//
// Memory: the staging buffer, whatever the peer sends. Buffers: room() names the staging buffer and the
// destination of begin_data(); both stay in place until the receive has ended.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/crc32c.h"
#include "base/endian.h"
#include "nvme/pdu.h"
#include "nvmf/tcp/io_slice.h"
#include "rt/buffer.h"
#include "rt/io.h"

namespace holdfast::nvmf::tcp {

class PduReceiver {
 public:
  // The longest head (255 bytes by the PDO field, and a digest) fits many times.
  static constexpr std::size_t staging_bytes_min = 4096;

  // `sender` is the role of the peer. The limits start with Phase::set_up.
  PduReceiver(nvme::Role sender, Buffer staging) noexcept;

  // What was agreed with the peer. Changes count from the next next() on.
  nvme::PduLimits& limits() noexcept { return limits_; }

  enum class Next : std::uint8_t {
    starved,  // more bytes are needed: receive into room()
    pdu,      // shape(), head() and header() describe a judged PDU whose header is complete
    fault     // fault() says why the connection has to end; head() is what arrived of the header
  };
  // Goes on to the next PDU. The data of the one before was taken or dropped (dropped, when nobody asked).
  Next next() noexcept;

  const nvme::PduShape& shape() const noexcept { return shape_; }
  const nvme::Fault& fault() const noexcept { return fault_; }
  // The header bytes, valid until begin_data() or room() is called.
  std::span<const std::byte> head() const noexcept { return head_; }
  // The header of the current PDU; T must belong to shape().type.
  template <Wire T>
  T header() const noexcept {
    HF_ASSERT(head_.size() == sizeof(T));
    return load<T>(head_);
  }

  // All the data of the current PDU where it lies, or an empty span when it has not arrived completely. Valid
  // until room() is called. The digest was verified when data_digest_ok() says so.
  std::span<const std::byte> staged_data() noexcept;
  // Starts to move the data to `into`, which has exactly shape().data_bytes. True: all of it was there.
  // False: receive into room() until data_done().
  bool begin_data(IoSlice into) noexcept;
  bool data_done() const noexcept { return data_state_ != DataState::moving; }
  // Bytes of the data being moved, without its digest, that have not come.
  std::size_t data_left() const noexcept { return into_.bytes(); }
  // After data_done(), or staged_data(): false when the peer's data digest does not match the data.
  bool data_digest_ok() const noexcept { return data_digest_ok_; }

  // Where the next bytes of the stream go.
  IoVecs room() noexcept;
  // `n` bytes were received into room(), n > 0.
  void filled(std::size_t n) noexcept;

  // A PDU has begun whose last byte has not come.
  bool mid_pdu() const noexcept { return begin_ != end_ || skip_bytes_ > 0 || !data_done(); }
  // Goes on with another staging buffer. No receive is under way, and no data is being moved.
  void change_staging(Buffer staging) noexcept;

 private:
  enum class DataState : std::uint8_t {
    none,     // no PDU, or one without data, or its data is done with
    waiting,  // nobody has asked for the data yet
    moving    // to into_
  };
  // Pieces of the destination in one receive; more follow in the next.
  static constexpr std::size_t direct_pieces_max = 63;

  std::span<std::byte> staged() const noexcept { return staging_.span().subspan(begin_, end_ - begin_); }
  bool skip_rest() noexcept;
  Next judge(const nvme::CommonHeader& ch) noexcept;
  bool header_digest_matches(std::span<const std::byte> head_bytes) noexcept;
  void take_staged() noexcept;
  void finish_data() noexcept;

  const nvme::Role sender_;
  Buffer staging_;
  std::size_t begin_ = 0, end_ = 0;  // staged bytes not yet consumed
  nvme::PduLimits limits_;
  nvme::PduShape shape_{};
  nvme::Fault fault_{};
  std::span<const std::byte> head_;
  DataState data_state_ = DataState::none;
  std::size_t skip_bytes_ = 0;  // of dropped data that are still to come
  IoSlice into_;
  Crc32c data_crc_;
  bool data_digest_ok_ = true;
  std::array<IoVec, direct_pieces_max + 1> room_;
};

}  // namespace holdfast::nvmf::tcp
