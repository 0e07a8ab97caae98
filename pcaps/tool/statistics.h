// What `info` counts: who talked, how fast, what stayed without an answer. Bounded memory:
// latencies go into logarithmic histograms, the plots into a fixed number of bins that double their
// width when time runs on. It must never judge.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "pcaps/tool/observed.h"
#include "pcaps/tool/operations.h"
#include "pcaps/tool/text.h"

namespace pcaps {

// Latencies in the plots: rows of a quarter of a decade, from 1 us to 1,000 s.
inline constexpr std::uint32_t kLatencyRows = 36;
inline constexpr std::uint32_t kLatencyRowsPerDecade = 4;
std::uint32_t latency_row(Nanoseconds latency_ns);

struct TimeBin {
  std::uint32_t requests = 0;         // frames
  std::uint32_t replies = 0;          // frames
  std::uint32_t asked_again = 0;      // frames that ask what was asked before
  std::uint32_t lost = 0;             // askings without a reply, by when they were sent
  std::uint32_t answered = 0;         // operations, by when they were answered
  std::uint32_t outstanding_max = 0;  // operations
  std::uint64_t bytes_read = 0, bytes_written = 0;
  Nanoseconds latency_max_ns = 0;                  // of operations, by when they were first asked
  std::array<std::uint32_t, kLatencyRows> felt{};  // operations by latency, by when first asked

  void merge(const TimeBin& later);
};

// Bins over the capture's time; the width doubles when it no longer fits.
class TimeLine {
 public:
  static constexpr std::uint32_t kBins = 512;
  TimeBin& at(Nanoseconds since_start_ns);
  [[nodiscard]] Nanoseconds bin_width_ns() const { return width_ns_; }
  [[nodiscard]] const std::array<TimeBin, kBins>& bins() const { return bins_; }
  [[nodiscard]] std::uint32_t used() const { return used_; }

 private:
  std::array<TimeBin, kBins> bins_{};
  Nanoseconds width_ns_ = 1'000;
  std::uint32_t used_ = 0;
};

struct SessionStatistics {
  std::uint64_t requests = 0;       // frames, copies not counted
  std::uint64_t replies = 0;        // frames
  std::uint64_t retransmitted = 0;  // the same tag again before the reply
  std::uint64_t copied_late = 0;    // the same tag again after the reply
  std::uint64_t renewed = 0;        // probable retransmissions under a new tag
  std::uint64_t duplicate_replies = 0;
  std::uint64_t unasked_replies = 0;
  std::uint64_t announcements = 0;  // unsolicited config replies
  std::uint64_t aoe_errors = 0;
  std::uint64_t ata_errors = 0;
  std::uint64_t reads = 0, writes = 0, flushes = 0, identifies = 0, configs = 0, masks = 0,
                reserves = 0, extension_tables = 0, others = 0;
  std::uint64_t coalesced_reads = 0;
  std::uint64_t sectors_read = 0, sectors_written = 0;
  std::uint32_t outstanding_max = 0;
  std::uint32_t frame_bytes_max = 0;  // on the wire, without tags
  std::uint8_t features_seen = 0;     // ever active
  std::uint32_t first_frame = 0;
};

struct TargetStatistics {
  bool config_seen = false;
  std::uint16_t buffer_count = 0;
  std::uint16_t firmware = 0;
  std::uint8_t sector_count = 0;
  std::string config_string;
  std::uint64_t capacity_sectors = 0;  // 0: no identify seen
  std::string model, serial, firmware_text;
};

class Statistics : public TrackerObserver, private OperationSink {
 public:
  explicit Statistics(const Tracker& tracker) : tracker_(tracker), operations_(this) {}

  void on_request(const AoeFrame& frame, Request& request, Relation relation,
                  Request* earlier) override;
  void on_reply(const AoeFrame& frame, Request* request, Session* session) override;
  void on_end() override;

  [[nodiscard]] const Tracker& tracker() const { return tracker_; }
  [[nodiscard]] const std::vector<TargetStatistics>& targets() const { return targets_; }
  [[nodiscard]] const TimeLine& time_line() const { return all_.line; }
  // Of the first sessions only; null for the others.
  [[nodiscard]] const TimeLine* time_line_of(std::uint32_t session) const;
  [[nodiscard]] const std::vector<SessionStatistics>& sessions() const { return sessions_; }
  [[nodiscard]] const Operations& operations() const { return operations_; }

 private:
  void on_asked_again(const Operation& operation, Nanoseconds time_ns) override;
  void on_answered(const Operation& operation) override;
  void on_asking_lost(const Operation& operation, const Asking& asking) override;
  SessionStatistics& of_session(std::uint32_t index);
  TargetStatistics& of_target(std::uint32_t index);
  static constexpr std::uint32_t kSessionLines = 16;
  struct Line {
    TimeLine line;
    Nanoseconds filled_to_ns = 0;  // bins up to here know what was outstanding
  };
  Line* line_of(std::uint32_t session);
  [[nodiscard]] Nanoseconds since_start(Nanoseconds time_ns) const {
    return time_ns - tracker_.counters().first_time_ns;
  }
  // In the plots of everything and of the session.
  template <typename Change>
  void change_bins(std::uint32_t session, Nanoseconds time_ns, Change&& change);
  static void carry_outstanding(Line& line, Nanoseconds now_ns, std::uint32_t outstanding);
  void carry_outstanding_to(std::uint32_t session, Nanoseconds time_ns);
  void count_kind(const Request& request, SessionStatistics& s) const;
  void take_target_facts(const AoeFrame& frame, const Request& request, std::uint32_t target);

  const Tracker& tracker_;
  std::vector<SessionStatistics> sessions_;
  std::vector<TargetStatistics> targets_;
  Line all_;
  std::vector<std::unique_ptr<Line>> lines_;  // by session
  Operations operations_;
};

// The MTU that frames of this size betray: 1500, 9000 or the size itself.
std::string mtu_text(std::uint32_t frame_bytes_max);

}  // namespace pcaps
