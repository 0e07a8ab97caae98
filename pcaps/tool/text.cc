#include "pcaps/tool/text.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>

namespace pcaps {

namespace {
constexpr Nanoseconds kNanosecondsPerSecond = 1'000'000'000;
constexpr Nanoseconds kNanosecondsPerMicrosecond = 1'000;

std::string instant(Nanoseconds since_epoch_ns, char between, const char* zone) {
  const auto seconds = static_cast<std::time_t>(since_epoch_ns / kNanosecondsPerSecond);
  const Nanoseconds fraction_ns = since_epoch_ns % kNanosecondsPerSecond;
  const std::tm utc = fmt::gmtime(seconds);
  const std::string fraction = fraction_ns % kNanosecondsPerMicrosecond == 0
                                   ? fmt::format("{:06}", fraction_ns / kNanosecondsPerMicrosecond)
                                   : fmt::format("{:09}", fraction_ns);
  return fmt::format("{:%Y-%m-%d}{}{:%H:%M:%S}.{}{}", utc, between, utc, fraction, zone);
}
}  // namespace

std::string duration_text(Nanoseconds value_ns) {
  const auto v = static_cast<double>(value_ns);
  if (value_ns < 1'000) {
    return fmt::format("{} ns", value_ns);
  }
  if (value_ns < 1'000'000) {
    return fmt::format("{:.1f} us", v / 1e3);
  }
  if (value_ns < 1'000'000'000) {
    return fmt::format("{:.2f} ms", v / 1e6);
  }
  return fmt::format("{:.2f} s", v / 1e9);
}

std::string time_text(Nanoseconds since_epoch_ns) {
  return instant(since_epoch_ns, ' ', " UTC");
}

std::string time_iso(Nanoseconds since_epoch_ns) {
  return instant(since_epoch_ns, 'T', "Z");
}

std::string count_text(std::uint64_t value) {
  const std::string digits = fmt::format("{}", value);
  std::string text;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i != 0 && (digits.size() - i) % 3 == 0) {
      text += ',';
    }
    text += digits[i];
  }
  return text;
}

std::string share_text(std::uint64_t part, std::uint64_t whole) {
  if (part == 0 || whole == 0) {
    return "0 %";
  }
  const double percent = 100.0 * static_cast<double>(part) / static_cast<double>(whole);
  return percent < 0.1 ? std::string("less than 0.1 %") : fmt::format("{:.1f} %", percent);
}

}  // namespace pcaps
