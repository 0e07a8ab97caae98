// Turns events into hash, JSON lines, ladder and capture.
#include "sim/trace.h"

#include <fmt/format.h>
#include <pcap/pcap.h>

#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "conformance/output/output_file.h"
#include "sim/clients/frames.h"

namespace sim {
namespace {

constexpr std::array kLostBecause{"dropped",           "bad FCS",     "queue full",
                                  "partition",         "above MTU",   "unknown destination",
                                  "receive ring full", "host is down"};
constexpr std::array kNotes{"behind the window: rejected",
                            "behind the window: performed",
                            "sessions full",
                            "pause started",
                            "pause refused",
                            "session reset",
                            "disk error",
                            "save failed"};
constexpr std::array kStatuses{"ok", "EIO", "ENOSPC", "lost in the crash"};
constexpr std::array kOutcomes{"done", "failed", "given up"};
constexpr std::array kPhases{"work", "sweep", "end"};
constexpr std::array kKinds{"sent",      "fault",    "lost",    "received", "disk-start",
                            "disk-done", "op-start", "op-done", "crash",    "restart",
                            "host",      "note",     "finding", "phase"};

std::string_view pick(std::span<const char* const> words, std::size_t index) {
  return index < words.size() ? std::string_view(words[index]) : std::string_view("?");
}

std::uint64_t load_little_endian(const std::byte* from) {
  std::uint64_t value = 0;
  std::memcpy(&value, from, sizeof value);
  if constexpr (std::endian::native == std::endian::big) {
    value = __builtin_bswap64(value);
  }
  return value;
}

// The text of an event without its time and place.
std::string what(const TraceEvent& event) {
  switch (event.kind) {
    case TraceKind::frame_sent:
    case TraceKind::frame_received:
      return clients::describe(event.bytes);
    case TraceKind::frame_fault: {
      const auto kind = static_cast<FrameFaultKind>(event.detail);
      const bool time = kind == FrameFaultKind::delay || kind == FrameFaultKind::duplicate;
      return fmt::format("{} {}", frame_fault_name(kind),
                         time ? print_duration(event.amount) : fmt::format("{}", event.amount));
    }
    case TraceKind::frame_lost:
      return fmt::format("lost: {}", pick(kLostBecause, event.detail));
    case TraceKind::disk_started:
      return fmt::format("disk {}: {}", event.serial, event.text);
    case TraceKind::disk_done:
      return fmt::format("disk {}: {}", event.serial, pick(kStatuses, event.detail));
    case TraceKind::op_started:
      return fmt::format("#{}: {}", event.serial, event.text);
    case TraceKind::op_done:
      return fmt::format("#{}: {}", event.serial, pick(kOutcomes, event.detail));
    case TraceKind::crash:
      return "CRASH";
    case TraceKind::restart:
      return "start";
    case TraceKind::host_event:
      return std::string(host_event_name(static_cast<HostEventKind>(event.detail)));
    case TraceKind::note:
      return fmt::format("note: {} ({})", pick(kNotes, event.detail), event.amount);
    case TraceKind::finding:
      return fmt::format("!! {}", event.text);
    case TraceKind::phase:
      return fmt::format("phase: {}", pick(kPhases, event.detail));
  }
  return {};
}

bool about_link(TraceKind kind) {
  return kind == TraceKind::frame_fault || kind == TraceKind::frame_lost;
}

class JsonSink final : public TraceSink {
 public:
  JsonSink(const Schedule& schedule, std::FILE* out) : schedule_(schedule), out_(out) {}
  void event(const TraceEvent& event, std::uint64_t hash_so_far) override {
    nlohmann::ordered_json line;
    line["t_ns"] = event.time;
    line["event"] = pick(kKinds, static_cast<std::size_t>(event.kind));
    if (about_link(event.kind)) {
      line["link"] = schedule_.link_name(event.host);
    } else {
      line["host"] = schedule_.host_name(event.host);
    }
    line["serial"] = event.serial;
    line["what"] = what(event);
    line["hash"] = fmt::format("{:016x}", hash_so_far);
    // Not fmt::print: it throws without a name. Whoever owns the stream looks at its state at the
    // end.
    std::fputs((line.dump() + "\n").c_str(), out_);
  }

 private:
  Schedule schedule_;
  std::FILE* out_;
};

// Columns: the initiators, the switch, the target, its disk.
class LadderSink final : public TraceSink {
 public:
  LadderSink(const Schedule& schedule, std::FILE* out) : schedule_(schedule), out_(out) {
    std::string header = fmt::format("{:>12} ", "ms");
    for (std::size_t i = 1; i <= schedule_.initiators.size(); ++i) {
      header += cell(schedule_.host_name(static_cast<std::uint32_t>(i)));
    }
    fmt::print(out_, "{}{}{}{}\n", header, cell("wire"), cell("target"), "disk");
  }
  void event(const TraceEvent& event, std::uint64_t) override {
    std::string line =
        fmt::format("{:>5}.{:06} ", event.time / kMillisecond, event.time % kMillisecond);
    const std::size_t hosts = schedule_.initiators.size();
    if (event.kind == TraceKind::finding) {
      fmt::print(out_, "{}{}\n", line, what(event));
      return;
    }
    if (event.kind == TraceKind::phase) {
      fmt::print(out_, "{}{}\n", line,
                 sweeping_ ? "the end" : "every sector is read now (--trace shows it)");
      sweeping_ = true;
      return;
    }
    if (sweeping_) {
      return;
    }
    const std::size_t column = column_of(event);
    for (std::size_t i = 0; i < column; ++i) {
      line += cell(i == hosts ? "|" : ":");
    }
    line += arrow(event) + what(event);
    fmt::print(out_, "{}\n", line);
  }

