// aoe-pcap: the command line. It owns the options and the exit codes, and hands everything else to
// the rooms beside it.
#include <fmt/format.h>

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <bit>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>

#include "aoe_version.h"
#include "conformance/links/af_packet.h"
#include "conformance/observer/judge.h"
#include "conformance/observer/tracker.h"
#include "conformance/output/output_file.h"
#include "pcaps/tool/capture_reader.h"
#include "pcaps/tool/diff.h"
#include "pcaps/tool/extract.h"
#include "pcaps/tool/history.h"
#include "pcaps/tool/html_page.h"
#include "pcaps/tool/info_report.h"
#include "pcaps/tool/judge_report.h"
#include "pcaps/tool/reconstruct.h"
#include "pcaps/tool/replay.h"
#include "pcaps/tool/statistics.h"
#include "pcaps/tool/suite_report.h"

namespace pcaps {
namespace {

constexpr std::uint32_t kFindingsOnPage = 20;  // of each rule and session
constexpr int kExitGood = 0;
constexpr int kExitFindings = 1;
constexpr int kExitNothing = 77;  // there was nothing to judge
constexpr int kExitTrouble = 2;   // bad options, bad files, no interface

int complain(const std::string& message) {
  fmt::print(stderr, "aoe-pcap: {}\n", message);
  return kExitTrouble;
}

// What the reader left out or never got, on standard error. False when nothing could be read of it.
bool told_of(const CaptureReader& reader) {
  if (reader.frames() != 0 && reader.foreign() == reader.frames()) {
    complain(fmt::format(
        "{} holds frames of link type {}, not Ethernet: capture on the interface itself "
        "(tcpdump -i eth0), or on all of them (-i any)",
        reader.path(), link_name(reader.foreign_link())));
    return false;
  }
  if (reader.foreign() != 0) {
    fmt::print(stderr, "aoe-pcap: {}: {} frames of link type {} are left out\n", reader.path(),
               reader.foreign(), link_name(reader.foreign_link()));
  }
  if (reader.seen_twice() != 0) {
    fmt::print(stderr, "aoe-pcap: {}: {} frames were seen on two interfaces and count once\n",
               reader.path(), reader.seen_twice());
  }
  if (reader.drops().dropped != 0) {
    fmt::print(stderr, "aoe-pcap: {}: the capture says that it lost {} frames itself\n",
               reader.path(), reader.drops().dropped);
  }
  if (!reader.damage().empty()) {
    fmt::print(stderr, "aoe-pcap: {} is damaged after frame {} ({}): what is before that counts\n",
               reader.path(), reader.frames(), reader.damage());
  }
  return true;
}

// A capture and what of it counts. Nothing, after one clear line, when a term of --only is none.
std::optional<CaptureSpec> spec_of(const std::string& path, const std::vector<std::string>& only) {
  CaptureSpec spec(path);
  std::string error;
  auto selection = Selection::parse(only, error);
  if (!selection) {
    complain(error);
    return std::nullopt;
  }
  spec.only = std::move(*selection);
  return spec;
}

// The first signal ends the capture, and what was read is reported; a second one ends the program.
std::atomic<bool> stop_asked{false};
void ask_to_stop(int signal) {
  stop_asked = true;
  std::signal(signal, SIG_DFL);
}

// Runs the whole capture through the tracker. False, after one clear line, when it cannot be read.
bool run(const CaptureSpec& capture, Tracker& tracker,
         const std::function<void()>& after_each = nullptr) {
  std::string error;
  const auto reader = CaptureReader::open(capture, error);
  if (reader == nullptr) {
    complain(error);
    return false;
  }
  if (capture.live) {
    fmt::print(stderr, "aoe-pcap: listening on {}; ^C ends it with the report\n", capture.path);
  }
  CapturedFrame frame;
  while (reader->next(frame)) {
    tracker.on_frame(frame);
    if (after_each) {
      after_each();
    }
  }
  tracker.finish();
  return told_of(*reader);
}

bool write_out(const std::string& path, const std::string& content) {
  if (path.empty()) {
    std::fwrite(content.data(), 1, content.size(), stdout);
    return true;
  }
  output::write_file(path, content);
  return true;
}

struct InfoOptions {
  std::string file;
  std::vector<std::string> only;
  std::string format = "text";
  std::string output;
  std::string html;
};

int info(const InfoOptions& options) {
  output::try_destinations({options.output, options.html}, {options.file});
  const auto capture = spec_of(options.file, options.only);
  if (!capture) {
    return kExitTrouble;
  }
  auto tracker = std::make_unique<Tracker>();
  auto statistics = std::make_unique<Statistics>(*tracker);
  tracker->add_observer(statistics.get());
  std::unique_ptr<Judge> judge;
  if (!options.html.empty()) {
    judge = std::make_unique<Judge>(*tracker, kFindingsOnPage);
    tracker->add_observer(judge.get());
  }
  if (!run(*capture, *tracker)) {
    return kExitTrouble;
  }
  if (judge != nullptr) {
    const std::string title =
        options.file == "-" ? "standard input" : options.file.substr(options.file.rfind('/') + 1);
    if (!write_out(options.html, html_page(title, *statistics, *judge))) {
      return kExitTrouble;
    }
  }
  const std::string text =
      options.format == "json" ? info_json(*statistics).dump(2) + "\n" : info_text(*statistics);
  return write_out(options.output, text) ? kExitGood : kExitTrouble;
}

struct JudgeOptions {
  std::string file;
  std::vector<std::string> only;
  std::string format = "text";
  std::string output;
  std::vector<std::string> ignore;
  std::string fail_on = "fail";
  std::string baseline;
  std::uint32_t examples = 3;
  std::string interface;
  bool follow = false;
  bool list = false;
  bool complete = false;
  bool strict = false;
};

// Tells findings as they come, each the first few times in full, then whenever their number has
// doubled.
class Follower {
 public:
  Follower(const Judge& judge, const Tracker& tracker, std::FILE* to,
           const std::vector<std::string>& ignored)
      : judge_(judge), tracker_(tracker), to_(to), ignored_(ignored) {}

