// aoe-sim: the reference target's real engine on a simulated Ethernet and disk, from a seed. This
// file owns the command line and nothing else.
#include <fmt/format.h>
#include <malloc.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "aoe_version.h"
#include "conformance/output/output_file.h"
#include "sim/commands.h"
#include "sim/last_words.h"
#include "sim/link/conformance_command.h"
#include "sim/live/bridge_command.h"
#include "sim/search.h"
#include "sim/streams.h"

namespace {

// A broken assertion of the engine's is an outcome with an exit code of its own.
void on_death(const std::string& signature, const std::string& text) {
  std::fflush(nullptr);
  fmt::print(stderr, "aoe-sim: {}: {}\n", signature, text);
  ::_exit(signature == "hang" ? sim::kExitHang : sim::kExitCrash);
}

// "A..B" with B not included, or one number.
std::pair<std::uint64_t, std::uint64_t> parse_range(const std::string& text) {
  const std::size_t dots = text.find("..");
  const auto number = [&](const std::string& part) {
    if (part.empty() || part.find_first_not_of("0123456789") != std::string::npos ||
        part.size() > 18) {
      throw CLI::ValidationError("--seeds",
                                 fmt::format("\"{}\": write A..B, such as 0..10000", text));
    }
    return std::stoull(part);
  };
  if (dots == std::string::npos) {
    const std::uint64_t one = number(text);
    return {one, one + 1};
  }
  const std::uint64_t first = number(text.substr(0, dots));
  const std::uint64_t end = number(text.substr(dots + 2));
  if (first >= end) {
    throw CLI::ValidationError("--seeds",
                               fmt::format("\"{}\" holds no seed: B is not included", text));
  }
  return {first, end};
}

// CLI11 would take -1 for 2^64-1, and cut what is larger.
const CLI::Validator kWholeNumber(
    [](std::string& text) {
      std::uint64_t value = 0;
      const char* const end = text.data() + text.size();
      const auto read = std::from_chars(text.data(), end, value);
      return read.ec == std::errc() && read.ptr == end
                 ? std::string()
                 : fmt::format("{}: a whole number from 0 to 18446744073709551615", text);
    },
    "");

// What is wrong with the words, in one line; --help and --version as they are.
int say_usage(const CLI::App& app, const CLI::ParseError& error) {
  if (error.get_exit_code() == 0) {
    return app.exit(error);
  }
  std::string what = error.what();
  if (dynamic_cast<const CLI::ExtrasError*>(&error) != nullptr) {
    what = "unknown option or word" + what.substr(std::min(what.size(), what.find(':')));
  }
  fmt::print(stderr, "aoe-sim: {} (see aoe-sim COMMAND --help)\n", what);
  return sim::kExitUsage;
}

// "i/n", i from 0.
std::pair<unsigned, unsigned> parse_shard(const std::string& text) {
  unsigned index = 0;
  unsigned count = 0;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%u/%u%c", &index, &count, &rest) != 2 || index >= count) {
    throw CLI::ValidationError(
        "--shard", fmt::format("\"{}\": write i/n with i from 0 to n-1, such as 0/8", text));
  }
  return {index, count};
}

struct Options {
  sim::WatchOptions watch;
  sim::SearchOptions search;
  sim::live::BridgeOptions bridge;
  std::string profile = "aoede";
  std::string seeds = "0..1000";
  std::string from;
  std::string shard = "0/1";
  std::string output = "-";
  std::string hashes;
  std::vector<std::string> paths;
  std::optional<std::uint64_t> seed;
  std::uint64_t hunt_seeds = 100;
  std::uint16_t mtu = 1500;
  bool bless = false;
  bool verbose = false;
};

void add_watch(CLI::App* command, Options& options) {
  command->add_option("--pcap", options.watch.pcap, "write the target's frames as a capture");
  command->add_option("--trace", options.watch.trace,
                      "write every event as a line of JSON (- : here)");
  command->add_option("--write", options.watch.write,
                      "write the schedule with its verdicts (.sim)");
  command->add_option("--extension", options.watch.extension,
                      "let every aoede initiator negotiate this: tag_inc_be, tag_inc_le, "
                      "tag_random, none");
  command->add_flag("--check", options.watch.check,
                    "run twice and stop at the first event that differs");
}

CLI::Option* add_profile(CLI::App* command, Options& options) {
  return command
      ->add_option("--profile", options.profile,
                   "plain, aoede, hostile, corrupt, library or cached")
      ->capture_default_str();
}

