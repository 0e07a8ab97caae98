// A Link with the faults of a bad wire.

#include "conformance/deviants/lossy_link.h"

#include <algorithm>

#include "conformance/observer/decode.h"

namespace conformance::deviants {

using links::Bytes;
using links::BytesView;
using links::kNsPerMs;
using links::kNsPerUs;

namespace {
constexpr size_t kEthernetHeader = 14;
constexpr int64_t kOvertakeNs = 300 * kNsPerUs;
constexpr int64_t kSecondPortNs = 5 * kNsPerMs;
}  // namespace

bool LossyLink::chance(double share) {
  return share > 0 && std::uniform_real_distribution<>(0, 1)(random_) < share;
}

bool LossyLink::is_cut() {
  const int64_t now = now_ns();
  began_ns_ = began_ns_.value_or(now);
  const int64_t since = now - *began_ns_;
  return wire_.cut_at_ns > 0 && since >= wire_.cut_at_ns &&
         since < wire_.cut_at_ns + wire_.cut_for_ns;
}

std::vector<int64_t> LossyLink::arrivals(int64_t now_ns) {
  std::vector<int64_t> at;
  if (is_cut() || chance(wire_.drop)) {
    return at;
  }
  int64_t first = now_ns;
  if (chance(wire_.delay)) {
    first += std::uniform_int_distribution<int64_t>(0, wire_.delay_max_ns)(random_);
  }
  if (chance(wire_.reorder)) {
    first += kOvertakeNs;
  }
  at.push_back(first);
  if (chance(wire_.duplicate)) {
    at.push_back(first + wire_.duplicate_ns);
  }
  return at;
}

void LossyLink::hand_in(int64_t now_ns) {
  while (!outgoing_.empty() && outgoing_.begin()->first <= now_ns) {
    const Bytes frame = std::move(outgoing_.begin()->second);
    outgoing_.erase(outgoing_.begin());
    inner().send(frame);
  }
}

void LossyLink::send(BytesView frame) {
  hand_in(now_ns());
  if (wire_.mtu_out != 0 && frame.size() > wire_.mtu_out + kEthernetHeader) {
    return;
  }
  bool at_once = false;
  for (const int64_t at : arrivals(now_ns())) {
    if (at <= now_ns() && !at_once) {
      at_once = true;
      inner().send(frame);
    } else {
      outgoing_.emplace(at, Bytes(frame.begin(), frame.end()));
    }
  }
}

std::optional<links::ReceivedFrame> LossyLink::receive(int64_t deadline_ns) {
  for (;;) {
    hand_in(now_ns());
    if (!incoming_.empty() && incoming_.begin()->first <= now_ns()) {
      auto node = incoming_.extract(incoming_.begin());
      return links::ReceivedFrame{std::move(node.mapped()), now_ns()};
    }
    int64_t until = deadline_ns;
    if (!incoming_.empty()) {
      until = std::min(until, incoming_.begin()->first);
    }
    if (!outgoing_.empty()) {
      until = std::min(until, outgoing_.begin()->first);
    }
    auto frame = inner().receive(until);
    if (!frame) {
      if (until >= deadline_ns) {
        return std::nullopt;
      }
      continue;
    }
    if (wire_.mtu_in != 0 && frame->bytes.size() > wire_.mtu_in + kEthernetHeader) {
      continue;
    }
    const auto at = arrivals(frame->at_ns);
    for (const int64_t moment : at) {
      incoming_.emplace(moment, frame->bytes);
    }
    if (wire_.double_replies && !at.empty()) {
      incoming_.emplace(at.front(), frame->bytes);
    }
    if (wire_.second_port && observer::get(frame->bytes, observer::F::command) == 1) {
      Bytes other = frame->bytes;
      constexpr size_t source_last = 11;
      other[source_last] ^= 1;
      incoming_.emplace(frame->at_ns + kSecondPortNs, std::move(other));
    }
  }
}

}  // namespace conformance::deviants
