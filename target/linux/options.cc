// What a user asked for, judged as values: see options.h.
#include "target/linux/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <string_view>

#include "target/linux/raw_options.h"

namespace target::linux_shell {
namespace {

std::int64_t number_in_range(const RawExport& raw, const char* name,
                             std::optional<std::int64_t> value, std::int64_t low, std::int64_t high,
                             Problems& problems) {
  if (!value) {
    problems.push_back(
        fmt::format("{}: {} is missing: give a number from {} to {}", raw.where, name, low, high));
    return low;
  }
  if (*value < low || *value > high) {
    problems.push_back(fmt::format("{}: {} {} is out of range: give a number from {} to {}",
                                   raw.where, name, *value, low, high));
    return low;
  }
  return *value;
}

void judge_interfaces(const RawExport& raw, Problems& problems) {
  if (raw.interfaces.empty()) {
    problems.push_back(
        fmt::format("{}: interface is missing: name at least one Ethernet interface", raw.where));
  }
  if (raw.interfaces.size() > kInterfacesMax) {
    problems.push_back(fmt::format("{}: {} interfaces are too many: at most {} for an export",
                                   raw.where, raw.interfaces.size(), kInterfacesMax));
  }
  for (std::size_t i = 0; i < raw.interfaces.size(); ++i) {
    const auto& name = raw.interfaces[i];
    if (name.empty() || name.size() > 15) {
      problems.push_back(fmt::format(
          "{}: interface name '{}' is impossible: a name has 1 to 15 characters", raw.where, name));
    }
    if (std::find(raw.interfaces.begin(), raw.interfaces.begin() + static_cast<std::ptrdiff_t>(i),
                  name) != raw.interfaces.begin() + static_cast<std::ptrdiff_t>(i)) {
      problems.push_back(
          fmt::format("{}: interface {} is named twice: name it once", raw.where, name));
    }
  }
}

template <typename Value>
Value word(const RawExport& raw, const char* name, const std::string& text,
           const std::map<std::string, Value>& words, Problems& problems) {
  const auto found = words.find(text);
  if (found != words.end()) {
    return found->second;
  }
  std::string choices;
  for (const auto& [choice, value] : words) {
    choices += (choices.empty() ? "" : " or ") + choice;
  }
  problems.push_back(
      fmt::format("{}: {} '{}' is not known: use {}", raw.where, name, text, choices));
  return words.begin()->second;
}

void judge_serial(const RawExport& raw, Problems& problems) {
  const bool printable = std::all_of(raw.serial.begin(), raw.serial.end(),
                                     [](char c) { return c >= 0x20 && c <= 0x7E; });
  if (raw.serial.size() > kSerialLengthMax || !printable) {
    problems.push_back(
        fmt::format("{}: serial '{}' does not fit: at most {} printable ASCII "
                    "characters",
                    raw.where, raw.serial, kSerialLengthMax));
  }
}

// "32M": a whole number with K, M or G for powers of 1,024. 0: no cache.
std::optional<std::uint64_t> parse_size(std::string_view text) {
  constexpr std::string_view kUnits = "KMG";
  unsigned shift = 0;
  if (!text.empty()) {
    if (const auto unit = kUnits.find(text.back()); unit != std::string_view::npos) {
      shift = static_cast<unsigned>(unit + 1) * 10;
      text.remove_suffix(1);
    }
  }
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value >> (63 - shift) != 0) {
    return std::nullopt;
  }
  return value << shift;
}

std::vector<wire::MacAddress> addresses(const RawExport& raw, const char* name,
                                        const std::vector<std::string>& texts, Problems& problems) {
  std::vector<wire::MacAddress> result;
  for (const auto& text : texts) {
    if (const auto mac = parse_mac(text)) {
      result.push_back(*mac);
    } else {
      problems.push_back(
          fmt::format("{}: {} '{}' is not a MAC address: write it as "
                      "02:00:00:00:00:01",
                      raw.where, name, text));
    }
  }
  return result;
}

void judge_reply_budget(const RawExport& raw, ExportOptions& result, Problems& problems) {
  if (raw.reply_budget.empty()) {
    return;
  }
  const auto size = parse_size(raw.reply_budget);
  if (!size || (*size != 0 && *size < kReplyBudgetMin)) {
    problems.push_back(
        fmt::format("{}: reply-budget '{}': give bytes a second, at least 64K, as in 4M; or 0",
                    raw.where, raw.reply_budget));
    return;
  }
  result.reply_budget = *size;
}

void judge_freeze(const RawExport& raw, ExportOptions& result, Problems& problems) {
  for (const std::string& list : raw.freeze) {
    for (std::size_t at = 0; at <= list.size();) {
      const std::size_t end = std::min(list.find(',', at), list.size());
      const std::string part = list.substr(at, end - at);
      at = end + 1;
      if (part == "mask") {
        result.freeze.mask_list = true;
      } else if (part == "config") {
        result.freeze.config_string = true;
      } else if (part == "reserve") {
        result.freeze.reserve_list = true;
      } else {
        problems.push_back(
            fmt::format("{}: freeze '{}' is not known: use mask, config or reserve, or several "
                        "with commas between them",
                        raw.where, part));
      }
    }
  }
}

void judge_cache_size(const RawExport& raw, ExportOptions& result, Problems& problems) {
  if (raw.cache_size.empty()) {
    return;
  }
  const auto size = parse_size(raw.cache_size);
  if (!size || (*size != 0 && (*size < kCacheBytesMin || *size > kCacheBytesMax))) {
    problems.push_back(fmt::format("{}: cache-size '{}': give 0, or from 1M to 64G, as in 32M",
                                   raw.where, raw.cache_size));
    return;
  }
  if (!raw.direct && *size != 0) {
    problems.push_back(
        fmt::format("{}: cache-size needs direct: without it the operating system's page cache is "
                    "the cache",
                    raw.where));
  }
  result.cache_bytes = *size;
}

}  // namespace

