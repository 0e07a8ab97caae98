// Worker processes talk to the searching one over a pipe, a line at a time: "B seed" before a run,
// "F json" for a failure, "S json" at the end. A worker that ends without an S has crashed at its
// last B.
#include "sim/search.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "sim/last_words.h"
#include "sim/swarm.h"

namespace sim {
namespace {

using Json = nlohmann::ordered_json;

struct Worker {
  pid_t pid = -1;
  int pipe = -1;
  std::uint64_t first = 0;
  std::uint64_t last_begun = 0;
  bool begun = false;
  std::string last_words;  // JSON: signature and text
  bool summed = false;
  std::string rest;
};

struct Totals {
  std::uint64_t seeds = 0;
  std::uint64_t failures = 0;
  std::uint64_t known = 0;
  std::uint64_t frames = 0;
  std::uint64_t events = 0;
  std::uint64_t virtual_ms = 0;
  std::map<std::string, std::uint64_t> counts;
};

void say(int pipe, const std::string& line) {
  std::size_t written = 0;
  while (written < line.size()) {
    const ssize_t part = ::write(pipe, line.data() + written, line.size() - written);
    if (part < 0 && errno != EINTR) {
      _exit(kExitUsage);
    }
    written += part > 0 ? static_cast<std::size_t>(part) : 0;
  }
}

int pipe_of_this_worker = -1;

void die_speaking(const std::string& signature, const std::string& text) {
  Json words;
  words["signature"] = signature;
  words["text"] = text;
  say(pipe_of_this_worker,
      "D " + words.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

Json failure_line(std::uint64_t seed, const SearchOptions& options, const Result& result,
                  const Schedule& written) {
  Json line;
  line["seed"] = seed;
  line["profile"] = options.profile;
  line["outcome"] = outcome_name(result.outcome);
  line["signature"] = result.signature;
  for (const checkers::Finding& finding : result.findings) {
    if (finding.signature == result.signature) {
      line["text"] = finding.text;
      line["t_ns"] = finding.time;
      break;
    }
  }
  line["choices"] = written.choices();
  line["hash"] = fmt::format("{:016x}", result.hash);
  return line;
}

void add_counts(std::map<std::string, std::uint64_t>& counts, const Result& result) {
#define AOE_SIM_COUNT(name) counts["sim." #name] += result.coverage.name;
  AOE_SIM_COVERAGE(AOE_SIM_COUNT)
#undef AOE_SIM_COUNT
#define AOE_SIM_COUNT(name) counts["engine." #name] += result.counters.name;
  AOE_ENGINE_COUNTERS(AOE_SIM_COUNT)
#undef AOE_SIM_COUNT
}

// Runs in a process of its own and never returns.
[[noreturn]] void work(const SearchOptions& options, std::uint64_t first, std::uint64_t step,
                       int pipe) {
  Totals totals;
  pipe_of_this_worker = pipe;
  install_last_words(die_speaking);
  for (std::uint64_t seed = first; seed < options.end; seed += step) {
    say(pipe, fmt::format("B {}\n", seed));
    const RandomRun random = make_random(seed, options.profile);
    arm_watchdog(kPatienceSeconds);
    World world(random.schedule, random.swarm);
    const Result result = world.run();
    ++totals.seeds;
    totals.frames += result.frames;
    totals.events += result.events;
    totals.virtual_ms += static_cast<std::uint64_t>(result.virtual_ns / kMillisecond);
    add_counts(totals.counts, result);
    const bool failed = result.outcome == Outcome::safety || result.outcome == Outcome::liveness;
    totals.failures += failed ? 1 : 0;
    totals.known += result.outcome == Outcome::known_damage ? 1 : 0;
    if (failed || (options.list_known && result.outcome == Outcome::known_damage)) {
      say(pipe, "F " + failure_line(seed, options, result, world.written()).dump() + "\n");
      if (failed && options.stop_at_first) {
        break;
      }
    }
  }
  Json sum;
  sum["seeds"] = totals.seeds;
  sum["failures"] = totals.failures;
  sum["known"] = totals.known;
  sum["frames"] = totals.frames;
  sum["events"] = totals.events;
  sum["virtual_ms"] = totals.virtual_ms;
  sum["counts"] = totals.counts;
  say(pipe, "S " + sum.dump() + "\n");
  _exit(0);
}

class Searcher {
 public:
  Searcher(const SearchOptions& options, std::FILE* out) : options_(options), out_(out) {}
  int run();

 private:
  void spawn(std::uint64_t first);
  void read_from(Worker& worker);
  void take_line(Worker& worker, const std::string& line);
  void ended(Worker& worker);
  [[nodiscard]] std::uint64_t step() const {
    return std::uint64_t{options_.jobs} * options_.shards;
  }
  [[nodiscard]] std::vector<std::string> never_happened() const;

  const SearchOptions& options_;
  std::FILE* out_;
  std::vector<Worker> workers_;
  std::map<std::uint64_t, Json> failures_;
  Totals totals_;
  bool stop_ = false;
};

void Searcher::spawn(std::uint64_t first) {
  if (first >= options_.end) {
    return;
  }
  int ends[2];
  if (::pipe(ends) != 0) {
    throw std::runtime_error(fmt::format("cannot make a pipe: {}", std::strerror(errno)));
  }
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) {
    throw std::runtime_error(fmt::format("cannot start a worker: {}", std::strerror(errno)));
  }
  if (pid == 0) {
    ::close(ends[0]);
    work(options_, first, step(), ends[1]);
  }
  ::close(ends[1]);
  Worker worker;
  worker.pid = pid;
  worker.pipe = ends[0];
  worker.first = first;
  workers_.push_back(std::move(worker));
}

void Searcher::take_line(Worker& worker, const std::string& line) {
  if (line.starts_with("B ")) {
    worker.last_begun = std::stoull(line.substr(2));
    worker.begun = true;
  } else if (line.starts_with("F ")) {
    Json failure = Json::parse(line.substr(2));
    stop_ = stop_ || (options_.stop_at_first && failure["outcome"] != "known-damage");
    failures_.emplace(failure["seed"].get<std::uint64_t>(), std::move(failure));
  } else if (line.starts_with("D ")) {
    worker.last_words = line.substr(2);
  } else if (line.starts_with("S ")) {
    worker.summed = true;
    const Json sum = Json::parse(line.substr(2));
    totals_.seeds += sum["seeds"].get<std::uint64_t>();
    totals_.failures += sum["failures"].get<std::uint64_t>();
    totals_.known += sum["known"].get<std::uint64_t>();
    totals_.frames += sum["frames"].get<std::uint64_t>();
    totals_.events += sum["events"].get<std::uint64_t>();
    totals_.virtual_ms += sum["virtual_ms"].get<std::uint64_t>();
    for (const auto& [name, count] : sum["counts"].items()) {
      totals_.counts[name] += count.get<std::uint64_t>();
    }
  }
}

void Searcher::read_from(Worker& worker) {
  constexpr std::size_t kReadBytes = 65'536;
  std::string buffer(kReadBytes, '\0');
  const ssize_t got = ::read(worker.pipe, buffer.data(), buffer.size());
  if (got <= 0) {
    if (got < 0 && errno == EINTR) {
      return;
    }
    ended(worker);
    return;
  }
  worker.rest.append(buffer, 0, static_cast<std::size_t>(got));
  for (std::size_t end = worker.rest.find('\n'); end != std::string::npos;
       end = worker.rest.find('\n')) {
    take_line(worker, worker.rest.substr(0, end));
    worker.rest.erase(0, end + 1);
  }
}

// The worker's pipe is closed: it is done, or it crashed and the next one goes on behind that seed.
void Searcher::ended(Worker& worker) {
  ::close(worker.pipe);
  worker.pipe = -1;
  int status = 0;
  ::waitpid(worker.pid, &status, 0);
  if (worker.summed || stop_) {
    return;
  }
  const std::uint64_t seed = worker.begun ? worker.last_begun : worker.first;
  Json failure;
  failure["seed"] = seed;
  failure["profile"] = options_.profile;
  failure["outcome"] = "crash";
  failure["signature"] =
      WIFSIGNALED(status) ? fmt::format("crash:signal-{}", WTERMSIG(status)) : std::string("crash");
  failure["text"] = "the engine or the simulator stopped";
  if (!worker.last_words.empty()) {
    const Json words = Json::parse(worker.last_words);
    failure["outcome"] = words["signature"] == "hang" ? "hang" : "crash";
    failure["signature"] = words["signature"];
    failure["text"] = words["text"];
  }
  failure["choices"] = 0;
  failures_.emplace(seed, std::move(failure));
  ++totals_.failures;
  ++totals_.seeds;
  if (options_.stop_at_first) {
    stop_ = true;
    return;
  }
  spawn(seed + step());
}

std::vector<std::string> Searcher::never_happened() const {
  // What a batch of this profile cannot show, and need not.
  constexpr std::array kNotHere{"sim.tainted_frames",     "sim.hostile_frames",
                                "engine.ignored_address", "engine.ignored_not_request",
                                "engine.crc_failed",      "engine.pauses_refused"};
  std::vector<std::string> names;
  for (const auto& [name, count] : totals_.counts) {
    if (count == 0 && std::find(kNotHere.begin(), kNotHere.end(), name) == kNotHere.end()) {
      names.push_back(name);
    }
  }
  return names;
}

int Searcher::run() {
  const auto begin = std::chrono::steady_clock::now();
  for (unsigned job = 0; job < options_.jobs; ++job) {
    spawn(options_.first + options_.shard + std::uint64_t{job} * options_.shards);
  }
  while (true) {
    std::vector<pollfd> polls;
    std::vector<std::size_t> owners;
    for (std::size_t i = 0; i < workers_.size(); ++i) {
      if (workers_[i].pipe >= 0) {
        polls.push_back({workers_[i].pipe, POLLIN, 0});
        owners.push_back(i);
      }
    }
    if (polls.empty() || stop_) {
      break;
    }
    ::poll(polls.data(), polls.size(), -1);
    for (std::size_t i = 0; i < polls.size(); ++i) {
      if (polls[i].revents != 0) {
        read_from(workers_[owners[i]]);
      }
    }
  }
  for (Worker& worker : workers_) {
    if (worker.pipe >= 0) {
      ::kill(worker.pid, SIGKILL);
      ::close(worker.pipe);
      ::waitpid(worker.pid, nullptr, 0);
    }
  }
  for (const auto& [seed, line] : failures_) {
    fmt::print(out_, "{}\n", line.dump());
  }
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(
                          std::chrono::steady_clock::now() - begin)
                          .count();
  Json sum;
  sum["summary"] = options_.profile;
  sum["seeds"] = totals_.seeds;
  sum["failures"] = totals_.failures;
  sum["known"] = totals_.known;
  sum["frames"] = totals_.frames;
  sum["events"] = totals_.events;
  sum["virtual_ms"] = totals_.virtual_ms;
  sum["counts"] = totals_.counts;
  fmt::print(out_, "{}\n", sum.dump());
  rusage used{};
  ::getrusage(RUSAGE_CHILDREN, &used);
  const auto seconds_of = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  const double processor = std::max(seconds_of(used.ru_utime) + seconds_of(used.ru_stime), 1e-3);
  const double seconds = static_cast<double>(std::max<std::int64_t>(micros, 1)) / 1e6;
  fmt::print(
      stderr,
      "{} seeds of {} in {:.1f} s by {} processes, {:.1f} s of processor time: {:.0f} frames, "
      "{:.0f} "
      "events and {:.0f} simulated seconds a processor second; {} failed, {} with damage that the "
      "protocol cannot prevent\n",
      totals_.seeds, options_.profile, seconds, options_.jobs, processor,
      static_cast<double>(totals_.frames) / processor,
      static_cast<double>(totals_.events) / processor,
      static_cast<double>(totals_.virtual_ms) / 1e3 / processor, totals_.failures, totals_.known);
  int code = kExitGood;
  for (const auto& [seed, line] : failures_) {
    const std::string outcome = line["outcome"];
    const int mine = outcome == "crash"      ? kExitCrash
                     : outcome == "safety"   ? kExitSafety
                     : outcome == "liveness" ? kExitLiveness
                     : outcome == "hang"     ? kExitHang
                                             : kExitGood;
    const bool worse =
        mine == kExitSafety || (mine == kExitCrash && code != kExitSafety) || code == kExitGood;
    code = mine != kExitGood && worse ? mine : code;
  }
  if (code == kExitGood && options_.non_vacuous) {
    const std::vector<std::string> names = never_happened();
    for (const std::string& name : names) {
      fmt::print(stderr, "never happened in this batch: {}\n", name);
    }
    code = names.empty() ? kExitGood : kExitVacuous;
  }
  return code;
}

}  // namespace

std::string_view outcome_name(Outcome outcome) {
  switch (outcome) {
    case Outcome::intact:
      return "intact";
    case Outcome::known_damage:
      return "known-damage";
    case Outcome::safety:
      return "safety";
    case Outcome::liveness:
      return "liveness";
    case Outcome::crash:
      return "crash";
    case Outcome::hang:
      return "hang";
  }
  return "?";
}

int exit_code_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::intact:
      return kExitGood;
    case Outcome::known_damage:
      return kExitKnownDamage;
    case Outcome::safety:
      return kExitSafety;
    case Outcome::liveness:
      return kExitLiveness;
    case Outcome::crash:
      return kExitCrash;
    case Outcome::hang:
      return kExitHang;
  }
  return kExitUsage;
}

