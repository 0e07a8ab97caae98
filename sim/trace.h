// What happened, event by event: the running hash that must be equal on every machine, and sinks
// that turn events into JSON lines, a ladder, a capture. It must never influence a run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sim/schedule.h"
#include "sim/streams.h"

namespace sim {

enum class TraceKind : std::uint8_t {
  frame_sent,      // host, serial, bytes
  frame_fault,     // link, index, kind in detail, amount
  frame_lost,      // link, serial; detail: why
  frame_received,  // host, serial, bytes
  disk_started,    // serial: the operation's number; text
  disk_done,       // serial; detail: status
  op_started,      // host, serial: the operation's number
  op_done,         // host, serial; detail: outcome
  crash,
  restart,
  host_event,  // host; detail: kind
  note,        // detail: the engine's kind of note
  finding,     // text
  phase,       // detail
};

enum class LostBecause : std::uint8_t {
  dropped,
  bad_fcs,
  queue_full,
  partitioned,
  above_mtu,
  unknown_destination,
  ring_full,
  host_down,
};

struct TraceEvent {
  Nanoseconds time = 0;
  TraceKind kind{};
  std::uint8_t detail = 0;
  std::uint32_t host = 0;  // or link
  std::uint64_t serial = 0;
  std::int64_t amount = 0;
  std::span<const std::byte> bytes{};
  std::string_view text{};  // for people; not hashed
};

class TraceSink {
 public:
  TraceSink() = default;
  TraceSink(const TraceSink&) = delete;
  TraceSink& operator=(const TraceSink&) = delete;
  virtual ~TraceSink() = default;
  virtual void event(const TraceEvent& event, std::uint64_t hash_so_far) = 0;
  // After the last event. Throws when what it writes cannot be written whole.
  virtual void finish() {}
};

// Hash of bytes, the same whatever the byte order of the machine.
std::uint64_t hash_bytes(std::span<const std::byte> bytes);

class Tracer {
 public:
  void add_sink(TraceSink* sink) { sinks_.push_back(sink); }
  void emit(const TraceEvent& event);
  [[nodiscard]] std::uint64_t hash() const { return hash_; }
  [[nodiscard]] std::uint64_t events() const { return events_; }
  // Whether the text of an event is worth composing.
  [[nodiscard]] bool watched() const { return !sinks_.empty(); }

 private:
  std::vector<TraceSink*> sinks_;
  std::uint64_t hash_ = kGolden;
  std::uint64_t events_ = 0;
};

// One line of text for an event, as --check and --verbose print it.
std::string describe(const Schedule& schedule, const TraceEvent& event);

// Every event as one line of JSON.
std::unique_ptr<TraceSink> make_json_sink(const Schedule& schedule, std::FILE* out);
// A ladder: a column per host, time at the left.
std::unique_ptr<TraceSink> make_ladder_sink(const Schedule& schedule, std::FILE* out);
// A capture at the target's interface, with nanosecond stamps of virtual time. Throws
// std::runtime_error with the file's name when it cannot be written.
std::unique_ptr<TraceSink> make_pcap_sink(const std::string& path);

}  // namespace sim
