// What aoe-sim does with a seed or a schedule.
#include "sim/commands.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "conformance/output/output_file.h"
#include "sim/isolated.h"
#include "sim/search.h"
#include "sim/shrink.h"
#include "sim/swarm.h"
#include "sim/world.h"

namespace sim {
namespace {

struct Prepared {
  Schedule schedule;
  std::optional<Swarm> swarm;
};

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  if (!file) {
    throw std::runtime_error(fmt::format("cannot read {}: {}", path, std::strerror(errno)));
  }
  std::string text;
  for (int c = file.get(); c != std::ifstream::traits_type::eof(); c = file.get()) {
    text += static_cast<char>(c);
  }
  if (file.bad()) {  // a directory opens, and cannot be read
    throw std::runtime_error(fmt::format("cannot read {}: {}", path, std::strerror(errno)));
  }
  return text;
}

void try_outputs(const WatchOptions& watch, const std::vector<std::string>& inputs) {
  output::try_destinations({watch.pcap, watch.trace, watch.write}, inputs);
}

Prepared from_file(const std::string& path, const WatchOptions& watch) {
  try_outputs(watch, {path});
  Prepared prepared;
  try {
    prepared.schedule = parse_schedule(read_text(path));
    check_settings(prepared.schedule.settings);
  } catch (const ScheduleError& error) {
    throw std::runtime_error(fmt::format("{}: {}", path, error.what()));
  }
  if (!watch.extension.empty()) {
    set_tags(prepared.schedule, parse_tag_mode(watch.extension));
  }
  return prepared;
}

Prepared from_seed(std::uint64_t seed, const std::string& profile, const WatchOptions& watch) {
  try_outputs(watch, {});
  RandomRun random = make_random(seed, profile);
  Prepared prepared{std::move(random.schedule), random.swarm};
  if (!watch.extension.empty()) {
    set_tags(prepared.schedule, parse_tag_mode(watch.extension));
  }
  return prepared;
}

struct Finished {
  Result result;
  Schedule written;
};

Finished run_watched(const Prepared& prepared, const WatchOptions& watch) {
  World world(prepared.schedule, prepared.swarm);
  std::vector<std::unique_ptr<TraceSink>> sinks;
  std::unique_ptr<output::OutputFile> trace;
  if (!watch.trace.empty()) {
    trace = std::make_unique<output::OutputFile>(watch.trace);
    sinks.push_back(make_json_sink(prepared.schedule, trace->stream()));
  }
  if (!watch.pcap.empty()) {
    sinks.push_back(make_pcap_sink(watch.pcap));
  }
  if (watch.ladder) {
    sinks.push_back(make_ladder_sink(prepared.schedule, stdout));
  }
  for (const auto& sink : sinks) {
    world.add_sink(sink.get());
  }
  Finished finished;
  arm_watchdog(kPatienceSeconds);
  finished.result = world.run();
  arm_watchdog(0);
  for (const auto& sink : sinks) {
    sink->finish();
  }
  if (trace != nullptr) {
    trace->commit();
  }
  finished.written = world.written();
  finished.written.signature = finished.result.signature;
  finished.written.expectation = finished.result.outcome == Outcome::intact ? Expectation::intact
                                 : finished.result.outcome == Outcome::known_damage
                                     ? Expectation::known
                                     : Expectation::failure;
  if (!watch.write.empty()) {
    output::write_file(watch.write, print_schedule(finished.written));
  }
  return finished;
}

void print_findings(const Result& result) {
  for (const checkers::Finding& finding : result.findings) {
    const char* severity = finding.severity == checkers::Severity::known    ? "known"
                           : finding.severity == checkers::Severity::safety ? "SAFETY"
                                                                            : "LIVENESS";
    fmt::print("{:>5}.{:06} ms  {:8} {:18} {}\n", finding.time / kMillisecond,
               finding.time % kMillisecond, severity, finding.signature, finding.text);
  }
}

void print_result(const Result& result) {
  fmt::print("{}{}{}: {} events, {} frames, {} sectors judged, {} of virtual time, hash {:016x}\n",
             outcome_name(result.outcome), result.signature.empty() ? "" : " ", result.signature,
             result.events, result.frames, result.coverage.sectors_judged,
             print_duration(result.virtual_ns), result.hash);
}

// Keeps the hash after every event, or stops at the first one that differs.
class HashRecorder final : public TraceSink {
 public:
  HashRecorder(const Schedule& schedule, const std::vector<std::uint64_t>* expected)
      : schedule_(schedule), expected_(expected) {}
  void event(const TraceEvent& event, std::uint64_t hash_so_far) override {
    if (expected_ != nullptr && difference_.empty() &&
        (hashes_.size() >= expected_->size() || (*expected_)[hashes_.size()] != hash_so_far)) {
      difference_ = fmt::format("event {}: {}", hashes_.size(), describe(schedule_, event));
    }
    hashes_.push_back(hash_so_far);
  }
  [[nodiscard]] const std::vector<std::uint64_t>& hashes() const { return hashes_; }
  [[nodiscard]] const std::string& difference() const { return difference_; }

