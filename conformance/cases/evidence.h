#pragma once
// What a judgement rests on, as data: the frames of a case, which bytes of them are meant, and what
// was expected of them. Bytes, never text: only reports turn it into words.

#include <deque>
#include <optional>

#include "conformance/observer/decode.h"

namespace conformance {

// What a frame was there for. `setup` is all that a case sent and got beside what it judges;
// `barrier` is the suite's own question whether the target lives; `undo` puts back.
enum class FrameRole { setup, request, reply, stray, barrier, undo };
std::string to_string(FrameRole role);

// One frame as it went over the link.
struct CaseFrame {
  observer::Bytes bytes;
  bool outgoing = false;  // from the suite to the target
  int64_t at_ns = 0;      // on the link's clock
  FrameRole role = FrameRole::setup;
};

// A frame that a finding shows.
struct ShownFrame {
  FrameRole role = FrameRole::reply;
  observer::Bytes bytes;
  observer::Marks marks;  // the offending bytes
  int64_t at_ns = 0;      // 0: not known
  unsigned sent = 0;      // how often it went out; 0 for what came
};

// The frames of one case, both ways, in order. Of a long case it keeps the beginning and the end:
// its memory is bounded, whatever the case sends.
class FrameLog {
 public:
  static constexpr size_t kFirst = 24;  // frames of the beginning, and of the end, that are kept
  static constexpr size_t kLast = 40;

  void clear();
  void add(CaseFrame frame);
  // Oldest first. `omitted()` of them, after the first kFirst, are not there.
  std::vector<CaseFrame> take();
  uint64_t omitted() const { return omitted_; }

 private:
  std::vector<CaseFrame> first_;
  std::deque<CaseFrame> last_;
  uint64_t omitted_ = 0;
};

}  // namespace conformance
