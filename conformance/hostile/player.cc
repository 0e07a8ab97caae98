#include "conformance/hostile/player.h"

#include <algorithm>

namespace conformance::hostile {

using observer::F;
using observer::get;

Player::Player(links::Link& link, const deviants::ModelConfig& config)
    : link_(link), model_(config) {}

void Player::announce() {
  send(model_.announcement());
}

void Player::forget() {
  heard_.clear();
  due_.clear();
  frames_.clear();
  middleware_ = nullptr;
}

void Player::send(const Bytes& frame) {
  Bytes whole = frame;
  whole.resize(std::max(whole.size(), observer::kMinFrameBytes), 0);
  link_.send(whole);
  frames_.add({whole, true, link_.now_ns(), FrameRole::reply});
}

void Player::take(const links::ReceivedFrame& frame) {
  const Bytes& b = frame.bytes;
  if (b.size() < observer::at::argument || !observer::is_aoe(b) || get(b, F::flag_response) != 0U) {
    return;
  }
  const bool to_us = std::equal(model_.config.mac.begin(), model_.config.mac.end(), b.begin());
  const bool to_all = std::all_of(b.begin(), b.begin() + 6, [](uint8_t x) { return x == 0xff; });
  if (!to_us && !to_all) {
    return;
  }
  if (heard_.size() < kHeardMax) {
    heard_.push_back({frame.at_ns, b});
  }
  frames_.add({b, false, frame.at_ns, FrameRole::request});
  const int64_t now_ns = link_.now_ns();
  const deviants::Forward forward = [&](const Bytes& request) {
    return model_.on_frame(request, now_ns);
  };
  deviants::Answers answers = middleware_ ? middleware_(b, model_, forward) : forward(b);
  for (deviants::Answer& ready : model_.send_results()) {
    answers.push_back(std::move(ready));
  }
  for (deviants::Answer& a : answers) {
    due_.emplace(now_ns + a.delay_ns, std::move(a.bytes));
  }
}

void Player::serve(int64_t until_ns, const std::function<bool()>& over) {
  constexpr int64_t slice_ns = 10 * links::kNsPerMs;
  while (link_.now_ns() < until_ns && !over()) {
    while (!due_.empty() && due_.begin()->first <= link_.now_ns()) {
      const Bytes frame = std::move(due_.begin()->second);
      due_.erase(due_.begin());
      send(frame);
    }
    int64_t wait_ns = std::min(until_ns, link_.now_ns() + slice_ns);
    if (!due_.empty()) {
      wait_ns = std::min(wait_ns, due_.begin()->first);
    }
    if (const auto frame = link_.receive(wait_ns)) {
      take(*frame);
    }
  }
}

}  // namespace conformance::hostile
