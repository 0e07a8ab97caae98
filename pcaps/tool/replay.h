// Sends a plan's requests to a live target and compares the replies with the captured ones: in the
// captured rhythm or as fast as the number of outstanding requests allows, and never a request
// before one that it depends on. Waits only through a Link, so that it runs on a wire and against
// a model in virtual time.
#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "conformance/links/link.h"
#include "conformance/output/output_file.h"
#include "pcaps/tool/replay_plan.h"
#include "pcaps/tool/reply_compare.h"

struct pcap;
struct pcap_dumper;

namespace pcaps {

struct ReplayOptions {
  std::optional<TargetAddress> from;  // in the capture
  std::optional<TargetAddress> to;    // on the wire; the same if not given
  double speed = 1;                   // 2: twice as fast; 0: no rhythm, only `outstanding`
  std::uint32_t outstanding = 16;
  std::uint32_t tag_offset = 0;
  bool keep_addresses = false;  // send from the captured initiators' addresses
  DifferenceSet allowed = allowed_by_default();
  Nanoseconds reply_timeout_ns = 1'000'000'000;
  Nanoseconds silence_ns = 200'000'000;  // waited where the capture has no reply either
  std::uint32_t tries_max = 5;
  std::uint32_t examples_max = 20;
  std::string save_path;  // a capture of the replay; empty for none
};

struct ReplayExample {
  std::uint64_t frame = 0;
  std::uint64_t reply_frame = 0;
  std::string request;
  std::string differences;
  std::string detail;
};

struct ReplayResult {
  std::uint64_t requests = 0;  // frames sent, retries left out
  std::uint64_t answered = 0;  // replies that were compared
  std::uint64_t retries = 0;
  std::uint64_t silent_both = 0;           // no reply then, none now
  std::uint64_t not_compared = 0;          // the captured reply was cut
  std::uint64_t late = 0;                  // replies that nobody waited for
  conformance::links::NotTaken not_taken;  // frames that the interface refused: as if lost
  std::uint64_t sectors_equal = 0;
  DifferenceCounts allowed{};
  DifferenceCounts refused{};
  std::vector<ReplayExample> examples;
  Nanoseconds took_ns = 0;
  std::uint64_t target_mac = 0;

  [[nodiscard]] bool passed() const;
  [[nodiscard]] std::string to_text() const;
  [[nodiscard]] nlohmann::ordered_json to_json() const;
};

// Frames that come and go, kept as a capture with nanoseconds.
class CaptureWriter {
 public:
  // Null with one line in `error`.
  static std::unique_ptr<CaptureWriter> create(const std::string& path, std::string& error);
  ~CaptureWriter();
  CaptureWriter(const CaptureWriter&) = delete;
  CaptureWriter& operator=(const CaptureWriter&) = delete;
  // wire_length: of a frame that a snaplen has cut; 0: it is whole.
  void write(std::span<const std::uint8_t> frame, Nanoseconds time_ns,
             std::uint32_t wire_length = 0);
  // False with one line in `error` when it is not all on the disk. Without it nothing is kept.
  bool finish(std::string& error);

 private:
  CaptureWriter() = default;
  std::unique_ptr<output::OutputFile> file_;
  pcap* handle_ = nullptr;
  pcap_dumper* dumper_ = nullptr;
};

class Replayer {
 public:
  Replayer(conformance::links::Link& link, const ReplayOptions& options,
           const std::vector<std::uint64_t>& initiators);

  // False with one line in `error` when it cannot be done; differences are a result, not an error.
  bool run(ReplayPlan& plan, ReplayResult& result, std::string& error);

 private:
  struct Flight {
    std::unique_ptr<PlannedFrame> planned;
    std::vector<std::uint8_t> bytes;  // as sent
    std::vector<bool> answered;
    std::uint64_t source = 0;
    Nanoseconds deadline_ns = 0;
    std::uint32_t tries = 0;
  };

  bool replay(ReplayPlan& plan, ReplayResult& result, std::string& error);
  bool find_target(std::string& error);
  [[nodiscard]] bool depends(const PlannedFrame& next) const;
  Flight prepare(std::unique_ptr<PlannedFrame> planned) const;
  void map_lists(std::vector<std::uint8_t>& bytes) const;
  [[nodiscard]] std::uint32_t shifted(std::uint32_t tag, std::uint8_t features) const;
  [[nodiscard]] std::uint64_t mapped(std::uint64_t initiator) const;
  void transmit(Flight& flight);
  void take(const conformance::links::ReceivedFrame& received, ReplayResult& result);
  void judge(const Flight& flight, std::size_t index, std::span<const std::uint8_t> reply,
             ReplayResult& result) const;
  void note(const Flight& flight, const Expectation& expectation, DifferenceSet differences,
            const std::string& detail, ReplayResult& result) const;
  void time_out(ReplayResult& result);
  static bool finished(const Flight& flight);
  [[nodiscard]] Nanoseconds next_deadline() const;

  conformance::links::Link& link_;
  ReplayOptions options_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> initiators_;  // captured, live
  std::list<Flight> flights_;
  std::unique_ptr<CaptureWriter> writer_;
  std::uint64_t target_mac_ = 0;
};

}  // namespace pcaps
