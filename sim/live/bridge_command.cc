// Moves frames between two sockets until told to end.
#include "sim/live/bridge_command.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <system_error>
#include <utility>

#include "conformance/output/output_file.h"
#include "sim/live/bridge.h"
#include "sim/live/interface.h"
#include "sim/live/profile.h"
#include "sim/search.h"
#include "sim/swarm.h"
#include "sim/trace.h"

namespace sim::live {
namespace {

constexpr int kBatch = 64;  // frames of one side before the other has its turn

Nanoseconds now_monotonic() {
  return std::chrono::steady_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}
Nanoseconds now_real() {
  return std::chrono::system_clock::now().time_since_epoch() / std::chrono::nanoseconds(1);
}

// Else it is a file of rates.
bool named_profile(const std::string& profile) {
  const std::vector<std::string_view> names = profiles();
  return std::find(names.begin(), names.end(), profile) != names.end();
}

Schedule empty_schedule(const BridgeOptions& options) {
  Schedule schedule;
  schedule.story = {
      fmt::format("done by aoe-sim bridge on a live wire, as {} says: a is {}, t is {}",
                  !options.replay.empty()    ? options.replay
                  : !options.profile.empty() ? options.profile
                                             : options.rule,
                  options.a, options.t)};
  schedule.seed = options.seed.value_or(0);
  schedule.profile =
      named_profile(options.profile) ? options.profile : "rates";  // a file's name may have blanks
  InitiatorSpec initiator;
  initiator.name = "a";
  initiator.kind = InitiatorKind::linux_;
  schedule.initiators.push_back(initiator);
  return schedule;
}

Schedule load_replay(const std::string& path) {
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || file.bad()) {
    throw std::runtime_error(fmt::format("cannot read {}", path));
  }
  Schedule schedule;
  try {
    schedule = parse_schedule(text);
  } catch (const ScheduleError& error) {
    throw std::runtime_error(fmt::format("{}: {}", path, error.what()));
  }
  for (const FrameFault& fault : schedule.frame_faults) {
    if (fault.link >= kLinks) {
      throw std::runtime_error(
          fmt::format("{}: a verdict on {}: a bridge has the target on one side and the first "
                      "initiator of the file on the other",
                      path, schedule.link_name(fault.link)));
    }
  }
  if (schedule.initiators.empty()) {
    throw std::runtime_error(fmt::format("{}: no \"initiator\" line, so no links", path));
  }
  if (!schedule.disk_faults.empty() || !schedule.host_events.empty()) {
    fmt::print(stderr,
               "aoe-sim bridge: {}: its {} verdicts on the disk and {} events are the simulator's; "
               "a wire does the verdicts on frames\n",
               path, schedule.disk_faults.size(), schedule.host_events.size());
  }
  return schedule;
}

// INT, TERM and USR1 as something to wait for. They stay blocked: whoever calls this ends soon.
class Signals {
 public:
  Signals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGINT, SIGTERM, SIGUSR1}) {
      sigaddset(&set, number);
    }
    sigprocmask(SIG_BLOCK, &set, nullptr);
    descriptor_ = ::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (descriptor_ < 0) {
      throw std::system_error(errno, std::generic_category(), "signalfd");
    }
  }
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;
  ~Signals() { ::close(descriptor_); }
  [[nodiscard]] int descriptor() const { return descriptor_; }
  // 0 when none came.
  [[nodiscard]] int next() const {
    signalfd_siginfo info{};
    return ::read(descriptor_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)
               ? static_cast<int>(info.ssi_signo)
               : 0;
  }

 private:
  int descriptor_ = -1;
};

class LiveBridge {
 public:
  LiveBridge(const BridgeOptions& options, Faults& faults)
      : options_(options),
        sides_{std::make_unique<Interface>(options.a), std::make_unique<Interface>(options.t)},
        bridge_(faults, !options.replay.empty(),
                {sides_[0]->frame_bytes_max(), sides_[1]->frame_bytes_max()},
                [this](Side to, std::span<const std::byte> frame) { return send(to, frame); }) {
    if (!options.rule.empty()) {
      bridge_.obey(parse_write_rule(options.rule), options.rule_sectors.empty()
                                                       ? SectorRange{}
                                                       : parse_sector_range(options.rule_sectors));
    }
    if (!options.pcap.empty()) {
      captures_ = {make_pcap_sink(options.pcap + ".a.pcap"),
                   make_pcap_sink(options.pcap + ".b.pcap")};
    }
  }

  void run();
  // The captures get their names.
  void finish() {
    for (const auto& sink : captures_) {
      if (sink != nullptr) {
        sink->finish();
      }
    }
  }
  void print_counters();
  [[nodiscard]] const Bridge& bridge() const { return bridge_; }

