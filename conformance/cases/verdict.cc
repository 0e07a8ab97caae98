// The words of a judgement.

#include "conformance/cases/verdict.h"

namespace conformance {

std::string to_string(Level level) {
  switch (level) {
    case Level::must:
      return "MUST";
    case Level::should:
      return "SHOULD";
    case Level::may:
      return "MAY";
    case Level::interop:
      return "INTEROP";
  }
  return "?";
}

std::string to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::pass:
      return "pass";
    case Verdict::fail:
      return "fail";
    case Verdict::warn:
      return "warn";
    case Verdict::info:
      return "info";
    case Verdict::unsupported:
      return "unsupported";
    case Verdict::skip:
      return "skip";
    case Verdict::inconclusive:
      return "inconclusive";
    case Verdict::error:
      return "error";
  }
  return "?";
}

}  // namespace conformance
