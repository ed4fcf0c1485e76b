// DirectReceives: receives that the core tries itself while their connections are busy, before the ring takes them. A
// try that finds nothing takes the locks of the socket, while the peer, when it is on this machine, is sending at this
// very moment; so after one try at most all of them are looked at by one system call that takes none.
#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "rt/time.h"

namespace holdfast::uring {

class UringStream;

class DirectReceives {
 public:
  // Connections that are looked at; those of more go to the ring at once.
  static constexpr std::size_t most = 8;
  // How long, before the ring takes them.
  static constexpr Nanos patience = 50us;
  // A core that has other work looks so often.
  static constexpr Nanos look_interval = 5us;

  // The stream has been asked for a receive.
  void add(UringStream& stream) { new_.push_back(&stream); }
  bool empty() const noexcept { return new_.empty() && count_ == 0; }
  // Tries those that came since the last call where something was there at once the last time. True: one has ended.
  bool try_new(Nanos now) noexcept;
  bool look_due(Nanos now) const noexcept { return count_ > 0 && now >= next_look_; }
  // Receives what is there. True: one has ended.
  bool look() noexcept;
  // Gives the ring those that have waited long; they are looked at once more before.
  bool look_and_give_up(Nanos now) noexcept;
  // Gives it all of them, before the core sleeps.
  void give_up() noexcept;

 private:
  struct Waiting {
    UringStream* stream = nullptr;
    Nanos since{0};
    bool looked_at = false;
  };
  std::vector<UringStream*> new_;
  std::array<Waiting, most> waiting_;
  std::size_t count_ = 0;
  Nanos next_look_{0};
};

}  // namespace holdfast::uring
