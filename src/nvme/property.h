// Controller properties, read and written over fabrics by Property Get and Property Set.
// Source: NVM Express Base Specification 2.0, section 3.1.3 (controller properties).
#pragma once

#include <cstdint>

namespace holdfast::nvme {

enum class Property : std::uint32_t {
  cap = 0x00,   // 8 bytes
  vs = 0x08,    // 4
  cc = 0x14,    // 4
  csts = 0x1c,  // 4
  nssr = 0x20,  // 4
  crto = 0x68,  // 4
};

// Controller capabilities. Only the fields that a fabrics controller has to say something about.
struct Cap {
  std::uint16_t mqes;           // queue entries - 1
  bool cqr;                     // queues are contiguous: always over fabrics
  std::uint8_t to;              // worst case until CSTS.RDY follows CC.EN, units of 500 ms
  std::uint8_t css;             // command sets: bit 0 NVM, bit 6 more by identify, bit 7 none
  std::uint8_t mpsmin, mpsmax;  // memory page size 2^(12 + n)
  std::uint8_t crms;  // bit 0: ready means that the media is ready (2.0 asks for it); then CRTO exists

  constexpr std::uint64_t pack() const noexcept {
    return std::uint64_t{mqes} | std::uint64_t{cqr} << 16 | std::uint64_t{to} << 24 |
           std::uint64_t{css} << 37 | std::uint64_t{mpsmin} << 48 | std::uint64_t{mpsmax} << 52 |
           std::uint64_t{crms} << 59;
  }
  static constexpr Cap unpack(std::uint64_t v) noexcept {
    return {static_cast<std::uint16_t>(v),           (v >> 16 & 1) != 0,
            static_cast<std::uint8_t>(v >> 24),      static_cast<std::uint8_t>(v >> 37),
            static_cast<std::uint8_t>(v >> 48 & 15), static_cast<std::uint8_t>(v >> 52 & 15),
            static_cast<std::uint8_t>(v >> 59 & 3)};
  }
};

// Controller configuration.
enum class ShutdownNotice : std::uint8_t { none = 0, normal = 1, abrupt = 2 };
struct Cc {
  bool en;
  std::uint8_t css;  // 0 NVM, 6 every supported command set, 7 admin only
  std::uint8_t mps;
  std::uint8_t ams;
  ShutdownNotice shn;
  std::uint8_t iosqes, iocqes;  // entry sizes 2^n: 6 and 4

  constexpr std::uint32_t pack() const noexcept {
    return static_cast<std::uint32_t>(en) | std::uint32_t{css} << 4 | std::uint32_t{mps} << 7 |
           std::uint32_t{ams} << 11 | static_cast<std::uint32_t>(shn) << 14 | std::uint32_t{iosqes} << 16 |
           std::uint32_t{iocqes} << 20;
  }
  static constexpr Cc unpack(std::uint32_t v) noexcept {
    return {(v & 1) != 0,
            static_cast<std::uint8_t>(v >> 4 & 7),
            static_cast<std::uint8_t>(v >> 7 & 15),
            static_cast<std::uint8_t>(v >> 11 & 7),
            static_cast<ShutdownNotice>(v >> 14 & 3),
            static_cast<std::uint8_t>(v >> 16 & 15),
            static_cast<std::uint8_t>(v >> 20 & 15)};
  }
};

inline constexpr std::uint8_t cap_css_nvm = 1u << 0;
inline constexpr std::uint8_t cap_css_all = 1u << 6;
inline constexpr std::uint8_t cc_css_nvm = 0, cc_css_all = 6;

// Controller status.
enum class ShutdownStatus : std::uint8_t { none = 0, occurring = 1, complete = 2 };
struct Csts {
  bool rdy;
  bool cfs;  // fatal: only a reset helps
  ShutdownStatus shst;

  constexpr std::uint32_t pack() const noexcept {
    return static_cast<std::uint32_t>(rdy) | static_cast<std::uint32_t>(cfs) << 1 |
           static_cast<std::uint32_t>(shst) << 2;
  }
  static constexpr Csts unpack(std::uint32_t v) noexcept {
    return {(v & 1) != 0, (v >> 1 & 1) != 0, static_cast<ShutdownStatus>(v >> 2 & 3)};
  }
};

// Version: major 31:16, minor 15:8, tertiary 7:0.
inline constexpr std::uint32_t version_2_0 = 0x00020000;
inline constexpr std::uint32_t version_1_4 = 0x00010400;

}  // namespace holdfast::nvme