ExportOptions judge(const RawExport& raw, Problems& problems) {
  ExportOptions result;
  result.where = raw.where;
  result.file = raw.file;
  if (raw.file.empty()) {
    problems.push_back(fmt::format(
        "{}: file is missing: name the image file or block device to export", raw.where));
  }
  judge_interfaces(raw, problems);
  result.interfaces = raw.interfaces;
  result.shelf =
      static_cast<std::uint16_t>(number_in_range(raw, "shelf", raw.shelf, 0, kShelfMax, problems));
  result.slot =
      static_cast<std::uint8_t>(number_in_range(raw, "slot", raw.slot, 0, kSlotMax, problems));
  result.buffer_count = static_cast<std::uint16_t>(number_in_range(
      raw, "buffer-count", raw.buffer_count, kBufferCountMin, kBufferCountMax, problems));
  result.allow = addresses(raw, "allow", raw.allow, problems);
  result.extensions_for = addresses(raw, "extensions-for", raw.extensions_for, problems);
  if (!raw.extensions && !raw.extensions_for.empty()) {
    problems.push_back(fmt::format(
        "{}: extensions-for together with no extensions: give one of the two", raw.where));
  }
  judge_reply_budget(raw, result, problems);
  judge_freeze(raw, result, problems);
  result.exclusive = raw.exclusive;
  result.state_dir = raw.state_dir;
  result.read_only = raw.read_only;
  result.direct = raw.direct;
  result.durability = raw.write_cache ? Durability::flush : Durability::write;
  if (!raw.durability.empty()) {
    result.durability =
        word<Durability>(raw, "durability", raw.durability,
                         {{"write", Durability::write}, {"flush", Durability::flush}}, problems);
    if (raw.write_cache && result.durability != Durability::flush) {
      problems.push_back(fmt::format(
          "{}: write-cache means durability flush, and durability says {}: give one of the two",
          raw.where, raw.durability));
    }
  }
  judge_cache_size(raw, result, problems);
  result.behind_window =
      word<engine::BehindWindow>(raw, "behind-window", raw.behind_window,
                                 {{"reject", engine::BehindWindow::reject_silently},
                                  {"perform", engine::BehindWindow::perform}},
                                 problems);
  result.reset_on = word<engine::ResetOn>(raw, "reset-on", raw.reset_on,
                                          {{"any-config", engine::ResetOn::any_config},
                                           {"config-write", engine::ResetOn::config_write}},
                                          problems);
  result.extensions = raw.extensions;
  judge_serial(raw, problems);
  result.serial = raw.serial.empty() ? export_name(result.shelf, result.slot) : raw.serial;
  return result;
}

void judge_together(const Options& options, Problems& problems) {
  std::map<std::string, std::string> where_by_name;
  for (const auto& one : options.exports) {
    const auto name = export_name(one.shelf, one.slot);
    const auto [other, is_new] = where_by_name.emplace(name, one.where);
    if (!is_new) {
      problems.push_back(
          fmt::format("{}: {} is exported already by {}: shelf and slot together must be unique",
                      one.where, name, other->second));
    }
  }
  static const std::vector<std::string> kLevels = {"trace", "debug",    "info", "warn",
                                                   "error", "critical", "off"};
  if (std::find(kLevels.begin(), kLevels.end(), options.log_level) == kLevels.end()) {
    problems.push_back(
        fmt::format("log-level '{}' is not known: use trace, debug, info, warn, "
                    "error, critical or off",
                    options.log_level));
  }
}

std::string export_name(std::uint16_t shelf, std::uint8_t slot) {
  return fmt::format("e{}.{}", shelf, slot);
}

std::optional<wire::MacAddress> parse_mac(const std::string& text) {
  wire::MacAddress mac;
  if (text.size() != 17) {
    return std::nullopt;
  }
  const auto digit = [](char c) {
    if (c >= '0' && c <= '9') {
      return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
      return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
  };
  for (std::size_t i = 0; i < mac.octets.size(); ++i) {
    const int high = digit(text[i * 3]);
    const int low = digit(text[i * 3 + 1]);
    if (high < 0 || low < 0 || (i < 5 && text[i * 3 + 2] != ':')) {
      return std::nullopt;
    }
    mac.octets[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return mac;
}

std::string format_mac(const wire::MacAddress& mac) {
  const auto& o = mac.octets;
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", o[0], o[1], o[2], o[3], o[4],
                     o[5]);
}

}  // namespace target::linux_shell