int search(const SearchOptions& options, std::FILE* out) {
  if (options.first + options.shard >= options.end) {
    fmt::print(stderr,
               "aoe-sim search: no seed to run: {}..{} (the second not included), part {} of {}; "
               "nothing that was searched is nothing found\n",
               options.first, options.end, options.shard, options.shards);
    return kExitUsage;
  }
  return Searcher(options, out).run();
}

int merge(const std::vector<std::string>& paths, std::FILE* out) {
  struct Group {
    std::uint64_t count = 0;
    Json shortest;
  };
  std::map<std::string, Group> groups;
  std::uint64_t seeds = 0;
  for (const std::string& path : paths) {
    std::ifstream file(path);
    if (!file) {
      throw std::runtime_error(fmt::format("cannot read {}: {}", path, std::strerror(errno)));
    }
    std::string text;
    for (int number = 1; std::getline(file, text); ++number) {
      const Json line = Json::parse(text, nullptr, false);
      if (!line.is_object()) {
        throw std::runtime_error(
            fmt::format("{}, line {}: not a line of \"aoe-sim search\"; was it written to the end?",
                        path, number));
      }
      if (line.contains("summary")) {
        seeds += line.at("seeds").get<std::uint64_t>();
        continue;
      }
      Group& group = groups[line.at("signature").get<std::string>()];
      ++group.count;
      const auto key = [](const Json& each) {
        return std::pair(each.at("choices").get<std::uint64_t>(),
                         each.at("seed").get<std::uint64_t>());
      };
      if (group.shortest.is_null() || key(line) < key(group.shortest)) {
        group.shortest = line;
      }
    }
  }
  bool failed = false;
  for (auto& [signature, group] : groups) {
    group.shortest["count"] = group.count;
    failed = failed || group.shortest.at("outcome") != "known-damage";
    fmt::print(out, "{}\n", group.shortest.dump());
  }
  fmt::print(stderr, "{} signatures over {} seeds in {} files\n", groups.size(), seeds,
             paths.size());
  return failed ? kExitSafety : kExitGood;
}

}  // namespace sim