CLI::App* add_bridge(CLI::App& app, sim::live::BridgeOptions& bridge) {
  CLI::App* command =
      app.add_subcommand("bridge", "the same verdicts on a live wire, between two real interfaces");
  command->add_option("--a", bridge.a, "the interface on the initiator's side")->required();
  command->add_option("--b", bridge.t, "the interface on the target's side")->required();
  CLI::Option* profile =
      command->add_option("--profile", bridge.profile,
                          "plain, aoede, hostile, corrupt, library, cached, or a file of rates");
  CLI::Option* seed =
      command->add_option("--seed", bridge.seed, "draws the verdicts")->check(kWholeNumber);
  profile->needs(seed);
  seed->needs(profile);
  command->add_option("--replay", bridge.replay, "verdicts on frames from this .sim file instead")
      ->excludes(profile)
      ->excludes(seed);
  CLI::Option* rule = command->add_option(
      "--rule", bridge.rule,
      "by content, alone or beside the verdicts: hold-write-copies (a copy of every write is let "
      "go "
      "when a newer write to its sectors was answered) or newest-write-last (no write leaves after "
      "a newer one to its sectors)");
  command
      ->add_option("--rule-sectors", bridge.rule_sectors,
                   "LBA:COUNT; the rule looks at writes that touch them")
      ->needs(rule);
  command->add_option("--record", bridge.record, "write what was done as a .sim file");
  command->add_option("--pcap", bridge.pcap,
                      "captures of both sides: PREFIX.a.pcap, PREFIX.b.pcap");
  command
      ->add_option("--frames", bridge.frames,
                   "end after this many AoE frames, when those that wait are out")
      ->check(CLI::PositiveNumber);
  command->add_option("--for", bridge.seconds, "end after this many seconds")
      ->check(CLI::Range(0.001, 1e9));
  return command;
}

