#include "pcaps/tool/info_report.h"

#include <fmt/format.h>

#include <cmath>

namespace pcaps {

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

double rounded_ms(Nanoseconds value_ns) {
  return std::round(static_cast<double>(value_ns)) / 1e6;
}

nlohmann::ordered_json latency_json(const LatencyHistogram& latency) {
  nlohmann::ordered_json j;
  j["samples"] = latency.count();
  if (latency.count() == 0) {
    return j;
  }
  j["min_ms"] = rounded_ms(latency.min_ns());
  j["p50_ms"] = rounded_ms(latency.quantile_ns(0.50));
  j["p90_ms"] = rounded_ms(latency.quantile_ns(0.90));
  j["p99_ms"] = rounded_ms(latency.quantile_ns(0.99));
  j["p999_ms"] = rounded_ms(latency.quantile_ns(0.999));
  j["max_ms"] = rounded_ms(latency.max_ns());
  return j;
}

nlohmann::ordered_json operation_json(const Operation& operation, const Tracker& tracker) {
  const Session& session = tracker.sessions()[operation.session];
  nlohmann::ordered_json j;
  j["operation"] = operation_text(operation);
  j["initiator"] = mac_text(session.initiator);
  j["target"] = address_text(session.vlan, session.shelf, session.slot);
  if (operation.command == kCommandAta) {
    j["lba"] = operation.lba;
    j["sectors"] = operation.sectors;
  }
  j["asked"] = operation.asked();
  auto askings = nlohmann::ordered_json::array();
  for (const Asking& asking : operation.askings) {
    askings.push_back({{"frame", asking.frame},
                       {"time", time_iso(asking.time_ns)},
                       {"tag", fmt::format("0x{:08x}", asking.tag)},
                       {"sectors", asking.sectors}});
  }
  j["askings"] = askings;
  if (operation.answer_frame != 0) {
    j["answer_frame"] = operation.answer_frame;
    j["answer_time"] = time_iso(operation.answer_time_ns);
    j["failed"] = operation.failed;
    j["latency_ms"] = rounded_ms(operation.latency_ns());
  }
  return j;
}

nlohmann::ordered_json counts_json(const OperationCounts& counts) {
  nlohmann::ordered_json j;
  j["count"] = counts.operations;
  j["answered"] = counts.answered;
  j["failed"] = counts.failed;
  j["never_answered"] = counts.never;
  j["askings"] = counts.askings;
  j["askings_lost"] = counts.lost;
  j["asked_again_same_tag"] = counts.again_same_tag;
  j["asked_again_new_tag"] = counts.again_new_tag;
  j["asked_again_in_part"] = counts.again_in_part;
  j["asked_again_after"] = latency_json(counts.again_after);
  j["latency"] = latency_json(counts.latency);
  j["latency_of_reads"] = latency_json(counts.reads);
  j["latency_of_writes"] = latency_json(counts.writes);
  j["latency_of_others"] = latency_json(counts.others);
  return j;
}

std::string quantiles_text(const LatencyHistogram& latency) {
  return fmt::format("p50 {}, p90 {}, p99 {}, max {}", duration_text(latency.quantile_ns(0.50)),
                     duration_text(latency.quantile_ns(0.90)),
                     duration_text(latency.quantile_ns(0.99)), duration_text(latency.max_ns()));
}

// What happened to askings and operations, two or three lines.
std::string counts_text(const OperationCounts& counts) {
  std::string out = fmt::format("  operations  {}: {} answered", count_text(counts.operations),
                                count_text(counts.answered));
  if (counts.failed != 0) {
    out += fmt::format(" ({} with an error)", count_text(counts.failed));
  }
  out += fmt::format(", {} never\n", count_text(counts.never));
  if (counts.latency.count() != 0) {
    out += fmt::format("  latency     {}\n", quantiles_text(counts.latency));
  }
  out += fmt::format("  lost        {} of {} askings had no reply ({})\n", count_text(counts.lost),
                     count_text(counts.askings), share_text(counts.lost, counts.askings));
  if (counts.again_after.count() != 0) {
    out += fmt::format("  asked again {} under the same tag, {} probably under a new one",
                       count_text(counts.again_same_tag), count_text(counts.again_new_tag));
    if (counts.again_in_part != 0) {
      out += fmt::format(", {} of them in parts", count_text(counts.again_in_part));
    }
    out += fmt::format("; after {} at least, p50 {}, max {}\n",
                       duration_text(counts.again_after.min_ns()),
                       duration_text(counts.again_after.quantile_ns(0.5)),
                       duration_text(counts.again_after.max_ns()));
  }
  return out;
}

// "frame 255 (tag 0x00850f39), 258 (tag 0x00861f40)"; the middle of a long chain is left out.
std::string chain_text(const Operation& operation) {
  constexpr std::size_t kShown = 6;
  std::string out = "frame";
  const std::vector<Asking>& askings = operation.askings;
  for (std::size_t i = 0; i < askings.size(); ++i) {
    if (askings.size() > kShown && i == kShown / 2) {
      const std::size_t next = askings.size() - kShown / 2;
      out += fmt::format(", {} more", next - i + operation.askings_left_out);
      i = next;
    }
    const Asking& asking = askings[i];
    out += fmt::format("{} {} (tag 0x{:08x}", i == 0 ? "" : ",", asking.frame, asking.tag);
    if (asking.sectors != operation.sectors) {
      out += fmt::format(", {} sectors of it", asking.sectors);
    }
    out += ")";
  }
  return out;
}

std::string slow_text(const Operation& operation, const Tracker& tracker) {
  const Session& session = tracker.sessions()[operation.session];
  const bool answered = operation.answer_frame != 0;
  std::string out = fmt::format(
      "    {:<9} {}, {} -> {}\n              asked {} in {}",
      answered ? duration_text(operation.latency_ns()) : "never", operation_text(operation),
      mac_text(session.initiator), address_text(session.vlan, session.shelf, session.slot),
      time_text(operation.askings.front().time_ns), chain_text(operation));
  if (answered) {
    out += fmt::format("; answered in {}{}", operation.answer_frame,
                       operation.failed ? " with an error" : "");
  } else {
    out += fmt::format(
        "; the capture ends {} later",
        duration_text(tracker.counters().last_time_ns - operation.askings.back().time_ns));
  }
  return out + "\n";
}

std::string felt_text(const Statistics& statistics) {
  const Operations& operations = statistics.operations();
  const OperationCounts sum = operations.sum();
  if (sum.operations == 0) {
    return "";
  }
  std::string out =
      "\nwhat the initiators felt: from the first asking to the answer, whatever was asked "
      "again\n" +
      counts_text(sum);
  if (!operations.slowest().empty()) {
    out += "  slowest\n";
    constexpr std::size_t kShown = 5;
    for (std::size_t i = 0; i < std::min(operations.slowest().size(), kShown); ++i) {
      out += slow_text(operations.slowest()[i], statistics.tracker());
    }
  }
  if (!operations.never().empty()) {
    out += "  never answered\n";
    for (const Operation& operation : operations.never()) {
      out += slow_text(operation, statistics.tracker());
    }
    if (sum.never > operations.never().size()) {
      out += fmt::format("    and {} more\n", count_text(sum.never - operations.never().size()));
    }
  }
  return out;
}
}  // namespace

