// The .sim text: one statement a line, words separated by blanks. It owns the names of everything
// in a schedule and must never know how a run goes.
#include "sim/schedule.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <tuple>
#include <utility>

namespace sim {
namespace {

template <typename Kind>
struct Name {
  Kind kind;
  std::string_view word;
};

enum class Amount : std::uint8_t { none, duration, number };

constexpr std::array kFrameFaults{
    Name<FrameFaultKind>{FrameFaultKind::drop, "drop"},
    Name<FrameFaultKind>{FrameFaultKind::delay, "delay"},
    Name<FrameFaultKind>{FrameFaultKind::duplicate, "duplicate"},
    Name<FrameFaultKind>{FrameFaultKind::hold, "hold"},
    Name<FrameFaultKind>{FrameFaultKind::truncate, "truncate"},
    Name<FrameFaultKind>{FrameFaultKind::pad, "pad"},
    Name<FrameFaultKind>{FrameFaultKind::bad_fcs, "bad-fcs"},
    Name<FrameFaultKind>{FrameFaultKind::flip, "flip"},
    Name<FrameFaultKind>{FrameFaultKind::full, "full"},
};
constexpr std::array kDiskFaults{
    Name<DiskFaultKind>{DiskFaultKind::delay, "delay"},
    Name<DiskFaultKind>{DiskFaultKind::io_error, "eio"},
    Name<DiskFaultKind>{DiskFaultKind::no_space, "enospc"},
    Name<DiskFaultKind>{DiskFaultKind::short_write, "short"},
};
constexpr std::array kHostEvents{
    Name<HostEventKind>{HostEventKind::crash, "crash"},
    Name<HostEventKind>{HostEventKind::restart, "restart"},
    Name<HostEventKind>{HostEventKind::partition_both, "partition"},
    Name<HostEventKind>{HostEventKind::partition_in, "partition-in"},
    Name<HostEventKind>{HostEventKind::partition_out, "partition-out"},
    Name<HostEventKind>{HostEventKind::heal, "heal"},
    Name<HostEventKind>{HostEventKind::clear, "clear"},
    Name<HostEventKind>{HostEventKind::mtu, "mtu"},
};
constexpr std::array kOps{
    Name<OpKind>{OpKind::read, "read"},
    Name<OpKind>{OpKind::write, "write"},
    Name<OpKind>{OpKind::flush, "flush"},
    Name<OpKind>{OpKind::identify, "identify"},
    Name<OpKind>{OpKind::config, "config"},
    Name<OpKind>{OpKind::set_config, "set-config"},
    Name<OpKind>{OpKind::negotiate, "negotiate"},
    Name<OpKind>{OpKind::wait, "wait"},
    Name<OpKind>{OpKind::skip, "skip"},
    Name<OpKind>{OpKind::coalesced, "coalesced"},
    Name<OpKind>{OpKind::congestion, "congestion"},
    Name<OpKind>{OpKind::garbage, "garbage"},
    Name<OpKind>{OpKind::lists, "lists"},
};
constexpr std::array kInitiatorKinds{
    Name<InitiatorKind>{InitiatorKind::aoede, "aoede"},
    Name<InitiatorKind>{InitiatorKind::linux_, "linux"},
    Name<InitiatorKind>{InitiatorKind::hostile, "hostile"},
    Name<InitiatorKind>{InitiatorKind::library, "library"},
};
constexpr std::array kTagModes{
    Name<TagMode>{TagMode::none, "none"},
    Name<TagMode>{TagMode::increment_be, "tag_inc_be"},
    Name<TagMode>{TagMode::increment_le, "tag_inc_le"},
    Name<TagMode>{TagMode::random, "tag_random"},
};

template <typename Names, typename Kind>
constexpr std::string_view word_of(const Names& names, Kind kind) {
  for (const auto& name : names) {
    if (name.kind == kind) {
      return name.word;
    }
  }
  return "?";
}

Amount amount_of(FrameFaultKind kind) {
  switch (kind) {
    case FrameFaultKind::delay:
    case FrameFaultKind::duplicate:
      return Amount::duration;
    case FrameFaultKind::hold:
    case FrameFaultKind::truncate:
    case FrameFaultKind::pad:
    case FrameFaultKind::flip:
      return Amount::number;
    default:
      return Amount::none;
  }
}

Amount amount_of(DiskFaultKind kind) {
  switch (kind) {
    case DiskFaultKind::delay:
      return Amount::duration;
    case DiskFaultKind::short_write:
      return Amount::number;
    default:
      return Amount::none;
  }
}

// A line being read: hands out words, and turns a mistake into a message that names line and word.
class Line {
 public:
  Line(std::string_view text, int number) : rest_(text), number_(number) {}

