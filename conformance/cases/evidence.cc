// The frames of one case.

#include "conformance/cases/evidence.h"

#include <iterator>

namespace conformance {

std::string to_string(FrameRole role) {
  switch (role) {
    case FrameRole::setup:
      return "setup";
    case FrameRole::request:
      return "request";
    case FrameRole::reply:
      return "reply";
    case FrameRole::stray:
      return "stray";
    case FrameRole::barrier:
      return "barrier";
    case FrameRole::undo:
      return "undo";
  }
  return "?";
}

void FrameLog::clear() {
  first_.clear();
  last_.clear();
  omitted_ = 0;
}

void FrameLog::add(CaseFrame frame) {
  if (first_.size() < kFirst) {
    first_.push_back(std::move(frame));
    return;
  }
  last_.push_back(std::move(frame));
  if (last_.size() > kLast) {
    last_.pop_front();
    ++omitted_;
  }
}

std::vector<CaseFrame> FrameLog::take() {
  std::vector<CaseFrame> out = std::move(first_);
  out.insert(out.end(), std::make_move_iterator(last_.begin()),
             std::make_move_iterator(last_.end()));
  first_.clear();
  last_.clear();
  return out;
}

}  // namespace conformance