int command_line(int argc, char** argv) {
  CLI::App app{
      "The reference AoE target's real engine on a simulated network and disk, from a seed.\n"
      "Exit codes: 0 intact or as expected, 2 wrong usage, 10 safety, 11 liveness, 12 crash,\n"
      "13 damage that the protocol cannot prevent, 14 not deterministic, 15 a schedule ended\n"
      "otherwise than it says, 16 a batch in which something never happened, 17 a run that comes "
      "to\n"
      "no end.",
      "aoe-sim"};
  app.set_version_flag("--version", fmt::format("aoe-sim {}", aoe_version()));
  app.require_subcommand(1);
  Options options;

  CLI::App* run = app.add_subcommand("run", "one seed");
  run->add_option("--seed", options.seed, "the seed")->required()->check(kWholeNumber);
  run->add_flag("--ladder", options.watch.ladder, "print a ladder: a column per host");
  add_profile(run, options);
  add_watch(run, options);

  CLI::App* search = app.add_subcommand("search", "many seeds; a line of JSON for each failure");
  search->add_option("--seeds", options.seeds, "A..B, B not included")->capture_default_str();
  search->add_option("--from", options.from,
                     "a text, such as a commit's hash: the seeds are counted from where it says");
  search->add_option("--jobs", options.search.jobs, "processes")
      ->check(CLI::Range(1U, 1024U))
      ->default_val(std::max(1U, std::thread::hardware_concurrency()));
  search->add_option("--shard", options.shard, "i/n: this part of the seeds")
      ->capture_default_str();
  search->add_flag("--stop", options.search.stop_at_first, "stop at the first failure");
  search->add_flag("--non-vacuous", options.search.non_vacuous,
                   "fail when something never happened in the batch");
  search->add_flag("--known", options.search.list_known,
                   "a line as well for damage that the protocol cannot prevent");
  add_profile(search, options);

  CLI::App* merge = app.add_subcommand("merge", "merge files of search by failure, shortest wins");
  merge->add_option("file", options.paths, "files written by search")->required();

  CLI::App* replay = app.add_subcommand("replay", "run schedules; each must end as it says");
  replay->add_option("file", options.paths, ".sim files")->required();
  replay->add_flag("--ladder", options.watch.ladder, "print a ladder: a column per host");
  add_watch(replay, options);

  CLI::App* explain = app.add_subcommand("explain", "the ladder of a schedule or a seed");
  CLI::Option* explain_file = explain->add_option("file", options.paths, "a .sim file");
  explain->add_option("--seed", options.seed, "a seed instead")
      ->excludes(explain_file)
      ->check(kWholeNumber);
  add_profile(explain, options);
  add_watch(explain, options);

  CLI::App* shrink = app.add_subcommand("shrink", "make a failing schedule smaller");
  CLI::Option* shrink_file = shrink->add_option("file", options.paths, "a .sim file");
  shrink->add_option("--seed", options.seed, "a seed instead")
      ->excludes(shrink_file)
      ->check(kWholeNumber);
  shrink->add_option("--output", options.output, "where to write it")->capture_default_str();
  add_profile(shrink, options);

  CLI::App* hashes = app.add_subcommand("hashes", "compare trace hashes with those kept in a file");
  hashes->add_option("file", options.hashes, "the file")->required();
  hashes->add_flag("--bless", options.bless, "write the file anew");

  CLI::App* conformance = app.add_subcommand(
      "conformance", "the conformance suite against the engine, in virtual time");
  conformance->add_option("--mtu", options.mtu, "bytes after the Ethernet header")
      ->check(CLI::Range(1500, 9000))
      ->capture_default_str();
  conformance->add_option("--case", options.paths, "cases, by glob (all)");
  conformance->add_flag("--verbose", options.verbose,
                        "every case, not only what has something to say");

  CLI::App* hunt =
      app.add_subcommand("hunt", "seeds until one fails; 0 when one did (for mutants)");
  hunt->add_option("--seeds", options.hunt_seeds, "how many at most, from 0 on")
      ->check(kWholeNumber)
      ->check(CLI::Range(std::uint64_t{1}, std::uint64_t{1'000'000'000}))
      ->capture_default_str();
  add_profile(hunt, options);

  CLI::App* bridge = add_bridge(app, options.bridge);

  try {
    app.parse(argc, argv);
    if (*bridge && options.bridge.replay.empty() && options.bridge.profile.empty() &&
        options.bridge.rule.empty()) {
      throw CLI::RequiredError("--profile with --seed, --replay, or --rule");
    }
    std::tie(options.search.first, options.search.end) = parse_range(options.seeds);
    if (!options.from.empty()) {
      // Far from the seeds that people name, and short enough to type.
      constexpr std::uint64_t kBase = 1'000'000;
      constexpr std::uint64_t kSpan = 1'000'000'000;
      const std::uint64_t base = kBase + sim::hash(0, options.from, 0) % kSpan;
      options.search.first += base;
      options.search.end += base;
      fmt::print(stderr, "seeds of \"{}\": {}..{}\n", options.from, options.search.first,
                 options.search.end);
    }
    std::tie(options.search.shard, options.search.shards) = parse_shard(options.shard);
  } catch (const CLI::ParseError& error) {
    return say_usage(app, error);
  }
  options.search.profile = options.profile;
  const auto file_or_seed = [&](const CLI::App* command) {
    if (options.seed || options.paths.size() == 1) {
      return true;
    }
    fmt::print(stderr, "aoe-sim {}: give one .sim file or --seed N\n", command->get_name());
    return false;
  };
  if (*run) {
    return sim::run_seed(*options.seed, options.profile, options.watch);
  }
  if (*search) {
    return sim::search(options.search, stdout);
  }
  if (*merge) {
    return sim::merge(options.paths, stdout);
  }
  if (*replay) {
    return sim::replay_files(options.paths, options.watch);
  }
  const std::string path = options.paths.empty() ? std::string() : options.paths.front();
  if (*explain) {
    return file_or_seed(explain) ? sim::explain(path, options.seed, options.profile, options.watch)
                                 : sim::kExitUsage;
  }
  if (*shrink) {
    return file_or_seed(shrink)
               ? sim::shrink_command(path, options.seed, options.profile, options.output)
               : sim::kExitUsage;
  }
  if (*hashes) {
    return sim::check_hashes(options.hashes, options.bless);
  }
  if (*bridge) {
    return sim::live::run_bridge(options.bridge);
  }
  if (*conformance) {
    return sim::link::run_conformance(options.mtu, options.paths, options.verbose);
  }
  return sim::hunt(options.profile, options.hunt_seeds);
}

}  // namespace

int main(int argc, char** argv) {
  // Worlds come and go by the thousand, each with megabytes for the engine's slots: what one gives
  // back the next one takes, instead of fresh pages from the system each time.
  constexpr int kKeepBytes = 256 << 20;
  mallopt(M_MMAP_THRESHOLD, kKeepBytes);
  mallopt(M_TRIM_THRESHOLD, kKeepBytes);
  sim::install_last_words(on_death);
  try {
    const int code = command_line(argc, argv);
    return output::printed_whole("aoe-sim") ? code : sim::kExitUsage;
  } catch (const std::exception& error) {
    fmt::print(stderr, "aoe-sim: {}\n", error.what());
    return sim::kExitUsage;
  }
}
