// A run's result in its four forms.

#include "conformance/report/report.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <nlohmann/json.hpp>
#include <pugixml.hpp>
#include <set>
#include <sstream>

namespace conformance::report {

namespace {

std::string target_line(const Report& r) {
  if (!r.target_known) {
    return fmt::format("target:  none found on {}", r.link_name);
  }
  const TargetFacts& t = r.target;
  std::string extensions;
  for (const std::string& name : t.active_extensions) {
    extensions += (extensions.empty() ? "" : " ") + name;
  }
  return fmt::format(
      "target:  {}.{} at {} on {} (MTU {})\n"
      "         AoE version {}, firmware {:#06x}, buffer count {}, sector count {}\n"
      "         {} sectors, model {}, serial {}, firmware revision {}\n"
      "         extensions: {}",
      t.shelf, t.slot, observer::to_string(t.mac), r.link_name, r.mtu, t.aoe_version, t.firmware,
      t.buffer_count, t.sector_count, t.sectors, observer::quoted(t.model),
      observer::quoted(t.serial), observer::quoted(t.revision),
      t.extensions ? fmt::format("{} (table length {}-endian)", extensions,
                                 t.ext_order == observer::Order::little ? "little" : "big")
                   : "none (no command 0x23)");
}

std::string clause_text(const std::string& id) {
  const Clause* clause = Registry::all().clause(id);
  return clause == nullptr ? id
                           : fmt::format("{} ({}, {}, {}): {}", id, clause->document,
                                         clause->section, to_string(clause->level), clause->text);
}

std::string indent(const std::string& text) {
  std::string out;
  bool start = true;
  for (const char c : text) {
    if (start) {
      out += "    ";
    }
    out += c;
    start = c == '\n';
  }
  return out;
}

std::string said_text(const std::string& said) {
  return said.empty() ? std::string()
                      : "  the target said:\n" + indent(said) + (said.back() == '\n' ? "" : "\n");
}

// `reason_told`: the line above ends with the case's reason.
std::string findings_text(const CaseResult& c, bool reason_told) {
  std::string out;
  std::set<std::string> told;
  if (reason_told) {
    told.insert(c.reason);
  }
  for (const Finding& f : c.findings) {
    if (f.verdict == Verdict::info && !told.insert(f.headline).second) {
      continue;
    }
    out += fmt::format("  {}: {}\n", to_string(f.verdict), f.headline);
    if (f.verdict == Verdict::info) {
      continue;
    }
    if (!f.clause.empty()) {
      out += fmt::format("  clause:   {}\n", clause_text(f.clause));
    }
    if (!f.expected.empty()) {
      out += fmt::format("  expected: {}\n", f.expected);
    }
    if (!f.got.empty()) {
      out += fmt::format("  got:      {}\n", f.got);
    }
    out += evidence_text(f);
  }
  return out;
}

bool tells(const CaseResult& c) {
  return c.verdict != Verdict::pass && c.verdict != Verdict::skip &&
         c.verdict != Verdict::unsupported;
}

// XML 1.0 cannot hold most control characters, escaped or not.
std::string xml_safe(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    out += (u >= 0x20 && u < 0x7f) || c == '\n' || c == '\t' ? c : '?';
  }
  return out;
}

// JSON wants UTF-8; a target's strings are bytes.
std::string json_safe(const std::string& text) {
  return xml_safe(text);
}

std::string tap_safe(std::string text) {
  for (char& c : text) {
    if (c == '#' || c == '\n' || c == '\\') {
      c = ' ';
    }
  }
  return xml_safe(text);
}

}  // namespace

std::string evidence_text(const Finding& f) {
  std::string out;
  const observer::Bytes* request = nullptr;
  bool came = false;
  for (const ShownFrame& frame : f.frames) {
    observer::Hints hints;
    hints.request = request;
    std::string what = to_string(frame.role);
    if (frame.role == FrameRole::request) {
      request = &frame.bytes;
      hints = {};
      const std::string times = frame.sent == 1 ? "once" : fmt::format("{} times", frame.sent);
      what = fmt::format("request ({} bytes, sent {})", frame.bytes.size(), times);
    } else {
      came = true;
      const char* name = frame.role == FrameRole::stray ? "this came instead"
                         : request != nullptr           ? "reply"
                                                        : "unasked for";
      what = fmt::format("{} ({} bytes)", name, frame.bytes.size());
      out += frame.role == FrameRole::stray ? "  reply: none\n" : "";
    }
    out += fmt::format("  {}:\n", what);
    out += indent(observer::dump(frame.bytes, frame.marks, hints));
    out += indent(observer::hexdump(frame.bytes, frame.marks));
  }
  if (request != nullptr && !came) {
    out += "  reply: none\n";
  }
  return out;
}

