// Work handed to a reactor: from another thread (MessageQueue), or to the end of the current turn.
#pragma once

#include <atomic>

namespace holdfast {

// An intrusive node. The owner keeps it alive until run() was called, and does not hand it over twice before
// that.
class Message {
 public:
  virtual void run() noexcept = 0;

  Message* next = nullptr;

 protected:
  Message() = default;
  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;
  ~Message() = default;
};

// Many producers, one consumer, no lock. Never full: every message lives in the frame of the task that sent
// it.
class MessageQueue {
 public:
  // Any thread. True when the queue was empty, so that the consumer may have to be woken.
  bool push(Message& m) noexcept {
    Message* head = head_.load(std::memory_order_relaxed);
    do {
      m.next = head;
    } while (!head_.compare_exchange_weak(head, &m, std::memory_order_release, std::memory_order_relaxed));
    return head == nullptr;
  }
  // Consumer only: everything pushed so far as a list linked by `next`, oldest first.
  Message* take_all() noexcept {
    if (head_.load(std::memory_order_relaxed) == nullptr) return nullptr;
    Message* newest = head_.exchange(nullptr, std::memory_order_acquire);
    Message* list = nullptr;
    while (newest != nullptr) {
      Message* older = newest->next;
      newest->next = list;
      list = newest;
      newest = older;
    }
    return list;
  }
  bool empty() const noexcept { return head_.load(std::memory_order_acquire) == nullptr; }

 private:
  std::atomic<Message*> head_{nullptr};
};

}  // namespace holdfast
