// Two captures of the same workload side by side: requests that only one has, replies that differ,
// and how fast each target was. Requests are paired by what they ask, never by tag or address. It
// must never say which of the two is right.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "pcaps/tool/replay_plan.h"
#include "pcaps/tool/reply_compare.h"
#include "pcaps/tool/statistics.h"

namespace pcaps {

struct DiffSide {
  std::string path;
  std::uint64_t requests = 0;
  std::uint64_t unanswered = 0;
  std::uint64_t copies = 0;
  std::uint64_t renewed = 0;  // unanswered, and asked again under a new tag: not paired
  std::uint64_t only_here = 0;
  Nanoseconds took_ns = 0;
  LatencyHistogram latency;
  std::vector<std::string> examples;  // requests that only this one has
};

struct DiffExample {
  std::uint64_t frame_a = 0, frame_b = 0;
  std::string request;
  std::string differences;
};

struct DiffResult {
  DiffSide a, b;
  std::uint64_t paired = 0;
  DifferenceCounts allowed{};
  DifferenceCounts refused{};
  std::vector<DiffExample> examples;

  [[nodiscard]] bool same() const;
  [[nodiscard]] std::string to_text() const;
  [[nodiscard]] nlohmann::ordered_json to_json() const;
};

// Nullopt with one line in `error`.
std::optional<DiffResult> diff_captures(const CaptureSpec& a, const CaptureSpec& b,
                                        const DifferenceSet& allowed, std::string& error);

}  // namespace pcaps
