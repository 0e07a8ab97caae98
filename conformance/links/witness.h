#pragma once
// Who sees what the target's own port takes in and sends: only there can a target that answers
// twice be told from a link that doubles answers. Counts; how the port is seen is another's.

#include <map>
#include <vector>

#include "conformance/observer/bytes.h"

namespace conformance::links {

// A question that was answered more often than it came in.
struct AnsweredTwice {
  observer::Mac asker{};
  uint32_t tag = 0;
  uint8_t command = 0;
  unsigned asked = 0;
  unsigned answered = 0;
};

class Witness {
 public:
  Witness() = default;
  Witness(const Witness&) = delete;
  Witness& operator=(const Witness&) = delete;
  virtual ~Witness() = default;
  // Since this was last asked. Nothing is said where something may have been missed.
  virtual std::vector<AnsweredTwice> take() = 0;
};

// Questions and replies as they pass the port.
class PortCounts {
 public:
  void saw(observer::BytesView frame, bool leaves_the_target);
  // Settles all that was asked: what comes later for it is not counted.
  std::vector<AnsweredTwice> take();
  void forget() { questions_.clear(); }

 private:
  struct Key {
    observer::Mac asker{};
    uint32_t tag = 0;
    uint8_t command = 0;
    auto operator<=>(const Key&) const = default;
  };
  struct Question {
    unsigned asked = 0;
    std::map<uint32_t, unsigned> answered;  // by shelf and slot: a broadcast is for all of them
  };
  std::map<Key, Question> questions_;
};

}  // namespace conformance::links
