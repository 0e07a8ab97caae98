// What came in a reply's place.

#include "conformance/cases/no_reply.h"

#include <fmt/format.h>

#include <algorithm>

namespace conformance {

using observer::BytesView;
using observer::F;
using observer::get;

bool is_of_zeros(BytesView frame) {
  return std::all_of(frame.begin(), frame.end(), [](uint8_t b) { return b == 0; });
}

NoReply why_no_reply(BytesView request, BytesView frame) {
  constexpr size_t address = 6;
  if (is_of_zeros(frame)) {
    return {"HDR-COMPLETE",
            "a frame of zeros came in place of a reply",
            "a reply",
            fmt::format("{} bytes, all of them zero", frame.size()),
            {observer::Mark(0, std::min(frame.size(), observer::at::argument))}};
  }
  if (!observer::is_aoe(frame)) {
    return {"HDR-COMPLETE",
            "a frame came that holds no AoE header",
            "a reply",
            fmt::format("{} bytes: {}", frame.size(), observer::hex(frame, observer::at::argument)),
            {observer::Mark(0, std::min(frame.size(), observer::at::argument))}};
  }
  if (!observer::is_reply(frame)) {
    return {"HDR-RESPONSE",
            "the reply's response flag is clear",
            "R set: without it nobody takes the frame for a reply",
            fmt::format("R = 0: {}", observer::summary(frame)),
            {F::flag_response}};
  }
  if (!std::equal(frame.begin(), frame.begin() + address, request.begin() + address)) {
    return {"HDR-DESTINATION",
            "the reply goes to another address than the asker's",
            fmt::format("destination {}", observer::hex(request.subspan(address, address))),
            fmt::format("destination {}", observer::hex(frame.first(address))),
            {F::eth_dst}};
  }
  if (get(frame, F::tag) != get(request, F::tag)) {
    return {"HDR-TAG",
            "no reply carries the request's tag",
            fmt::format("a reply with tag {:#010x}", get(request, F::tag).value_or(0)),
            fmt::format("a reply with tag {:#010x}", get(frame, F::tag).value_or(0)),
            {F::tag}};
  }
  return {"HDR-COMMAND",
          "the reply carries another command than the request",
          fmt::format("command {:#04x}", get(request, F::command).value_or(0)),
          fmt::format("command {:#04x}", get(frame, F::command).value_or(0)),
          {F::command}};
}

}  // namespace conformance