std::map<Verdict, size_t> Report::counts() const {
  std::map<Verdict, size_t> out;
  for (const Verdict v : kVerdicts) {
    out[v] = 0;
  }
  for (const CaseResult& c : cases) {
    ++out[c.verdict];
  }
  return out;
}

std::string time_text(int64_t ns) {
  const time_t seconds = ns / links::kNsPerSecond;
  tm parts{};
  gmtime_r(&seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z", parts.tm_year + 1900,
                     parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec,
                     ns % links::kNsPerSecond / links::kNsPerUs);
}

std::string coloured(Verdict verdict, bool colour) {
  const std::string word = to_string(verdict);
  if (!colour) {
    return word;
  }
  const char* code = "0";
  switch (verdict) {
    case Verdict::pass:
      code = "32";
      break;
    case Verdict::fail:
    case Verdict::error:
      code = "1;31";
      break;
    case Verdict::warn:
    case Verdict::inconclusive:
      code = "33";
      break;
    case Verdict::info:
      code = "36";
      break;
    case Verdict::unsupported:
    case Verdict::skip:
      code = "2";
      break;
  }
  return fmt::format("\033[{}m{}\033[0m", code, word);
}

std::string to_text(const Report& r, const TextOptions& options) {
  std::string out = fmt::format("aoe-conformance {}\ncommand: {}\nbegan:   {}\n{}\n\n", r.version,
                                r.command, time_text(r.started_ns), target_line(r));
  std::map<std::string, std::vector<std::string>> quiet;  // reason -> ids
  for (const CaseResult& c : r.cases) {
    if (c.verdict == Verdict::skip || c.verdict == Verdict::unsupported) {
      quiet[to_string(c.verdict) + ": " + c.reason].push_back(c.id);
    }
    if (!options.verbose && !tells(c)) {
      continue;
    }
    out += fmt::format("{} [{}] {}{}\n", coloured(c.verdict, options.colour), to_string(c.level),
                       c.id, c.reason.empty() ? "" : ": " + c.reason);
    if (!c.known.empty()) {
      out += fmt::format("  known: {}\n", c.known);
    }
    if (!tells(c)) {
      continue;
    }
    out += findings_text(c, true);
    out += said_text(c.target_said);
    if (c.verdict != Verdict::info) {
      out += fmt::format("  began:    {}, {:.3f} ms\n", time_text(c.started_ns), c.duration_ms);
      if (!c.capture.empty()) {
        out += fmt::format("  capture:  {}\n", c.capture);
      }
      if (!c.repeat.empty()) {
        out += fmt::format("  repeat:   {}\n", c.repeat);
      }
      out += "\n";
    }
  }
  for (const auto& [reason, ids] : quiet) {
    out += fmt::format("{} ({})\n", reason, ids.size());
    if (!options.verbose) {
      std::string list;
      for (const std::string& id : ids) {
        list += (list.empty() ? "" : ", ") + id;
      }
      out += fmt::format("    {}\n", list);
    }
  }
  if (r.baseline_used) {
    for (const std::string& s : r.baseline_surprises) {
      out += fmt::format("baseline: {}\n", s);
    }
    if (r.baseline_surprises.empty()) {
      out += "baseline: everything is as it is known\n";
    }
  }
  if (!r.trouble.empty()) {
    out += fmt::format("\nTHE RUN IS NOT COMPLETE: {}\n", r.trouble);
    out += said_text(r.target_said);
  }
  out += "\n";
  std::string line;
  for (const auto& [verdict, n] : r.counts()) {
    if (n > 0) {
      line +=
          fmt::format("{}{} {}", line.empty() ? "" : ", ", n, coloured(verdict, options.colour));
    }
  }
  out += fmt::format(
      "{} cases: {}. {} frames sent, {} requests had to be repeated, round trip {:.0f} us, {:.2f} "
      "s.\n",
      r.cases.size(), line, r.frames_sent, r.repeats, r.rtt_us, r.duration_ms / 1000);
  return out;
}