  void look() {
    bool told = false;
    seen_.resize(judge_.groups().size(), 0);
    for (std::size_t i = 0; i < seen_.size(); ++i) {
      const FindingGroup& group = judge_.groups()[i];
      if (group.count == seen_[i]) {
        continue;
      }
      const bool ignored =
          std::find(ignored_.begin(), ignored_.end(), facts_of(group.rule).name) != ignored_.end();
      for (std::uint64_t n = seen_[i]; n < group.count && !ignored; ++n) {
        if (n < group.examples.size()) {
          tell(group, group.examples[n]);
          told = true;
        } else if (std::has_single_bit(n + 1)) {
          fmt::print(to_, "{} {}: {} times by now\n", verdict_text(group.verdict),
                     facts_of(group.rule).name, n + 1);
          told = true;
        }
      }
      seen_[i] = group.count;
    }
    if (told) {
      std::fflush(to_);
    }
  }

 private:
  void tell(const FindingGroup& group, const Finding& finding) {
    std::string who;
    if (group.session != kNone) {
      const Session& session = tracker_.sessions()[group.session];
      who = fmt::format("{} -> {}", mac_text(session.initiator),
                        address_text(session.vlan, session.shelf, session.slot));
    }
    fmt::print(to_, "{}  frame {}  {} {} {} {}: {}\n", time_text(finding.time_ns), finding.frame,
               verdict_text(finding.verdict), side_text(facts_of(finding.rule).side),
               facts_of(finding.rule).name, who, finding.text);
  }

