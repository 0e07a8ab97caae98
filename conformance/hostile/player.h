#pragma once
// A target for an initiator to be judged by: the model behind a link, in real or virtual time, with
// a misbehaviour in front of it. Owns when an answer goes out and what was heard; judges nobody.

#include <functional>
#include <map>
#include <vector>

#include "conformance/cases/evidence.h"
#include "conformance/deviants/model_target.h"
#include "conformance/links/link.h"

namespace conformance::hostile {

using observer::Bytes;
using observer::BytesView;
using observer::Mac;

// A request to us, or to everybody.
struct Heard {
  int64_t at_ns = 0;
  Bytes bytes;
};

class Player {
 public:
  Player(links::Link& link, const deviants::ModelConfig& config);

  deviants::ModelTarget& model() { return model_; }
  links::Link& link() { return link_; }
  // From here on; the model alone before.
  void misbehave(deviants::Middleware middleware) { middleware_ = std::move(middleware); }
  // To everybody, as a target does that has started.
  void announce();
  // Answers whoever asks until `over` says so (looked at often) or the instant has come.
  void serve(int64_t until_ns, const std::function<bool()>& over);
  // Sends this at its time, whatever is asked.
  void send_at(int64_t at_ns, Bytes frame) { due_.emplace(at_ns, std::move(frame)); }

  const std::vector<Heard>& heard() const { return heard_; }
  FrameLog& frames() { return frames_; }
  void forget();  // what was heard and is still to be sent

 private:
  static constexpr size_t kHeardMax = 200'000;
  void take(const links::ReceivedFrame& frame);
  void send(const Bytes& frame);

  links::Link& link_;
  deviants::ModelTarget model_;
  deviants::Middleware middleware_;
  std::multimap<int64_t, Bytes> due_;
  std::vector<Heard> heard_;
  FrameLog frames_;
};

}  // namespace conformance::hostile