nlohmann::ordered_json info_json(const Statistics& statistics) {
  const Tracker& tracker = statistics.tracker();
  const TrackerCounters& c = tracker.counters();
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
  j["capture"]["begin"] = time_iso(c.first_time_ns);
  j["capture"]["end"] = time_iso(c.last_time_ns);
  const OperationCounts sum = statistics.operations().sum();
  j["operations"] = counts_json(sum);
  auto slowest = nlohmann::ordered_json::array();
  for (const Operation& operation : statistics.operations().slowest()) {
    slowest.push_back(operation_json(operation, tracker));
  }
  j["operations"]["slowest"] = slowest;
  auto never = nlohmann::ordered_json::array();
  for (const Operation& operation : statistics.operations().never()) {
    never.push_back(operation_json(operation, tracker));
  }
  j["operations"]["first_never_answered"] = never;
  auto targets = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < tracker.targets().size(); ++i) {
    const Target& target = tracker.targets()[i];
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
    const TargetStatistics facts =
        i < statistics.targets().size() ? statistics.targets()[i] : TargetStatistics{};
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
  for (std::size_t i = 0; i < statistics.sessions().size(); ++i) {
    const SessionStatistics& s = statistics.sessions()[i];
    const Session& session = tracker.sessions()[i];
    if (s.requests + s.replies == 0) {
      continue;
    }
    nlohmann::ordered_json o;
    o["initiator"] = mac_text(session.initiator);
    o["target"] = address_text(session.vlan, session.shelf, session.slot);
    o["requests"] = s.requests;
    o["replies"] = s.replies;
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
    o["operations"] =
        counts_json(statistics.operations().of_session(static_cast<std::uint32_t>(i)));
    sessions.push_back(o);
  }
  j["sessions"] = sessions;
  nlohmann::ordered_json line;
  line["bin_seconds"] = static_cast<double>(statistics.time_line().bin_width_ns()) / 1e9;
  line["begin"] = time_iso(c.first_time_ns);
  const auto row = [&line, &statistics](const char* name, const auto& value) {
    auto values = nlohmann::ordered_json::array();
    for (std::uint32_t i = 0; i < statistics.time_line().used(); ++i) {
      values.push_back(value(statistics.time_line().bins()[i]));
    }
    line[name] = values;
  };
  row("requests", [](const TimeBin& b) { return b.requests; });
  row("answered", [](const TimeBin& b) { return b.answered; });
  row("outstanding_max", [](const TimeBin& b) { return b.outstanding_max; });
  row("latency_max_ms", [](const TimeBin& b) { return rounded_ms(b.latency_max_ns); });
  row("asked_again", [](const TimeBin& b) { return b.asked_again; });
  row("askings_lost", [](const TimeBin& b) { return b.lost; });
  row("bytes_read", [](const TimeBin& b) { return b.bytes_read; });
  row("bytes_written", [](const TimeBin& b) { return b.bytes_written; });
  j["time_line"] = line;
  return j;
}