  [[noreturn]] void fail(const std::string& what) const {
    throw ScheduleError(fmt::format("line {}: {}", number_, what));
  }

  std::string_view rest() {
    const std::size_t start = rest_.find_first_not_of(" \t");
    return start == std::string_view::npos ? std::string_view{} : rest_.substr(start);
  }

  bool done() { return rest().empty(); }

  std::string_view word(std::string_view what) {
    rest_ = rest();
    if (rest_.empty()) {
      fail(fmt::format("{} is missing", what));
    }
    const std::size_t end = std::min(rest_.find_first_of(" \t"), rest_.size());
    const std::string_view result = rest_.substr(0, end);
    rest_.remove_prefix(end);
    return result;
  }

  std::int64_t number(std::string_view what) { return to_number(word(what), what); }

  std::int64_t to_number(std::string_view text, std::string_view what) const {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size()) {
      fail(fmt::format("{} must be a whole number, not \"{}\"", what, text));
    }
    return value;
  }

  Nanoseconds duration(std::string_view what) {
    const std::string_view text = word(what);
    if (const std::optional<Nanoseconds> value = parse_duration(text)) {
      return *value;
    }
    fail(fmt::format("{} must be a duration such as 20ms, not \"{}\" (units: ns us ms s)", what,
                     text));
  }

  std::int64_t amount(Amount kind, std::string_view what) {
    switch (kind) {
      case Amount::duration:
        return duration(what);
      case Amount::number:
        return number(what);
      default:
        return 0;
    }
  }

  template <typename Names>
  auto choice(const Names& names, std::string_view what, std::string_view text) const {
    for (const auto& name : names) {
      if (name.word == text) {
        return name.kind;
      }
    }
    std::string known;
    for (const auto& name : names) {
      known += fmt::format("{}{}", known.empty() ? "" : ", ", name.word);
    }
    fail(fmt::format("\"{}\" is no {}; known: {}", text, what, known));
  }
  template <typename Names>
  auto choice(const Names& names, std::string_view what) {
    return choice(names, what, word(what));
  }

  void end() {
    if (!done()) {
      fail(fmt::format("\"{}\" is too much", rest()));
    }
  }

 private:
  std::string_view rest_;
  int number_;
};

class Parser {
 public:
  Schedule parse(std::string_view text);

 private:
  void statement(std::string_view keyword, Line& line);
  void setting(Line& line);
  void initiator(Line& line);
  void op(Line& line);
  void frame(Line& line);
  void disk(Line& line);
  void host_event(Line& line);
  void expectation(Line& line);
  std::uint32_t host(const Line& line, std::string_view name) const;

