#include "pcaps/tool/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include "conformance/observer/decode.h"

namespace pcaps {

namespace {
constexpr std::uint32_t kIdentifyBytes = 512;
constexpr std::uint32_t kPlainMtu = 1500;

double milliseconds(Nanoseconds value_ns) {
  return static_cast<double>(value_ns) / 1e6;
}
double rounded_ms(Nanoseconds value_ns) {
  return std::round(milliseconds(value_ns) * 1e6) / 1e6;
}
}  // namespace

std::uint32_t LatencyHistogram::bucket_of(std::uint64_t value) {
  constexpr std::uint64_t kSub = 1U << kSubBits;
  if (value < kSub) {
    return static_cast<std::uint32_t>(value);
  }
  const auto magnitude = static_cast<std::uint32_t>(std::bit_width(value)) - 1 - kSubBits;
  return static_cast<std::uint32_t>(((magnitude + 1) << kSubBits) + ((value >> magnitude) - kSub));
}

std::uint64_t LatencyHistogram::upper_end(std::uint32_t bucket) {
  constexpr std::uint64_t kSub = 1U << kSubBits;
  if (bucket < kSub) {
    return bucket;
  }
  const std::uint32_t magnitude = (bucket >> kSubBits) - 1;
  return ((kSub + (bucket & (kSub - 1))) << magnitude) + ((std::uint64_t{1} << magnitude) - 1);
}

void LatencyHistogram::add(Nanoseconds value_ns) {
  if (buckets_.empty()) {
    buckets_.resize(kBuckets);
    min_ns_ = value_ns;
  }
  value_ns = std::max<Nanoseconds>(value_ns, 0);
  ++buckets_[bucket_of(static_cast<std::uint64_t>(value_ns))];
  ++count_;
  max_ns_ = std::max(max_ns_, value_ns);
  min_ns_ = std::min(min_ns_, value_ns);
}

void LatencyHistogram::add(const LatencyHistogram& other) {
  if (other.count_ == 0) {
    return;
  }
  if (buckets_.empty()) {
    *this = other;
    return;
  }
  for (std::uint32_t i = 0; i < kBuckets; ++i) {
    buckets_[i] += other.buckets_[i];
  }
  count_ += other.count_;
  max_ns_ = std::max(max_ns_, other.max_ns_);
  min_ns_ = std::min(min_ns_, other.min_ns_);
}

Nanoseconds LatencyHistogram::quantile_ns(double share) const {
  if (count_ == 0) {
    return 0;
  }
  const auto wanted = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(count_)));
  std::uint64_t seen = 0;
  for (std::uint32_t i = 0; i < kBuckets; ++i) {
    seen += buckets_[i];
    if (seen >= std::max<std::uint64_t>(wanted, 1)) {
      return std::min(static_cast<Nanoseconds>(upper_end(i)), max_ns_);
    }
  }
  return max_ns_;
}

void TimeBin::merge(const TimeBin& later) {
  requests += later.requests;
  replies += later.replies;
  retransmissions += later.retransmissions;
  unanswered += later.unanswered;
  outstanding_max = std::max(outstanding_max, later.outstanding_max);
  latency_max_ns = std::max(latency_max_ns, later.latency_max_ns);
  latency_sum_ns += later.latency_sum_ns;
  bytes += later.bytes;
}

TimeBin& TimeLine::at(Nanoseconds since_start_ns) {
  since_start_ns = std::max<Nanoseconds>(since_start_ns, 0);
  while (since_start_ns / width_ns_ >= kBins) {
    for (std::uint32_t i = 0; i < kBins / 2; ++i) {
      TimeBin merged = bins_[2 * i];
      merged.merge(bins_[2 * i + 1]);
      bins_[i] = merged;
    }
    std::fill(bins_.begin() + kBins / 2, bins_.end(), TimeBin{});
    used_ = (used_ + 1) / 2;
    width_ns_ *= 2;
  }
  const auto index = static_cast<std::uint32_t>(since_start_ns / width_ns_);
  used_ = std::max(used_, index + 1);
  return bins_[index];
}

SessionStatistics& Statistics::of_session(std::uint32_t index) {
  if (index >= sessions_.size()) {
    sessions_.resize(index + 1);
  }
  return sessions_[index];
}

