#include "pcaps/tool/replay_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "pcaps/tool/reply_compare.h"

namespace pcaps {

namespace {
constexpr std::size_t kListedMax = 64;

bool changes_target(const Request& request) {
  switch (request.command) {
    case kCommandAta:
      return is_write(request.ata_command);
    case kCommandConfig:
      return request.sub_command == 3 || request.sub_command == 4;
    case kCommandMask:
    case kCommandReserve:
      return request.sub_command != 0;
    default:
      return false;
  }
}

bool addresses(const Request& request, const TargetAddress& target) {
  return (request.shelf == target.shelf || request.shelf == kBroadcastShelf) &&
         (request.slot == target.slot || request.slot == kBroadcastSlot) &&
         (!target.vlan || *target.vlan == request.vlan);
}

class Surveyor : public TrackerObserver {
 public:
  explicit Surveyor(std::optional<TargetAddress> target) : target_(target) {}
  void on_request(const AoeFrame& frame, Request& request, Relation /*relation*/,
                  Request* /*earlier*/) override {
    if (!request.to_all) {
      const bool known = std::any_of(found.targets.begin(), found.targets.end(),
                                     [&request](const TargetAddress& t) {
                                       return t.is(request.shelf, request.slot, request.vlan);
                                     });
      if (!known && found.targets.size() < kListedMax) {
        found.targets.push_back({request.shelf, request.slot, request.vlan});
      }
    }
    if (target_ && !addresses(request, *target_)) {
      return;
    }
    ++found.requests;
    found.changes += changes_target(request) ? 1 : 0;
    found.frame_bytes_max = std::max<std::uint64_t>(found.frame_bytes_max, frame.wire_length);
    if (std::find(found.initiators.begin(), found.initiators.end(), request.initiator) ==
            found.initiators.end() &&
        found.initiators.size() < kListedMax) {
      found.initiators.push_back(request.initiator);
    }
  }
  // The replies must fit the link as well.
  void on_reply(const AoeFrame& frame, Request* request, Session* /*session*/) override {
    if (request != nullptr && (!target_ || addresses(*request, *target_))) {
      found.frame_bytes_max = std::max<std::uint64_t>(found.frame_bytes_max, frame.wire_length);
    }
  }
  PlanSurvey found;

