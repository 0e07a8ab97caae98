// A libFuzzer target: bytes are a pcap (little-endian, microseconds), or become one, and every
// frame in it goes through the follower and the judge, with and without the claim that nothing is
// missing. Built by clang with -fsanitize=fuzzer; pcaps/truth is the corpus it begins from.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "conformance/observer/bytes.h"
#include "conformance/observer/judge.h"

namespace {

namespace observer = conformance::observer;

constexpr std::size_t kFileHeaderBytes = 24;
constexpr std::size_t kRecordHeaderBytes = 16;
constexpr std::uint32_t kRequestsKept = 64;  // few, so that what a full table does shows soon
constexpr std::uint32_t kSectorSets = 64;
constexpr std::int64_t kNsPerSecond = 1'000'000'000;

void play(observer::BytesView file, bool complete) {
  observer::Tracker tracker(kRequestsKept);
  if (complete) {
    tracker.claim_complete();
  }
  observer::Judge judge(tracker, 3, kSectorSets);
  tracker.add_observer(&judge);
  observer::CapturedFrame frame;
  for (std::size_t at = kFileHeaderBytes; at + kRecordHeaderBytes <= file.size();) {
    const std::uint64_t seconds = observer::load_le(file, at, 4);
    const std::uint64_t micros = observer::load_le(file, at + 4, 4);
    const std::uint64_t held = observer::load_le(file, at + 8, 4);
    at += kRecordHeaderBytes;
    if (held > file.size() - at) {
      break;
    }
    ++frame.number;
    frame.time_ns = static_cast<std::int64_t>(seconds) * kNsPerSecond +
                    static_cast<std::int64_t>(micros) * 1000;
    frame.bytes = file.subspan(at, held);
    frame.wire_length = static_cast<std::uint32_t>(observer::load_le(file, at - 4, 4));
    frame.wire_length =
        frame.wire_length < held ? static_cast<std::uint32_t>(held) : frame.wire_length;
    tracker.on_frame(frame);
    at += held;
  }
  tracker.finish();
  // No finding without a rule, and nothing graver than its clause.
  for (const observer::FindingGroup& group : judge.groups()) {
    if (group.examples.empty() || (group.verdict > observer::facts_of(group.rule).verdict &&
                                   group.verdict != observer::Verdict::warn)) {
      std::abort();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  play({data, size}, false);
  play({data, size}, true);
  return 0;
}
