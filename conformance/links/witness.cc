// What the target's own port takes in and sends, counted.

#include "conformance/links/witness.h"

#include <algorithm>

#include "conformance/observer/decode.h"

namespace conformance::links {

using observer::F;
using observer::get;

void PortCounts::saw(observer::BytesView frame, bool leaves_the_target) {
  if (!observer::is_aoe(frame) || observer::is_reply(frame) != leaves_the_target) {
    return;
  }
  constexpr size_t address = 6;
  Key key;
  const auto at = frame.begin() + (leaves_the_target ? 0 : address);
  std::copy_n(at, key.asker.size(), key.asker.begin());
  key.tag = static_cast<uint32_t>(*get(frame, F::tag));
  key.command = static_cast<uint8_t>(*get(frame, F::command));
  if (!leaves_the_target) {
    ++questions_[key].asked;
    return;
  }
  // The further replies to a coalesced read have tags that nobody asked with.
  const auto it = questions_.find(key);
  if (it != questions_.end()) {
    ++it->second.answered[static_cast<uint32_t>(*get(frame, F::shelf) << 8 | *get(frame, F::slot))];
  }
}

std::vector<AnsweredTwice> PortCounts::take() {
  std::vector<AnsweredTwice> out;
  for (const auto& [key, q] : questions_) {
    for (const auto& [who, answered] : q.answered) {
      if (answered > q.asked) {
        out.push_back({key.asker, key.tag, key.command, q.asked, answered});
        break;
      }
    }
  }
  questions_.clear();
  return out;
}

}  // namespace conformance::links
