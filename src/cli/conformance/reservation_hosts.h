// Two hosts that reserve one namespace, for the cases about reservations.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <utility>

#include "cli/conformance/session.h"

namespace holdfast::cli::conformance {

inline constexpr std::uint64_t key_a = 0xaaaa0001, key_b = 0xbbbb0002;
inline constexpr std::uint32_t do_register = 0, do_unregister = 1, do_replace = 2, ignore_key = 8;
inline constexpr std::uint32_t do_acquire = 0, do_preempt = 1, do_preempt_abort = 2;
inline constexpr std::uint32_t do_release = 0, do_clear = 1;
inline constexpr std::uint32_t reservation_report_bytes = 4096;

// One host on one controller.
struct Host {
  Host(Test& t, std::uint8_t number)
      : s(t, options(t, number)), queue(s.io_queue()), block(s.block_bytes()) {}

  static SessionOptions options(const Test& t, std::uint8_t number) {
    SessionOptions o;
    o.host = number;
    o.host_nqn = t.settings().host_nqn;
    // Another host has another name, too.
    if (number > 1) o.host_nqn.back() = o.host_nqn.back() == '2' ? '3' : '2';
    return o;
  }
  Answer command(std::uint8_t opcode, std::uint32_t dw10, std::initializer_list<std::uint64_t> keys) {
    Bytes data(keys.size() * 8);
    std::size_t at = 0;
    for (const std::uint64_t k : keys) {
      put64(data, at, k);
      at += 8;
    }
    return queue->execute(s.carry(Command(opcode).nsid(s.nsid()).dw(10, dw10), std::move(data)));
  }
  Answer register_key(std::uint64_t current, std::uint64_t key, std::uint32_t action = do_register) {
    return command(io::resv_register, action, {current, key});
  }
  Answer acquire(std::uint64_t key, unsigned type, std::uint32_t action = do_acquire,
                 std::uint64_t other = 0) {
    return command(io::resv_acquire, action | type << 8, {key, other});
  }
  Answer release(std::uint64_t key, unsigned type, std::uint32_t action = do_release) {
    return command(io::resv_release, action | type << 8, {key});
  }
  Answer read() { return queue->execute(s.read_command(0, 1)); }
  Answer write() { return queue->execute(s.write_command(0, Bytes(block))); }
  // The extended report: hosts over Fabrics have identifiers of 128 bits.
  Bytes report() {
    Command c(io::resv_report);
    const Answer a = queue->execute(
        c.nsid(s.nsid()).dw(10, reservation_report_bytes / 4 - 1).dw(11, 1).reads(reservation_report_bytes));
    queue->expect_good("Reservation Report", a);
    return a.data;
  }
  void good(std::string_view what, const Answer& a) { queue->expect_good(what, a); }
  void refused(std::string_view what, const Answer& a) { queue->expect_status(what, a, {sc::resv_conflict}); }

  Session s;
  std::unique_ptr<Connection> queue;
  const std::uint32_t block;
};

// not_supported() unless the controller and the namespace have reservations.
inline bool has_reservations(Session& s) {
  return s.needs_oncs(5, "reservations") &&
         s.test().needs((u8(s.ns(), 31) & 0x7e) != 0, "RESCAP has no type for this namespace");
}

// Hosts A and B on a namespace that both may reserve; nobody is registered. What is left is cleared at the end.
struct Two {
  explicit Two(Test& test) : t(test), a(test, 1), b(test, 2) {
    if (!has_reservations(a.s)) return;
    clear();
  }
  ~Two() {
    if (t.ok()) clear();
  }
  Two(const Two&) = delete;
  Two& operator=(const Two&) = delete;
  void clear() {
    a.good("Register with IEKEY", a.register_key(0, key_a, do_replace | ignore_key));
    a.good("Release, clear", a.release(key_a, 0, do_clear));
  }
  void register_both() {
    a.good("Register of A", a.register_key(0, key_a));
    b.good("Register of B", b.register_key(0, key_b));
  }

  Test& t;
  Host a, b;
};

}  // namespace holdfast::cli::conformance
