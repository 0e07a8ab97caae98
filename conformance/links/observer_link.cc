#include "conformance/links/observer_link.h"

#include <fmt/format.h>

#include <algorithm>

namespace conformance::links {

namespace {
constexpr uint32_t kExamples = 4;            // told of one rule in one session
constexpr uint32_t kSectorSets = 1U << 14U;  // 64 Ki sectors: the suite's scratch, several times
constexpr uint32_t kRequestsKept = 1U << 14U;
}  // namespace

ObserverLink::ObserverLink(Link& inner, bool complete)
    : inner_(inner),
      tracker_(std::make_unique<observer::Tracker>(kRequestsKept)),
      judge_(std::make_unique<observer::Judge>(*tracker_, kExamples, kSectorSets)) {
  if (complete) {
    tracker_->claim_complete();
  }
  tracker_->add_observer(judge_.get());
}

ObserverLink::~ObserverLink() = default;

void ObserverLink::see(BytesView frame, int64_t at_ns) {
  observer::CapturedFrame captured;
  captured.number = ++number_;
  captured.time_ns = at_ns;
  captured.bytes = frame;
  captured.wire_length = static_cast<uint32_t>(frame.size());
  tracker_->on_frame(captured);
}

void ObserverLink::send(BytesView frame) {
  const uint64_t refused = inner_.not_taken().frames;
  const int64_t now = inner_.now_ns();
  inner_.send(frame);
  if (inner_.not_taken().frames == refused) {
    see(frame, now);
  }
}

std::optional<ReceivedFrame> ObserverLink::receive(int64_t deadline_ns) {
  std::optional<ReceivedFrame> received = inner_.receive(deadline_ns);
  if (received) {
    see(received->bytes, received->at_ns);
  }
  return received;
}

std::vector<Observation> ObserverLink::take() {
  std::vector<Observation> out;
  const auto& groups = judge_->groups();
  taken_.resize(groups.size(), 0);
  for (size_t i = 0; i < groups.size(); ++i) {
    const observer::FindingGroup& group = groups[i];
    const observer::RuleFacts& facts = observer::facts_of(group.rule);
    for (uint64_t n = taken_[i]; n < group.count; ++n) {
      if (n < group.examples.size()) {
        const observer::Finding& finding = group.examples[n];
        out.push_back(
            {finding.verdict, facts.side, facts.name, facts.clause, finding.frame, finding.text});
      } else {
        out.push_back({group.verdict, facts.side, facts.name, facts.clause, 0,
                       fmt::format("and {} more", group.count - n)});
        break;
      }
    }
    taken_[i] = group.count;
  }
  std::stable_sort(out.begin(), out.end(), [](const Observation& a, const Observation& b) {
    return a.frame < b.frame && a.frame != 0;
  });
  return out;
}

std::string to_string(const Observation& o) {
  return fmt::format("{}  {}  {}: {}{} ({})", observer::verdict_text(o.verdict), o.clause,
                     observer::side_text(o.side),
                     o.frame == 0 ? "" : fmt::format("frame {}: ", o.frame), o.text, o.rule);
}

Verdicts against_target(ObserverLink& link) {
  Verdicts out;
  size_t fails = 0;
  size_t warns = 0;
  for (const Observation& o : link.take()) {
    if (o.side != observer::Side::target || o.verdict == observer::Verdict::info) {
      continue;
    }
    (o.verdict == observer::Verdict::fail ? fails : warns) += 1;
    out.text += "observer: " + to_string(o) + "\n";
    if (o.verdict == observer::Verdict::fail) {
      out.broken.emplace(o.clause, fmt::format("frame {}: {}", o.frame, o.text));
    }
  }
  out.text +=
      fmt::format("observer: {} frames watched, {} said against the target\n", link.frames(),
                  fails + warns == 0 ? std::string("nothing")
                                     : fmt::format("{} failures and {} warnings", fails, warns));
  return out;
}

}  // namespace conformance::links