 private:
  const Schedule& schedule_;
  const std::vector<std::uint64_t>* expected_;
  std::vector<std::uint64_t> hashes_;
  std::string difference_;
};

// Runs twice. Empty when every event was the same.
std::string first_difference(const Prepared& prepared) {
  HashRecorder first(prepared.schedule, nullptr);
  World once(prepared.schedule, prepared.swarm);
  once.add_sink(&first);
  once.run();
  HashRecorder second(prepared.schedule, &first.hashes());
  World again(prepared.schedule, prepared.swarm);
  again.add_sink(&second);
  again.run();
  if (second.difference().empty() && second.hashes().size() != first.hashes().size()) {
    return "the second run ended earlier";
  }
  return second.difference();
}

bool as_expected(const Schedule& schedule, const Result& result) {
  switch (schedule.expectation) {
    case Expectation::intact:
      return result.outcome == Outcome::intact;
    case Expectation::known:
      return result.outcome == Outcome::known_damage && result.signature == schedule.signature;
    case Expectation::failure:
      return (result.outcome == Outcome::safety || result.outcome == Outcome::liveness) &&
             result.signature == schedule.signature;
  }
  return false;
}

std::string expected_text(const Schedule& schedule) {
  switch (schedule.expectation) {
    case Expectation::intact:
      return "intact";
    case Expectation::known:
      return "known " + schedule.signature;
    default:
      return "failure " + schedule.signature;
  }
}

int report_check(const Prepared& prepared) {
  const std::string difference = first_difference(prepared);
  if (!difference.empty()) {
    fmt::print(stderr, "aoe-sim: two runs differ, first at {}\n", difference);
    return kExitNotDeterministic;
  }
  fmt::print("two runs, the same events\n");
  return kExitGood;
}

// A schedule that ends in a broken assertion, or not at all, is run in a process of its own.
bool expects_death(const Schedule& schedule) {
  return schedule.expectation == Expectation::failure &&
         (schedule.signature.starts_with("crash:") || schedule.signature == "hang");
}

bool replay_death(const std::string& path, const Schedule& schedule) {
  const Isolated result = run_isolated(schedule, std::nullopt);
  fmt::print("{}: {} {}: {}\n", path, outcome_name(result.outcome), result.signature, result.text);
  if (result.signature == schedule.signature) {
    return true;
  }
  fmt::print(stderr, "aoe-sim: {}: expected failure {}, came out {} {}\n", path, schedule.signature,
             outcome_name(result.outcome), result.signature);
  return false;
}

constexpr std::uint64_t kHashSeeds = 40;
// Its runs are the initiator's as much as the simulator's: what it waits for may change any day.
constexpr std::string_view kUnhashedProfile = "library";

}  // namespace

int run_seed(std::uint64_t seed, const std::string& profile, const WatchOptions& watch) {
  const Prepared prepared = from_seed(seed, profile, watch);
  fmt::print("seed {} profile {}: {} initiators\n{}\n", seed, profile,
             prepared.schedule.initiators.size(), describe(*prepared.swarm));
  Schedule without_work = prepared.schedule;
  for (InitiatorSpec& spec : without_work.initiators) {
    spec.ops.clear();
  }
  std::istringstream lines(print_schedule(without_work));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("set ") || line.starts_with("initiator ") || line.starts_with("at ")) {
      fmt::print("  {}\n", line);
    }
  }
  if (watch.check) {
    const int code = report_check(prepared);
    if (code != kExitGood) {
      return code;
    }
  }
  const Finished finished = run_watched(prepared, watch);
  print_findings(finished.result);
  print_result(finished.result);
  if (finished.result.outcome != Outcome::intact) {
    fmt::print(
        "again: aoe-sim explain --seed {0} --profile {1}{2}; smaller: aoe-sim shrink --seed {0} "
        "--profile {1}\n",
        seed, profile, watch.extension.empty() ? "" : " --extension " + watch.extension);
  }
  return exit_code_of(finished.result.outcome);
}

int replay_files(const std::vector<std::string>& paths, const WatchOptions& watch) {
  int code = kExitGood;
  for (const std::string& path : paths) {
    const Prepared prepared = from_file(path, watch);
    if (expects_death(prepared.schedule) && watch.extension.empty()) {
      code = replay_death(path, prepared.schedule) ? code : kExitUnexpected;
      continue;
    }
    if (watch.check && report_check(prepared) != kExitGood) {
      return kExitNotDeterministic;
    }
    const Finished finished = run_watched(prepared, watch);
    if (paths.size() == 1) {
      print_findings(finished.result);
    }
    fmt::print("{}: ", path);
    print_result(finished.result);
    if (!watch.extension.empty()) {
      return exit_code_of(
          finished.result.outcome);  // another configuration than the file's: no promise
    }
    if (!as_expected(prepared.schedule, finished.result)) {
      fmt::print(stderr, "aoe-sim: {}: expected {}, came out {} {}\n", path,
                 expected_text(prepared.schedule), outcome_name(finished.result.outcome),
                 finished.result.signature);
      code = kExitUnexpected;
    }
  }
  return code;
}

