// The frames that prove a finding, as a small capture: the question and the answer, what else
// touched its sectors or has its tag, and what was negotiated and set before. That they prove it is
// not believed but judged: when the small capture does not show the finding, more is taken.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "conformance/observer/judge.h"
#include "pcaps/tool/capture_reader.h"

namespace pcaps {

// The findings of a capture in the order of their frames: --finding N is the N-th, from 1.
std::optional<std::vector<Finding>> findings_of(const CaptureSpec& capture, bool complete,
                                                std::string& error);

struct Extract {
  std::uint64_t frames = 0;
  const char* kept = "";  // what was taken
};
// Writes OUT. Nothing, and one line in `error`, when it cannot.
std::optional<Extract> extract_finding(const CaptureSpec& capture, const Finding& finding,
                                       bool complete, const std::string& out, std::string& error);

}  // namespace pcaps
