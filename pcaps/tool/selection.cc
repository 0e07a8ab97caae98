#include "pcaps/tool/selection.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <ctime>

namespace pcaps {

namespace {
constexpr double kNanosecondsPerSecond = 1e9;
constexpr std::uint32_t kVlanMax = 0x0FFF;

template <typename Number>
std::optional<Number> number_of(std::string_view text) {
  Number value{};
  const auto [stop, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || code != std::errc() || stop != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

std::optional<std::uint64_t> mac_of(const std::string& text) {
  unsigned b[6];
  int used = 0;
  if (std::sscanf(text.c_str(), "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4],
                  &b[5], &used) != 6 ||
      static_cast<std::size_t>(used) != text.size()) {
    return std::nullopt;
  }
  std::uint64_t mac = 0;
  for (const unsigned byte : b) {
    mac = mac << 8 | byte;
  }
  return mac;
}

// "2026-11-22T10:53:42.5" with a blank for the T or a Z behind it, in UTC; or "+12.5".
std::optional<Nanoseconds> instant_of(std::string text, bool& relative) {
  relative = text.size() > 1 && text[0] == '+';
  if (relative) {
    const auto seconds = number_of<double>(std::string_view(text).substr(1));
    if (!seconds || !(*seconds >= 0) || *seconds > 1e9) {
      return std::nullopt;
    }
    return static_cast<Nanoseconds>(std::llround(*seconds * kNanosecondsPerSecond));
  }
  if (!text.empty() && text.back() == 'Z') {
    text.pop_back();
  }
  std::tm utc{};
  double seconds = 0;
  char between = 0;
  int used = 0;
  if (std::sscanf(text.c_str(), "%4d-%2d-%2d%c%2d:%2d:%lf%n", &utc.tm_year, &utc.tm_mon,
                  &utc.tm_mday, &between, &utc.tm_hour, &utc.tm_min, &seconds, &used) != 7 ||
      static_cast<std::size_t>(used) != text.size() || (between != 'T' && between != ' ') ||
      utc.tm_mon < 1 || utc.tm_mon > 12 || !(seconds >= 0) || seconds >= 61) {
    return std::nullopt;
  }
  utc.tm_year -= 1900;
  utc.tm_mon -= 1;
  return static_cast<Nanoseconds>(timegm(&utc)) * static_cast<Nanoseconds>(kNanosecondsPerSecond) +
         static_cast<Nanoseconds>(std::llround(seconds * kNanosecondsPerSecond));
}
}  // namespace

bool Selection::add(const std::string& key, const std::string& value) {
  if (key == "target") {
    const auto target = parse_address(value);
    if (target) {
      targets_.push_back(*target);
    }
    return target.has_value();
  }
  if (key == "initiator") {
    const auto mac = mac_of(value);
    if (mac) {
      initiators_.push_back(*mac);
    }
    return mac.has_value();
  }
  if (key == "vlan") {
    const auto vlan =
        value == "none" ? std::optional<std::uint32_t>(kNoVlan) : number_of<std::uint32_t>(value);
    if (!vlan || (*vlan > kVlanMax && *vlan != kNoVlan)) {
      return false;
    }
    vlans_.push_back(*vlan);
    return true;
  }
  if (key == "frames") {
    const std::size_t dash = value.find('-');
    const std::string_view all = value;
    const auto first = number_of<std::uint64_t>(all.substr(0, dash));
    const auto last = dash == std::string::npos  ? first
                      : dash + 1 == value.size() ? std::optional<std::uint64_t>(UINT64_MAX)
                                                 : number_of<std::uint64_t>(all.substr(dash + 1));
    if (!first || !last || *last < *first) {
      return false;
    }
    frames_.push_back({*first, *last});
    return true;
  }
  if (key == "time") {
    const std::size_t slash = value.find('/');
    if (slash == std::string::npos || value.size() == 1) {
      return false;
    }
    Instants instants;
    if (slash != 0) {
      const auto from = instant_of(value.substr(0, slash), instants.from_is_relative);
      if (!from) {
        return false;
      }
      instants.from_ns = *from;
    }
    if (slash + 1 != value.size()) {
      const auto to = instant_of(value.substr(slash + 1), instants.to_is_relative);
      if (!to) {
        return false;
      }
      instants.to_ns = *to;
    }
    times_.push_back(instants);
    return true;
  }
  return false;
}

std::optional<Selection> Selection::parse(const std::vector<std::string>& terms,
                                          std::string& error) {
  Selection selection;
  for (const std::string& term : terms) {
    const std::size_t equals = term.find('=');
    if (equals == std::string::npos ||
        !selection.add(term.substr(0, equals), term.substr(equals + 1))) {
      error = fmt::format(
          "--only {}: say target=e1.1 or target=e1.1@5, initiator=52:54:00:12:34:56, vlan=5 or "
          "vlan=none, frames=10-20, time=2026-11-22T10:53:42/2026-11-22T10:54:00 or time=+10/+12.5",
          term);
      return std::nullopt;
    }
    selection.everything_ = false;
  }
  return selection;
}

bool Selection::admits(const CapturedFrame& frame) {
  if (everything_) {
    return true;
  }
  if (!start_ns_) {
    start_ns_ = frame.time_ns;
  }
  const auto any = [](const auto& list, const auto& holds) {
    return list.empty() || std::any_of(list.begin(), list.end(), holds);
  };
  if (!any(frames_, [&frame](const Span& span) {
        return frame.number >= span.first && frame.number <= span.last;
      })) {
    return false;
  }
  if (!any(times_, [this, &frame](const Instants& i) {
        return frame.time_ns >= i.from_ns + (i.from_is_relative ? *start_ns_ : 0) &&
               frame.time_ns <= i.to_ns + (i.to_is_relative ? *start_ns_ : 0);
      })) {
    return false;
  }
  if (targets_.empty() && initiators_.empty() && vlans_.empty()) {
    return true;
  }
  AoeFrame aoe;
  if (AoeFrame::parse(frame, aoe) != AoeFrame::Kind::aoe) {
    return false;
  }
  constexpr std::uint32_t kOuterVlan = 0xFFFF;
  const std::uint64_t initiator = aoe.is_response() ? aoe.destination : aoe.source;
  return any(vlans_, [&aoe](std::uint32_t vlan) { return (aoe.vlan & kOuterVlan) == vlan; }) &&
         any(initiators_,
             // An announcement goes to everybody.
             [&aoe, initiator](std::uint64_t mac) {
               return initiator == mac ||
                      (aoe.is_response() && aoe.destination == kBroadcastAddress);
             }) &&
         any(targets_, [&aoe](const TargetAddress& t) {
           const bool shelf = aoe.shelf() == t.shelf || aoe.shelf() == kBroadcastShelf;
           const bool slot = aoe.slot() == t.slot || aoe.slot() == kBroadcastSlot;
           return shelf && slot && (!t.vlan || *t.vlan == aoe.vlan);
         });
}

}  // namespace pcaps