 private:
  static constexpr std::size_t kColumnWidth = 34;
  static std::string cell(std::string_view text) {
    return fmt::format("{:<{}}", text, kColumnWidth);
  }
  static std::string arrow(const TraceEvent& event) {
    if (event.kind == TraceKind::frame_sent) {
      return event.host == kTargetHost ? "<- " : "-> ";
    }
    if (event.kind == TraceKind::frame_received) {
      return event.host == kTargetHost ? "=> " : "<= ";
    }
    return {};
  }
  [[nodiscard]] std::size_t column_of(const TraceEvent& event) const {
    const std::size_t hosts = schedule_.initiators.size();
    if (about_link(event.kind)) {
      return hosts;
    }
    if (event.kind == TraceKind::disk_started || event.kind == TraceKind::disk_done) {
      return hosts + 2;
    }
    return event.host == kTargetHost ? hosts + 1 : event.host - 1;
  }

  Schedule schedule_;
  std::FILE* out_;
  bool sweeping_ = false;
};

class PcapSink final : public TraceSink {
 public:
  explicit PcapSink(const std::string& path)
      : file_(path),
        pcap_(pcap_open_dead_with_tstamp_precision(DLT_EN10MB, kSnapBytes,
                                                   PCAP_TSTAMP_PRECISION_NANO)) {
    if (pcap_ == nullptr) {
      throw std::runtime_error("libpcap has no memory for a capture");
    }
    dumper_ = pcap_dump_fopen(pcap_, file_.stream());
    if (dumper_ == nullptr) {
      const std::string message = fmt::format("cannot write {}: {}", path, pcap_geterr(pcap_));
      pcap_close(pcap_);
      throw std::runtime_error(message);
    }
  }
  PcapSink(const PcapSink&) = delete;
  PcapSink& operator=(const PcapSink&) = delete;
  ~PcapSink() override { pcap_close(pcap_); }
  void finish() override { file_.commit(); }
  void event(const TraceEvent& event, std::uint64_t) override {
    const bool at_target = event.host == kTargetHost && (event.kind == TraceKind::frame_sent ||
                                                         event.kind == TraceKind::frame_received);
    if (!at_target) {
      return;
    }
    pcap_pkthdr header{};
    header.ts.tv_sec = event.time / kSecond;
    header.ts.tv_usec = event.time % kSecond;  // nanoseconds, by the precision asked for
    header.caplen = static_cast<bpf_u_int32>(event.bytes.size());
    header.len = header.caplen;
    pcap_dump(reinterpret_cast<u_char*>(dumper_), &header,
              reinterpret_cast<const u_char*>(event.bytes.data()));
  }

 private:
  static constexpr int kSnapBytes = 65'535;
  output::OutputFile file_;
  pcap_t* pcap_;
  pcap_dumper_t* dumper_ = nullptr;
};

}  // namespace

std::uint64_t hash_bytes(std::span<const std::byte> bytes) {
  constexpr std::uint64_t kMultiplier = 0xff51afd7ed558ccdULL;
  std::array<std::uint64_t, 4> lanes{1, 2, 3, 4};
  std::size_t at = 0;
  for (; at + 32 <= bytes.size(); at += 32) {
    for (std::size_t lane = 0; lane < 4; ++lane) {
      const std::uint64_t mixed =
          (lanes[lane] ^ load_little_endian(bytes.data() + at + 8 * lane)) * kMultiplier;
      lanes[lane] = mixed ^ (mixed >> 29U);
    }
  }
  std::uint64_t result = bytes.size();
  for (; at < bytes.size(); ++at) {
    result = (result ^ static_cast<std::uint8_t>(bytes[at])) * kMultiplier;
    result ^= result >> 31U;
  }
  for (const std::uint64_t lane : lanes) {
    result = mix(result ^ lane);
  }
  return result;
}

void Tracer::emit(const TraceEvent& event) {
  ++events_;
  const std::uint64_t head = (static_cast<std::uint64_t>(event.kind) << 56U) ^
                             (static_cast<std::uint64_t>(event.detail) << 48U) ^
                             (static_cast<std::uint64_t>(event.host) << 32U) ^ event.serial;
  hash_ = mix(hash_ ^ static_cast<std::uint64_t>(event.time)) + kGolden;
  hash_ = mix(hash_ ^ head) + static_cast<std::uint64_t>(event.amount);
  // A frame is hashed once, where it is sent; the serial names it from then on.
  if (event.kind == TraceKind::frame_sent) {
    hash_ = mix(hash_ ^ hash_bytes(event.bytes));
  }
  for (TraceSink* sink : sinks_) {
    sink->event(event, hash_);
  }
}

std::string describe(const Schedule& schedule, const TraceEvent& event) {
  const std::string place =
      about_link(event.kind) ? schedule.link_name(event.host) : schedule.host_name(event.host);
  return fmt::format("{}.{:06} ms {} {} {}: {}", event.time / kMillisecond,
                     event.time % kMillisecond, place,
                     pick(kKinds, static_cast<std::size_t>(event.kind)), event.serial, what(event));
}

std::unique_ptr<TraceSink> make_json_sink(const Schedule& schedule, std::FILE* out) {
  return std::make_unique<JsonSink>(schedule, out);
}
std::unique_ptr<TraceSink> make_ladder_sink(const Schedule& schedule, std::FILE* out) {
  return std::make_unique<LadderSink>(schedule, out);
}
std::unique_ptr<TraceSink> make_pcap_sink(const std::string& path) {
  return std::make_unique<PcapSink>(path);
}

}  // namespace sim
