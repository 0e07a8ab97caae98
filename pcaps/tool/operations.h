// What an initiator felt: operations instead of frames. A request that was asked again, under the
// same tag or a new one, whole or in parts, is one operation; its latency runs from the first
// asking to the answer that completes it. Memory is bounded: so many operations are remembered,
// those that wait first of all. It must never judge, and never know how it is shown.
#pragma once

#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "pcaps/tool/latency_histogram.h"
#include "pcaps/tool/observed.h"

namespace pcaps {

inline constexpr std::uint32_t kOperationsKept = 1 << 16;
inline constexpr std::uint32_t kAskingsKept = 32;  // of one operation: the first, and the last ones
inline constexpr std::size_t kOperationsListed = 10;
// Whoever asks the same after so long asks anew: the Linux driver gives a target up after it.
inline constexpr Nanoseconds kForgottenNs = 180'000'000'000;
// A driver's discovery has tag 0 each time. What comes after so long is the next one.
inline constexpr Nanoseconds kDiscoveryAgainNs = 1'000'000'000;

struct Asking {
  std::uint64_t frame = 0;
  std::uint64_t request_frame = 0;  // the first frame under this tag
  Nanoseconds time_ns = 0;
  std::uint32_t tag = 0;
  std::uint32_t sectors = 0;  // less than the operation's when it was split
  bool answered = false;
};

struct Operation {
  std::vector<Asking> askings;  // never empty
  std::uint64_t askings_left_out = 0;
  std::uint64_t fingerprint = 0;
  std::uint64_t lba = 0;
  std::uint64_t answer_frame = 0;  // 0: not answered
  Nanoseconds answer_time_ns = 0;
  std::uint32_t sectors = 0;
  std::uint32_t session = kNone;
  std::uint32_t prev = kNone, next = kNone;  // the session's waiting ones, or those that are done
  std::array<std::uint64_t, 4> served{};     // a bit for each sector that an answer covered
  std::uint8_t command = 0, ata_command = 0, sub_command = 0;
  bool waiting = false;
  bool failed = false;  // the answer is an error

  [[nodiscard]] std::uint64_t asked() const { return askings.size() + askings_left_out; }
  [[nodiscard]] Nanoseconds latency_ns() const;
};

struct OperationCounts {
  std::uint64_t operations = 0;
  std::uint64_t answered = 0;
  std::uint64_t failed = 0;  // of the answered ones
  std::uint64_t never = 0;
  std::uint64_t askings = 0;  // frames, and reads in a coalesced one
  std::uint64_t lost = 0;     // askings without a reply of their own
  std::uint64_t again_same_tag = 0;
  std::uint64_t again_new_tag = 0;
  std::uint64_t again_in_part = 0;  // of those: asked for a part of the range
  LatencyHistogram latency;
  LatencyHistogram reads, writes, others;
  LatencyHistogram again_after;  // from one asking to the next

  void add(const OperationCounts& other);
};

// Told as things happen; a lost asking only when nothing can answer it any more.
class OperationSink {
 public:
  virtual ~OperationSink() = default;
  virtual void on_asked_again(const Operation&, Nanoseconds /*time_ns*/) {}
  virtual void on_answered(const Operation&) {}
  virtual void on_asking_lost(const Operation&, const Asking&) {}
};

class Operations : public TrackerObserver {
 public:
  explicit Operations(OperationSink* sink = nullptr, std::uint32_t kept = kOperationsKept)
      : sink_(sink), kept_(kept) {}

  void on_request(const AoeFrame& frame, Request& request, Relation relation,
                  Request* earlier) override;
  void on_reply(const AoeFrame& frame, Request* request, Session* session) override;
  void on_end() override;

  [[nodiscard]] const OperationCounts& of_session(std::uint32_t session) const;
  [[nodiscard]] OperationCounts sum() const;
  // How many wait for an answer now.
  [[nodiscard]] std::uint32_t waiting() const { return waiting_count_; }
  [[nodiscard]] std::uint32_t waiting_in(std::uint32_t session) const {
    return session < waiting_.size() ? waiting_[session].size : 0;
  }
  // The slowest answered ones, the slowest first; and the first ones that nobody answered.
  [[nodiscard]] const std::vector<Operation>& slowest() const { return slowest_; }
  [[nodiscard]] const std::vector<Operation>& never() const { return never_; }

 private:
  struct Key {
    std::uint64_t a, b;
    std::uint64_t lba;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const;
  };
  struct List {
    std::uint32_t first = kNone, last = kNone;
    std::uint32_t size = 0;
  };

  static Key content_key(const Request& request);
  static Key request_key(std::uint64_t first_frame, std::uint32_t tag) {
    return {first_frame, tag, 0};
  }
  OperationCounts& counts(std::uint32_t session);
  List& waiting_list(std::uint32_t session);
  void append(List& list, std::uint32_t index);
  void unlink(List& list, std::uint32_t index);
  std::uint32_t find_repeated(const AoeFrame& frame, const Request& request, Relation relation);
  std::uint32_t find_whole(const Request& request, Nanoseconds now_ns);
  std::uint32_t begin(const Request& request);
  void ask(std::uint32_t index, const AoeFrame& frame, const Request& request);
  void stop_waiting(std::uint32_t index);
  void stop_waiting_for_old(std::uint32_t session, Nanoseconds now_ns);
  void lose(const Operation& operation, const Asking& asking);
  void forget(std::uint32_t index);
  void list_slow(const Operation& operation);

  OperationSink* sink_;
  std::uint32_t kept_;
  std::uint32_t hand_ = 0;  // whose turn it is when all that are kept still wait
  std::vector<Operation> operations_;
  std::vector<Key> keys_;                                       // of operations_, by content
  std::unordered_map<Key, std::uint32_t, KeyHash> by_content_;  // those that wait
  std::unordered_map<Key, std::uint32_t, KeyHash> by_request_;  // all that are kept
  std::vector<List> waiting_;                                   // by session
  List done_;                                                   // the oldest gives its place first
  std::vector<OperationCounts> sessions_;
  std::vector<Operation> slowest_, never_;
  std::uint32_t waiting_count_ = 0;
  bool ended_ = false;
};

// "read of 2 sectors at LBA 100"
std::string operation_text(const Operation& operation);

}  // namespace pcaps
