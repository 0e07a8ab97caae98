// A run for people, on a terminal: each failure at most a screen, what failed for one reason told
// once, and at the end what one came for.

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <sstream>

#include "conformance/report/words.h"

namespace conformance::report {

namespace {

constexpr const char* kMarkOn = "\033[1;31m";
constexpr const char* kOff = "\033[0m";

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    out.push_back(line);
  }
  return out;
}

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

std::string said_text(const std::string& said) {
  return said.empty()
             ? std::string()
             : "  the target said:\n" + indent(printable(said)) + (said.back() == '\n' ? "" : "\n");
}

// The last lines of it, where all of it would fill the screen.
std::string said_shortly(const std::string& said) {
  constexpr size_t lines_max = 4;
  const auto lines = lines_of(said);
  std::string out;
  for (size_t i = lines.size() - std::min(lines.size(), lines_max); i < lines.size(); ++i) {
    out += fmt::format("    {}\n", printable(lines[i]));
  }
  return out.empty() ? out : "  the target said:\n" + out;
}

std::string in_red(const std::string& line, bool colour) {
  return colour ? kMarkOn + line + kOff : line;
}

// Of a decoded frame the marked fields and their neighbours; without marks, the AoE header on.
std::string fields_excerpt(const observer::Bytes& bytes, const observer::Marks& marks,
                           const observer::Hints& hints, bool colour) {
  constexpr size_t around = 2;
  constexpr size_t lines_max = 9;
  constexpr size_t ethernet_lines = 3;
  const auto lines = lines_of(observer::dump(bytes, marks, hints));
  const auto is_marked = [&](size_t i) { return lines[i].rfind(">>", 0) == 0; };
  std::vector<bool> shown(lines.size(), false);
  bool any = false;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (is_marked(i)) {
      any = true;
      for (size_t j = i - std::min(i, around); j < std::min(lines.size(), i + around + 1); ++j) {
        shown[j] = true;
      }
    }
  }
  for (size_t i = ethernet_lines; !any && i < lines.size(); ++i) {
    shown[i] = true;
  }
  std::string out;
  size_t told = 0;
  bool gap = false;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (!shown[i] || (told >= lines_max && !is_marked(i)) || told >= 2 * lines_max) {
      gap = true;
      continue;
    }
    out += gap && told > 0 ? "         ...\n" : "";
    out += "    " + in_red(lines[i], colour && is_marked(i)) + "\n";
    gap = false;
    ++told;
  }
  return out;
}

// The lines of a hexdump that hold marked bytes.
std::string bytes_excerpt(const observer::Bytes& bytes, const observer::Marks& marks, bool colour) {
  constexpr size_t pairs_max = 3;
  const auto lines = lines_of(observer::hexdump(bytes, marks));
  std::string out;
  size_t pairs = 0;
  for (size_t i = 1; i < lines.size() && pairs < pairs_max; ++i) {
    if (lines[i].find('^') != std::string::npos) {
      out += "    " + lines[i - 1] + "\n    " + in_red(lines[i], colour) + "\n";
      ++pairs;
    }
  }
  return out;
}

std::string frame_excerpt(const Finding& f, bool colour) {
  const ShownFrame* request = nullptr;
  const ShownFrame* shown = nullptr;
  for (const ShownFrame& frame : f.frames) {
    (frame.role == FrameRole::request ? request : shown) = &frame;
  }
  if (shown == nullptr) {
    shown = request;
  }
  if (shown == nullptr) {
    return {};
  }
  observer::Hints hints;
  if (shown != request && request != nullptr) {
    hints.request = &request->bytes;
  }
  const char* what = shown == request                  ? "request, without a reply"
                     : shown->role == FrameRole::stray ? "no reply; this came instead"
                     : request == nullptr              ? "unasked for"
                                                       : "reply";
  return fmt::format("  {} ({} bytes):\n", what, shown->bytes.size()) +
         fields_excerpt(shown->bytes, shown->marks, hints, colour) +
         bytes_excerpt(shown->bytes, shown->marks, colour);
}

std::string head_line(const CaseResult& c, bool colour) {
  return fmt::format("{} [{}] {}{}\n", coloured(c.verdict, colour), to_string(c.level), c.id,
                     c.reason.empty() ? "" : ": " + c.reason);
}