  Schedule schedule_;
};

Schedule Parser::parse(std::string_view text) {
  int number = 0;
  bool headed = false;
  while (!text.empty()) {
    ++number;
    const std::size_t end = std::min(text.find('\n'), text.size());
    std::string_view content = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (!content.empty() && content.back() == '\r') {
      content.remove_suffix(1);
    }
    Line line(content, number);
    if (line.done() || line.rest().front() == '#') {
      continue;
    }
    const std::string_view keyword = line.word("a statement");
    if (!headed) {
      if (keyword != "aoe-sim" || line.word("the format's number") != "1") {
        line.fail("a schedule begins with the line \"aoe-sim 1\"");
      }
      headed = true;
      continue;
    }
    statement(keyword, line);
  }
  if (!headed) {
    throw ScheduleError("empty: a schedule begins with the line \"aoe-sim 1\"");
  }
  std::stable_sort(schedule_.frame_faults.begin(), schedule_.frame_faults.end(),
                   [](const FrameFault& a, const FrameFault& b) {
                     return std::tie(a.link, a.index) < std::tie(b.link, b.index);
                   });
  std::stable_sort(schedule_.disk_faults.begin(), schedule_.disk_faults.end(),
                   [](const DiskFault& a, const DiskFault& b) { return a.index < b.index; });
  std::stable_sort(schedule_.host_events.begin(), schedule_.host_events.end(),
                   [](const HostEvent& a, const HostEvent& b) { return a.at < b.at; });
  return std::move(schedule_);
}

void Parser::statement(std::string_view keyword, Line& line) {
  if (keyword == "story") {
    schedule_.story.emplace_back(line.rest());
  } else if (keyword == "seed") {
    schedule_.seed = static_cast<std::uint64_t>(line.number("the seed"));
    line.end();
  } else if (keyword == "profile") {
    schedule_.profile = std::string(line.word("the profile"));
    line.end();
  } else if (keyword == "set") {
    setting(line);
  } else if (keyword == "initiator") {
    initiator(line);
  } else if (keyword == "op") {
    op(line);
  } else if (keyword == "frame") {
    frame(line);
  } else if (keyword == "disk") {
    disk(line);
  } else if (keyword == "at") {
    host_event(line);
  } else if (keyword == "expect") {
    expectation(line);
  } else {
    line.fail(fmt::format(
        "\"{}\" is no statement; known: story, seed, profile, set, initiator, op, frame, disk, at, "
        "expect",
        keyword));
  }
}

void Parser::setting(Line& line) {
  const std::string_view key = line.word("the setting's name");
  const std::int64_t value = line.number("the setting's value");
  line.end();
#define AOE_SIM_SETTING_PARSE(name, fallback) \
  if (key == #name) {                         \
    schedule_.settings.name = value;          \
    return;                                   \
  }
  AOE_SIM_SETTINGS(AOE_SIM_SETTING_PARSE)
#undef AOE_SIM_SETTING_PARSE
  line.fail(fmt::format("\"{}\" is no setting (docs/simulator.md lists them)", key));
}

void Parser::initiator(Line& line) {
  InitiatorSpec spec;
  spec.name = std::string(line.word("the initiator's name"));
  if (spec.name == "t" || spec.name == "sw") {
    line.fail(fmt::format("\"{}\" is taken; call the initiator something else", spec.name));
  }
  for (const InitiatorSpec& other : schedule_.initiators) {
    if (other.name == spec.name) {
      line.fail(fmt::format("there are two initiators \"{}\"", spec.name));
    }
  }
  spec.kind = line.choice(kInitiatorKinds, "kind of initiator");
  while (!line.done()) {
    const std::string_view pair = line.word("a setting");
    const std::size_t equals = pair.find('=');
    if (equals == std::string_view::npos) {
      line.fail(fmt::format("\"{}\" should be name=value", pair));
    }
    const std::string_view key = pair.substr(0, equals);
    const std::string_view text = pair.substr(equals + 1);
    if (key == "tags") {
      spec.tags = line.choice(kTagModes, "kind of tags", text);
      continue;
    }
    const std::int64_t value = line.to_number(text, key);
    bool known = false;
#define AOE_SIM_INITIATOR_PARSE(member, fallback) \
  if (key == #member) {                           \
    spec.member = value;                          \
    known = true;                                 \
  }
    AOE_SIM_INITIATOR_SETTINGS(AOE_SIM_INITIATOR_PARSE)
#undef AOE_SIM_INITIATOR_PARSE
    if (!known) {
      line.fail(fmt::format("\"{}\" is no setting of an initiator (docs/simulator.md)", key));
    }
  }
  schedule_.initiators.push_back(std::move(spec));
}

std::uint32_t Parser::host(const Line& line, std::string_view name) const {
  if (name == "t") {
    return kTargetHost;
  }
  for (std::size_t i = 0; i < schedule_.initiators.size(); ++i) {
    if (schedule_.initiators[i].name == name) {
      return static_cast<std::uint32_t>(i + 1);
    }
  }
  line.fail(fmt::format("there is no host \"{}\"; its \"initiator\" line must come first", name));
}

void Parser::op(Line& line) {
  const std::uint32_t who = host(line, line.word("the initiator's name"));
  if (who == kTargetHost) {
    line.fail("the target has no operations of its own");
  }
  Op op;
  op.kind = line.choice(kOps, "operation");
  switch (op.kind) {
    case OpKind::read:
    case OpKind::write:
    case OpKind::coalesced:
      op.lba = static_cast<std::uint64_t>(line.number("the LBA"));
      op.sectors = static_cast<std::uint32_t>(line.number("the number of sectors"));
      if (op.kind == OpKind::coalesced) {
        op.amount = line.number("the number of further reads");
      }
      break;
    case OpKind::wait:
      op.amount = line.duration("how long");
      break;
    case OpKind::skip:
    case OpKind::set_config:
    case OpKind::garbage:
    case OpKind::lists:
      op.amount = line.number("the number");
      break;
    case OpKind::congestion:
      op.amount = line.number("the id");
      op.sectors = static_cast<std::uint32_t>(line.number("the number of probes"));
      break;
    default:
      break;
  }
  line.end();
  schedule_.initiators[who - 1].ops.push_back(op);
}

void Parser::frame(Line& line) {
  const std::string_view name = line.word("the link");
  FrameFault fault;
  if (name.ends_with(">sw")) {
    fault.link = link_up(host(line, name.substr(0, name.size() - 3)));
  } else if (name.starts_with("sw>")) {
    fault.link = link_down(host(line, name.substr(3)));
  } else {
    line.fail(fmt::format("\"{}\" is no link; links are called a>sw, sw>t, t>sw, sw>a", name));
  }
  fault.index = static_cast<std::uint32_t>(line.number("the frame's number"));
  fault.kind = line.choice(kFrameFaults, "verdict on a frame");
  fault.amount = line.amount(amount_of(fault.kind), "the amount");
  line.end();
  schedule_.frame_faults.push_back(fault);
}

void Parser::disk(Line& line) {
  DiskFault fault;
  fault.index = static_cast<std::uint32_t>(line.number("the disk operation's number"));
  fault.kind = line.choice(kDiskFaults, "verdict on a disk operation");
  fault.amount = line.amount(amount_of(fault.kind), "the amount");
  line.end();
  schedule_.disk_faults.push_back(fault);
}

void Parser::host_event(Line& line) {
  HostEvent event;
  event.at = line.duration("the time");
  event.kind = line.choice(kHostEvents, "event");
  switch (event.kind) {
    case HostEventKind::crash:
      event.amount = line.done() ? 0 : line.number("the number");
      break;
    case HostEventKind::restart:
    case HostEventKind::clear:
      break;
    default:
      event.host = host(line, line.word("the host"));
      if (event.kind == HostEventKind::mtu) {
        event.amount = line.number("the MTU");
      }
  }
  line.end();
  schedule_.host_events.push_back(event);
}

void Parser::expectation(Line& line) {
  constexpr std::array kExpectations{
      Name<Expectation>{Expectation::intact, "intact"},
      Name<Expectation>{Expectation::known, "known"},
      Name<Expectation>{Expectation::failure, "failure"},
  };
  schedule_.expectation = line.choice(kExpectations, "expectation");
  schedule_.signature.clear();
  if (schedule_.expectation != Expectation::intact) {
    schedule_.signature = std::string(line.word("the signature"));
  }
  line.end();
}

void print_op(std::string& out, const InitiatorSpec& spec, const Op& op) {
  out += fmt::format("op {} {}", spec.name, word_of(kOps, op.kind));
  switch (op.kind) {
    case OpKind::read:
    case OpKind::write:
      out += fmt::format(" {} {}", op.lba, op.sectors);
      break;
    case OpKind::coalesced:
      out += fmt::format(" {} {} {}", op.lba, op.sectors, op.amount);
      break;
    case OpKind::wait:
      out += fmt::format(" {}", print_duration(op.amount));
      break;
    case OpKind::skip:
    case OpKind::set_config:
    case OpKind::garbage:
    case OpKind::lists:
      out += fmt::format(" {}", op.amount);
      break;
    case OpKind::congestion:
      out += fmt::format(" {} {}", op.amount, op.sectors);
      break;
    default:
      break;
  }
  out += '\n';
}

std::string print_amount(Amount kind, std::int64_t amount) {
  switch (kind) {
    case Amount::duration:
      return " " + print_duration(amount);
    case Amount::number:
      return fmt::format(" {}", amount);
    default:
      return {};
  }
}

void print_initiator(std::string& out, const InitiatorSpec& spec) {
  out += fmt::format("initiator {} {}", spec.name, word_of(kInitiatorKinds, spec.kind));
  const InitiatorSpec fallback;
  if (spec.tags != TagMode::none) {
    out += fmt::format(" tags={}", word_of(kTagModes, spec.tags));
  }
#define AOE_SIM_INITIATOR_PRINT(member, value)          \
  if (spec.member != fallback.member) {                 \
    out += fmt::format(" " #member "={}", spec.member); \
  }
  AOE_SIM_INITIATOR_SETTINGS(AOE_SIM_INITIATOR_PRINT)
#undef AOE_SIM_INITIATOR_PRINT
  out += '\n';
}

void print_host_event(std::string& out, const Schedule& schedule, const HostEvent& event) {
  out += fmt::format("at {} {}", print_duration(event.at), word_of(kHostEvents, event.kind));
  switch (event.kind) {
    case HostEventKind::crash:
      out += event.amount == 0 ? std::string() : fmt::format(" {}", event.amount);
      break;
    case HostEventKind::restart:
    case HostEventKind::clear:
      break;
    case HostEventKind::mtu:
      out += fmt::format(" {} {}", schedule.host_name(event.host), event.amount);
      break;
    default:
      out += fmt::format(" {}", schedule.host_name(event.host));
  }
  out += '\n';
}

}  // namespace

std::size_t Schedule::choices() const {
  std::size_t count = host_events.size() + frame_faults.size() + disk_faults.size();
  for (const InitiatorSpec& spec : initiators) {
    count += spec.ops.size() + 1;
  }
  return count;
}

std::string Schedule::host_name(std::uint32_t host) const {
  if (host == kTargetHost) {
    return "t";
  }
  return host <= initiators.size() ? initiators[host - 1].name : "?";
}

std::string Schedule::link_name(LinkId link) const {
  const std::string host = host_name(link / 2);
  return link % 2 == 0 ? host + ">sw" : "sw>" + host;
}

Schedule parse_schedule(std::string_view text) {
  return Parser().parse(text);
}

void check_settings(const Settings& settings) {
  struct Range {
    std::string_view name;
    std::int64_t value;
    std::int64_t least;
    std::int64_t most;
  };
  constexpr std::int64_t kLongest = 1'000'000 * kSecond;
  for (const Range& range : {
           Range{"sectors", settings.sectors, 1, 1 << 20},
           Range{"mtu", settings.mtu, 576, 9000},
           Range{"link_latency_ns", settings.link_latency_ns, 0, kSecond},
           Range{"link_ns_per_byte", settings.link_ns_per_byte, 0, kSecond},
           Range{"queue_bytes", settings.queue_bytes, 0, 1 << 30},
           Range{"buffer_count", settings.buffer_count, 1, 65'535},
           Range{"wake_ns", settings.wake_ns, 0, kSecond},
           Range{"disk_read_ns", settings.disk_read_ns, 0, kLongest},
           Range{"disk_write_ns", settings.disk_write_ns, 0, kLongest},
           Range{"disk_flush_ns", settings.disk_flush_ns, 0, kLongest},
           Range{"frozen", settings.frozen, 0, 7},
           Range{"initiators_max", settings.initiators_max, 1, 4'096},
           Range{"operations_max", settings.operations_max, 1, 65'536},
           Range{"target_clock_ppm", settings.target_clock_ppm, -100'000, 100'000},
           Range{"target_clock_offset_ns", settings.target_clock_offset_ns, 0, kLongest},
           Range{"limit_ns", settings.limit_ns, 1, kLongest},
       }) {
    if (range.value < range.least || range.value > range.most) {
      throw ScheduleError(fmt::format("\"set {} {}\": it must be from {} to {}", range.name,
                                      range.value, range.least, range.most));
    }
  }
}

std::optional<Nanoseconds> parse_duration(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  constexpr std::array<std::pair<std::string_view, Nanoseconds>, 4> kUnits{
      {{"ns", 1}, {"us", kMicrosecond}, {"ms", kMillisecond}, {"s", kSecond}}};
  for (const auto& [name, factor] : kUnits) {
    if (error == std::errc{} && name == unit && value >= 0 &&
        value <= 1'000'000 * kSecond / factor) {
      return value * factor;
    }
  }
  return std::nullopt;
}

std::string print_schedule(const Schedule& schedule) {
  std::string out = "aoe-sim 1\n";
  for (const std::string& line : schedule.story) {
    out += fmt::format("story {}\n", line);
  }
  out += fmt::format("seed {}\nprofile {}\n", static_cast<std::int64_t>(schedule.seed),
                     schedule.profile);
  const Settings fallback;
#define AOE_SIM_SETTING_PRINT(name, value)                            \
  if (schedule.settings.name != fallback.name) {                      \
    out += fmt::format("set " #name " {}\n", schedule.settings.name); \
  }
  AOE_SIM_SETTINGS(AOE_SIM_SETTING_PRINT)
#undef AOE_SIM_SETTING_PRINT
  for (const InitiatorSpec& spec : schedule.initiators) {
    print_initiator(out, spec);
  }
  for (const InitiatorSpec& spec : schedule.initiators) {
    for (const Op& op : spec.ops) {
      print_op(out, spec, op);
    }
  }
  for (const HostEvent& event : schedule.host_events) {
    print_host_event(out, schedule, event);
  }
  for (const FrameFault& fault : schedule.frame_faults) {
    out += fmt::format("frame {} {} {}{}\n", schedule.link_name(fault.link), fault.index,
                       word_of(kFrameFaults, fault.kind),
                       print_amount(amount_of(fault.kind), fault.amount));
  }
  for (const DiskFault& fault : schedule.disk_faults) {
    out += fmt::format("disk {} {}{}\n", fault.index, word_of(kDiskFaults, fault.kind),
                       print_amount(amount_of(fault.kind), fault.amount));
  }
  switch (schedule.expectation) {
    case Expectation::intact:
      out += "expect intact\n";
      break;
    case Expectation::known:
      out += fmt::format("expect known {}\n", schedule.signature);
      break;
    case Expectation::failure:
      out += fmt::format("expect failure {}\n", schedule.signature);
      break;
  }
  return out;
}

std::string print_duration(Nanoseconds duration) {
  if (duration != 0 && duration % kSecond == 0) {
    return fmt::format("{}s", duration / kSecond);
  }
  if (duration != 0 && duration % kMillisecond == 0) {
    return fmt::format("{}ms", duration / kMillisecond);
  }
  if (duration != 0 && duration % kMicrosecond == 0) {
    return fmt::format("{}us", duration / kMicrosecond);
  }
  return fmt::format("{}ns", duration);
}

std::string_view frame_fault_name(FrameFaultKind kind) {
  return word_of(kFrameFaults, kind);
}
std::string_view disk_fault_name(DiskFaultKind kind) {
  return word_of(kDiskFaults, kind);
}
std::string_view host_event_name(HostEventKind kind) {
  return word_of(kHostEvents, kind);
}
std::string_view op_name(OpKind kind) {
  return word_of(kOps, kind);
}
std::string_view tag_mode_name(TagMode mode) {
  return word_of(kTagModes, mode);
}

TagMode parse_tag_mode(std::string_view word) {
  for (const auto& name : kTagModes) {
    if (name.word == word) {
      return name.kind;
    }
  }
  throw ScheduleError(fmt::format(
      "\"{}\" is no kind of tags; known: none, tag_inc_be, tag_inc_le, tag_random", word));
}

}  // namespace sim