std::string info_text(const Statistics& statistics) {
  const Tracker& tracker = statistics.tracker();
  const TrackerCounters& c = tracker.counters();
  std::string out = fmt::format(
      "capture    {} frames, {} bytes, {}\n"
      "frames     {} AoE, {} other traffic, {} runts, {} cut by snaplen, {} in a VLAN\n",
      count_text(c.frames), count_text(c.bytes), duration_text(c.last_time_ns - c.first_time_ns),
      count_text(c.aoe_frames), count_text(c.other_frames), count_text(c.runts),
      count_text(c.cut_frames), count_text(c.vlan_frames));
  if (c.frames != 0) {
    out +=
        fmt::format("time       {} to {}\n", time_text(c.first_time_ns), time_text(c.last_time_ns));
  }
  if (c.untracked != 0) {
    out += fmt::format("untracked  {} frames beyond {} sessions\n", c.untracked, kSessionsMax);
  }
  out += felt_text(statistics);
  for (std::size_t i = 0; i < tracker.targets().size(); ++i) {
    const Target& target = tracker.targets()[i];
    if (target.mac_count == 0) {
      continue;
    }
    out += fmt::format("\ntarget {}  at", address_text(target.vlan, target.shelf, target.slot));
    for (std::uint32_t m = 0; m < target.mac_count; ++m) {
      out += " " + mac_text(target.macs[m]);
    }
    out += "\n";
    if (i >= statistics.targets().size()) {
      continue;
    }
    const TargetStatistics& t = statistics.targets()[i];
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
  for (std::size_t i = 0; i < statistics.sessions().size(); ++i) {
    const SessionStatistics& s = statistics.sessions()[i];
    const Session& session = tracker.sessions()[i];
    if (s.requests + s.replies == 0) {
      continue;
    }
    out += fmt::format("\n{} -> {}\n", mac_text(session.initiator),
                       address_text(session.vlan, session.shelf, session.slot));
    const OperationCounts& counts =
        statistics.operations().of_session(static_cast<std::uint32_t>(i));
    out += counts.operations == 0 ? "" : counts_text(counts);
    out +=
        fmt::format("  frames      {} requests, {} replies, of {} bytes at most: MTU {}\n",
                    count_text(s.requests + s.retransmitted + s.copied_late), count_text(s.replies),
                    count_text(s.frame_bytes_max), mtu_text(s.frame_bytes_max));
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
    if (s.duplicate_replies + s.unasked_replies + s.announcements != 0) {
      out += fmt::format("  replies     {} duplicates, {} without a request, {} announcements\n",
                         s.duplicate_replies, s.unasked_replies, s.announcements);
    }
    if (s.aoe_errors + s.ata_errors != 0) {
      out += fmt::format("  errors      {} AoE, {} ATA\n", s.aoe_errors, s.ata_errors);
    }
    out += fmt::format("  outstanding {} at most\n", s.outstanding_max);
    if (session.features != 0) {
      out += "  extensions ";
      for (const std::string& name : feature_names(session.features)) {
        out += " " + name;
      }
      out += "\n";
    }
  }
  return out;
}

}  // namespace pcaps