std::string finding_lines(const CaseResult& c, const Finding& f) {
  std::string out;
  if (!f.clause.empty()) {
    out += fmt::format("  clause:   {}\n", clause_text(f.clause));
  }
  const std::string question = asked(c, f);
  if (!question.empty()) {
    out += fmt::format("  asked:    {}\n", question);
  }
  if (!f.expected.empty()) {
    out += fmt::format("  expected: {}\n", f.expected);
  }
  if (!f.got.empty()) {
    out += fmt::format("  got:      {}\n", f.got);
  }
  return out;
}

std::string closing_lines(const CaseResult& c) {
  std::string out;
  if (c.started_ns != 0) {
    out += fmt::format("  began:    {}, {:.3f} ms\n", time_text(c.started_ns), c.duration_ms);
  }
  if (!c.capture.empty()) {
    out += fmt::format("  capture:  {}\n", c.capture);
  }
  if (!c.repeat.empty()) {
    out += fmt::format("  repeat:   {}\n", c.repeat);
  }
  return out;
}

// At most a screen.
std::string block(const CaseResult& c, const TextOptions& options) {
  std::string out = head_line(c, options.colour);
  if (!c.known.empty()) {
    out += fmt::format("  known: {}\n", c.known);
  }
  out += flicker(c).empty() ? "" : fmt::format("  flickers: {}\n", flicker(c));
  const Finding* main = deciding(c);
  if (main != nullptr) {
    out += finding_lines(c, *main);
    out += options.detail == Detail::brief ? "" : frame_excerpt(*main, options.colour);
  }
  if (options.detail == Detail::brief) {
    return out;
  }
  constexpr size_t others_max = 4;
  size_t others = 0;
  for (const Finding& f : c.findings) {
    if (&f != main && f.verdict != Verdict::info && others++ < others_max) {
      out += fmt::format("  also {}: {}\n", to_string(f.verdict), f.headline);
    }
  }
  return out + said_shortly(c.target_said) + closing_lines(c);
}

// With every finding, and every byte of its frames.
std::string whole_block(const CaseResult& c, const TextOptions& options) {
  std::string out = head_line(c, options.colour);
  if (!c.known.empty()) {
    out += fmt::format("  known: {}\n", c.known);
  }
  std::set<std::string> told = {c.reason};
  for (const Finding& f : c.findings) {
    if (f.verdict == Verdict::info) {
      out += told.insert(f.headline).second ? fmt::format("  info: {}\n", f.headline) : "";
      continue;
    }
    out += fmt::format("  {}: {}\n", to_string(f.verdict), f.headline);
    out += finding_lines(c, f) + evidence_text(f);
  }
  out += said_text(c.target_said);
  return c.verdict == Verdict::info ? out : out + closing_lines(c);
}

std::string others_text(const Cause& cause, bool all) {
  if (cause.others.empty()) {
    return {};
  }
  constexpr size_t told_max = 6;
  std::string out = fmt::format("  and for the same reason {} more: ", cause.others.size());
  for (size_t i = 0; i < cause.others.size(); ++i) {
    if (!all && i == told_max) {
      return out + ", ...\n";
    }
    out += (i == 0 ? "" : ", ") + cause.others[i]->id;
  }
  return out + "\n";
}

// A line for each family, with the verdicts that came up.
std::string family_table(const Report& r, bool colour) {
  std::vector<std::string> order;
  std::map<std::string, std::map<Verdict, size_t>> table;
  size_t width = 6;
  for (const CaseResult& c : r.cases) {
    const std::string family = family_of(c.id);
    if (table.find(family) == table.end()) {
      order.push_back(family);
      width = std::max(width, family.size());
    }
    ++table[family][c.verdict];
  }
  const auto n = r.counts();
  std::string out = fmt::format("{:<{}}  cases", "family", width);
  for (const Verdict v : kVerdicts) {
    out += n.at(v) > 0 ? fmt::format("  {}", coloured(v, colour)) : "";
  }
  out += "\n";
  for (const std::string& family : order) {
    size_t sum = 0;
    for (const auto& [verdict, count] : table[family]) {
      sum += count;
    }
    out += fmt::format("{:<{}}  {:>5}", family, width, sum);
    for (const Verdict v : kVerdicts) {
      if (n.at(v) > 0) {
        const size_t count = table[family][v];
        out +=
            fmt::format("  {:>{}}", count == 0 ? "-" : std::to_string(count), to_string(v).size());
      }
    }
    out += "\n";
  }
  for (const std::string& note : r.notes) {
    out += note + "\n";
  }
  if (!r.path_trouble.empty()) {
    out += "link: " + r.path_trouble + "\n";
  }
  if (r.link.interfered()) {
    const auto again = std::count_if(r.cases.begin(), r.cases.end(),
                                     [](const CaseResult& c) { return c.attempts > 1; });
    out += fmt::format("link: of {} questions: {}; {} cases were asked again for it\n",
                       r.link.asked, links::to_string(r.link), again);
  }
  return out;
}

