// What is heard while a target is looked for and learnt.

#include "conformance/runner/hearing.h"

#include <algorithm>

#include "conformance/cases/no_reply.h"

namespace conformance {

using observer::get;

void Hearing::frame(bool outgoing, int64_t at_ns, BytesView bytes) {
  constexpr size_t asked_max = 4096;
  const bool aoe = observer::is_aoe(bytes);
  if (outgoing) {
    if (aoe && asked_.size() < asked_max) {
      latest_ = static_cast<uint32_t>(*get(bytes, F::tag));
      asked_[*latest_] = {at_ns, Bytes(bytes.begin(), bytes.end())};
    }
    return;
  }
  if (!latest_) {
    return;
  }
  auto question = asked_.find(*latest_);
  if (aoe) {
    constexpr uint64_t every_shelf = 0xffff;
    constexpr uint64_t every_slot = 0xff;
    const auto shelf = *get(bytes, F::shelf);
    const auto slot = *get(bytes, F::slot);
    const bool other = (shelf_ && shelf != *shelf_ && shelf != every_shelf) ||
                       (slot_ && slot != *slot_ && slot != every_slot);
    question = asked_.find(static_cast<uint32_t>(*get(bytes, F::tag)));
    if (other || question == asked_.end() ||
        std::equal(bytes.begin(), bytes.end(), question->second.second.begin(),
                   question->second.second.end())) {
      return;  // somebody else's, or our own that came back
    }
    const Bytes& request = question->second.second;
    if (observer::is_reply(bytes) &&
        std::equal(bytes.begin(), bytes.begin() + 6, request.begin() + 6) &&
        get(bytes, F::command) == get(request, F::command)) {
      return;  // as it should be
    }
  } else if (!is_of_zeros(bytes)) {
    return;  // not known to be the target's
  }
  const auto& [asked_ns, request] = question->second;
  const NoReply no = why_no_reply(request, bytes);
  const bool known = std::any_of(findings_.begin(), findings_.end(),
                                 [&](const Finding& f) { return f.headline == no.what; });
  if (known) {
    return;
  }
  Finding f;
  f.verdict = Verdict::fail;
  f.clause = no.clause;
  f.headline = no.what;
  f.expected = no.expected;
  f.got = no.got;
  f.frames.push_back({FrameRole::request, request, {}, asked_ns, 1});
  f.frames.push_back({FrameRole::stray, Bytes(bytes.begin(), bytes.end()), no.marks, at_ns, 0});
  findings_.push_back(std::move(f));
}

}  // namespace conformance