  const Judge& judge_;
  const Tracker& tracker_;
  std::FILE* to_;
  const std::vector<std::string>& ignored_;
  std::vector<std::uint64_t> seen_;  // by group
};

int judge(const JudgeOptions& options) {
  if (options.list) {
    for (const RuleFacts& facts : all_rules()) {
      fmt::print("{:4}  {:26} {:14} {:9}  {}\n", verdict_text(facts.verdict), facts.name,
                 facts.clause, side_text(facts.side), facts.text);
    }
    return kExitGood;
  }
  if (options.file.empty() == options.interface.empty()) {
    return complain(
        "judge needs a capture: give a pcap or pcapng file, - for standard input, or --interface");
  }
  auto capture =
      spec_of(options.interface.empty() ? options.file : options.interface, options.only);
  if (!capture) {
    return kExitTrouble;
  }
  capture->live = !options.interface.empty();
  capture->stop = &stop_asked;
  for (const std::string& name : options.ignore) {
    if (find_rule(name) == Rule::count) {
      return complain(fmt::format("--ignore {}: no such rule; see aoe-pcap judge --list", name));
    }
  }
  Baseline baseline;
  std::string error;
  if (!options.baseline.empty() && !read_baseline(options.baseline, baseline, error)) {
    return complain(error);
  }
  output::try_destinations({options.output}, {options.file});
  auto tracker = std::make_unique<Tracker>();
  if (options.complete) {
    tracker->claim_complete();
  }
  auto judge = std::make_unique<Judge>(*tracker, options.examples);
  tracker->add_observer(judge.get());
  const bool report_on_stdout = options.output.empty() || options.output == "-";
  Follower follower(*judge, *tracker,
                    options.format != "text" && report_on_stdout ? stderr : stdout, options.ignore);
  std::signal(SIGINT, ask_to_stop);
  std::signal(SIGTERM, ask_to_stop);
  if (!run(*capture, *tracker,
           options.follow ? std::function<void()>([&follower] { follower.look(); }) : nullptr)) {
    return kExitTrouble;
  }
  if (options.follow) {
    follower.look();  // what only the end has shown
    fmt::print("\n");
  }
  const JudgeReport report(capture->path, *tracker, *judge, options.ignore, std::move(baseline));
  if (!write_out(options.output,
                 options.format == "text" ? report.text() : suite_report(report, options.format))) {
    return kExitTrouble;
  }
  const std::string fail_on = options.strict ? "warn" : options.fail_on;
  const Verdict worst = fail_on == "info"   ? Verdict::info
                        : fail_on == "warn" ? Verdict::warn
                                            : Verdict::fail;
  if (fail_on != "never" && report.at_least(worst) != 0) {
    return kExitFindings;
  }
  if (const std::string nothing = report.nothing(); !nothing.empty()) {
    fmt::print(stderr, "aoe-pcap: {}\n", nothing);
    return kExitNothing;
  }
  return kExitGood;
}

struct ReconstructCommandOptions {
  std::string file;
  std::vector<std::string> only;
  std::string output;
  std::string map;
  std::string at = "after";
  std::string target;
};

bool is_regular_output(const std::string& path) {
  std::error_code none;
  const auto status = std::filesystem::status(path, none);
  return path != "-" && (!std::filesystem::exists(status) || is_regular_file(status));
}

int reconstruct(const ReconstructCommandOptions& options) {
  ReconstructOptions how;
  if (options.at == "before") {
    how.before = true;
  } else if (options.at != "after") {
    const char* end = options.at.data() + options.at.size();
    const auto [stop, code] = std::from_chars(options.at.data(), end, how.last_frame);
    if (code != std::errc() || stop != end || how.last_frame == 0) {
      return complain(
          fmt::format("--at {}: say before, after, or the number of a frame", options.at));
    }
  }
  if (!options.target.empty()) {
    how.target = parse_address(options.target);
    if (!how.target) {
      return complain(fmt::format(
          "--target {}: say shelf and slot, as in e1.1, or e1.1@5 in VLAN 5", options.target));
    }
  }
  const auto capture = spec_of(options.file, options.only);
  if (!capture) {
    return kExitTrouble;
  }
  std::string error;
  if (options.file != "-" && ::access(options.file.c_str(), R_OK) != 0) {
    CaptureReader::open(*capture, error);
    return complain(error);
  }
  // Beside a device there is no place for a map.
  const std::string map = !options.map.empty()                ? options.map
                          : is_regular_output(options.output) ? options.output + ".map"
                                                              : std::string();
  output::try_destinations({options.output, map}, {options.file});
  const auto image = ImageFile::create(options.output, {options.file}, error);
  if (image == nullptr) {
    return complain(error);
  }
  auto tracker = std::make_unique<Tracker>();
  Reconstructor reconstructor(*tracker, *image, how);
  tracker->add_observer(&reconstructor);
  if (!run(*capture, *tracker)) {
    return kExitTrouble;
  }
  if (!reconstructor.error().empty()) {
    return complain(reconstructor.error());
  }
  if (reconstructor.image_sectors() == 0) {
    return complain(
        fmt::format("{} tells nothing of any disk: no identify, read or write of a "
                    "chosen target in it",
                    options.file));
  }
  if (!image->finish(reconstructor.image_sectors())) {
    return complain(image->error());
  }
  if (!map.empty() && !write_out(map, reconstructor.map_text())) {
    return kExitTrouble;
  }
  // An image or a map on standard output has it to itself.
  const bool taken = options.output == "-" || map == "-";
  fmt::print(taken ? stderr : stdout, "{}", reconstructor.summary());
  return kExitGood;
}

struct ReplayCommandOptions {
  std::string file;
  std::vector<std::string> only;
  std::string interface;
  std::string target;
  std::string to;
  std::string speed = "1";
  std::string format = "text";
  std::string output;
  std::vector<std::string> ignore;
  std::vector<std::string> strict;
  std::vector<std::string> allow;
  std::string image;
  double timeout_s = 1;
  ReplayOptions replay;
};

// The allowed differences after --ignore and --strict. False after one clear line.
bool adjust_allowed(const std::vector<std::string>& ignore, const std::vector<std::string>& strict,
                    DifferenceSet& allowed) {
  for (const auto* list : {&ignore, &strict}) {
    for (const std::string& name : *list) {
      const Difference d = find_difference(name);
      if (d == Difference::count) {
        std::string names;
        for (std::size_t i = 0; i < kDifferences; ++i) {
          names += std::string(i == 0 ? "" : ", ") + difference_name(static_cast<Difference>(i));
        }
        complain(fmt::format("{}: no difference has that name; there are {}", name, names));
        return false;
      }
      allowed[static_cast<std::size_t>(d)] = list == &ignore;
    }
  }
  return true;
}

bool reconstruct_in_place(const CaptureSpec& capture, const std::string& image_path,
                          const TargetAddress& target) {
  std::string error;
  const auto image = ImageFile::open_in_place(image_path, error);
  if (image == nullptr) {
    complain(error);
    return false;
  }
  ReconstructOptions how;
  how.before = true;
  how.target = target;
  auto tracker = std::make_unique<Tracker>();
  Reconstructor reconstructor(*tracker, *image, how);
  tracker->add_observer(&reconstructor);
  if (!run(capture, *tracker)) {
    return false;
  }
  if (!reconstructor.error().empty() || !image->finish(0)) {
    complain(reconstructor.error().empty() ? image->error() : reconstructor.error());
    return false;
  }
  if (image->beyond() != 0) {
    fmt::print(
        stderr,
        "aoe-pcap: {}: {} sectors that the capture read lie beyond its end and are left out: "
        "the image keeps its size\n",
        image_path, image->beyond());
  }
  return true;
}

std::string target_text(const TargetAddress& target) {
  const std::string text = fmt::format("e{}.{}", target.shelf, target.slot);
  if (!target.vlan) {
    return text;
  }
  return *target.vlan == kNoVlan ? text + "@none" : text + fmt::format("@{}", *target.vlan);
}

int replay(ReplayCommandOptions& options) {
  ReplayOptions& how = options.replay;
  if (options.file == "-") {
    return complain("a replay reads its capture twice: give a file, not standard input");
  }
  if (options.speed == "max") {
    how.speed = 0;
  } else {
    char* end = nullptr;
    how.speed = std::strtod(options.speed.c_str(), &end);
    if (end == options.speed.c_str() || *end != '\0' || !(how.speed > 0)) {
      return complain(fmt::format("--speed {}: say how many times as fast, or max", options.speed));
    }
  }
  how.reply_timeout_ns = static_cast<Nanoseconds>(options.timeout_s * 1e9);
  if (!adjust_allowed(options.ignore, options.strict, how.allowed)) {
    return kExitTrouble;
  }
  for (const auto& [text, place] :
       {std::pair{&options.target, &how.from}, std::pair{&options.to, &how.to}}) {
    if (!text->empty()) {
      *place = parse_address(*text);
      if (!*place) {
        return complain(fmt::format("{}: say shelf and slot, as in e1.1", *text));
      }
      if (place == &how.to && how.to->vlan) {
        return complain(fmt::format(
            "--to {}: frames are sent without a VLAN tag; give the VLAN's interface instead",
            *text));
      }
    }
  }
  output::try_destinations({options.output, how.save_path, options.image}, {options.file});
  const auto capture = spec_of(options.file, options.only);
  if (!capture) {
    return kExitTrouble;
  }
  std::string error;
  const auto survey = ReplayPlan::survey(*capture, how.from, error);
  if (!survey) {
    return complain(error);
  }
  if (!how.from && survey->targets.size() > 1) {
    return complain(fmt::format("{} has {} targets: choose one with --target, as in {}",
                                options.file, survey->targets.size(),
                                target_text(survey->targets.front())));
  }
  if (!how.from && survey->targets.size() == 1) {
    how.from = survey->targets.front();
  }
  if (survey->requests == 0 || !how.from) {
    return complain(
        fmt::format("{} holds no request to a target that could be replayed", options.file));
  }
  if (!how.to) {
    how.to = how.from;
    how.to->vlan.reset();
  }
  const bool may_write =
      std::find(options.allow.begin(), options.allow.end(), "write") != options.allow.end();
  if ((survey->changes != 0 || !options.image.empty()) && !may_write) {
    return complain(fmt::format(
        "{} has {} requests that change the target (writes, sets of config, mask, reserve): "
        "nothing was sent; say --allow write if e{}.{} on {} may lose what it holds",
        options.file, survey->changes, how.to->shelf, how.to->slot, options.interface));
  }
  if (!options.image.empty() && !reconstruct_in_place(*capture, options.image, *how.from)) {
    return kExitTrouble;
  }
  const auto plan = ReplayPlan::open(*capture, how.from, error);
  if (plan == nullptr) {
    return complain(error);
  }
  conformance::links::AfPacketLink link(options.interface);
  const std::uint64_t room = link.mtu() + kEthernetHeaderBytes;
  if (survey->frame_bytes_max > room) {
    return complain(fmt::format(
        "{} has a frame of {} bytes to or from {}, {} carries {}: nothing was sent; ip link set {} "
        "mtu {}, and the same at the target",
        options.file, survey->frame_bytes_max, target_text(*how.from), options.interface, room,
        options.interface, survey->frame_bytes_max - kEthernetHeaderBytes));
  }
  Replayer replayer(link, how, survey->initiators);
  ReplayResult result;
  if (!replayer.run(*plan, result, error)) {
    return complain(error);
  }
  if (const auto lost = link.not_taken(); lost.frames > 0) {
    complain(fmt::format("{} frames were not sent: {}", lost.frames, lost.last));
  }
  const std::string text =
      options.format == "json" ? result.to_json().dump(2) + "\n" : result.to_text();
  if (!write_out(options.output, text)) {
    return kExitTrouble;
  }
  return result.passed() ? kExitGood : kExitFindings;
}

struct DiffCommandOptions {
  std::vector<std::string> only;
  std::string a;
  std::string b;
  std::string format = "text";
  std::string output;
  std::vector<std::string> ignore;
  std::vector<std::string> strict;
};

int diff(const DiffCommandOptions& options) {
  DifferenceSet allowed = allowed_by_default();
  if (!adjust_allowed(options.ignore, options.strict, allowed)) {
    return kExitTrouble;
  }
  output::try_destinations({options.output}, {options.a, options.b});
  std::string error;
  const auto a = spec_of(options.a, options.only);
  const auto b = spec_of(options.b, options.only);
  if (!a || !b) {
    return kExitTrouble;
  }
  const auto result = diff_captures(*a, *b, allowed, error);
  if (!result) {
    return complain(error);
  }
  const std::string text =
      options.format == "json" ? result->to_json().dump(2) + "\n" : result->to_text();
  if (!write_out(options.output, text)) {
    return kExitTrouble;
  }
  return result->same() ? kExitGood : kExitFindings;
}

struct HistoryCommandOptions {
  std::string file;
  std::vector<std::string> only;
  std::string lba;
  std::string tag;
  std::string format = "text";
  std::string output;
};

// Decimal, or hexadecimal after 0x.
template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  const bool hex = text.substr(0, 2) == "0x";
  text.remove_prefix(hex ? 2 : 0);
  Number value = 0;
  const auto [stop, code] =
      std::from_chars(text.data(), text.data() + text.size(), value, hex ? 16 : 10);
  if (text.empty() || code != std::errc() || stop != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

int history(const HistoryCommandOptions& options) {
  HistoryOptions how;
  if (options.lba.empty() == options.tag.empty()) {
    return complain("history: say either --lba N or --tag T");
  }
  if (!options.lba.empty() && !(how.lba = parse_number<std::uint64_t>(options.lba))) {
    return complain(fmt::format("--lba {}: say the number of a sector", options.lba));
  }
  if (!options.tag.empty() && !(how.tag = parse_number<std::uint32_t>(options.tag))) {
    return complain(fmt::format("--tag {}: say a tag, as in 0x0001dcc9", options.tag));
  }
  const auto capture = spec_of(options.file, options.only);
  if (!capture) {
    return kExitTrouble;
  }
  auto tracker = std::make_unique<Tracker>();
  const bool json = options.format == "json";
  constexpr std::size_t kEventsMax = 100'000;
  std::string text;
  auto list = nlohmann::ordered_json::array();
  std::uint64_t left_out = 0;
  std::uint64_t stale = 0;
  History history(*tracker, how, [&](const HistoryEvent& event) {
    stale += event.stale ? 1 : 0;
    if (list.size() + left_out >= kEventsMax) {
      ++left_out;
      return;
    }
    std::string from;
    std::string to;
    if (event.session != kNone) {
      const Session& session = tracker->sessions()[event.session];
      from = mac_text(session.initiator);
      to = address_text(session.vlan, session.shelf, session.slot);
    }
    if (!json) {
      text += fmt::format("{}  frame {:<7} {} {} {}  tag 0x{:08x}  {}\n", time_text(event.time_ns),
                          event.frame, from, event.from_target ? "<-" : "->", to, event.tag,
                          event.text);
    }
    list.push_back(json ? nlohmann::ordered_json{{"frame", event.frame},
                                                 {"time", time_iso(event.time_ns)},
                                                 {"initiator", from},
                                                 {"target", to},
                                                 {"from_target", event.from_target},
                                                 {"tag", fmt::format("0x{:08x}", event.tag)},
                                                 {"stale", event.stale},
                                                 {"text", event.text}}
                        : nlohmann::ordered_json());
  });
  tracker->add_observer(&history);
  if (!run(*capture, *tracker)) {
    return kExitTrouble;
  }
  const std::string what =
      how.lba ? fmt::format("sector {}", *how.lba) : fmt::format("tag 0x{:08x}", *how.tag);
  if (json) {
    nlohmann::ordered_json j{{"events", list}, {"left_out", left_out}, {"stale", stale}};
    text = j.dump(2) + "\n";
  } else if (history.events() == 0) {
    text = fmt::format("no frame in {} concerns {}\n", options.file, what);
  } else {
    text += left_out == 0 ? "" : fmt::format("and {} more\n", left_out);
    text += fmt::format("{}: {} events, {} of them old data after an answered write\n", what,
                        history.events(), stale);
  }
  return write_out(options.output, text) ? kExitGood : kExitTrouble;
}

// What is wrong with the words, in one line; --help and --version as they are.
int say_usage(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) {
    return app.exit(error);
  }
  std::string what = error.what();
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    what = "unknown option or word" + what.substr(std::min(what.size(), what.find(':')));
  }
  fmt::print(stderr, "aoe-pcap: {} (see aoe-pcap COMMAND --help)\n", what);
  return kExitTrouble;
}

struct ExtractCommandOptions {
  std::string file;
  std::vector<std::string> only;
  std::string output;
  std::uint64_t finding = 0;
  bool complete = false;
};

int extract(const ExtractCommandOptions& options) {
  if (options.file == "-") {
    return complain("extract reads its capture several times: give a file, not standard input");
  }
  const auto capture = spec_of(options.file, options.only);
  if (!capture) {
    return kExitTrouble;
  }
  std::string error;
  const auto findings = findings_of(*capture, options.complete, error);
  if (!findings) {
    return complain(error);
  }
  if (options.finding == 0) {
    for (std::size_t i = 0; i < findings->size(); ++i) {
      const Finding& f = (*findings)[i];
      fmt::print("{:>4}  frame {:<7} {} {} {}: {}\n", i + 1, f.frame, verdict_text(f.verdict),
                 side_text(facts_of(f.rule).side), facts_of(f.rule).name, f.text);
    }
    return kExitGood;
  }
  if (options.finding > findings->size()) {
    return complain(fmt::format(
        "--finding {}: the judge has {} findings in {}; without --finding they are listed",
        options.finding, findings->size(), options.file));
  }
  if (options.output.empty()) {
    return complain("extract: say with -o where the small capture goes");
  }
  std::error_code unknown;
  if (std::filesystem::equivalent(options.file, options.output, unknown)) {
    return complain(
        fmt::format("-o {}: that is the capture itself; choose another place", options.output));
  }
  const Finding& finding = (*findings)[options.finding - 1];
  const auto result = extract_finding(*capture, finding, options.complete, options.output, error);
  if (!result) {
    return complain(error);
  }
  fmt::print("{}: {} frames, {}; the finding is at the last one\n", options.output, result->frames,
             result->kept);
  return kExitGood;
}

int main_of(int argc, char** argv) {
  CLI::App app("Captures of ATA over Ethernet: judged, replayed, and turned back into disks.",
               "aoe-pcap");
  app.set_version_flag("--version", fmt::format("aoe-pcap {}", aoe_version()));
  app.require_subcommand(1);
  int result = kExitGood;

  InfoOptions info_options;
  CLI::App* info_command = app.add_subcommand("info", "who talked, how fast, what went unanswered");
  info_command->add_option("FILE", info_options.file, "pcap or pcapng; - is standard input")
      ->required();
  info_command->add_option("--format", info_options.format, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
  info_command->add_option("-o,--output", info_options.output, "write there instead of stdout");
  info_command->add_option("--html", info_options.html, "also write a page with plots there");
  info_command->callback([&] { result = info(info_options); });

  JudgeOptions judge_options;
  std::vector<std::string> judge_formats = suite_formats();
  judge_formats.insert(judge_formats.begin(), "text");
  CLI::App* judge_command = app.add_subcommand("judge", "which clauses did either side break");
  judge_command->add_option("FILE", judge_options.file, "pcap or pcapng; - is standard input");
  judge_command->add_option("--interface", judge_options.interface,
                            "judge what passes this interface, until ^C");
  judge_command->add_flag("--follow", judge_options.follow, "tell findings as they come");
  judge_command->add_flag("--list", judge_options.list, "the rules, with their clauses");
  judge_command
      ->add_option("--format", judge_options.format, "text, or as the suite: tap, junit, json")
      ->check(CLI::IsMember(judge_formats));
  judge_command->add_option("-o,--output", judge_options.output, "write there instead of stdout");
  judge_command->add_option("--ignore", judge_options.ignore,
                            "leave this rule out; may be repeated");
  judge_command->add_option("--examples", judge_options.examples,
                            "findings shown in full for each rule and session");
  judge_command->add_flag("--complete", judge_options.complete,
                          "the tap saw every frame that the targets got and sent, from the start");
  judge_command->add_option("--fail-on", judge_options.fail_on, "what exit code 1 stands for")
      ->check(CLI::IsMember({"fail", "warn", "info", "never"}));
  judge_command->add_flag("--strict", judge_options.strict, "the same as --fail-on warn");
  judge_command->add_option("--baseline", judge_options.baseline,
                            "a report in JSON: what it holds is known, and no reason to fail");
  judge_command->callback([&] { result = judge(judge_options); });

  ReconstructCommandOptions reconstruct_options;
  CLI::App* reconstruct_command =
      app.add_subcommand("reconstruct", "the disk image that the capture implies");
  reconstruct_command
      ->add_option("FILE", reconstruct_options.file, "pcap or pcapng; - is standard input")
      ->required();
  reconstruct_command->add_option("-o,--output", reconstruct_options.output, "the image to write")
      ->required();
  reconstruct_command->add_option("--map", reconstruct_options.map,
                                  "where the map of what is known goes (default: IMAGE.map)");
  reconstruct_command->add_option(
      "--at", reconstruct_options.at,
      "before (what reads saw), after (what writes left), or as of a frame");
  reconstruct_command->add_option("--target", reconstruct_options.target,
                                  "shelf and slot, when the capture has several");
  reconstruct_command->callback([&] { result = reconstruct(reconstruct_options); });

  ReplayCommandOptions replay_options;
  CLI::App* replay_command =
      app.add_subcommand("replay", "the capture's requests against a live target");
  replay_command->add_option("FILE", replay_options.file, "pcap or pcapng")->required();
  replay_command->add_option("--interface,-i", replay_options.interface, "send and listen there")
      ->required();
  replay_command->add_option("--target", replay_options.target,
                             "shelf and slot in the capture, when it has several");
  replay_command->add_option("--to", replay_options.to,
                             "shelf and slot of the live target (default: as captured)");
  replay_command->add_option("--speed", replay_options.speed,
                             "how many times as fast as captured, or max");
  replay_command
      ->add_option("--outstanding", replay_options.replay.outstanding,
                   "most requests without a reply at any time")
      ->check(CLI::Range(1, 65'536));
  replay_command->add_option("--tag-offset", replay_options.replay.tag_offset,
                             "added to every tag, in the byte order that the initiator promised");
  replay_command->add_flag("--keep-addresses", replay_options.replay.keep_addresses,
                           "send from the captured initiators' addresses");
  replay_command->add_option("--allow", replay_options.allow, "write: the target may be changed")
      ->check(CLI::IsMember({"write"}));
  replay_command->add_option("--ignore", replay_options.ignore,
                             "a difference that is no failure; may be repeated");
  replay_command->add_option("--strict", replay_options.strict,
                             "a difference that is a failure; may be repeated");
  replay_command
      ->add_option("--timeout", replay_options.timeout_s, "seconds before a request is sent again")
      ->check(CLI::Range(0.001, 3600.0));
  replay_command
      ->add_option("--tries", replay_options.replay.tries_max, "times that a request is sent")
      ->check(CLI::Range(1, 1'000));
  replay_command->add_option("--save", replay_options.replay.save_path,
                             "a capture of the replay, in nanoseconds");
  replay_command->add_option("--reconstruct", replay_options.image,
                             "first write what the capture's reads saw into the target's image");
  replay_command->add_option("--format", replay_options.format, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
  replay_command->add_option("-o,--output", replay_options.output, "write there instead of stdout");
  replay_command->callback([&] { result = replay(replay_options); });

  DiffCommandOptions diff_options;
  CLI::App* diff_command = app.add_subcommand("diff", "two captures of the same workload");
  diff_command->add_option("A", diff_options.a, "pcap or pcapng")->required();
  diff_command->add_option("B", diff_options.b, "pcap or pcapng")->required();
  diff_command->add_option("--ignore", diff_options.ignore, "a difference that is none");
  diff_command->add_option("--strict", diff_options.strict, "a difference that is one");
  diff_command->add_option("--format", diff_options.format, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
  diff_command->add_option("-o,--output", diff_options.output, "write there instead of stdout");
  diff_command->callback([&] { result = diff(diff_options); });

  HistoryCommandOptions history_options;
  CLI::App* history_command =
      app.add_subcommand("history", "who wrote a sector, who read it, and whose data that was");
  history_command->add_option("FILE", history_options.file, "pcap or pcapng; - is standard input")
      ->required();
  history_command->add_option("--lba", history_options.lba, "the sector");
  history_command->add_option("--tag", history_options.tag, "or: everything under this tag");
  history_command->add_option("--format", history_options.format, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
  history_command->add_option("-o,--output", history_options.output,
                              "write there instead of stdout");
  history_command->callback([&] { result = history(history_options); });

  ExtractCommandOptions extract_options;
  CLI::App* extract_command =
      app.add_subcommand("extract", "the frames that prove a finding, as a small capture");
  extract_command->add_option("FILE", extract_options.file, "pcap or pcapng")->required();
  extract_command->add_option("--finding", extract_options.finding,
                              "the number of a finding; without it they are listed");
  extract_command->add_option("-o,--output", extract_options.output, "the capture to write");
  extract_command->add_flag("--complete", extract_options.complete,
                            "the tap saw every frame, as for judge");
  extract_command->callback([&] { result = extract(extract_options); });

  const std::vector<std::pair<CLI::App*, std::vector<std::string>*>> selecting{
      {extract_command, &extract_options.only}, {info_command, &info_options.only},
      {judge_command, &judge_options.only},     {reconstruct_command, &reconstruct_options.only},
      {replay_command, &replay_options.only},   {diff_command, &diff_options.only},
      {history_command, &history_options.only}};
  for (const auto& [command, only] : selecting) {
    command->add_option("--only", *only,
                        "target=e1.1, initiator=MAC, vlan=N, frames=A-B, time=FROM/TO; repeatable");
  }

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return say_usage(app, error);
  }
  return result;
}

}  // namespace
}  // namespace pcaps

int main(int argc, char** argv) {
  try {
    const int code = pcaps::main_of(argc, argv);
    return output::printed_whole("aoe-pcap") ? code : 2;
  } catch (const std::exception& error) {
    fmt::print(stderr, "aoe-pcap: {}\n", error.what());
    return 2;
  }
}