std::string counts_line(const Report& r, bool colour) {
  std::string line;
  for (const auto& [verdict, n] : r.counts()) {
    if (n > 0) {
      line += fmt::format("{}{} {}", line.empty() ? "" : ", ", n, coloured(verdict, colour));
    }
  }
  return fmt::format(
      "{} cases: {}. {} frames sent, {} requests had to be repeated, round trip {:.0f} us, {:.2f} "
      "s.\n",
      r.cases.size(), line, r.frames_sent, r.link.lost, r.rtt_us, r.duration_ms / 1000);
}

std::string failed_ids(const Report& r) {
  std::string out;
  for (const CaseResult& c : r.cases) {
    if (is_bad(c.verdict) && c.known.empty() && c.reason.rfind("did not run: ", 0) != 0) {
      out += fmt::format("  {:<12}  {}\n", to_string(c.verdict), c.id);
    }
  }
  return out;
}

std::string causes_text(const Report& r, const TextOptions& options) {
  std::string out;
  const bool full = options.detail == Detail::full;
  for (const Cause& cause : causes(r)) {
    out += full ? whole_block(*cause.first, options) : block(*cause.first, options);
    out += others_text(cause, full) + "\n";
  }
  return out;
}

// What did not run, by reason.
std::string quiet_text(const Report& r, bool names) {
  std::map<std::string, std::vector<std::string>> quiet;
  for (const CaseResult& c : r.cases) {
    if (c.verdict == Verdict::skip || c.verdict == Verdict::unsupported) {
      quiet[to_string(c.verdict) + ": " + c.reason].push_back(c.id);
    }
  }
  std::string out;
  for (const auto& [reason, ids] : quiet) {
    out += fmt::format("{} ({})\n", reason, ids.size());
    for (size_t i = 0; names && i < ids.size(); ++i) {
      out += fmt::format("    {}\n", ids[i]);
    }
  }
  return out;
}

}  // namespace

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

std::string to_text(const Report& r, const TextOptions& options) {
  const bool quiet = options.detail == Detail::quiet;
  const bool brief = options.detail == Detail::brief;
  const bool full = options.detail == Detail::full;
  std::string out;
  if (!quiet) {
    out += fmt::format("aoe-conformance {}\ncommand: {}\nbegan:   {}\n{}\n\n", r.version, r.command,
                       time_text(r.started_ns), target_line(r));
  }
  if (full) {  // what passed, or is only worth a remark, first: failures stand near the end
    for (const CaseResult& c : r.cases) {
      out += needs_telling(c.verdict) ? "" : whole_block(c, options);
    }
    out += "\n";
  } else if (!quiet && !brief) {
    for (const CaseResult& c : r.cases) {
      out += c.verdict == Verdict::info ? whole_block(c, options) : "";
    }
    out += r.counts().at(Verdict::info) > 0 ? "\n" : "";
  }
  out += quiet ? "" : causes_text(r, options);
  out += quiet || brief ? "" : quiet_text(r, full);
  if (r.baseline_used) {
    for (const std::string& s : r.baseline_surprises) {
      out += fmt::format("baseline: {}\n", s);
    }
    if (r.baseline_surprises.empty() && !quiet) {
      out += "baseline: everything is as it is known\n";
    }
  }
  if (!r.trouble.empty()) {
    out += fmt::format("\nTHE RUN IS NOT COMPLETE: {}\n", r.trouble);
    out += quiet ? "" : said_text(r.target_said);
  }
  const std::string failed = failed_ids(r);
  if (!failed.empty()) {
    out += "\nfailed:\n" + failed;
  }
  std::string flickering;
  for (const CaseResult& c : r.cases) {
    flickering += flicker(c).empty() ? "" : fmt::format("  {}: {}\n", c.id, flicker(c));
  }
  out += flickering.empty() ? "" : "\nnot the same each time:\n" + flickering;
  if (!quiet) {
    out += "\n" + family_table(r, options.colour) + "\n" + counts_line(r, options.colour);
  }
  out += verdict_text(r) + "\n";
  if (!r.undo_file.empty()) {
    out += fmt::format(
        "NOT EVERYTHING WAS PUT BACK on {}.{}: aoe-conformance restore --undo-file {}\n",
        r.target.shelf, r.target.slot, r.undo_file);
  }
  return out;
}

}  // namespace conformance::report
