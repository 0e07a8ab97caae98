#pragma once
// The ledger of a link: which question each reply belongs to, by our address, tag and command, and
// what the link did to both meanwhile. Copies and latecomers of questions that are settled are
// counted and kept back, wherever they turn up: they are nobody's answer, and break no silence.
// Knows the AoE header and the tags of a coalesced read; judges no target.

#include <algorithm>
#include <set>
#include <string_view>
#include <unordered_map>

#include "conformance/links/tap.h"

namespace conformance::links {

// What was seen of the link since something.
struct LinkCounts {
  uint64_t asked = 0;      // questions whose fate is known: answered in the end
  uint64_t lost = 0;       // times that such a question, or its answer, did not arrive
  uint64_t late = 0;       // answers after the question had been asked again, or given up
  uint64_t repeated = 0;   // second copies of an answer
  uint64_t doubled = 0;    // second answers, unlike the first: the question itself was doubled
  uint64_t reordered = 0;  // answers that overtook one to an earlier question
  uint64_t not_taken = 0;  // frames that our own interface did not take

  LinkCounts operator-(const LinkCounts& before) const;
  // Something happened that can make a conforming target look wrong.
  bool interfered() const { return lost + late + repeated + doubled + reordered + not_taken > 0; }
};
std::string to_string(const LinkCounts& counts);  // "2 lost and asked again, 1 late"

class Ledger : public Wrapped {
 public:
  using Wrapped::Wrapped;

  void send(BytesView frame) override;
  std::optional<ReceivedFrame> receive(int64_t deadline_ns) override;

  // While it is on, answers are to questions that were asked together, to see whether they keep
  // their order on this link.
  void measure(bool on) { measuring_ = on; }
  // Seen while it was on: answers overtake each other, or some are away far longer than others. A
  // target may do either with the questions of a case.
  bool disorders() const { return reorders_ || delays_; }
  // On this page something was asked before all that was asked earlier had been answered, or an
  // answer was away for long: on a link that disorders, neither proves anything.
  bool rests_on_order() const { return overlapped_ || slow_; }
  // Answers to questions of a measurement came twice: that is the link, or a target that doubles
  // all it says.
  bool repeats() const { return repeats_; }
  // On this page a settled question was asked again under the same tag: a copy of the earlier
  // answer looks like the answer.
  bool reused_tag() const { return reused_; }

  // From here on, everything asked before is settled.
  void new_page();
  // The one who asked has its answer, or has given up: what else comes for this question is late.
  // `attempts`: how often it would have asked.
  void settle(BytesView request, unsigned attempts);
  // The same for a sign of life, asked with a new tag each time: the last was answered.
  void settle_signs(const std::vector<Bytes>& requests);

  LinkCounts counts() const;
  // Of a question and its answer: the share that the link loses, as far as is known, and cautious.
  double loss() const;
  // The longest that an answer has lately been away beyond what is usual. 0: none was.
  int64_t lateness_ns() const { return std::max(lateness_ns_, lateness_before_ns_); }
  int64_t lateness_max_ns() const { return lateness_max_ns_; }  // ever
  // Questions of this page that fewer answers came for than they were asked.
  size_t unanswered() const;
  // The chance that the link alone ate one of this page's questions, so that a target which answers
  // all of them looks as if it did not.
  double chance_of_silence() const;

 private:
  struct Key {
    Mac ours{};
    uint32_t tag = 0;
    uint8_t command = 0;
    bool operator==(const Key&) const = default;
  };
  struct Hash {
    size_t operator()(const Key& key) const;
  };
  struct Question {
    uint64_t number = 0;  // in order of asking
    unsigned sent = 0;
    unsigned received = 0;
    unsigned attempts = 1;
    bool settled = false;
    bool measured = false;
    bool writes = false;  // an ATA write: its answer may stand in the list of another's
    int64_t first_ns = 0;
    int64_t last_ns = 0;
    size_t answer = 0;  // hash of the first
    uint64_t answer_lba = 0;
    // To every shelf or slot: each target answers for itself, and who has done so is kept.
    bool to_all = false;
    std::set<std::pair<Mac, uint32_t>> who;
  };
  void note_question(const Key& key, int64_t at_ns);
  // True when the frame is to be handed on.
  bool take(const ReceivedFrame& frame);
  void note_lateness(int64_t ns);
  // The further results of a write's answer (coalesced_write_reply).
  void take_list(const ReceivedFrame& frame, Key key);

  using Questions = std::unordered_map<Key, Question, Hash>;
  Questions page_;  // asked since new_page
  Questions past_;  // the latest of what was asked before
  Questions long_past_;
  LinkCounts counts_;
  bool measuring_ = false;
  bool reorders_ = false;
  bool delays_ = false;
  bool overlapped_ = false;
  bool slow_ = false;
  bool repeats_ = false;
  bool reused_ = false;
  size_t outstanding_ = 0;           // questions of this page without any answer, not settled
  int64_t quickest_ns_ = INT64_MAX;  // answer while measuring
  int64_t lateness_max_ns_ = 0;
  uint64_t number_ = 0;
  uint64_t newest_answered_ = 0;
  int64_t lateness_ns_ = 0;         // since the last turn
  int64_t lateness_before_ns_ = 0;  // between the two before
  uint64_t asked_at_turn_ = 0;
};

}  // namespace conformance::links