 private:
  std::optional<TargetAddress> target_;
};
}  // namespace

bool PlannedFrame::resolved() const {
  return std::all_of(expected.begin(), expected.end(),
                     [](const Expectation& e) { return e.resolved; });
}

std::optional<PlanSurvey> ReplayPlan::survey(const CaptureSpec& capture,
                                             std::optional<TargetAddress> target,
                                             std::string& error) {
  const auto reader = CaptureReader::open(capture, error);
  if (reader == nullptr) {
    return std::nullopt;
  }
  auto tracker = std::make_unique<Tracker>();
  Surveyor surveyor(target);
  tracker->add_observer(&surveyor);
  CapturedFrame frame;
  while (reader->next(frame)) {
    tracker->on_frame(frame);
  }
  return surveyor.found;
}

std::unique_ptr<ReplayPlan> ReplayPlan::open(const CaptureSpec& capture,
                                             std::optional<TargetAddress> target,
                                             std::string& error) {
  std::unique_ptr<ReplayPlan> plan(new ReplayPlan());
  plan->reader_ = CaptureReader::open(capture, error);
  if (plan->reader_ == nullptr) {
    return nullptr;
  }
  plan->target_ = target;
  plan->tracker_.add_observer(plan.get());
  return plan;
}

bool ReplayPlan::wanted(const Request& request) const {
  return !target_ || addresses(request, *target_);
}

std::uint64_t ReplayPlan::key_of(const Request& request) {
  return request.first_frame << 32 ^ request.tag;
}

std::vector<std::uint8_t> ReplayPlan::without_tags(const AoeFrame& frame) {
  std::vector<std::uint8_t> bytes(frame.length);
  for (std::uint32_t i = 0; i < kMacBytes; ++i) {
    const std::uint32_t shift = 8 * (kMacBytes - 1 - i);
    bytes[i] = static_cast<std::uint8_t>(frame.destination >> shift);
    bytes[kMacBytes + i] = static_cast<std::uint8_t>(frame.source >> shift);
  }
  const auto rest = frame.slice(2 * kMacBytes, frame.length - 2 * kMacBytes);
  std::copy(rest.begin(), rest.end(), bytes.begin() + 2 * kMacBytes);
  return bytes;
}

void ReplayPlan::on_request(const AoeFrame& frame, Request& request, Relation relation,
                            Request* earlier) {
  if (earlier != nullptr) {
    const auto found = waiting_.find(key_of(*earlier));
    if (found != waiting_.end()) {
      for (const Waiting& place : found->second) {
        place.frame->expected[place.index].request.superseded = true;
      }
    }
  }
  if (!wanted(request) || frame.was_cut()) {
    return;  // what the capture does not hold whole cannot be sent
  }
  if (frames_.empty() || frames_.back()->number != frame.number) {
    auto planned = std::make_unique<PlannedFrame>();
    planned->number = frame.number;
    planned->time_ns = frame.time_ns;
    planned->bytes = without_tags(frame);
    planned->copy = relation == Relation::copy_waiting || relation == Relation::copy_answered;
    planned->features = tracker_.sessions()[request.session].features;
    frames_.push_back(std::move(planned));
  }
  PlannedFrame& planned = *frames_.back();
  planned.expected.push_back(Expectation{request, {}, 0, 0, false});
  waiting_[key_of(request)].push_back({&planned, planned.expected.size() - 1});
}

// Where the reply belongs. Of several requests under one tag the tracker can only take one; what
// the reply repeats tells which it is.
std::optional<ReplayPlan::Waiting> ReplayPlan::place_for(const AoeFrame& frame,
                                                         const Request& request) {
  auto found = waiting_.find(key_of(request));
  const bool alone = request.command == kCommandAta && request.coalesced;
  const std::vector<std::uint8_t> reply = without_tags(frame);
  if (!alone &&
      (found == waiting_.end() || !repeats_request(found->second.front().frame->bytes, reply))) {
    for (const auto& planned : frames_) {
      const Request& other = planned->expected.front().request;
      if (!planned->expected.front().resolved && other.tag == request.tag &&
          other.initiator == request.initiator && other.vlan == request.vlan &&
          other.command == request.command && repeats_request(planned->bytes, reply)) {
        found = waiting_.find(key_of(other));
        break;
      }
    }
  }
  if (found == waiting_.end()) {
    return std::nullopt;
  }
  const Waiting place = found->second.front();
  found->second.pop_front();
  if (found->second.empty()) {
    waiting_.erase(found);
  }
  return place;
}

void ReplayPlan::on_reply(const AoeFrame& frame, Request* request, Session* /*session*/) {
  if (request == nullptr) {
    return;
  }
  // To a question asked of everybody only the chosen target's answer counts; the first, if none is.
  if (request->to_all && target_ && !target_->is(frame.shelf(), frame.slot(), frame.vlan)) {
    return;
  }
  const std::optional<Waiting> place = place_for(frame, *request);
  if (!place) {
    return;
  }
  Expectation& expectation = place->frame->expected[place->index];
  expectation.resolved = true;
  expectation.reply_frame = frame.number;
  expectation.reply_time_ns = frame.time_ns;
  if (!frame.was_cut()) {
    expectation.reply = without_tags(frame);
  }
}

void ReplayPlan::on_given_up(const Request& request) {
  const auto found = waiting_.find(key_of(request));
  if (found == waiting_.end()) {
    return;
  }
  for (const Waiting& place : found->second) {
    place.frame->expected[place.index].resolved = true;
  }
  waiting_.erase(found);
}

std::unique_ptr<PlannedFrame> ReplayPlan::next() {
  CapturedFrame frame;
  const auto reply_may_come = [this] {
    return frames_.empty() ||
           (!frames_.front()->resolved() && frames_.size() < kLookAheadFrames &&
            tracker_.counters().last_time_ns - frames_.front()->time_ns < kGiveUpNs);
  };
  while (!ended_ && reply_may_come()) {
    if (reader_->next(frame)) {
      tracker_.on_frame(frame);
    } else {
      tracker_.finish();
      ended_ = true;
    }
  }
  if (frames_.empty()) {
    return nullptr;
  }
  std::unique_ptr<PlannedFrame> first = std::move(frames_.front());
  frames_.pop_front();
  // Nobody writes into what has been handed out.
  for (const Expectation& expectation : first->expected) {
    const auto found = waiting_.find(key_of(expectation.request));
    if (found == waiting_.end()) {
      continue;
    }
    auto& places = found->second;
    places.erase(std::remove_if(places.begin(), places.end(),
                                [&first](const Waiting& w) { return w.frame == first.get(); }),
                 places.end());
    if (places.empty()) {
      waiting_.erase(found);
    }
  }
  return first;
}

}  // namespace pcaps
