// The requests of a capture in order, each with the reply it got: what a replay sends and what it
// compares with. Reads just far enough ahead to know the replies, so memory is bounded by what was
// outstanding. It must never send anything.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "pcaps/tool/capture_reader.h"
#include "pcaps/tool/observed.h"
#include "pcaps/tool/reconstruct.h"

namespace pcaps {

// One reply that a frame should bring: a coalesced read has several.
struct Expectation {
  Request request;
  std::vector<std::uint8_t> reply;  // as captured, tags removed; empty if there was none
  std::uint64_t reply_frame = 0;    // 0: none
  Nanoseconds reply_time_ns = 0;
  bool resolved = false;  // answered or given up in the capture
};

struct PlannedFrame {
  std::uint64_t number = 0;
  Nanoseconds time_ns = 0;
  std::vector<std::uint8_t> bytes;  // from the destination address, VLAN tags removed
  bool copy = false;                // the same tag and content were sent before
  std::uint8_t features = 0;        // negotiated when it was sent
  std::vector<Expectation> expected;
  [[nodiscard]] bool resolved() const;
};

// What a capture would do to a target, found before anything is sent.
struct PlanSurvey {
  std::uint64_t requests = 0;
  std::uint64_t changes = 0;  // writes, and sets of config, mask, reserve
  std::vector<TargetAddress> targets;
  std::vector<std::uint64_t> initiators;
  std::uint64_t frame_bytes_max = 0;
};

class ReplayPlan : private TrackerObserver {
 public:
  // Null with one line in `error`.
  static std::unique_ptr<ReplayPlan> open(const CaptureSpec& capture,
                                          std::optional<TargetAddress> target, std::string& error);
  static std::optional<PlanSurvey> survey(const CaptureSpec& capture,
                                          std::optional<TargetAddress> target, std::string& error);

  // The next request in order with its reply; null at the end.
  std::unique_ptr<PlannedFrame> next();
  [[nodiscard]] std::string damage() const { return reader_->damage(); }

 private:
  static constexpr std::size_t kLookAheadFrames = 200'000;

  struct Waiting {
    PlannedFrame* frame;
    std::size_t index;
  };

  ReplayPlan() = default;
  std::optional<Waiting> place_for(const AoeFrame& frame, const Request& request);
  void on_request(const AoeFrame& frame, Request& request, Relation relation,
                  Request* earlier) override;
  void on_reply(const AoeFrame& frame, Request* request, Session* session) override;
  void on_given_up(const Request& request) override;
  [[nodiscard]] bool wanted(const Request& request) const;
  static std::uint64_t key_of(const Request& request);
  static std::vector<std::uint8_t> without_tags(const AoeFrame& frame);

  std::unique_ptr<CaptureReader> reader_;
  Tracker tracker_;
  std::optional<TargetAddress> target_;
  std::deque<std::unique_ptr<PlannedFrame>> frames_;
  std::unordered_map<std::uint64_t, std::deque<Waiting>> waiting_;  // by first frame and tag
  bool ended_ = false;
};

}  // namespace pcaps
