#include "pcaps/tool/extract.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "pcaps/tool/replay.h"

namespace pcaps {

namespace {
constexpr std::uint32_t kExamples = 1000;  // of each rule and session

bool ranged(const Request& request) {
  return request.command == kCommandAta &&
         (is_read(request.ata_command) || is_write(request.ata_command));
}

// The request that the finding's frame carries, or answers.
class Subject : public TrackerObserver {
 public:
  explicit Subject(std::uint64_t frame) : frame_(frame) {}
  void on_request(const AoeFrame& frame, Request& request, Relation /*relation*/,
                  Request* /*earlier*/) override {
    take(frame, &request);
  }
  void on_reply(const AoeFrame& frame, Request* request, Session* /*session*/) override {
    take(frame, request);
  }
  std::optional<Request> found_request;

 private:
  void take(const AoeFrame& frame, const Request* found) {
    if (frame.number == frame_ && found != nullptr && !found_request) {
      found_request = *found;
    }
  }
  std::uint64_t frame_;
};

// Frames that may matter to the subject, up to the finding.
class Relatives : public TrackerObserver {
 public:
  Relatives(const Request& subject, std::uint64_t last) : subject_(subject), last_(last) {}
  void on_request(const AoeFrame& frame, Request& request, Relation /*relation*/,
                  Request* /*earlier*/) override {
    if (frame.number <= last_ && matters(request)) {
      frames.insert(frame.number);
    }
  }
  void on_reply(const AoeFrame& frame, Request* request, Session* /*session*/) override {
    if (frame.number <= last_ && request != nullptr && matters(*request)) {
      frames.insert(frame.number);
    }
  }
  std::set<std::uint64_t> frames;

 private:
  [[nodiscard]] bool matters(const Request& request) const {
    if (request.vlan != subject_.vlan) {
      return false;
    }
    const bool here = subject_.to_all || request.to_all ||
                      (request.shelf == subject_.shelf && request.slot == subject_.slot);
    if (!here) {
      return false;
    }
    if (!ranged(request) ||
        (request.tag == subject_.tag && request.initiator == subject_.initiator)) {
      return true;  // what is negotiated, set and claimed
    }
    return ranged(subject_) && request.lba < subject_.lba + subject_.sectors &&
           subject_.lba < request.lba + request.sectors;
  }
  Request subject_;
  std::uint64_t last_;
};

bool pass(const CaptureSpec& capture, Tracker& tracker, std::string& error) {
  const auto reader = CaptureReader::open(capture, error);
  if (reader == nullptr) {
    return false;
  }
  CapturedFrame frame;
  while (reader->next(frame)) {
    tracker.on_frame(frame);
  }
  tracker.finish();
  return true;
}
}  // namespace

std::optional<std::vector<Finding>> findings_of(const CaptureSpec& capture, bool complete,
                                                std::string& error) {
  auto tracker = std::make_unique<Tracker>();
  if (complete) {
    tracker->claim_complete();
  }
  auto judge = std::make_unique<Judge>(*tracker, kExamples);
  tracker->add_observer(judge.get());
  if (!pass(capture, *tracker, error)) {
    return std::nullopt;
  }
  std::vector<Finding> findings;
  for (const FindingGroup& group : judge->groups()) {
    findings.insert(findings.end(), group.examples.begin(), group.examples.end());
  }
  std::stable_sort(findings.begin(), findings.end(), [](const Finding& a, const Finding& b) {
    return a.frame != b.frame ? a.frame < b.frame : a.rule < b.rule;
  });
  return findings;
}

std::optional<Extract> extract_finding(const CaptureSpec& capture, const Finding& finding,
                                       bool complete, const std::string& out, std::string& error) {
  auto tracker = std::make_unique<Tracker>();
  Subject subject(finding.frame);
  tracker->add_observer(&subject);
  if (!pass(capture, *tracker, error)) {
    return std::nullopt;
  }
  std::set<std::uint64_t> related;
  if (subject.found_request) {
    tracker = std::make_unique<Tracker>();
    Relatives relatives(*subject.found_request, finding.frame);
    tracker->add_observer(&relatives);
    if (!pass(capture, *tracker, error)) {
      return std::nullopt;
    }
    related = std::move(relatives.frames);
  }
  related.insert(finding.frame);
  for (const bool all : {false, true}) {
    Extract result;
    result.kept = all ? "everything up to the finding" : "what concerns the finding";
    std::uint64_t place = 0;
    {
      const auto reader = CaptureReader::open(capture, error);
      const auto writer = reader == nullptr ? nullptr : CaptureWriter::create(out, error);
      if (writer == nullptr) {
        return std::nullopt;
      }
      CapturedFrame frame;
      while (reader->next(frame) && frame.number <= finding.frame) {
        if (!all && related.count(frame.number) == 0) {
          continue;
        }
        // The new file declares no frame checks.
        const std::uint32_t wire = frame.wire_length - std::min(frame.fcs_bytes, frame.wire_length);
        writer->write(frame.bytes.first(std::min<std::size_t>(frame.bytes.size(), wire)),
                      frame.time_ns, wire);
        ++result.frames;
        place = frame.number == finding.frame ? result.frames : place;
      }
      if (!writer->finish(error)) {
        return std::nullopt;
      }
    }
    const auto again = findings_of(CaptureSpec(out), complete, error);
    if (!again) {
      return std::nullopt;
    }
    const bool proves =
        std::any_of(again->begin(), again->end(), [&finding, place](const Finding& other) {
          return other.rule == finding.rule && other.verdict == finding.verdict &&
                 other.frame == place;
        });
    if (proves || all) {
      return result;
    }
  }
  return std::nullopt;
}

}  // namespace pcaps