TargetStatistics& Statistics::of_target(std::uint32_t index) {
  if (index >= targets_.size()) {
    targets_.resize(index + 1);
  }
  return targets_[index];
}

TimeBin& Statistics::bin(Nanoseconds time_ns) {
  return line_.at(time_ns - tracker_.counters().first_time_ns);
}

// What waits goes on waiting in the bins in which no frame was seen.
void Statistics::carry_outstanding_to(Nanoseconds time_ns) {
  const Nanoseconds now = time_ns - tracker_.counters().first_time_ns;
  if (now <= filled_to_ns_) {
    return;
  }
  line_.at(now);  // may make the bins wider
  const Nanoseconds width = line_.bin_width_ns();
  for (Nanoseconds at = filled_to_ns_; at / width <= now / width; at += width) {
    TimeBin& passed = line_.at(at);
    passed.outstanding_max = std::max(passed.outstanding_max, outstanding_);
  }
  filled_to_ns_ = now;
}

void Statistics::count_kind(const Request& request, SessionStatistics& s) const {
  switch (request.command) {
    case kCommandAta:
      if (is_read(request.ata_command)) {
        ++s.reads;
        s.coalesced_reads += request.coalesced ? 1 : 0;
      } else if (is_write(request.ata_command)) {
        ++s.writes;
      } else if (request.ata_command == kAtaIdentify) {
        ++s.identifies;
      } else if (request.ata_command == kAtaFlush || request.ata_command == kAtaFlushExt) {
        ++s.flushes;
      } else {
        ++s.others;
      }
      break;
    case kCommandConfig:
      ++s.configs;
      break;
    case kCommandMask:
      ++s.masks;
      break;
    case kCommandReserve:
      ++s.reserves;
      break;
    case kCommandExtensions:
      ++s.extension_tables;
      break;
    default:
      ++s.others;
  }
}

void Statistics::on_request(const AoeFrame& frame, Request& request, Relation relation,
                            Request* earlier) {
  SessionStatistics& s = of_session(request.session);
  s.frame_bytes_max = std::max(s.frame_bytes_max, frame.wire_length);
  carry_outstanding_to(frame.time_ns);
  TimeBin& now = bin(frame.time_ns);
  switch (relation) {
    case Relation::copy_waiting:
      ++s.retransmitted;
      ++now.retransmissions;
      return;
    case Relation::copy_answered:
      ++s.copied_late;
      ++now.retransmissions;
      return;
    case Relation::renewed:
      ++s.renewed;
      ++now.retransmissions;
      if (!earlier->waiting && outstanding_ != 0) {
        --outstanding_;
      }
      break;
    case Relation::fresh:
      break;
  }
  ++s.requests;
  ++now.requests;
  count_kind(request, s);
  ++outstanding_;
  s.outstanding_max = std::max(s.outstanding_max, tracker_.sessions()[request.session].waiting);
  now.outstanding_max = std::max(now.outstanding_max, outstanding_);
}

