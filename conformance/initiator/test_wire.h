#pragma once
// For tests: the initiator and the model target with a wire of virtual time between them that
// loses, doubles and delays frames as a seed says, and a judge who knows what every sector may
// hold. Owns the clock; the protocol is the model's and the initiator's.

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "conformance/deviants/model_target.h"
#include "conformance/initiator/initiator.h"

namespace conformance::initiator {

struct Weather {
  double loss = 0;
  double twice = 0;
  double late = 0;
  int64_t late_ns = 50'000'000;
};

class TestWire {
 public:
  static constexpr int64_t kWireNs = 10'000;

  TestWire(Config config, deviants::ModelConfig model, uint64_t seed = 1, Weather w = {})
      : target(std::move(model)), initiator(std::move(config)), weather(w), random_(seed) {}

  deviants::ModelTarget target;
  Initiator initiator;
  Weather weather;
  int64_t now_ns = 1'000'000'000;
  bool target_up = true;
  std::set<size_t> cut;            // paths that carry nothing
  size_t to_target_max = 1 << 20;  // longer frames are lost on the way
  size_t from_target_max = 1 << 20;
  std::vector<Bytes> seen;       // every frame that the initiator sent
  std::vector<Completion> done;  // every completion
  std::vector<Completion>* sink = &done;
  // Before a frame reaches the target; false: it does not.
  std::function<bool(Bytes&)> on_way_to_target = [](Bytes&) { return true; };
  std::function<bool(Bytes&)> on_way_back = [](Bytes&) { return true; };

  void run_for(int64_t ns) {
    run_until(now_ns + ns, [] { return false; });
  }

  // False when the time was up first.
  template <typename Done>
  bool run_until(int64_t end_ns, Done is_done) {
    while (true) {
      turn();
      if (is_done()) {
        return true;
      }
      int64_t next = end_ns;
      if (!events_.empty()) {
        next = std::min(next, events_.begin()->first);
      }
      if (const auto deadline = initiator.next_deadline_ns()) {
        next = std::min(next, std::max(*deadline, now_ns));
      }
      if (now_ns >= end_ns) {
        return false;
      }
      if (next == now_ns && ++stuck_ > 100'000) {
        return false;  // a deadline that never passes
      }
      if (next > now_ns) {
        stuck_ = 0;
      }
      now_ns = next;
      deliver();
    }
  }
  bool until_ready(int64_t ns = 30'000'000'000) {
    return run_until(now_ns + ns, [&] { return initiator.ready(); });
  }
  bool until_done(size_t completions, int64_t ns = 600'000'000'000) {
    return run_until(now_ns + ns, [&] { return done.size() >= completions; });
  }

  void submit(Kind kind, uint64_t lba, uint32_t sectors, uint8_t fill = 0, uint64_t cookie = 0) {
    Job job;
    job.kind = kind;
    job.lba = lba;
    job.sectors = sectors;
    job.cookie = cookie;
    if (kind == Kind::write) {
      job.data.assign(sectors * observer::kSectorBytes, fill);
    }
    ASSERT_TRUE(initiator.submit(job, now_ns));
  }

  void restart_target(bool announces = true) {
    target.restart();
    if (announces) {
      inject(0, target.announcement(), kWireNs);
    }
  }

  // What is on its way to the target never arrives.
  void lose_what_travels() {
    for (auto it = events_.begin(); it != events_.end();) {
      it = it->second.to_target ? events_.erase(it) : std::next(it);
    }
  }

  void inject(size_t path, Bytes frame, int64_t in_ns) {
    events_.emplace(now_ns + in_ns, Event{false, path, std::move(frame)});
  }
  void inject_to_target(Bytes frame, int64_t in_ns) {
    events_.emplace(now_ns + in_ns, Event{true, 0, std::move(frame)});
  }

  void turn() {
    initiator.run(now_ns);
    for (const Initiator::Outgoing& out : initiator.frames()) {
      Bytes frame(out.frame.begin(), out.frame.end());
      seen.push_back(frame);
      travel(true, out.path, frame);
    }
    initiator.frames().clear();
    for (Completion& c : initiator.completions()) {
      sink->push_back(std::move(c));
    }
    initiator.completions().clear();
  }

 private:
  struct Event {
    bool to_target;
    size_t path;
    Bytes frame;
  };

  bool chance(double p) { return p > 0 && std::uniform_real_distribution<>(0, 1)(random_) < p; }

  void travel(bool to_target, size_t path, const Bytes& frame, int64_t extra_ns = 0) {
    if (cut.count(path) != 0 || frame.size() > (to_target ? to_target_max : from_target_max) ||
        chance(weather.loss)) {
      return;
    }
    const auto once = [&] {
      int64_t delay = kWireNs + extra_ns;
      if (chance(weather.late)) {
        delay += static_cast<int64_t>(
            std::uniform_real_distribution<>(0, static_cast<double>(weather.late_ns))(random_));
      }
      events_.emplace(now_ns + delay, Event{to_target, path, frame});
    };
    once();
    if (chance(weather.twice)) {
      once();
    }
  }

  void answer(size_t path, const deviants::Answers& answers) {
    for (const deviants::Answer& a : answers) {
      Bytes reply = a.bytes;
      if (reply.size() < observer::kMinFrameBytes) {
        reply.resize(observer::kMinFrameBytes, 0);
      }
      travel(false, path, reply, a.delay_ns);
    }
  }

  void deliver() {
    while (!events_.empty() && events_.begin()->first <= now_ns) {
      Event event = std::move(events_.begin()->second);
      events_.erase(events_.begin());
      if (event.to_target) {
        if (!target_up || !on_way_to_target(event.frame)) {
          continue;
        }
        answer(event.path, target.on_frame(event.frame, now_ns));
        const bool more = std::any_of(events_.begin(), events_.upper_bound(now_ns),
                                      [](const auto& e) { return e.second.to_target; });
        if (!more) {  // results of writes wait for company only while more frames lie there
          answer(event.path, target.send_results());
        }
      } else if (on_way_back(event.frame)) {
        initiator.on_frame(event.path, event.frame, now_ns);
      }
    }
  }

  std::multimap<int64_t, Event> events_;
  std::mt19937_64 random_;
  int stuck_ = 0;
};

}  // namespace conformance::initiator
