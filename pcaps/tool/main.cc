// aoe-pcap: the command line. It owns the options and the exit codes, and hands everything else to
// the rooms beside it.
#include <fmt/format.h>

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdio>
#include <fstream>
#include <memory>
#include <string>

#include "pcaps/tool/capture_reader.h"
#include "pcaps/tool/judge.h"
#include "pcaps/tool/judge_report.h"
#include "pcaps/tool/reconstruct.h"
#include "pcaps/tool/statistics.h"
#include "pcaps/tool/tracker.h"

namespace pcaps {
namespace {

constexpr int kExitGood = 0;
constexpr int kExitFindings = 1;
constexpr int kExitTrouble = 2;  // bad options, bad files, no interface

int complain(const std::string& message) {
  fmt::print(stderr, "aoe-pcap: {}\n", message);
  return kExitTrouble;
}

// Runs the whole capture through the tracker. False, after one clear line, when it cannot be read.
bool run(const std::string& path, Tracker& tracker) {
  std::string error;
  const auto reader = CaptureReader::open(path, error);
  if (reader == nullptr) {
    complain(error);
    return false;
  }
  CapturedFrame frame;
  while (reader->next(frame)) {
    tracker.on_frame(frame);
  }
  tracker.finish();
  if (!reader->damage().empty()) {
    fmt::print(stderr, "aoe-pcap: {} is damaged after frame {} ({}): what is before that counts\n",
               path, reader->frames(), reader->damage());
  }
  return true;
}

bool write_out(const std::string& path, const std::string& content) {
  if (path.empty() || path == "-") {
    std::fwrite(content.data(), 1, content.size(), stdout);
    return true;
  }
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << content;
  out.close();
  if (!out) {
    complain(fmt::format("cannot write {}: choose another place with -o", path));
    return false;
  }
  return true;
}

struct InfoOptions {
  std::string file;
  std::string format = "text";
  std::string output;
  std::string html;
};

int info(const InfoOptions& options) {
  auto tracker = std::make_unique<Tracker>();
  auto statistics = std::make_unique<Statistics>(*tracker);
  tracker->add_observer(statistics.get());
  if (!run(options.file, *tracker)) {
    return kExitTrouble;
  }
  const std::string text =
      options.format == "json" ? statistics->to_json().dump(2) + "\n" : statistics->to_text();
  return write_out(options.output, text) ? kExitGood : kExitTrouble;
}

struct JudgeOptions {
  std::string file;
  std::string format = "text";
  std::string output;
  std::vector<std::string> ignore;
  std::uint32_t examples = 3;
};

int judge(const JudgeOptions& options) {
  for (const std::string& name : options.ignore) {
    if (find_rule(name) == Rule::count) {
      return complain(fmt::format("--ignore {}: no such rule; see aoe-pcap judge --list", name));
    }
  }
  auto tracker = std::make_unique<Tracker>();
  auto judge = std::make_unique<Judge>(*tracker, options.examples);
  tracker->add_observer(judge.get());
  if (!run(options.file, *tracker)) {
    return kExitTrouble;
  }
  const JudgeReport report(options.file, *tracker, *judge, options.ignore);
  if (!write_out(options.output, report.render(options.format))) {
    return kExitTrouble;
  }
  return report.fails() == 0 ? kExitGood : kExitFindings;
}

struct ReconstructCommandOptions {
  std::string file;
  std::string output;
  std::string map;
  std::string at = "after";
  std::string target;
};

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
      return complain(fmt::format("--target {}: say shelf and slot, as in e1.1", options.target));
    }
  }
  std::string error;
  if (options.file != "-" && ::access(options.file.c_str(), R_OK) != 0) {
    CaptureReader::open(options.file, error);
    return complain(error);
  }
  const auto image = ImageFile::create(options.output, error);
  if (image == nullptr) {
    return complain(error);
  }
  auto tracker = std::make_unique<Tracker>();
  Reconstructor reconstructor(*tracker, *image, how);
  tracker->add_observer(&reconstructor);
  if (!run(options.file, *tracker)) {
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
  const std::string map = options.map.empty() ? options.output + ".map" : options.map;
  if (!write_out(map, reconstructor.map_text())) {
    return kExitTrouble;
  }
  fmt::print("{}", reconstructor.summary());
  return kExitGood;
}

int main_of(int argc, char** argv) {
  CLI::App app("Captures of ATA over Ethernet: judged, replayed, and turned back into disks.",
               "aoe-pcap");
  app.require_subcommand(1);
  int result = kExitGood;

  InfoOptions info_options;
  CLI::App* info_command = app.add_subcommand("info", "who talked, how fast, what went unanswered");
  info_command->add_option("FILE", info_options.file, "pcap or pcapng; - is standard input")
      ->required();
  info_command->add_option("--format", info_options.format, "text or json")
      ->check(CLI::IsMember({"text", "json"}));
  info_command->add_option("-o,--output", info_options.output, "write there instead of stdout");
  info_command->callback([&] { result = info(info_options); });

  JudgeOptions judge_options;
  CLI::App* judge_command = app.add_subcommand("judge", "which clauses did either side break");
  judge_command->add_option("FILE", judge_options.file, "pcap or pcapng; - is standard input")
      ->required();
  judge_command->add_option("--format", judge_options.format, "text, tap, junit, json or html")
      ->check(CLI::IsMember(JudgeReport::formats()));
  judge_command->add_option("-o,--output", judge_options.output, "write there instead of stdout");
  judge_command->add_option("--ignore", judge_options.ignore,
                            "leave this rule out; may be repeated");
  judge_command->add_option("--examples", judge_options.examples,
                            "findings shown in full for each rule and session");
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

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? kExitGood : kExitTrouble;
  }
  return result;
}

}  // namespace
}  // namespace pcaps

int main(int argc, char** argv) {
  try {
    return pcaps::main_of(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "aoe-pcap: {}\n", error.what());
    return 2;
  }
}
