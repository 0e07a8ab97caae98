// aoe-initiator: the command line. Options in, exit code out; the protocol is the library's.

#include <fmt/format.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>

#include "aoe_version.h"
#include "conformance/initiator/bench.h"
#include "conformance/initiator/congestion.h"
#include "conformance/initiator/discovery.h"
#include "conformance/initiator/live.h"
#include "conformance/output/output_file.h"

namespace conformance::initiator {
namespace {

using nlohmann::ordered_json;
using observer::kSectorBytes;

constexpr uint32_t kTransferSectors = 64;  // a job of read, write, verify
constexpr size_t kTransferJobs = 64;
enum ExitCode { exit_good = 0, exit_wrong = 1, exit_usage = 2, exit_no_target = 3, exit_error = 5 };

volatile std::sig_atomic_t g_stop = 0;

class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
class NoTarget : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Options {
  std::vector<std::string> interfaces;
  int shelf = -1;
  int slot = -1;
  std::string extensions;
  bool required = false;
  std::string address;
  size_t mtu = 0;
  double connect_seconds = 10;
  double give_up_seconds = 0;
  bool json = false;

  double wait_seconds = 1;  // discover
  uint64_t lba = 0;
  uint64_t sectors = 0;
  bool no_flush = false;
  std::string file;
  std::string output;

  std::string operation = "read";
  std::string pattern = "random";
  std::string outstanding = "16";
  uint32_t request_sectors = 0;
  unsigned write_percent = 0;
  double seconds = 2;
  uint64_t requests = 0;
  std::string range;
  uint64_t seed = 1;
  std::string ledger;
  uint64_t probes = 1000;
};

// ------------------------------------------------------------------ words

std::string printable(const Bytes& bytes) {
  return observer::quoted(BytesView(bytes));
}

std::string size_text(uint64_t sectors) {
  return fmt::format("{} sectors, {:.1f} MiB", sectors,
                     static_cast<double>(sectors) / (1024.0 * 1024.0 / kSectorBytes));
}

void note(const std::string& text) {
  std::cerr << "aoe-initiator: " << text << "\n";
}

// ------------------------------------------------------------------ options into values

Config config_of(const Options& o) {
  Config config;
  config.shelf = static_cast<uint16_t>(o.shelf);
  config.slot = static_cast<uint8_t>(o.slot);
  std::string wrong;
  const auto features = features_from_string(o.extensions, wrong);
  if (!features) {
    throw UsageError(
        fmt::format("--extensions {}: there are tag_inc_be, tag_inc_le, tag_random, "
                    "coalesced_read, coalesced_write_reply, crc8x4",
                    wrong));
  }
  config.wished = *features;
  config.features_required = o.required;
  config.first_tag = tag_of_now();
  config.give_up_ns = static_cast<int64_t>(o.give_up_seconds * 1e9);
  return config;
}

Where where_of(const Options& o) {
  Where where;
  where.interfaces = o.interfaces;
  where.mtu_max = o.mtu;
  if (!o.address.empty()) {
    where.own = observer::mac_from_string(o.address);
    if (!where.own) {
      throw UsageError(fmt::format("--address {}: six bytes, 02:00:00:00:00:01", o.address));
    }
    if (((*where.own)[0] & 1U) != 0) {
      throw UsageError(fmt::format("--address {}: a group's address cannot ask", o.address));
    }
  }
  return where;
}

struct Range {
  uint64_t lba = 0;
  uint64_t sectors = 0;
};

// "LBA:COUNT"; empty: the whole disk.
Range range_of(const std::string& text, uint64_t disk_sectors) {
  Range range{0, disk_sectors};
  if (!text.empty()) {
    unsigned long long lba = 0;
    unsigned long long count = 0;
    char rest = 0;
    if (text.find('-') != std::string::npos ||
        std::sscanf(text.c_str(), "%llu:%llu%c", &lba, &count, &rest) != 2 || count == 0) {
      throw UsageError(fmt::format("--range {}: LBA:COUNT, COUNT at least 1", text));
    }
    range = {lba, count};
  }
  if (range.lba >= disk_sectors || range.sectors > disk_sectors - range.lba) {
    throw UsageError(fmt::format("the range {}:{} ends beyond the disk of {} sectors", range.lba,
                                 range.sectors, disk_sectors));
  }
  return range;
}

unsigned number_outstanding(const std::string& text) {
  char* end = nullptr;
  const unsigned long value = std::strtoul(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0' || value == 0 || value > 1024 || text[0] == '-') {
    throw UsageError(fmt::format("--outstanding {}: 1 to 1024, or auto", text));
  }
  return static_cast<unsigned>(value);
}

// ------------------------------------------------------------------ a target, connected

class Connected {
 public:
  Connected(const Options& o, unsigned outstanding = 0)
      : wires_(where_of(o)), live_(wires_, with(config_of(o), outstanding)) {
    const auto until = now_ns() + static_cast<int64_t>(o.connect_seconds * 1e9);
    if (!live_.connect(until, &g_stop)) {
      if (g_stop != 0) {
        throw NoTarget("interrupted");
      }
      const Initiator& i = live_.initiator();
      std::string why = fmt::format("e{}.{} does not answer on", o.shelf, o.slot);
      for (const std::string& name : o.interfaces) {
        why += " " + name;
      }
      if (i.phase() == Phase::negotiating) {
        why = fmt::format("e{}.{} answers, but does not give all of --extensions {}", o.shelf,
                          o.slot, o.extensions);
      } else if (i.phase() != Phase::asking) {
        why = fmt::format("e{}.{} answered, and then no more ({})", o.shelf, o.slot,
                          name_of(i.phase()));
      }
      throw NoTarget(fmt::format("{} (waited {} s, --connect-timeout)", why, o.connect_seconds));
    }
    const Features& active = device().active;
    const Config wanted = config_of(o);
    if (wanted.wished.any() && to_string(active) != to_string(wanted.wished)) {
      const std::string text = to_string(active);
      note(fmt::format("asked for {}; active: {}", o.extensions, text.empty() ? "none" : text));
    }
  }