void Statistics::take_target_facts(const AoeFrame& frame, const Request& request,
                                   std::uint32_t target) {
  if (target == kNone || frame.has_error_flag()) {
    return;
  }
  TargetStatistics& t = of_target(target);
  if (frame.command() == kCommandConfig && frame.holds(kAoeHeaderEnd, 8)) {
    t.config_seen = true;
    t.buffer_count = frame.be16(24);
    t.firmware = frame.be16(26);
    t.sector_count = frame.u8(28);
    const std::uint32_t size = frame.be16(30);
    if (size <= kConfigStringMax && frame.holds(kConfigStringOffset, size)) {
      const auto bytes = frame.slice(kConfigStringOffset, size);
      t.config_string.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
  } else if (frame.command() == kCommandAta && request.ata_command == kAtaIdentify &&
             frame.holds(kAtaDataOffset, kIdentifyBytes) &&
             (frame.ata_status() & kStatusErr) == 0) {
    namespace observer = conformance::observer;
    const auto identify = frame.slice(kAtaDataOffset, kIdentifyBytes);
    t.capacity_sectors = observer::identify_sectors(identify);
    t.model = observer::identify_string(identify, 27, 46);
    t.serial = observer::identify_string(identify, 10, 19);
    t.firmware_text = observer::identify_string(identify, 23, 26);
  }
}

void Statistics::on_reply(const AoeFrame& frame, Request* request, Session* session) {
  if (session == nullptr) {
    return;
  }
  const auto index = static_cast<std::uint32_t>(session - tracker_.sessions().data());
  SessionStatistics& s = of_session(index);
  s.frame_bytes_max = std::max(s.frame_bytes_max, frame.wire_length);
  ++s.replies;
  carry_outstanding_to(frame.time_ns);
  TimeBin& now = bin(frame.time_ns);
  ++now.replies;
  if (request == nullptr) {
    if (frame.command() == kCommandConfig && frame.tag() == 0) {
      ++s.announcements;
      take_target_facts(frame, Request{}, session->target);
    } else {
      ++s.unasked_replies;
    }
    return;
  }
  take_target_facts(frame, *request, session->target);
  if (request->answers > 1 && !request->to_all) {
    if (request->answers > request->copies) {
      ++s.duplicate_replies;
    }
    return;
  }
  if (frame.has_error_flag()) {
    ++s.aoe_errors;
  } else if (frame.command() == kCommandAta && frame.holds_ata()) {
    if ((frame.ata_status() & kStatusErr) != 0) {
      ++s.ata_errors;
    } else if (is_read(request->ata_command)) {
      s.sectors_read += request->sectors;
      now.bytes += static_cast<std::uint64_t>(request->sectors) * kSectorBytes;
    } else if (is_write(request->ata_command)) {
      s.sectors_written += request->sectors;
      now.bytes += static_cast<std::uint64_t>(request->sectors) * kSectorBytes;
    }
  }
  if (request->answers == 1 && outstanding_ != 0 && !request->superseded) {
    --outstanding_;
  }
  // From the first copy: what the initiator had to wait.
  const Nanoseconds latency_ns = std::max<Nanoseconds>(frame.time_ns - request->first_time_ns, 0);
  s.latency.add(latency_ns);
  now.latency_max_ns = std::max(now.latency_max_ns, latency_ns);
  now.latency_sum_ns += latency_ns;
}

void Statistics::on_given_up(const Request& request) {
  SessionStatistics& s = of_session(request.session);
  ++s.unanswered;
  ++bin(request.first_time_ns).unanswered;
  if (outstanding_ != 0) {
    --outstanding_;
  }
}

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

std::string mtu_text(std::uint32_t frame_bytes_max) {
  const std::uint32_t payload =
      frame_bytes_max > kEthernetHeaderBytes ? frame_bytes_max - kEthernetHeaderBytes : 0;
  return payload <= kPlainMtu ? fmt::format("at least {}", payload)
                              : fmt::format("at least {} (jumbo frames)", payload);
}

namespace {
std::vector<std::string> feature_names(std::uint8_t features) {
  std::vector<std::string> names;
  for (std::uint32_t bit = 1; bit < 0x80; bit <<= 1) {
    if ((features & bit) != 0) {
      names.emplace_back(feature_name(static_cast<std::uint8_t>(bit)));
    }
  }
  return names;
}

nlohmann::ordered_json latency_json(const LatencyHistogram& latency) {
  nlohmann::ordered_json j;
  j["samples"] = latency.count();
  j["min_ms"] = rounded_ms(latency.min_ns());
  j["p50_ms"] = rounded_ms(latency.quantile_ns(0.50));
  j["p90_ms"] = rounded_ms(latency.quantile_ns(0.90));
  j["p99_ms"] = rounded_ms(latency.quantile_ns(0.99));
  j["max_ms"] = rounded_ms(latency.max_ns());
  return j;
}
}  // namespace

nlohmann::ordered_json Statistics::to_json() const {
  const TrackerCounters& c = tracker_.counters();
  nlohmann::ordered_json j;
  j["capture"] = {{"frames", c.frames},
                  {"bytes", c.bytes},
                  {"seconds", static_cast<double>(c.last_time_ns - c.first_time_ns) / 1e9},
                  {"aoe_frames", c.aoe_frames},
                  {"other_frames", c.other_frames},
                  {"runts", c.runts},
                  {"cut_frames", c.cut_frames},
                  {"vlan_frames", c.vlan_frames},
                  {"untracked_frames", c.untracked}};
  auto targets = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < tracker_.targets().size(); ++i) {
    const Target& target = tracker_.targets()[i];
    if (target.mac_count == 0) {
      continue;  // asked for, never heard
    }
    nlohmann::ordered_json t;
    t["address"] = address_text(target.vlan, target.shelf, target.slot);
    auto macs = nlohmann::ordered_json::array();
    for (std::uint32_t m = 0; m < target.mac_count; ++m) {
      macs.push_back(mac_text(target.macs[m]));
    }
    t["macs"] = macs;
    const TargetStatistics facts = i < targets_.size() ? targets_[i] : TargetStatistics{};
    if (facts.config_seen) {
      t["buffer_count"] = facts.buffer_count;
      t["firmware"] = facts.firmware;
      t["sectors_per_command"] = facts.sector_count;
      t["config_string"] = printable(facts.config_string);
    }
    if (facts.capacity_sectors != 0) {
      t["capacity_sectors"] = facts.capacity_sectors;
      t["model"] = printable(facts.model);
      t["serial"] = printable(facts.serial);
      t["identify_firmware"] = printable(facts.firmware_text);
    }
    targets.push_back(t);
  }
  j["targets"] = targets;
  auto sessions = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < sessions_.size(); ++i) {
    const SessionStatistics& s = sessions_[i];
    const Session& session = tracker_.sessions()[i];
    if (s.requests + s.replies == 0) {
      continue;
    }
    nlohmann::ordered_json o;
    o["initiator"] = mac_text(session.initiator);
    o["target"] = address_text(session.vlan, session.shelf, session.slot);
    o["requests"] = s.requests;
    o["replies"] = s.replies;
    o["unanswered"] = s.unanswered;
    o["retransmitted_same_tag"] = s.retransmitted;
    o["copies_after_answer"] = s.copied_late;
    o["probable_retransmissions_new_tag"] = s.renewed;
    o["duplicate_replies"] = s.duplicate_replies;
    o["replies_without_request"] = s.unasked_replies;
    o["announcements"] = s.announcements;
    o["aoe_errors"] = s.aoe_errors;
    o["ata_errors"] = s.ata_errors;
    o["commands"] = {{"read", s.reads},
                     {"of_them_coalesced", s.coalesced_reads},
                     {"write", s.writes},
                     {"flush", s.flushes},
                     {"identify", s.identifies},
                     {"config", s.configs},
                     {"mask", s.masks},
                     {"reserve", s.reserves},
                     {"extensions", s.extension_tables},
                     {"other", s.others}};
    o["sectors_read"] = s.sectors_read;
    o["sectors_written"] = s.sectors_written;
    o["outstanding_max"] = s.outstanding_max;
    o["frame_bytes_max"] = s.frame_bytes_max;
    o["extensions_active_at_end"] = feature_names(session.features);
    if (s.latency.count() != 0) {
      o["latency"] = latency_json(s.latency);
    }
    sessions.push_back(o);
  }
  j["sessions"] = sessions;
  nlohmann::ordered_json line;
  line["bin_seconds"] = static_cast<double>(line_.bin_width_ns()) / 1e9;
  auto outstanding = nlohmann::ordered_json::array();
  auto retransmissions = nlohmann::ordered_json::array();
  auto latency = nlohmann::ordered_json::array();
  auto requests = nlohmann::ordered_json::array();
  for (std::uint32_t i = 0; i < line_.used(); ++i) {
    const TimeBin& b = line_.bins()[i];
    outstanding.push_back(b.outstanding_max);
    retransmissions.push_back(b.retransmissions);
    latency.push_back(rounded_ms(b.latency_max_ns));
    requests.push_back(b.requests);
  }
  line["requests"] = requests;
  line["outstanding_max"] = outstanding;
  line["latency_max_ms"] = latency;
  line["retransmissions"] = retransmissions;
  j["time_line"] = line;
  return j;
}

