// What the faces of a report share.

#include "conformance/report/words.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace conformance::report {

bool is_bad(Verdict verdict) {
  return verdict == Verdict::fail || verdict == Verdict::error || verdict == Verdict::inconclusive;
}

bool needs_telling(Verdict verdict) {
  return is_bad(verdict) || verdict == Verdict::warn;
}

const Finding* deciding(const CaseResult& c) {
  const Finding* found = nullptr;
  for (const Finding& f : c.findings) {
    if (f.verdict == c.verdict && (found == nullptr || f.headline == c.reason)) {
      found = &f;
    }
  }
  return found;
}

std::string family_of(const std::string& id) {
  return id.substr(0, id.find('.'));
}

std::string clause_text(const std::string& id) {
  const Clause* clause = Registry::all().clause(id);
  return clause == nullptr ? id
                           : fmt::format("{} ({}, {}, {}): {}", id, clause->document,
                                         clause->section, to_string(clause->level), clause->text);
}

std::string asked(const CaseResult& c, const Finding& f) {
  const auto request = std::find_if(f.frames.begin(), f.frames.end(), [](const ShownFrame& frame) {
    return frame.role == FrameRole::request;
  });
  if (request == f.frames.end()) {
    return {};
  }
  std::string out = observer::summary(request->bytes);
  if (request->sent > 1) {
    out += fmt::format(", sent {} times", request->sent);
  }
  uint64_t before = 0;
  for (const CaseFrame& frame : c.frames) {
    if (frame.outgoing && frame.bytes == request->bytes) {
      break;
    }
    before += frame.outgoing && frame.role == FrameRole::setup ? 1 : 0;
  }
  if (before > 0) {
    out += fmt::format(" (after {} other request{})", before, before == 1 ? "" : "s");
  }
  return out;
}

std::string flicker(const CaseResult& c) {
  std::map<Verdict, size_t> n;
  for (const Verdict v : c.repetitions) {
    ++n[v];
  }
  std::string out;
  for (const auto& [verdict, count] : n) {
    out += fmt::format("{}{} {}", out.empty() ? "" : ", ", count, to_string(verdict));
  }
  return n.size() < 2 ? std::string() : out;
}

std::string verdict_text(const Report& r) {
  const auto n = r.counts();
  const auto some = [](size_t count, const char* what) {
    return fmt::format("{} {}{}", count, "case", count == 1 ? "" : "s") + what;
  };
  size_t unknown = 0;
  for (const CaseResult& c : r.cases) {
    unknown += c.verdict == Verdict::fail && c.known.empty() ? 1 : 0;
  }
  const size_t not_run = n.at(Verdict::skip);
  const std::string rest =
      not_run == 0 ? std::string() : fmt::format("; {} did not run", some(not_run, ""));
  switch (r.exit_code) {
    case 0:
      return fmt::format("PASSED: nothing that was asked breaks a MUST{}{}",
                         r.baseline_used ? " beyond what the baseline knows" : "", rest);
    case 1:
      return unknown > 0 ? fmt::format("FAILED: {} a MUST{}",
                                       some(unknown, unknown == 1 ? " breaks" : " break"), rest)
             : !r.baseline_surprises.empty()
                 ? fmt::format("FAILED: {} surprise{} against the baseline{}",
                               r.baseline_surprises.size(),
                               r.baseline_surprises.size() == 1 ? "" : "s", rest)
                 : fmt::format("FAILED: a verdict of --fail-on came up{}", rest);
    case 3:
      return "UNREACHABLE: " + r.trouble;
    case 4:
      return fmt::format("INCONCLUSIVE: {}", r.trouble.empty() ? some(n.at(Verdict::inconclusive),
                                                                      " could not be judged")
                                                               : r.trouble);
    case 5:
      return fmt::format("ERROR: {} met an error of the suite itself",
                         some(n.at(Verdict::error), ""));
    case 77:
      return "NOTHING RAN: every case was skipped, which is no pass";
    default:
      return fmt::format("exit code {}", r.exit_code);
  }
}

std::vector<Cause> causes(const Report& r) {
  std::vector<Cause> out;
  std::map<std::string, size_t> index;
  for (const CaseResult& c : r.cases) {
    if (!needs_telling(c.verdict)) {
      continue;
    }
    const Finding* f = deciding(c);
    std::string key = to_string(c.verdict) + '\n' + c.known + '\n';
    key += f == nullptr       ? c.reason
           : f->cause.empty() ? f->headline + '\n' + f->clause + '\n' + f->expected + '\n' + f->got
                              : f->cause;
    const auto [it, is_new] = index.emplace(key, out.size());
    if (is_new) {
      out.push_back({&c, {}});
    } else {
      out[it->second].others.push_back(&c);
    }
  }
  return out;
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

std::string printable(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    out += (u >= 0x20 && u < 0x7f) || c == '\n' || c == '\t' ? c : '?';
  }
  return out;
}

}  // namespace conformance::report