  Live& live() { return live_; }
  const Device& device() { return live_.initiator().device(); }
  // What was lost between us and the wire, once at the end.
  void note_losses() {
    for (size_t i = 0; i < wires_.all().size(); ++i) {
      const uint64_t unsent = wires_.all()[i].socket->unsent();
      const uint64_t missed = wires_.all()[i].socket->missed();
      if (unsent + missed > 0) {
        note(
            fmt::format("path {}: the interface did not take {} frames, {} came in faster than "
                        "they were read",
                        i, unsent, missed));
      }
    }
  }

 private:
  static Config with(Config config, unsigned outstanding) {
    config.outstanding_max = outstanding;
    return config;
  }
  Wires wires_;
  Live live_;
};

// ------------------------------------------------------------------ discover

int discover(const Options& o) {
  Wires wires(where_of(o));
  Discovery discovery(o.shelf < 0 ? 0xffff : static_cast<uint16_t>(o.shelf),
                      o.slot < 0 ? 0xff : static_cast<uint8_t>(o.slot), random_tag() | 1U);
  constexpr int repetitions = 3;
  const auto wait_ns = static_cast<int64_t>(o.wait_seconds * 1e9);
  const int64_t begin_ns = now_ns();
  for (int i = 0; i < repetitions && g_stop == 0; ++i) {
    for (auto& wire : wires.all()) {
      const Bytes query = discovery.query(wire.own.mac());
      wire.socket->send({query});
    }
    const int64_t until = begin_ns + wait_ns * (i + 1) / repetitions;
    while (now_ns() < until && g_stop == 0) {
      wires.wait(until);
      for (size_t path = 0; path < wires.all().size(); ++path) {
        for (const BytesView frame : wires.all()[path].socket->receive()) {
          discovery.on_frame(path, frame);
        }
      }
    }
  }
  std::vector<Found> found = discovery.found();
  std::sort(found.begin(), found.end(), [](const Found& a, const Found& b) {
    return std::tie(a.shelf, a.slot, a.path, a.mac) < std::tie(b.shelf, b.slot, b.path, b.mac);
  });
  if (o.json) {
    ordered_json list = ordered_json::array();
    for (const Found& f : found) {
      list.push_back({{"shelf", f.shelf},
                      {"slot", f.slot},
                      {"interface", o.interfaces[f.path]},
                      {"address", observer::to_string(f.mac)},
                      {"buffer_count", f.buffer_count},
                      {"sector_count", f.sector_count},
                      {"firmware", f.firmware},
                      {"config_string", printable(f.config_string)}});
    }
    std::cout << list.dump(2) << "\n";
  } else {
    for (const Found& f : found) {
      std::cout << fmt::format(
          "e{}.{}  {}  {}  buffer count {}, sector count {}, firmware {:#06x}, config string {}\n",
          f.shelf, f.slot, o.interfaces[f.path], observer::to_string(f.mac), f.buffer_count,
          f.sector_count, f.firmware, printable(f.config_string));
    }
  }
  if (found.empty()) {
    note(fmt::format("nobody answered in {} s (--wait)", o.wait_seconds));
    return exit_no_target;
  }
  return exit_good;
}

// ------------------------------------------------------------------ info

int info(const Options& o) {
  Connected target(o);
  const Device& d = target.device();
  const std::string active = to_string(d.active);
  if (o.json) {
    std::cout << ordered_json{{"shelf", o.shelf},
                              {"slot", o.slot},
                              {"address", observer::to_string(d.mac)},
                              {"sectors", d.sectors},
                              {"model", d.model},
                              {"serial", d.serial},
                              {"revision", d.revision},
                              {"lba48", d.lba48},
                              {"flush", d.flush},
                              {"volatile_write_cache", d.volatile_write_cache},
                              {"buffer_count", d.buffer_count},
                              {"sector_count", d.sector_count},
                              {"firmware", d.firmware},
                              {"config_string", printable(d.config_string)},
                              {"sectors_per_frame", d.sectors_per_frame},
                              {"extensions", active}}
                     .dump(2)
              << "\n";
    return exit_good;
  }
  std::cout << fmt::format(
      "target         e{}.{} at {}\n"
      "disk           {}\n"
      "identify       model \"{}\", serial \"{}\", firmware \"{}\"\n"
      "               {}, {}, write cache {}\n"
      "config query   buffer count {}, sector count {}, firmware {:#06x}, config string {}\n"
      "a frame        carries {} sectors on this path\n"
      "extensions     {}\n",
      o.shelf, o.slot, observer::to_string(d.mac), size_text(d.sectors), d.model, d.serial,
      d.revision, d.lba48 ? "48-bit LBA" : "28-bit LBA", d.flush ? "flush" : "no flush",
      d.volatile_write_cache ? "volatile" : "none, or not volatile", d.buffer_count, d.sector_count,
      d.firmware, printable(d.config_string), d.sectors_per_frame,
      active.empty() ? (o.extensions.empty() ? "not asked for (--extensions)" : "none") : active);
  return exit_good;
}

// ------------------------------------------------------------------ read, write, verify

Range transfer_range(const Options& o, const Device& d, uint64_t sectors) {
  return range_of(fmt::format("{}:{}", o.lba, sectors), d.sectors);
}

// Reads the range; `take` gets it in order, and says whether to go on.
template <typename Take>
std::string read_range(Live& live, const Range& range, Take take, bool& interrupted) {
  std::string failure;
  uint64_t asked = 0;
  uint64_t taken = 0;
  std::map<uint64_t, Bytes> early;
  bool go_on = true;
  const auto next = [&](Job& job) {
    // What waits for its turn is bounded: nothing is asked for far ahead of it.
    if (asked >= range.sectors || !go_on || asked > taken + 4 * kTransferJobs * kTransferSectors) {
      return false;
    }
    job.kind = Kind::read;
    job.lba = range.lba + asked;
    job.sectors =
        static_cast<uint32_t>(std::min<uint64_t>(kTransferSectors, range.sectors - asked));
    asked += job.sectors;
    return true;
  };
  const auto done = [&](Completion& c) {
    if (c.result != Result::done) {
      failure = failure.empty() ? describe(c) : failure;
      go_on = false;
      return false;
    }
    early.emplace(c.lba - range.lba, std::move(c.data));
    while (go_on && !early.empty() && early.begin()->first == taken) {
      go_on = take(taken, early.begin()->second);
      taken += early.begin()->second.size() / kSectorBytes;
      early.erase(early.begin());
    }
    return go_on;
  };
  interrupted = !run_jobs(live, kTransferJobs, next, done, g_stop);
  return failure;
}

int finish(const std::string& failure, bool interrupted) {
  if (!failure.empty()) {
    note(failure);
    return exit_wrong;
  }
  if (interrupted) {
    note("interrupted");
    return exit_error;
  }
  return exit_good;
}

int read(const Options& o) {
  output::OutputFile out(o.output);
  Connected target(o);
  const Device& d = target.device();
  const Range range = transfer_range(o, d,
                                     o.sectors != 0      ? o.sectors
                                     : d.sectors > o.lba ? d.sectors - o.lba
                                                         : 1);
  bool interrupted = false;
  const std::string failure = read_range(
      target.live(), range,
      [&](uint64_t, const Bytes& data) {
        out.write({reinterpret_cast<const char*>(data.data()), data.size()});
        return true;
      },
      interrupted);
  const int code = finish(failure, interrupted);
  if (code == exit_good) {
    out.commit();
  }
  target.note_losses();
  return code;
}

// The content of a file or of standard input, in pieces of whole sectors.
class Input {
 public:
  explicit Input(const std::string& path) : path_(path) {
    if (path != "-") {
      struct stat s {};
      if (stat(path.c_str(), &s) == 0 && S_ISDIR(s.st_mode)) {
        throw UsageError(fmt::format("{}: a folder", path));
      }
      file_.open(path, std::ios::binary);
      if (!file_) {
        throw UsageError(fmt::format("{}: {}", path, std::strerror(errno)));
      }
    }
  }
  // At most `sectors` sectors; empty at the end.
  Bytes take(uint32_t sectors) {
    std::istream& in = path_ == "-" ? std::cin : file_;
    Bytes data(sectors * kSectorBytes);
    in.read(reinterpret_cast<char*>(data.data()), static_cast<std::streamsize>(data.size()));
    data.resize(static_cast<size_t>(in.gcount()));
    if (in.bad()) {
      throw std::runtime_error(fmt::format("{}: reading: {}", path_, std::strerror(errno)));
    }
    if (data.size() % kSectorBytes != 0) {
      throw UsageError(fmt::format(
          "{}: its last {} bytes are no whole sector of 512; nothing of it may be left out or "
          "made up: pad the file (truncate -s %512)",
          path_, data.size() % kSectorBytes));
    }
    return data;
  }

