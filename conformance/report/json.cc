// A run as JSON (docs/report.schema.json): all that is known of it, frames as hexadecimal with
// their fields. The HTML page is drawn from the same document.

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "conformance/report/words.h"

namespace conformance::report {

namespace {

using nlohmann::ordered_json;
using observer::Bytes;
using observer::BytesView;
using observer::F;

std::string plain_hex(BytesView bytes, size_t most) {
  static const char* const digits = "0123456789abcdef";
  std::string out;
  for (size_t i = 0; i < std::min(bytes.size(), most); ++i) {
    out += digits[bytes[i] >> 4];
    out += digits[bytes[i] & 0x0f];
  }
  return out;
}

bool is_marked(const observer::Item& item, const observer::Marks& marks) {
  return std::any_of(marks.begin(), marks.end(), [&](const observer::Mark& m) {
    return m.only ? item.id == m.only
                  : item.offset < m.offset + m.size && m.offset < item.offset + item.size;
  });
}

ordered_json fields_of(BytesView bytes, const observer::Marks& marks,
                       const observer::Hints& hints) {
  ordered_json out = ordered_json::array();
  for (const observer::Item& item : observer::decode(bytes, hints)) {
    ordered_json one = {item.offset, item.size, item.name, printable(item.value)};
    if (is_marked(item, marks)) {
      one.push_back("marked");
    }
    out.push_back(std::move(one));
  }
  return out;
}

double us_since(int64_t at_ns, int64_t start_ns) {
  return static_cast<double>(at_ns - start_ns) / links::kNsPerUs;
}

ordered_json shown_json(const ShownFrame& frame, const CaseResult& c,
                        const observer::Hints& hints) {
  ordered_json j;
  j["role"] = to_string(frame.role);
  j["direction"] = frame.role == FrameRole::request ? "out" : "in";
  j["at_us"] =
      frame.at_ns == 0 ? ordered_json(nullptr) : ordered_json(us_since(frame.at_ns, c.started_ns));
  j["sent"] = frame.sent;
  j["size"] = frame.bytes.size();
  j["summary"] = printable(observer::summary(frame.bytes));
  j["hex"] = plain_hex(frame.bytes, frame.bytes.size());
  j["marks"] = ordered_json::array();
  for (const observer::Mark& m : frame.marks) {
    j["marks"].push_back({m.offset, m.size});
  }
  j["fields"] = fields_of(frame.bytes, frame.marks, hints);
  return j;
}

ordered_json finding_json(const Finding& f, const CaseResult& c) {
  ordered_json j = {{"verdict", to_string(f.verdict)},   {"clause", f.clause},
                    {"headline", printable(f.headline)}, {"asked", printable(asked(c, f))},
                    {"expected", printable(f.expected)}, {"got", printable(f.got)},
                    {"frames", ordered_json::array()}};
  observer::Hints hints;
  for (const ShownFrame& frame : f.frames) {
    j["frames"].push_back(shown_json(frame, c, hints));
    if (frame.role == FrameRole::request) {
      hints.request = &frame.bytes;
    }
  }
  return j;
}

// Frames around a finding, or of a case that passed: what is behind kBytes of a long one is in the
// capture.
ordered_json frames_json(const CaseResult& c) {
  constexpr size_t bytes_max = 128;
  constexpr size_t frames_of_a_pass = 2;  // its first question, and the answer
  ordered_json out = ordered_json::array();
  const bool all = needs_telling(c.verdict);
  std::map<uint64_t, const Bytes*> asked_with;  // by tag
  for (const CaseFrame& frame : c.frames) {
    if (!all && (out.size() >= frames_of_a_pass || frame.role == FrameRole::barrier)) {
      continue;
    }
    const uint64_t tag = observer::get(frame.bytes, F::tag).value_or(0);
    observer::Hints hints;
    if (frame.outgoing) {
      asked_with[tag] = &frame.bytes;
    } else if (asked_with.count(tag) != 0) {
      hints.request = asked_with[tag];
    }
    ordered_json j = {{"role", to_string(frame.role)},
                      {"direction", frame.outgoing ? "out" : "in"},
                      {"at_us", us_since(frame.at_ns, c.started_ns)},
                      {"size", frame.bytes.size()},
                      {"summary", printable(observer::summary(frame.bytes))},
                      {"hex", plain_hex(frame.bytes, bytes_max)}};
    if (frame.role != FrameRole::barrier) {  // always the same read
      j["fields"] = fields_of(frame.bytes, {}, hints);
    }
    out.push_back(std::move(j));
  }
  return out;
}

ordered_json target_json(const TargetFacts& t) {
  return {{"shelf", t.shelf},
          {"slot", t.slot},
          {"mac", observer::to_string(t.mac)},
          {"aoe_version", t.aoe_version},
          {"firmware", t.firmware},
          {"buffer_count", t.buffer_count},
          {"sector_count", t.sector_count},
          {"sectors", t.sectors},
          {"model", printable(t.model)},
          {"serial", printable(t.serial)},
          {"revision", printable(t.revision)},
          {"identify", plain_hex(t.identify, observer::kSectorBytes)},
          {"extensions", t.active_extensions},
          {"extension_length_order", !t.extensions                            ? "none"
                                     : t.ext_order == observer::Order::little ? "little"
                                                                              : "big"}};
}

ordered_json case_json(const CaseResult& c, const std::string& same_as) {
  const Case* known = Registry::all().find(c.id);
  ordered_json j;
  j["id"] = c.id;
  j["title"] = known == nullptr ? "" : known->title;
  j["verdict"] = to_string(c.verdict);
  j["level"] = to_string(c.level);
  j["clauses"] = c.clauses;
  j["reason"] = printable(c.reason);
  j["same_as"] = same_as;
  j["capture"] = c.capture;
  j["started"] = c.started_ns == 0 ? "" : time_text(c.started_ns);
  j["duration_ms"] = c.duration_ms;
  j["attempts"] = c.attempts;
  j["link_trouble"] = printable(c.link_trouble);
  j["known"] = printable(c.known);
  j["repeat"] = printable(c.repeat);
  j["target_said"] = printable(c.target_said);
  if (c.repetitions.size() > 1) {
    j["repetitions"] = ordered_json::array();
    for (const Verdict v : c.repetitions) {
      j["repetitions"].push_back(to_string(v));
    }
  }
  j["findings"] = ordered_json::array();
  for (const Finding& f : c.findings) {
    j["findings"].push_back(finding_json(f, c));
  }
  j["frames"] = frames_json(c);
  j["frames_omitted"] = c.frames.size() + c.frames_omitted - j["frames"].size();
  return j;
}

// Every clause that a case or a finding names.
ordered_json clauses_json(const Report& r) {
  std::set<std::string> ids;
  for (const CaseResult& c : r.cases) {
    ids.insert(c.clauses.begin(), c.clauses.end());
    for (const Finding& f : c.findings) {
      ids.insert(f.clause);
    }
  }
  ordered_json out = ordered_json::object();
  for (const std::string& id : ids) {
    if (const Clause* clause = Registry::all().clause(id)) {
      out[id] = {{"document", clause->document},
                 {"section", clause->section},
                 {"level", to_string(clause->level)},
                 {"text", clause->text}};
    }
  }
  return out;
}

}  // namespace

std::string to_json(const Report& r) {
  ordered_json j;
  j["schema"] = kSchema;
  j["version"] = r.version;
  j["command"] = printable(r.command);
  j["started"] = time_text(r.started_ns);
  j["duration_ms"] = r.duration_ms;
  j["port"] = {{"name", printable(r.link_name)}, {"mtu", r.mtu}};
  j["complete"] = r.trouble.empty();
  j["trouble"] = printable(r.trouble);
  j["target_said"] = printable(r.target_said);
  j["undo_file"] = printable(r.undo_file);
  j["exit_code"] = r.exit_code;
  j["verdict"] = printable(verdict_text(r));
  ordered_json summary;
  const auto counts = r.counts();
  for (const Verdict v : kVerdicts) {
    summary[to_string(v)] = counts.at(v);
  }
  summary["total"] = r.cases.size();
  j["summary"] = summary;
  j["target"] = r.target_known ? target_json(r.target) : ordered_json(nullptr);
  j["link"] = {{"frames_sent", r.frames_sent},
               {"repeats", r.link.lost},
               {"rtt_us", r.rtt_us},
               {"asked", r.link.asked},
               {"late", r.link.late},
               {"repeated", r.link.repeated},
               {"doubled", r.link.doubled},
               {"reordered", r.link.reordered},
               {"not_taken", r.link.not_taken},
               {"path_trouble", r.path_trouble}};
  j["notes"] = ordered_json::array();
  for (const std::string& note : r.notes) {
    j["notes"].push_back(printable(note));
  }
  j["baseline"] = {{"used", r.baseline_used}, {"surprises", ordered_json::array()}};
  for (const std::string& s : r.baseline_surprises) {
    j["baseline"]["surprises"].push_back(printable(s));
  }
  j["clauses"] = clauses_json(r);
  j["cases"] = ordered_json::array();
  std::map<const CaseResult*, std::string> same_as;
  for (const Cause& cause : causes(r)) {
    for (const CaseResult* other : cause.others) {
      same_as[other] = cause.first->id;
    }
  }
  for (const CaseResult& c : r.cases) {
    j["cases"].push_back(case_json(c, same_as[&c]));
  }
  return j.dump(-1) + "\n";
}

}  // namespace conformance::report
