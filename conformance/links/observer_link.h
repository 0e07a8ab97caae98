#pragma once
// A link that watches: what goes over it is handed to the passive judge as well, online, and
// nothing is held back or changed. Owns a follower and a judge; the wire is the link's inside it.

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "conformance/links/link.h"
#include "conformance/observer/judge.h"

namespace conformance::links {

// One thing that the observer has to say, in words.
struct Observation {
  observer::Verdict verdict = observer::Verdict::info;
  observer::Side side = observer::Side::target;
  std::string rule;
  std::string clause;
  uint64_t frame = 0;  // of those on this link, from 1
  std::string text;
};

class ObserverLink : public Link {
 public:
  // `complete`: nobody else speaks with the targets, and none of them has been asked before.
  ObserverLink(Link& inner, bool complete);
  ~ObserverLink() override;

  void send(BytesView frame) override;
  std::optional<ReceivedFrame> receive(int64_t deadline_ns) override;
  int64_t now_ns() override { return inner_.now_ns(); }
  Mac mac() const override { return inner_.mac(); }
  size_t mtu() const override { return inner_.mtu(); }
  std::string name() const override { return inner_.name(); }
  NotTaken not_taken() const override { return inner_.not_taken(); }
  bool is_up() override { return inner_.is_up(); }

  // What has been said since this was last asked.
  std::vector<Observation> take();
  uint64_t frames() const { return number_; }

 private:
  void see(BytesView frame, int64_t at_ns);

  Link& inner_;
  std::unique_ptr<observer::Tracker> tracker_;
  std::unique_ptr<observer::Judge> judge_;
  uint64_t number_ = 0;
  std::vector<uint64_t> taken_;  // by group of findings: how many have been handed out
};

// "fail  ATA-STATUS  target: frame 12: ...".
std::string to_string(const Observation& observation);

// What there is to say against the target, a line each, remarks left out, and one line that sums
// up.
struct Verdicts {
  std::string text;
  std::map<std::string, std::string> broken;  // clause: the first failure under it
};
Verdicts against_target(ObserverLink& link);

}  // namespace conformance::links
