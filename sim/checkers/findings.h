// What a checker says: a signature that failures are merged by, and a sentence.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sim/schedule.h"

namespace sim::checkers {

enum class Severity : std::uint8_t {
  known,     // damage that the protocol cannot prevent: counted, shown, not the target's fault
  safety,    // a rule is broken
  liveness,  // what should have happened did not
};

struct Finding {
  Severity severity{};
  std::string signature;
  std::string text;
  Nanoseconds time = 0;
};

class Findings {
 public:
  void add(Severity severity, std::string_view signature, std::string text) {
    constexpr std::size_t kKept = 64;  // one is enough to fail; the rest is for the reader
    ++count_;
    if (severity != Severity::known) {
      failed_ = true;
    }
    if (list_.size() < kKept || severity != Severity::known) {
      list_.push_back({severity, std::string(signature), std::move(text), now_});
    }
  }
  void set_time(Nanoseconds now) { now_ = now; }
  [[nodiscard]] const std::vector<Finding>& list() const { return list_; }
  [[nodiscard]] std::uint64_t count() const { return count_; }
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  std::vector<Finding> list_;
  std::uint64_t count_ = 0;
  Nanoseconds now_ = 0;
  bool failed_ = false;
};

}  // namespace sim::checkers