 private:
  bool send(Side to, std::span<const std::byte> frame) {
    const bool sent = sides_[static_cast<std::size_t>(to)]->send(frame);
    if (sent) {
      capture(to, TraceKind::frame_sent, frame);
    }
    return sent;
  }
  void capture(Side side, TraceKind kind, std::span<const std::byte> frame) {
    if (TraceSink* sink = captures_[static_cast<std::size_t>(side)].get()) {
      TraceEvent event{.time = now_real(), .kind = kind, .host = kTargetHost};
      event.bytes = frame;
      sink->event(event, 0);
    }
  }
  void receive(Side side);
  [[nodiscard]] bool full() const {
    return options_.frames != 0 && bridge_.judged() >= options_.frames;
  }

  const BridgeOptions& options_;
  Signals signals_;
  std::array<std::unique_ptr<Interface>, kSides> sides_;
  std::array<std::unique_ptr<TraceSink>, kSides> captures_;
  Bridge bridge_;
};

void LiveBridge::receive(Side side) {
  for (int i = 0; i < kBatch && !full(); ++i) {
    const auto frame = sides_[static_cast<std::size_t>(side)]->receive();
    if (!frame) {
      return;
    }
    capture(side, TraceKind::frame_received, *frame);
    bridge_.come_in(side, *frame, now_monotonic());
  }
}

void LiveBridge::run() {
  std::array<pollfd, 3> waited{pollfd{signals_.descriptor(), POLLIN, 0},
                               pollfd{sides_[0]->descriptor(), POLLIN, 0},
                               pollfd{sides_[1]->descriptor(), POLLIN, 0}};
  const auto limit = static_cast<Nanoseconds>(options_.seconds * static_cast<double>(kSecond));
  const Nanoseconds end = now_monotonic() + limit;
  // After the last frame to be taken in, those that still wait go out in their time.
  while (!full() || bridge_.waiting() != 0) {
    std::optional<Nanoseconds> wake = bridge_.next();
    if (limit != 0) {
      wake = std::min(wake.value_or(end), end);
    }
    timespec wait{};
    if (wake) {
      const Nanoseconds left = std::max<Nanoseconds>(*wake - now_monotonic(), 0);
      wait = {left / kSecond, left % kSecond};
    }
    const nfds_t sources = full() ? 1 : waited.size();
    if (::ppoll(waited.data(), sources, wake ? &wait : nullptr, nullptr) < 0 && errno != EINTR) {
      throw std::system_error(errno, std::generic_category(), "ppoll");
    }
    while (const int number = signals_.next()) {
      if (number != SIGUSR1) {
        return;
      }
      print_counters();
    }
    bridge_.run(now_monotonic());
    receive(Side::a);
    receive(Side::t);
    if (limit != 0 && now_monotonic() >= end) {
      return;
    }
  }
}

void LiveBridge::print_counters() {
  for (const Side side : {Side::a, Side::t}) {
    const std::uint64_t missed = sides_[static_cast<std::size_t>(side)]->missed();
    fmt::print("{}{}\n", describe(side, bridge_.counters(side)),
               missed == 0 ? "" : fmt::format(" missed {}", missed));
  }
  if (const auto& rules = bridge_.rules(); rules && rules->forgotten() != 0) {
    fmt::print("forgotten {}\n", rules->forgotten());
  }
  fmt::print("waiting {}\n", bridge_.waiting());
  std::fflush(stdout);
}

}  // namespace

int run_bridge(const BridgeOptions& options) {
  if (options.a == options.t) {
    throw std::runtime_error(
        fmt::format("--a and --b are both {}: a bridge needs two interfaces", options.a));
  }
  // Known before the first frame, not after the last: whether there is a place for what was done.
  output::try_destinations({options.record, options.pcap.empty() ? "" : options.pcap + ".a.pcap",
                            options.pcap.empty() ? "" : options.pcap + ".b.pcap"},
                           {options.replay, named_profile(options.profile) ? "" : options.profile});
  Schedule schedule = empty_schedule(options);
  std::optional<Faults> faults;
  if (options.replay.empty() && options.profile.empty()) {
    faults.emplace(schedule);  // no verdicts: the rule alone
  } else if (options.replay.empty()) {
    const Swarm swarm = load_profile(options.profile, options.seed.value_or(0));
    faults.emplace(schedule, swarm);
    fmt::print("{}\n", describe(swarm));
  } else {
    const Schedule replayed = load_replay(options.replay);
    schedule.initiators.front().name = replayed.initiators.front().name;
    schedule.seed = replayed.seed;
    schedule.profile = replayed.profile;
    faults.emplace(replayed);
  }
  LiveBridge live(options, *faults);
  std::unique_ptr<output::OutputFile> record;
  if (!options.record.empty()) {
    record = std::make_unique<output::OutputFile>(options.record);
  }
  fmt::print("bridging {} and {}\n", options.a, options.t);
  std::fflush(stdout);
  std::string trouble;
  try {
    live.run();
  } catch (const std::runtime_error& error) {
    trouble = error.what();  // an interface went away: what was done is told all the same
  }
  live.print_counters();
  schedule.frame_faults = live.bridge().done();
  if (record != nullptr) {
    record->write(print_schedule(schedule));
    record->commit();
  }
  live.finish();
  if (!trouble.empty()) {
    throw std::runtime_error(trouble);
  }
  return kExitGood;
}

}  // namespace sim::live
