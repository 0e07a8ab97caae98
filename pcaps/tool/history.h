// What happened to one sector, or under one tag: who wrote what when, who read what, and whose data
// that was. It names a stale write: a read that brings the data of an older write after a newer one
// was answered. Bounded memory. It must never judge more than that.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "pcaps/tool/observed.h"

namespace pcaps {

struct HistoryOptions {
  std::optional<std::uint64_t> lba;
  std::optional<std::uint32_t> tag;
};

struct HistoryEvent {
  std::uint64_t frame = 0;
  Nanoseconds time_ns = 0;
  std::uint32_t session = kNone;
  std::uint32_t tag = 0;
  bool from_target = false;
  bool stale = false;  // old data after an answered write
  std::string text;
};

class History : public TrackerObserver {
 public:
  using Told = std::function<void(const HistoryEvent&)>;
  History(const Tracker& tracker, const HistoryOptions& options, Told told)
      : tracker_(tracker), options_(options), told_(std::move(told)) {}

  void on_request(const AoeFrame& frame, Request& request, Relation relation,
                  Request* earlier) override;
  void on_reply(const AoeFrame& frame, Request* request, Session* session) override;
  void on_given_up(const Request& request) override;
  [[nodiscard]] std::uint64_t events() const { return events_; }

 private:
  static constexpr std::size_t kVersionsKept = 4096;
  struct Version {            // what a write puts there
    std::uint64_t frame = 0;  // that first carried it
    std::uint64_t hash = 0;
    std::uint32_t target = kNone;
    std::uint64_t answer_frame = 0;  // of a good answer
    std::vector<std::uint64_t> late_copies;
  };
  [[nodiscard]] bool concerns(const Request& request) const;
  [[nodiscard]] std::optional<std::uint64_t> hash_of(const Request& request) const;
  Version* version_of(const Request& request);
  // The newest write to the target that was answered before this frame.
  [[nodiscard]] const Version* settled(std::uint32_t target, std::uint64_t before_frame) const;
  void tell(const AoeFrame& frame, std::uint32_t session, std::string text, bool stale = false);
  [[nodiscard]] std::string read_text(const Request& request, std::uint32_t target, bool& stale);

  const Tracker& tracker_;
  HistoryOptions options_;
  Told told_;
  std::deque<Version> versions_;
  std::uint64_t events_ = 0;
};

}  // namespace pcaps