std::string to_tap(const Report& r) {
  std::string out = fmt::format("TAP version 14\n1..{}\n", r.cases.size());
  size_t n = 0;
  for (const CaseResult& c : r.cases) {
    const bool not_ok = c.verdict == Verdict::fail || c.verdict == Verdict::error ||
                        c.verdict == Verdict::inconclusive;
    const bool skipped = c.verdict == Verdict::skip || c.verdict == Verdict::unsupported;
    std::string directive;
    if (skipped) {
      directive = fmt::format(" # SKIP {}: {}", to_string(c.verdict), tap_safe(c.reason));
    } else if (not_ok && !c.known.empty()) {
      directive = " # TODO " + tap_safe(c.known);
    }
    out += fmt::format("{} {} - {}{}\n", not_ok ? "not ok" : "ok", ++n, c.id, directive);
    out += fmt::format("  ---\n  verdict: {}\n  level: {}\n  duration_ms: {:.3f}\n",
                       to_string(c.verdict), to_string(c.level), c.duration_ms);
    if (!c.reason.empty()) {
      out += fmt::format("  reason: {}\n", nlohmann::json(json_safe(c.reason)).dump());
    }
    out += "  ...\n";
  }
  if (!r.trouble.empty()) {
    out += fmt::format("# the run is not complete: {}\n", tap_safe(r.trouble));
  }
  return out;
}

std::string to_junit(const Report& r) {
  pugi::xml_document doc;
  doc.append_child(pugi::node_declaration).append_attribute("version") = "1.0";
  pugi::xml_node suites = doc.append_child("testsuites");
  std::map<std::string, std::vector<const CaseResult*>> families;
  for (const CaseResult& c : r.cases) {
    families[c.id.substr(0, c.id.find('.'))].push_back(&c);
  }
  const auto count = [&](const std::vector<const CaseResult*>& cases, const auto& is) {
    return static_cast<unsigned>(
        std::count_if(cases.begin(), cases.end(), [&](const CaseResult* c) { return is(*c); }));
  };
  const auto is_known = [](const CaseResult& c) { return !c.known.empty(); };
  const auto is_failure = [&](const CaseResult& c) {
    return c.verdict == Verdict::fail && !is_known(c);
  };
  const auto is_error = [&](const CaseResult& c) {
    return (c.verdict == Verdict::error || c.verdict == Verdict::inconclusive) && !is_known(c);
  };
  const auto is_skipped = [&](const CaseResult& c) {
    return c.verdict == Verdict::skip || c.verdict == Verdict::unsupported ||
           (is_known(c) && (c.verdict == Verdict::fail || c.verdict == Verdict::inconclusive));
  };
  suites.append_attribute("name") = "aoe-conformance";
  suites.append_attribute("tests") = static_cast<unsigned>(r.cases.size());
  suites.append_attribute("time") = fmt::format("{:.6f}", r.duration_ms / 1000).c_str();
  for (const auto& [family, cases] : families) {
    pugi::xml_node suite = suites.append_child("testsuite");
    suite.append_attribute("name") = family.c_str();
    suite.append_attribute("tests") = static_cast<unsigned>(cases.size());
    suite.append_attribute("failures") = count(cases, is_failure);
    suite.append_attribute("errors") = count(cases, is_error);
    suite.append_attribute("skipped") = count(cases, is_skipped);
    suite.append_attribute("timestamp") = time_text(r.started_ns).substr(0, 19).c_str();
    double seconds = 0;
    for (const CaseResult* c : cases) {
      seconds += c->duration_ms / 1000;
    }
    suite.append_attribute("time") = fmt::format("{:.6f}", seconds).c_str();
    for (const CaseResult* c : cases) {
      pugi::xml_node node = suite.append_child("testcase");
      node.append_attribute("name") = c->id.c_str();
      node.append_attribute("classname") = ("aoe-conformance." + family).c_str();
      node.append_attribute("time") = fmt::format("{:.6f}", c->duration_ms / 1000).c_str();
      const std::string detail = xml_safe(findings_text(*c, false));
      const std::string reason = xml_safe(c->reason);
      const auto child = [&](const char* name, const std::string& type,
                             const std::string& message) {
        pugi::xml_node n = node.append_child(name);
        n.append_attribute("type") = type.c_str();
        n.append_attribute("message") = message.c_str();
        if (!detail.empty() && name != std::string("skipped")) {
          n.append_child(pugi::node_pcdata).set_value(detail.c_str());
        }
      };
      if (is_skipped(*c)) {
        child("skipped", is_known(*c) ? "known-failure" : to_string(c->verdict),
              is_known(*c) ? "known failure: " + xml_safe(c->known) : reason);
      } else if (is_failure(*c)) {
        child("failure", to_string(c->level), reason);
      } else if (is_error(*c)) {
        child("error", to_string(c->verdict), reason);
      } else if (c->verdict != Verdict::pass) {
        node.append_child("system-out")
            .append_child(pugi::node_pcdata)
            .set_value((to_string(c->verdict) + ": " + reason + "\n" + detail).c_str());
      }
    }
  }
  std::ostringstream out;
  doc.save(out, "  ");
  return out.str();
}

