#pragma once
// The words of a judgement: levels, verdicts, and what an outcome carries. Shared by cases, runner
// and reports.

#include <cstdint>
#include <string>
#include <vector>

#include "conformance/cases/evidence.h"

namespace conformance {

enum class Level { must, should, may, interop };
enum class Verdict { pass, fail, warn, info, unsupported, skip, inconclusive, error };
inline constexpr Verdict kVerdicts[] = {Verdict::pass,         Verdict::fail,        Verdict::warn,
                                        Verdict::info,         Verdict::unsupported, Verdict::skip,
                                        Verdict::inconclusive, Verdict::error};

std::string to_string(Level level);
std::string to_string(Verdict verdict);

// One thing that was seen, worth telling.
struct Finding {
  Verdict verdict = Verdict::fail;
  std::string clause;    // id
  std::string headline;  // one line: what was wrong, or seen
  std::string expected;
  std::string got;
  std::vector<ShownFrame> frames;  // what it rests on; the request first, when there was one
  std::string cause =
      {};  // findings with the same one are told once; empty: its other texts are it
};

}  // namespace conformance
