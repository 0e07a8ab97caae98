// What `info` tells: who talked, how fast, what stayed without an answer. Bounded memory: latencies
// go into logarithmic histograms, the plots into a fixed number of bins that double their width
// when time runs on. It must never judge.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "pcaps/tool/observed.h"

namespace pcaps {

// Latencies with a relative error below 1/16, from 1 ns to centuries.
class LatencyHistogram {
 public:
  void add(Nanoseconds value_ns);
  void add(const LatencyHistogram& other);
  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] Nanoseconds max_ns() const { return max_ns_; }
  [[nodiscard]] Nanoseconds min_ns() const { return count_ == 0 ? 0 : min_ns_; }
  // The value below which `share` (0..1) of the samples lie.
  [[nodiscard]] Nanoseconds quantile_ns(double share) const;

 private:
  static constexpr std::uint32_t kSubBits = 4;
  static constexpr std::uint32_t kBuckets = (64 - kSubBits + 1) << kSubBits;
  static std::uint32_t bucket_of(std::uint64_t value);
  static std::uint64_t upper_end(std::uint32_t bucket);

  std::vector<std::uint32_t> buckets_;  // empty until the first sample
  std::uint64_t count_ = 0;
  Nanoseconds max_ns_ = 0;
  Nanoseconds min_ns_ = 0;
};

struct TimeBin {
  std::uint32_t requests = 0;
  std::uint32_t replies = 0;
  std::uint32_t retransmissions = 0;  // either kind
  std::uint32_t unanswered = 0;       // by the time they were first sent
  std::uint32_t outstanding_max = 0;
  Nanoseconds latency_max_ns = 0;
  Nanoseconds latency_sum_ns = 0;
  std::uint64_t bytes = 0;  // of data read and written

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
  std::uint64_t requests = 0;  // frames, copies not counted
  std::uint64_t replies = 0;   // frames
  std::uint64_t unanswered = 0;
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
  LatencyHistogram latency;
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

class Statistics : public TrackerObserver {
 public:
  explicit Statistics(const Tracker& tracker) : tracker_(tracker) {}

  void on_request(const AoeFrame& frame, Request& request, Relation relation,
                  Request* earlier) override;
  void on_reply(const AoeFrame& frame, Request* request, Session* session) override;
  void on_given_up(const Request& request) override;

  [[nodiscard]] nlohmann::ordered_json to_json() const;
  [[nodiscard]] std::string to_text() const;
  [[nodiscard]] const TimeLine& time_line() const { return line_; }
  [[nodiscard]] const std::vector<SessionStatistics>& sessions() const { return sessions_; }

 private:
  SessionStatistics& of_session(std::uint32_t index);
  TargetStatistics& of_target(std::uint32_t index);
  TimeBin& bin(Nanoseconds time_ns);
  void carry_outstanding_to(Nanoseconds time_ns);
  void count_kind(const Request& request, SessionStatistics& s) const;
  void take_target_facts(const AoeFrame& frame, const Request& request, std::uint32_t target);

  const Tracker& tracker_;
  std::vector<SessionStatistics> sessions_;
  std::vector<TargetStatistics> targets_;
  TimeLine line_;
  std::uint32_t outstanding_ = 0;
  Nanoseconds filled_to_ns_ = 0;  // bins up to here know what was outstanding
};

// "1.25 ms"
std::string duration_text(Nanoseconds value_ns);
// The MTU that frames of this size betray: 1500, 9000 or the size itself.
std::string mtu_text(std::uint32_t frame_bytes_max);

}  // namespace pcaps