 private:
  std::string path_;
  std::ifstream file_;
};

// The size of what can be sized; 0 of a pipe. Refuses what is no whole number of sectors before
// anything is written.
uint64_t sectors_of(const std::string& path) {
  struct stat s {};
  if (path == "-" || stat(path.c_str(), &s) != 0 || !S_ISREG(s.st_mode)) {
    return 0;
  }
  const auto size = static_cast<uint64_t>(s.st_size);
  if (size % kSectorBytes != 0) {
    throw UsageError(
        fmt::format("{}: {} bytes are no whole number of sectors of 512 (pad it: truncate -s %512)",
                    path, size));
  }
  return size / kSectorBytes;
}

int write(const Options& o) {
  Input input(o.file);
  const uint64_t known = sectors_of(o.file);
  Connected target(o);
  const Device& d = target.device();
  if (known != 0) {
    transfer_range(o, d, known);
  }
  std::string failure;
  uint64_t at = 0;
  bool at_end = false;
  const auto next = [&](Job& job) {
    if (at_end || !failure.empty()) {
      return false;
    }
    job.data = input.take(kTransferSectors);
    job.sectors = static_cast<uint32_t>(job.data.size() / kSectorBytes);
    if (job.sectors == 0) {
      at_end = true;
      return false;
    }
    if (o.lba + at >= d.sectors || job.sectors > d.sectors - o.lba - at) {
      failure = fmt::format("{} goes on beyond the disk's end; written are {} sectors", o.file, at);
      return false;
    }
    job.kind = Kind::write;
    job.lba = o.lba + at;
    at += job.sectors;
    return true;
  };
  const auto done = [&](Completion& c) {
    if (c.result != Result::done && failure.empty()) {
      failure = describe(c);
    }
    return failure.empty();
  };
  bool interrupted = !run_jobs(target.live(), kTransferJobs, next, done, g_stop);
  if (failure.empty() && !interrupted && !o.no_flush) {
    bool asked = false;
    const auto flush = [&](Job& job) {
      job.kind = Kind::flush;
      return !std::exchange(asked, true);
    };
    interrupted = !run_jobs(target.live(), 1, flush, done, g_stop);
  }
  const int code = finish(failure, interrupted);
  if (code == exit_good) {
    std::cout << fmt::format("written{}: {}\n", o.no_flush ? "" : " and flushed", size_text(at));
  }
  target.note_losses();
  return code;
}

int verify(const Options& o) {
  Input input(o.file);
  const uint64_t known = sectors_of(o.file);
  Connected target(o);
  const Device& d = target.device();
  const uint64_t sectors = o.sectors != 0 ? o.sectors : known;
  if (sectors == 0) {
    throw UsageError(fmt::format("{}: its size is not known beforehand; say --sectors", o.file));
  }
  const Range range = transfer_range(o, d, sectors);
  uint64_t different = 0;
  bool too_short = false;
  constexpr uint64_t named_max = 20;
  bool interrupted = false;
  const std::string failure = read_range(
      target.live(), range,
      [&](uint64_t at, const Bytes& data) {
        const Bytes wanted = input.take(static_cast<uint32_t>(data.size() / kSectorBytes));
        too_short = wanted.size() < data.size();
        for (size_t i = 0; i + kSectorBytes <= wanted.size(); i += kSectorBytes) {
          const auto offset = static_cast<ptrdiff_t>(i);
          if (!std::equal(wanted.begin() + offset, wanted.begin() + offset + kSectorBytes,
                          data.begin() + offset) &&
              ++different <= named_max) {
            const auto first =
                std::mismatch(wanted.begin() + offset, wanted.end(), data.begin() + offset);
            std::cout << fmt::format(
                "sector {} differs from byte {} on: {:#04x}, in the file {:#04x}\n",
                range.lba + at + i / kSectorBytes,
                (first.first - wanted.begin()) % ptrdiff_t{kSectorBytes}, *first.second,
                *first.first);
          }
        }
        return !too_short;
      },
      interrupted);
  if (too_short) {
    throw UsageError(fmt::format("{}: it ends before {} sectors", o.file, range.sectors));
  }
  const int code = finish(failure, interrupted);
  if (code != exit_good) {
    return code;
  }
  std::cout << fmt::format("{} of {} sectors differ\n", different, range.sectors);
  return different == 0 ? exit_good : exit_wrong;
}

// ------------------------------------------------------------------ bench

// By AoEde's probe, before the session begins. 0: the target does not know it.
unsigned probed_outstanding(const Options& o) {
  Wires wires(where_of(o));
  auto& wire = wires.all().front();
  CongestionProbe probe(static_cast<uint16_t>(o.shelf), static_cast<uint8_t>(o.slot),
                        static_cast<uint64_t>(random_tag()) << 16U | 1U, random_tag(), o.probes);
  const std::vector<Bytes> frames = probe.frames(wire.own.mac(), observer::kBroadcastMac);
  const std::vector<BytesView> views(frames.begin(), frames.end());
  probe.start(now_ns());
  wire.socket->send(views);
  while (!probe.finished(now_ns()) && g_stop == 0) {
    wires.wait(probe.deadline_ns());
    for (const BytesView frame : wire.socket->receive()) {
      probe.on_frame(frame, now_ns());
    }
  }
  return static_cast<unsigned>(std::min<size_t>(probe.answered(), 1024));
}

Load load_of(const Options& o, const Device& d, unsigned outstanding) {
  Load load;
  load.pattern = o.pattern == "random" ? Pattern::random : Pattern::sequential;
  load.write_percent = o.operation == "write" ? 100 : o.operation == "read" ? 0 : o.write_percent;
  load.sectors = o.request_sectors != 0 ? o.request_sectors : d.sectors_per_frame;
  load.outstanding = outstanding;
  load.seconds = o.seconds;
  load.requests = o.requests;
  load.seed = o.seed;
  const Range range = range_of(o.range, d.sectors);
  if (range.sectors < load.sectors) {
    throw UsageError(fmt::format("the range of {} sectors is smaller than a request of {}",
                                 range.sectors, load.sectors));
  }
  load.first_lba = range.lba;
  load.range_sectors = range.sectors;
  return load;
}

int bench(const Options& o) {
  if (o.operation != "read" && o.range.empty()) {
    throw UsageError("what stands in the sectors is lost: say which with --range LBA:COUNT");
  }
  unsigned outstanding = 0;
  if (o.outstanding == "auto") {
    outstanding = probed_outstanding(o);
    if (outstanding == 0) {
      note(
          "the target does not know congestion probes, or has had too many: its buffer count is "
          "taken instead");
    }
  } else {
    outstanding = number_outstanding(o.outstanding);
  }
  Connected target(o, outstanding);
  const Device& d = target.device();
  if (outstanding == 0) {
    outstanding = std::clamp<unsigned>(d.buffer_count, 1, 1024);
  }
  const Load load = load_of(o, d, outstanding);
  const Counters before = target.live().initiator().counters();
  const Measured m = measure(target.live(), load, g_stop);
  const Counters& after = target.live().initiator().counters();
  const auto per_second = [&](double x) { return x / m.seconds; };
  const auto us = [&](double share) {
    return static_cast<double>(m.latency.percentile_ns(share)) / 1e3;
  };
  const double processor_us =
      m.requests == 0 ? 0
                      : static_cast<double>(m.processor_ns) / 1e3 / static_cast<double>(m.requests);
  const std::string active = to_string(d.active);
  if (o.json) {
    std::cout << ordered_json{{"operation", o.operation},
                              {"pattern", o.pattern},
                              {"sectors", load.sectors},
                              {"outstanding", load.outstanding},
                              {"extensions", active},
                              {"seconds", m.seconds},
                              {"requests", m.requests},
                              {"failed", m.failed},
                              {"repeated", after.repeated - before.repeated},
                              {"requests_per_second", per_second(static_cast<double>(m.requests))},
                              {"bytes_per_second", per_second(static_cast<double>(m.bytes))},
                              {"latency_us",
                               {{"p50", us(0.5)},
                                {"p90", us(0.9)},
                                {"p99", us(0.99)},
                                {"p99.9", us(0.999)},
                                {"max", static_cast<double>(m.latency.max_ns()) / 1e3}}},
                              {"processor_us_per_request", processor_us}}
                     .dump(2)
              << "\n";
  } else {
    std::cout << fmt::format(
        "{} {}, {} sectors a request, {} outstanding{}{}\n"
        "{} requests in {:.2f} s: {:.0f} a second, {:.1f} MB/s; {} repeated, {} failed\n"
        "latency us: 50% {:.1f}, 90% {:.1f}, 99% {:.1f}, 99.9% {:.1f}, longest {:.1f}; "
        "{:.2f} us of our processor time a request\n",
        o.pattern, o.operation, load.sectors, load.outstanding, active.empty() ? "" : ", ", active,
        m.requests, m.seconds, per_second(static_cast<double>(m.requests)),
        per_second(static_cast<double>(m.bytes)) / 1e6, after.repeated - before.repeated, m.failed,
        us(0.5), us(0.9), us(0.99), us(0.999), static_cast<double>(m.latency.max_ns()) / 1e3,
        processor_us);
  }
  target.note_losses();
  if (m.requests == 0 && m.failed == 0 && !m.interrupted) {
    throw NoTarget("the target answered nothing");
  }
  return finish(m.first_failure, m.interrupted);
}

// ------------------------------------------------------------------ fill, check

std::optional<Ledger> read_ledger(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return std::nullopt;
  }
  const std::string text{std::istreambuf_iterator<char>(in), {}};
  try {
    return Ledger::parse(text);
  } catch (const std::exception& e) {
    throw UsageError(fmt::format("{}: {}", path, e.what()));
  }
}

int fill_command(const Options& o) {
  if (o.range.empty()) {
    throw UsageError("what stands in the sectors is lost: say which with --range LBA:COUNT");
  }
  const unsigned outstanding = number_outstanding(o.outstanding);
  std::optional<Ledger> known = read_ledger(o.ledger);
  output::try_destinations({o.ledger});
  Connected target(o, outstanding);
  const Device& d = target.device();
  const Range range = range_of(o.range, d.sectors);
  if (known && (known->lba() != range.lba || known->sectors() != range.sectors)) {
    throw UsageError(
        fmt::format("{} is about the range {}:{}; go on with that one, or name another "
                    "file",
                    o.ledger, known->lba(), known->sectors()));
  }
  Ledger ledger = known ? *std::move(known) : Ledger(range.lba, range.sectors);
  Load load = load_of(o, d, outstanding);
  const Filled filled = fill(target.live(), load, ledger, ledger.next_version(), g_stop);
  output::write_file(o.ledger, ledger.text());
  std::cout << fmt::format("{} writes acknowledged, {} not\n", filled.writes, filled.unanswered);
  target.note_losses();
  return finish(filled.first_failure, filled.interrupted);
}

int check_command(const Options& o) {
  const std::optional<Ledger> ledger = read_ledger(o.ledger);
  if (!ledger) {
    throw UsageError(fmt::format("{}: {} (fill writes it)", o.ledger, std::strerror(errno)));
  }
  Connected target(o);
  if (ledger->lba() + ledger->sectors() > target.device().sectors) {
    note(fmt::format("the disk has {} sectors, and the ledger knows some beyond",
                     target.device().sectors));
    return exit_wrong;
  }
  const Checked checked = check(target.live(), *ledger, kTransferJobs, g_stop);
  if (o.json) {
    ordered_json findings = ordered_json::array();
    for (const Ledger::Finding& f : checked.findings) {
      findings.push_back({{"lba", f.lba}, {"what", f.what}});
    }
    std::cout << ordered_json{{"sectors", checked.sectors},
                              {"wrong", checked.wrong},
                              {"first_findings", findings}}
                     .dump(2)
              << "\n";
  } else {
    for (const Ledger::Finding& f : checked.findings) {
      std::cout << fmt::format("sector {} {}\n", f.lba, f.what);
    }
    std::cout << fmt::format("{} of {} sectors are wrong\n", checked.wrong, checked.sectors);
  }
  target.note_losses();
  const int code = finish(checked.failure, checked.interrupted);
  return code == exit_good && checked.wrong != 0 ? exit_wrong : code;
}

// ------------------------------------------------------------------ the command line

void add_where(CLI::App& app, Options& o, bool target_needed) {
  app.add_option("--interface,-i", o.interfaces,
                 "Interface that reaches the target; given more than once, further paths to it")
      ->required()
      ->delimiter(',')
      ->allow_extra_args(false);
  auto* shelf = app.add_option("--shelf", o.shelf, "Major address")->check(CLI::Range(0, 0xfffe));
  auto* slot = app.add_option("--slot", o.slot, "Minor address")->check(CLI::Range(0, 0xfe));
  if (target_needed) {
    shelf->required();
    slot->required();
    app.add_option(
           "--extensions", o.extensions,
           "tag_inc_be, tag_inc_le, tag_random, coalesced_read, coalesced_write_reply, crc8x4")
        ->type_name("NAME,...");
    app.add_flag("--require-extensions", o.required, "Without all of them do nothing");
    app.add_option("--connect-timeout", o.connect_seconds, "How long to wait for the target")
        ->type_name("SECONDS")
        ->check(CLI::Range(0.1, 1e6));
    app.add_option("--give-up", o.give_up_seconds,
                   "A request without an answer for so long has failed; 0 (default): never")
        ->type_name("SECONDS")
        ->check(CLI::Range(0.0, 1e6));
  }
  app.add_option("--address", o.address,
                 "Ask from this address (default: a locally administered one of our own)")
      ->type_name("MAC");
  app.add_option("--mtu", o.mtu, "Use no more of the interface's MTU")
      ->check(CLI::Range(size_t{576}, size_t{65535}));
}

void add_load(CLI::App& app, Options& o) {
  app.add_option("--pattern", o.pattern, "random or sequential")
      ->check(CLI::IsMember({"random", "sequential"}));
  app.add_option("--sectors", o.request_sectors, "Of a request (default: what a frame carries)")
      ->check(CLI::Range(1U, kJobSectorsMax));
  app.add_option("--seconds", o.seconds, "How long")->check(CLI::Range(0.01, 1e6));
  app.add_option("--range", o.range, "The sectors to use (default for reads: all)")
      ->type_name("LBA:COUNT");
  app.add_option("--seed", o.seed, "Of what is random");
}

int dispatch(int argc, char** argv) {
  CLI::App app{"An ATA-over-Ethernet initiator with the AoEde extensions.", "aoe-initiator"};
  app.set_version_flag("--version", fmt::format("aoe-initiator {}", aoe_version()));
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::simple);
  app.footer(
      "Exit codes: 0 good; 1 data differs, or the target refused or failed; 2 usage; 3 no target; "
      "5 an error of ours.\nNeeds CAP_NET_RAW. docs/aoe-initiator.md says what it promises.");
  Options o;
  std::map<const CLI::App*, int (*)(const Options&)> commands;
  const auto add = [&](const char* name, const char* what, int (*command)(const Options&),
                       bool target_needed = true) {
    CLI::App* sub = app.add_subcommand(name, what);
    add_where(*sub, o, target_needed);
    commands[sub] = command;
    return sub;
  };
  const auto json = [&](CLI::App* sub) { sub->add_flag("--json", o.json, "Print JSON"); };
  const auto lba = [&](CLI::App* sub) {
    sub->add_option("--lba", o.lba, "First sector (default 0)");
  };

