// The connections of a server. Each has a thread, so there are only so many; while others want a place, those that
// keep the server waiting lose theirs, the one that has waited longest first.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <set>

namespace holdfast::http {

class Connections {
 public:
  using Clock = std::chrono::steady_clock;

  // What a peer is to do: send a request, or read the answer to one.
  enum class Wanted : std::uint8_t { request, reading };

  explicit Connections(std::size_t places) : places_(places) {}
  // None is open any more.
  ~Connections();
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;

  // One connection, from accept() to close(). Used by one thread at a time.
  class Place {
   public:
    // Owns the socket. At first it is the peer's turn.
    Place(Connections& of, int socket);
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;

    int socket() const noexcept { return socket_; }
    // Until work() it is the peer's turn, and has been `since` then: the connection may lose its place, which ends it.
    void wait(Clock::time_point since, Wanted wanted);
    // False: its place is lost.
    [[nodiscard]] bool work();

   private:
    friend class Connections;
    bool is_ready() const;

    Connections& of_;
    const int socket_;
    bool waiting_ = true;
    Wanted wanted_ = Wanted::request;
    bool lost_ = false;
    Clock::time_point since_;
  };

  bool has_room() const;
  // Whose turn it has been for less may just be about to speak.
  static constexpr std::chrono::milliseconds spared{50};
  // Takes a place from a peer. False: none keeps the server waiting, or not for long enough.
  bool take_one();
  // Those of all peers that are to do this, and of each that is to do it later.
  void take_all(Wanted wanted);
  // Whether there is room, or no connection left.
  bool wait_for_room(std::chrono::milliseconds patience);
  bool wait_for_end(std::chrono::milliseconds patience);

 private:
  void take(Place& from);

  const std::size_t places_;
  mutable std::mutex mutex_;
  std::condition_variable one_ended_;
  std::set<Place*> open_;
  std::set<Wanted> ended_;  // not waited for any more
};

}  // namespace holdfast::http