std::string to_json(const Report& r) {
  using nlohmann::ordered_json;
  ordered_json j;
  j["schema"] = "aoe-conformance-report-1";
  j["version"] = r.version;
  j["command"] = json_safe(r.command);
  j["started"] = time_text(r.started_ns);
  j["duration_ms"] = r.duration_ms;
  j["port"] = {{"name", json_safe(r.link_name)}, {"mtu", r.mtu}};
  j["complete"] = r.trouble.empty();
  j["trouble"] = json_safe(r.trouble);
  j["target_said"] = json_safe(r.target_said);
  j["exit_code"] = r.exit_code;
  ordered_json summary;
  for (const Verdict v : kVerdicts) {
    summary[to_string(v)] = r.counts()[v];
  }
  summary["total"] = r.cases.size();
  j["summary"] = summary;
  if (r.target_known) {
    const TargetFacts& t = r.target;
    j["target"] = {{"shelf", t.shelf},
                   {"slot", t.slot},
                   {"mac", observer::to_string(t.mac)},
                   {"aoe_version", t.aoe_version},
                   {"firmware", t.firmware},
                   {"buffer_count", t.buffer_count},
                   {"sector_count", t.sector_count},
                   {"sectors", t.sectors},
                   {"model", json_safe(t.model)},
                   {"serial", json_safe(t.serial)},
                   {"revision", json_safe(t.revision)},
                   {"identify", observer::hex(t.identify, observer::kSectorBytes)},
                   {"extensions", t.active_extensions},
                   {"extension_length_order", !t.extensions                            ? "none"
                                              : t.ext_order == observer::Order::little ? "little"
                                                                                       : "big"}};
  } else {
    j["target"] = nullptr;
  }
  j["link"] = {{"frames_sent", r.frames_sent}, {"repeats", r.repeats}, {"rtt_us", r.rtt_us}};
  j["baseline"] = {{"used", r.baseline_used}, {"surprises", ordered_json::array()}};
  for (const std::string& s : r.baseline_surprises) {
    j["baseline"]["surprises"].push_back(json_safe(s));
  }
  j["cases"] = ordered_json::array();
  for (const CaseResult& c : r.cases) {
    ordered_json one;
    one["id"] = c.id;
    one["verdict"] = to_string(c.verdict);
    one["level"] = to_string(c.level);
    one["clauses"] = c.clauses;
    one["reason"] = json_safe(c.reason);
    one["capture"] = c.capture;
    one["started"] = c.started_ns == 0 ? "" : time_text(c.started_ns);
    one["duration_ms"] = c.duration_ms;
    one["known"] = json_safe(c.known);
    one["repeat"] = json_safe(c.repeat);
    one["target_said"] = json_safe(c.target_said);
    one["findings"] = ordered_json::array();
    for (const Finding& f : c.findings) {
      one["findings"].push_back({{"verdict", to_string(f.verdict)},
                                 {"clause", f.clause},
                                 {"headline", json_safe(f.headline)},
                                 {"expected", json_safe(f.expected)},
                                 {"got", json_safe(f.got)},
                                 {"detail", json_safe(evidence_text(f))}});
    }
    j["cases"].push_back(std::move(one));
  }
  return j.dump(1) + "\n";
}

void write_file(const std::string& path, const std::string& content) {
  const std::string fresh = fmt::format("{}.{}.new", path, getpid());
  const auto give_up = [&](const char* what) {
    const std::string why = std::strerror(errno);
    std::remove(fresh.c_str());
    throw std::runtime_error(fmt::format("{}: {}: {}", path, what, why));
  };
  std::FILE* f = std::fopen(fresh.c_str(), "w");
  if (f == nullptr) {
    give_up("cannot be written");
  }
  const bool written = std::fwrite(content.data(), 1, content.size(), f) == content.size();
  if (std::fclose(f) != 0 || !written) {
    give_up("cannot be written whole");
  }
  if (std::rename(fresh.c_str(), path.c_str()) != 0) {
    give_up("cannot be replaced");
  }
}

void make_directory(const std::string& directory) {
  if (mkdir(directory.c_str(), 0777) != 0 && errno != EEXIST) {
    throw std::runtime_error(
        fmt::format("{}: cannot be made: {}", directory, std::strerror(errno)));
  }
}

void write_all(const std::string& directory, const Report& report) {
  make_directory(directory);
  write_file(directory + "/report.txt", to_text(report, {false, true}));
  write_file(directory + "/report.tap", to_tap(report));
  write_file(directory + "/report.xml", to_junit(report));
  write_file(directory + "/report.json", to_json(report));
}

}  // namespace conformance::report