  CLI::App* sub = add("discover", "Who answers", discover, false);
  sub->add_option("--wait", o.wait_seconds, "How long to listen")->check(CLI::Range(0.05, 3600.0));
  json(sub);
  json(add("info", "What a target says of itself, and what it agrees to", info));

  sub = add("read", "Sectors into a file", read);
  lba(sub);
  sub->add_option("--count", o.sectors, "Sectors (default: to the end)");
  sub->add_option("--output,-o", o.output, "File, device, or - (standard output)")->required();

  sub = add("write", "A file into sectors, and flush", write);
  lba(sub);
  sub->add_flag("--no-flush", o.no_flush, "Leave the flush out");
  sub->add_option("file", o.file, "File, device, or - (standard input)")->required();

  sub = add("verify", "Compare sectors with a file", verify);
  lba(sub);
  sub->add_option("--count", o.sectors, "Sectors (default: the file's)");
  sub->add_option("file", o.file, "File, device, or - (standard input)")->required();

  sub = add("bench", "Keep requests outstanding, and measure", bench);
  add_load(*sub, o);
  sub->add_option("--operation", o.operation, "read, write, mixed")
      ->check(CLI::IsMember({"read", "write", "mixed"}));
  sub->add_option("--write-percent", o.write_percent, "Of mixed")->check(CLI::Range(0U, 100U));
  sub->add_option("--outstanding", o.outstanding,
                  "Requests (default 16), or auto: as many as a congestion probe counts");
  sub->add_option("--probes", o.probes, "Of the congestion probe")
      ->check(CLI::Range(uint64_t{2}, uint64_t{100000}));
  sub->add_option("--requests", o.requests, "End after so many instead of --seconds");
  json(sub);

