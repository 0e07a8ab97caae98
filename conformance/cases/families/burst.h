#pragma once
// A burst of congestion probes: many requests with one id, each with a tag of its own, sent as fast
// as the link takes them; what is answered, when, and how often. For the family congestion and for
// `probe congestion`. Gives no verdict.

#include "conformance/cases/families/negotiation.h"

namespace conformance::negotiation {

inline constexpr int64_t kPauseNs = 500 * links::kNsPerMs;
inline constexpr int64_t kBudgetPeriodNs = 10 * links::kNsPerSecond;

// A decimal id that this program has not used before, and a run before it hardly.
inline std::string new_congestion_id(Context& t) {
  static uint64_t last = 0;
  constexpr uint64_t limit = 2'000'000'000;  // fits 31 bits: nobody knows how a target keeps it
  const auto now = static_cast<uint64_t>(t.now_ns() / links::kNsPerUs) % limit;
  last = now > last || last - now > limit / 2 ? now : last + 1;
  return std::to_string(last);
}

struct Burst {
  std::string id;
  size_t sent = 0;
  std::vector<Bytes> requests;
  std::vector<links::ReceivedFrame> replies;  // to tags of this burst, in the order of arrival
  size_t strangers = 0;                       // replies to other tags
  int64_t sent_ns = 0;                        // the first probe

  size_t answered() const {
    std::set<uint64_t> tags;
    for (const auto& r : replies) {
      tags.insert(*observer::get(r.bytes, F::tag));
    }
    return tags.size();
  }
  const links::ReceivedFrame* reply_to(size_t index) const {
    for (const auto& r : replies) {
      if (observer::get(r.bytes, F::tag) == observer::get(requests[index], F::tag)) {
        return &r;
      }
    }
    return nullptr;
  }
  // From the first probe to its reply; nullopt when it got none.
  std::optional<int64_t> pause_ns() const {
    const auto* first = reply_to(0);
    return first != nullptr ? std::optional(first->at_ns - sent_ns) : std::nullopt;
  }
  // The name as the first reply gives it.
  std::string name(const Context& t) const {
    const auto* first = reply_to(0);
    const auto got =
        first != nullptr ? observer::ext_table(first->bytes, t.target().ext_order) : std::nullopt;
    return got && !got->strings.empty() ? got->strings.front() : std::string();
  }
  bool refused(const Context& t) const { return name(t) == "congestion"; }
};

inline Burst send_burst(Context& t, Initiator& who, const std::string& id, size_t probes) {
  Burst burst;
  burst.id = id;
  burst.sent = probes;
  std::set<uint64_t> tags;
  for (size_t i = 0; i < probes; ++i) {
    burst.requests.push_back(who.stamp(table(t, {"congestion", id})));
    tags.insert(*observer::get(burst.requests.back(), F::tag));
  }
  who.collect(SIZE_MAX, 0);
  burst.sent_ns = t.now_ns();
  for (const Bytes& request : burst.requests) {
    who.send_bytes(request);
  }
  // The pause, once more for a machine that is late, and then until nothing comes any more.
  auto got = who.collect(1, t.scaled(3 * kPauseNs));
  if (!got.empty()) {
    auto more = who.collect(2 * probes, t.patience_ns());
    std::move(more.begin(), more.end(), std::back_inserter(got));
  }
  for (auto& frame : got) {
    if (tags.count(*observer::get(frame.bytes, F::tag)) != 0) {
      burst.replies.push_back(std::move(frame));
    } else {
      ++burst.strangers;
    }
  }
  return burst;
}

// Runs an experiment that begins a pause, and again when the target's budget of pauses refused it
// (it returns false then): where the budget is spent, the target is started again when that is
// possible, and otherwise waited for.
inline void with_pause(Context& t, const std::function<bool()>& experiment) {
  const int64_t give_up_ns = t.now_ns() + t.scaled(kBudgetPeriodNs + 2 * kPauseNs);
  while (!experiment()) {
    if (t.now_ns() > give_up_ns) {
      t.inconclusive("the target refuses to pause: its budget is spent, and does not come back");
    }
    if (t.can_restart()) {
      t.restart_target();
    } else {
      t.sleep(t.scaled(kPauseNs));
    }
  }
}

// A burst with a new id, and its pause.
inline Burst paused_burst(Context& t, Initiator& who, size_t probes) {
  Burst burst;
  with_pause(t, [&] {
    burst = send_burst(t, who, new_congestion_id(t), probes);
    return !burst.refused(t);
  });
  return burst;
}

}  // namespace conformance::negotiation
