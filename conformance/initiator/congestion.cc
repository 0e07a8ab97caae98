// AoEde's congestion probe from the initiator's side.

#include "conformance/initiator/congestion.h"

namespace conformance::initiator {

using observer::F;
using observer::get;

std::vector<Bytes> CongestionProbe::frames(const Mac& own, const Mac& target) const {
  std::vector<Bytes> out;
  for (size_t i = 0; i < seen_.size(); ++i) {
    observer::Frame frame =
        observer::extension_request({"congestion", std::to_string(id_)}, observer::Order::little);
    frame.dst(target).src(own).set(F::shelf, shelf_).set(F::slot, slot_);
    frame.set(F::tag, first_tag_ + static_cast<uint32_t>(i));
    frame.grow(observer::kMinFrameBytes);
    out.push_back(frame.bytes());
  }
  return out;
}

void CongestionProbe::on_frame(BytesView frame, int64_t now_ns) {
  if (!observer::is_aoe(frame) || !observer::is_reply(frame) ||
      get(frame, F::command) != observer::command::extension || get(frame, F::shelf) != shelf_ ||
      get(frame, F::slot) != slot_) {
    return;
  }
  const uint32_t index = static_cast<uint32_t>(*get(frame, F::tag)) - first_tag_;
  if (index >= seen_.size() || seen_[index]) {
    return;
  }
  const auto table = observer::ext_table(frame);
  if (get(frame, F::flag_error) != 0U || !table || table->strings.empty() ||
      table->strings.front() != "CONGESTION") {
    refused_ = true;  // unknown, or its budget of pauses is spent
    last_ns_ = now_ns;
    return;
  }
  seen_[index] = true;
  ++count_;
  last_ns_ = now_ns;
  paused_ = paused_ || now_ns - started_ns_ >= kPauseNs / 2;
}

int64_t CongestionProbe::deadline_ns() const {
  return count_ == 0 && !refused_ ? started_ns_ + 4 * kPauseNs : last_ns_ + kQuietNs;
}

bool CongestionProbe::finished(int64_t now_ns) const {
  return count_ == seen_.size() || now_ns >= deadline_ns();
}

}  // namespace conformance::initiator