  sub = add("fill", "Write stamps: sectors that say which write they are of", fill_command);
  add_load(*sub, o);
  sub->add_option("--outstanding", o.outstanding, "Requests (default 16)");
  sub->add_option("--ledger", o.ledger,
                  "What was acknowledged and asked for; goes on if it is there")
      ->required()
      ->type_name("FILE");
  sub = add("check", "Read what was filled, and judge it", check_command);
  sub->add_option("--ledger", o.ledger, "Written by fill")->required()->type_name("FILE");
  json(sub);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) {
      return app.exit(e);
    }
    // What is unknown is said before what is missing: the latter may be what was mistyped.
    std::string what = e.what();
    if (const auto unknown = app.remaining(true); !unknown.empty()) {
      what = "unknown option or word: " + unknown.front();
    }
    std::cerr << fmt::format("aoe-initiator: {} (see aoe-initiator COMMAND --help)\n", what);
    return exit_usage;
  }
  struct sigaction action {};
  action.sa_handler = [](int) { g_stop = 1; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  const int code = commands.at(app.get_subcommands().front())(o);
  std::cout << std::flush;
  return output::printed_whole("aoe-initiator") || code != exit_good ? code : exit_error;
}

}  // namespace
}  // namespace conformance::initiator

int main(int argc, char** argv) {
  using namespace conformance::initiator;
  try {
    return dispatch(argc, argv);
  } catch (const UsageError& e) {
    note(e.what());
    return exit_usage;
  } catch (const NoTarget& e) {
    note(e.what());
    return exit_no_target;
  } catch (const std::exception& e) {
    note(e.what());
    return exit_error;
  }
}
