#pragma once
// What is heard while a target is looked for and learnt: whoever answers in a way that nobody can
// take for an answer is not unreachable, but breaks a clause. Keeps the questions of that time and
// the frames that follow them; knows nothing of cases.

#include <map>

#include "conformance/cases/context.h"

namespace conformance {

class Hearing {
 public:
  // Whom the run is about, as far as the user has said it.
  Hearing(std::optional<uint16_t> shelf, std::optional<uint8_t> slot)
      : shelf_(shelf), slot_(slot) {}

  // Every frame over the link, while the target is not known.
  void frame(bool outgoing, int64_t at_ns, BytesView bytes);
  // One for each way in which what came is no reply, in the order in which they were met. Empty:
  // nobody spoke, or all who did are answered for.
  const std::vector<Finding>& findings() const { return findings_; }

 private:
  std::optional<uint16_t> shelf_;
  std::optional<uint8_t> slot_;
  std::map<uint32_t, std::pair<int64_t, Bytes>> asked_;  // by tag
  std::optional<uint32_t> latest_;
  std::vector<Finding> findings_;
};

}  // namespace conformance
