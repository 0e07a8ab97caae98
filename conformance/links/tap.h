#pragma once
// What wraps a Link to see or to forbid: a Tap shows every frame, both ways, to whoever asked; a
// Guard asks before each frame goes out, and what it is asked may throw; a Muted passes over some
// senders. None changes a frame.
// Knows nothing of AoE.

#include <algorithm>
#include <functional>
#include <vector>

#include "conformance/links/link.h"

namespace conformance::links {

// Hands everything on to another Link. The base of what wraps one.
class Wrapped : public Link {
 public:
  explicit Wrapped(Link& inner) : inner_(inner) {}
  void send(BytesView frame) override { inner_.send(frame); }
  std::optional<ReceivedFrame> receive(int64_t deadline_ns) override {
    return inner_.receive(deadline_ns);
  }
  int64_t now_ns() override { return inner_.now_ns(); }
  Mac mac() const override { return inner_.mac(); }
  size_t mtu() const override { return inner_.mtu(); }
  std::string name() const override { return inner_.name(); }
  NotTaken not_taken() const override { return inner_.not_taken(); }
  bool is_up() override { return inner_.is_up(); }

 protected:
  Link& inner() { return inner_; }
  size_t inner_mtu() const { return inner_.mtu(); }

 private:
  Link& inner_;
};

class Tap : public Wrapped {
 public:
  using Wrapped::Wrapped;
  using Eye = std::function<void(bool outgoing, int64_t at_ns, BytesView frame)>;

  void watch(Eye eye) { eyes_.push_back(std::move(eye)); }
  void send(BytesView frame) override {
    show(true, now_ns(), frame);
    inner().send(frame);
  }
  std::optional<ReceivedFrame> receive(int64_t deadline_ns) override {
    auto frame = inner().receive(deadline_ns);
    if (frame) {
      show(false, frame->at_ns, frame->bytes);
    }
    return frame;
  }

 private:
  void show(bool outgoing, int64_t at_ns, BytesView frame) {
    for (const Eye& eye : eyes_) {
      eye(outgoing, at_ns, frame);
    }
  }
  std::vector<Eye> eyes_;
};

// Keeps back what comes from some source addresses: other machines that answer for the same shelf
// and slot, and the target's other ports.
class Muted : public Wrapped {
 public:
  using Wrapped::Wrapped;
  void mute(const Mac& mac) { muted_.push_back(mac); }
  std::optional<ReceivedFrame> receive(int64_t deadline_ns) override {
    for (;;) {
      auto frame = inner().receive(deadline_ns);
      if (!frame || !is_muted(frame->bytes)) {
        return frame;
      }
    }
  }

 private:
  bool is_muted(BytesView frame) const {
    constexpr size_t source = 6;
    return std::any_of(muted_.begin(), muted_.end(), [&](const Mac& mac) {
      return frame.size() >= source + mac.size() &&
             std::equal(mac.begin(), mac.end(), frame.begin() + source);
    });
  }
  std::vector<Mac> muted_;
};

class Guard : public Wrapped {
 public:
  using Wrapped::Wrapped;
  // What the whole path carries, where that is less than the interface says.
  void narrow(size_t mtu) { path_mtu_ = mtu; }
  size_t mtu() const override { return std::min(path_mtu_, inner_mtu()); }
  using Check = std::function<void(BytesView frame)>;  // throws to keep the frame back

  void ask(Check check) { checks_.push_back(std::move(check)); }
  void send(BytesView frame) override {
    for (const Check& check : checks_) {
      check(frame);
    }
    inner().send(frame);
  }

 private:
  std::vector<Check> checks_;
  size_t path_mtu_ = SIZE_MAX;
};

}  // namespace conformance::links
