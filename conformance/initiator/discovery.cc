// A broadcast config query, and what answers it.

#include "conformance/initiator/discovery.h"

#include <algorithm>

namespace conformance::initiator {

using observer::F;
using observer::get;

Bytes Discovery::query(const Mac& own) const {
  observer::Frame frame = observer::config_request(observer::ccmd::read);
  frame.dst(observer::kBroadcastMac).src(own);
  frame.set(F::shelf, shelf_).set(F::slot, slot_).set(F::tag, tag_);
  frame.grow(observer::kMinFrameBytes);
  return frame.bytes();
}

bool Discovery::on_frame(size_t path, BytesView frame) {
  if (!observer::is_aoe(frame) || !observer::is_reply(frame) ||
      frame.size() < observer::at::cfg_string ||
      get(frame, F::command) != observer::command::config || get(frame, F::tag) != tag_ ||
      get(frame, F::flag_error) != 0U || found_.size() >= kFoundMax) {
    return false;
  }
  Found f;
  f.path = path;
  std::copy_n(frame.begin() + 6, f.mac.size(), f.mac.begin());
  f.shelf = static_cast<uint16_t>(*get(frame, F::shelf));
  f.slot = static_cast<uint8_t>(*get(frame, F::slot));
  if ((shelf_ != 0xffff && f.shelf != shelf_) || (slot_ != 0xff && f.slot != slot_)) {
    return false;
  }
  f.buffer_count = static_cast<uint16_t>(*get(frame, F::cfg_buffer_count));
  f.firmware = static_cast<uint16_t>(*get(frame, F::cfg_firmware));
  f.sector_count = static_cast<uint8_t>(*get(frame, F::cfg_sector_count));
  f.config_string = observer::config_string(frame).value_or(Bytes{});
  const bool known = std::any_of(found_.begin(), found_.end(), [&](const Found& other) {
    return other.path == f.path && other.mac == f.mac && other.shelf == f.shelf &&
           other.slot == f.slot;
  });
  if (!known) {
    found_.push_back(std::move(f));
  }
  return !known;
}

}  // namespace conformance::initiator