int explain(const std::string& path, std::optional<std::uint64_t> seed, const std::string& profile,
            const WatchOptions& watch) {
  const Prepared prepared = seed ? from_seed(*seed, profile, watch) : from_file(path, watch);
  for (const std::string& line : prepared.schedule.story) {
    fmt::print("{}\n", line);
  }
  WatchOptions with_ladder = watch;
  with_ladder.ladder = true;
  const Finished finished = run_watched(prepared, with_ladder);
  fmt::print("\n");
  print_findings(finished.result);
  print_result(finished.result);
  return kExitGood;
}

int shrink_command(const std::string& path, std::optional<std::uint64_t> seed,
                   const std::string& profile, const std::string& output_path) {
  output::try_destinations({output_path}, {path});
  const Prepared prepared = seed ? from_seed(*seed, profile, {}) : from_file(path, {});
  const Isolated original = run_isolated(prepared.schedule, prepared.swarm);
  if (original.outcome == Outcome::intact) {
    throw std::runtime_error("nothing to shrink: the run ends intact");
  }
  // What hangs is waited for a thousand times.
  const unsigned patience = original.outcome == Outcome::hang ? 1 : kPatienceSeconds;
  ShrinkResult small = shrink(original.written, [&](const Schedule& candidate) {
    const Isolated result = run_isolated(candidate, std::nullopt, patience);
    return result.outcome == original.outcome && result.signature == original.signature;
  });
  small.schedule.signature = original.signature;
  small.schedule.expectation =
      original.outcome == Outcome::known_damage ? Expectation::known : Expectation::failure;
  fmt::print(stderr, "from {} choices to {} in {} runs: {} {}\n", original.written.choices(),
             small.schedule.choices(), small.runs, outcome_name(original.outcome),
             original.signature);
  output::write_file(output_path, print_schedule(small.schedule));
  return kExitGood;
}

int check_hashes(const std::string& path, bool bless) {
  std::string text;
  for (const std::string_view profile : profiles()) {
    if (profile == kUnhashedProfile) {
      continue;
    }
    for (std::uint64_t seed = 0; seed < kHashSeeds; ++seed) {
      const RandomRun random = make_random(seed, profile);
      World world(random.schedule, random.swarm);
      text += fmt::format("{} {} {:016x}\n", profile, seed, world.run().hash);
    }
  }
  if (bless) {
    output::write_file(path, text);
    return kExitGood;
  }
  std::istringstream expected(read_text(path));
  std::istringstream found(text);
  std::string expected_line;
  std::string found_line;
  while (std::getline(found, found_line)) {
    if (!std::getline(expected, expected_line) || expected_line != found_line) {
      fmt::print(stderr,
                 "aoe-sim: the trace hash differs: kept \"{}\", now \"{}\"\nIf the engine or the "
                 "simulator was meant to change: aoe-sim hashes --bless {}\n",
                 expected_line, found_line, path);
      return kExitNotDeterministic;
    }
  }
  fmt::print("{} hashes as kept\n", kHashSeeds * (profiles().size() - 1));
  return kExitGood;
}

int hunt(const std::string& profile, std::uint64_t seeds) {
  if (seeds == 0) {
    fmt::print(stderr, "aoe-sim hunt: no seed to run\n");
    return kExitUsage;
  }
  // What hangs is a mutant's end as well, and soon.
  constexpr unsigned kHuntPatience = 3;
  constexpr std::uint64_t kDeathsMax = 8;
  std::uint64_t deaths = 0;
  for (std::uint64_t seed = 0; seed < seeds && deaths < kDeathsMax; ++seed) {
    const RandomRun random = make_random(seed, profile);
    const Isolated result = run_isolated(random.schedule, random.swarm, kHuntPatience);
    if (result.outcome == Outcome::safety || result.outcome == Outcome::liveness) {
      fmt::print("found by seed {}: {}: {}\n", seed, result.signature, result.text);
      return kExitGood;
    }
    if (result.outcome == Outcome::crash || result.outcome == Outcome::hang) {
      ++deaths;
      fmt::print("seed {} dies: {}: {}\n", seed, result.signature, result.text);
    }
  }
  fmt::print(stderr, "no oracle found it in {} seeds of {}; {} died\n", seeds, profile, deaths);
  return deaths == 0 ? kExitSafety : kExitCrash;
}

}  // namespace sim
