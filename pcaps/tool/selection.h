// Which frames of a capture count (--only): by target, initiator, VLAN, number and time. Terms of
// one kind are alternatives, terms of different kinds must all hold. It must never judge.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pcaps/tool/reconstruct.h"

namespace pcaps {

class Selection {
 public:
  // "target=e1.1@5", "initiator=52:54:00:12:34:56", "vlan=5" or "vlan=none", "frames=10-20",
  // "time=2026-11-22T10:53:42/2026-11-22T10:54:00" or "time=+10/+12.5" from the first frame on.
  // Nothing, and one line in `error`, when a term is none.
  static std::optional<Selection> parse(const std::vector<std::string>& terms, std::string& error);

  [[nodiscard]] bool everything() const { return everything_; }
  bool admits(const CapturedFrame& frame);

 private:
  struct Span {
    std::uint64_t first = 0, last = UINT64_MAX;
  };
  struct Instants {
    Nanoseconds from_ns = 0, to_ns = INT64_MAX;
    bool from_is_relative = false, to_is_relative = false;
  };
  bool add(const std::string& key, const std::string& value);

  bool everything_ = true;
  std::vector<TargetAddress> targets_;
  std::vector<std::uint64_t> initiators_;
  std::vector<std::uint32_t> vlans_;
  std::vector<Span> frames_;
  std::vector<Instants> times_;
  std::optional<Nanoseconds> start_ns_;
};

}  // namespace pcaps
