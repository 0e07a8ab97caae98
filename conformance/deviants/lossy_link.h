#pragma once
// A Link with the faults of a bad wire, from a seed, around another Link; in virtual time where
// that one is. Loss, doubling, delay and reordering, both ways, unequal MTUs, a cut for a while,
// and a second port that answers broadcasts late. For holding the suite to its word.

#include <map>
#include <random>

#include "conformance/links/tap.h"

namespace conformance::deviants {

struct Wire {
  double drop = 0;       // the share of frames, each way
  double duplicate = 0;  // of frames that come twice, the second time `duplicate_ns` later
  int64_t duplicate_ns = 20 * links::kNsPerMs;
  double delay = 0;  // of frames that are away for up to `delay_max_ns`
  int64_t delay_max_ns = 0;
  double reorder = 0;           // of frames that the next one overtakes
  bool double_replies = false;  // every reply twice
  bool second_port = false;     // broadcasts are answered from another address too, 5 ms later
  size_t mtu_out = 0;           // towards the target; 0: whatever
  size_t mtu_in = 0;
  int64_t cut_at_ns = 0;  // after the first frame; 0: never
  int64_t cut_for_ns = 0;
};

class LossyLink : public links::Wrapped {
 public:
  LossyLink(links::Link& inner, const Wire& wire, uint64_t seed)
      : Wrapped(inner), wire_(wire), random_(seed) {}

  void send(links::BytesView frame) override;
  std::optional<links::ReceivedFrame> receive(int64_t deadline_ns) override;

 private:
  bool chance(double share);
  bool is_cut();
  // The moments at which a frame that is sent now arrives; none: lost.
  std::vector<int64_t> arrivals(int64_t now_ns);
  void hand_in(int64_t now_ns);

  Wire wire_;
  std::mt19937_64 random_;
  std::optional<int64_t> began_ns_;
  std::multimap<int64_t, links::Bytes> outgoing_;
  std::multimap<int64_t, links::Bytes> incoming_;
};

}  // namespace conformance::deviants