std::string Statistics::to_text() const {
  const TrackerCounters& c = tracker_.counters();
  std::string out = fmt::format(
      "capture    {} frames, {} bytes, {}\n"
      "frames     {} AoE, {} other traffic, {} runts, {} cut by snaplen, {} in a VLAN\n",
      c.frames, c.bytes, duration_text(c.last_time_ns - c.first_time_ns), c.aoe_frames,
      c.other_frames, c.runts, c.cut_frames, c.vlan_frames);
  if (c.untracked != 0) {
    out += fmt::format("untracked  {} frames beyond {} sessions\n", c.untracked, kSessionsMax);
  }
  for (std::size_t i = 0; i < tracker_.targets().size(); ++i) {
    const Target& target = tracker_.targets()[i];
    if (target.mac_count == 0) {
      continue;
    }
    out += fmt::format("\ntarget {}  at", address_text(target.vlan, target.shelf, target.slot));
    for (std::uint32_t m = 0; m < target.mac_count; ++m) {
      out += " " + mac_text(target.macs[m]);
    }
    out += "\n";
    if (i >= targets_.size()) {
      continue;
    }
    const TargetStatistics& t = targets_[i];
    if (t.config_seen) {
      out += fmt::format(
          "  config      {} buffers, {} sectors per command, firmware 0x{:04x}, string \"{}\"\n",
          t.buffer_count, t.sector_count, t.firmware, printable(t.config_string));
    }
    if (t.capacity_sectors != 0) {
      out += fmt::format("  identify    {} sectors, model \"{}\", serial \"{}\", firmware \"{}\"\n",
                         t.capacity_sectors, printable(t.model), printable(t.serial),
                         printable(t.firmware_text));
    }
  }
  for (std::size_t i = 0; i < sessions_.size(); ++i) {
    const SessionStatistics& s = sessions_[i];
    const Session& session = tracker_.sessions()[i];
    if (s.requests + s.replies == 0) {
      continue;
    }
    out += fmt::format("\n{} -> {}\n", mac_text(session.initiator),
                       address_text(session.vlan, session.shelf, session.slot));
    out += fmt::format("  requests    {}, {} replies, {} unanswered\n", s.requests, s.replies,
                       s.unanswered);
    out += fmt::format("  commands    {} read", s.reads);
    if (s.coalesced_reads != 0) {
      out += fmt::format(" ({} coalesced)", s.coalesced_reads);
    }
    out += fmt::format(", {} write, {} flush, {} identify, {} config", s.writes, s.flushes,
                       s.identifies, s.configs);
    const auto more = [&out](std::uint64_t count, const char* name) {
      if (count != 0) {
        out += fmt::format(", {} {}", count, name);
      }
    };
    more(s.masks, "mask");
    more(s.reserves, "reserve");
    more(s.extension_tables, "extensions");
    more(s.others, "other");
    out += "\n";
    if (s.sectors_read + s.sectors_written != 0) {
      out += fmt::format("  data        {} sectors read, {} written\n", s.sectors_read,
                         s.sectors_written);
    }
    out += fmt::format(
        "  again       {} with the same tag, {} after their reply, {} probably under a new tag\n",
        s.retransmitted, s.copied_late, s.renewed);
    if (s.duplicate_replies + s.unasked_replies + s.announcements != 0) {
      out += fmt::format("  replies     {} duplicates, {} without a request, {} announcements\n",
                         s.duplicate_replies, s.unasked_replies, s.announcements);
    }
    if (s.aoe_errors + s.ata_errors != 0) {
      out += fmt::format("  errors      {} AoE, {} ATA\n", s.aoe_errors, s.ata_errors);
    }
    out += fmt::format("  frames      {} bytes at most: MTU {}\n", s.frame_bytes_max,
                       mtu_text(s.frame_bytes_max));
    out += fmt::format("  outstanding {} at most\n", s.outstanding_max);
    if (session.features != 0) {
      out += "  extensions ";
      for (const std::string& name : feature_names(session.features)) {
        out += " " + name;
      }
      out += "\n";
    }
    if (s.latency.count() != 0) {
      out += fmt::format(
          "  latency     p50 {}, p90 {}, p99 {}, max {}\n",
          duration_text(s.latency.quantile_ns(0.50)), duration_text(s.latency.quantile_ns(0.90)),
          duration_text(s.latency.quantile_ns(0.99)), duration_text(s.latency.max_ns()));
    }
  }
  return out;
}

}  // namespace pcaps
