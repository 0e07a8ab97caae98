#pragma once
// What an initiator is asked, one misbehaviour of its target after the other. A case knows how the
// target misbehaves and what a good initiator does then; who the initiator is and how it is
// started, it must never know.

#include <optional>
#include <string>
#include <vector>

#include "conformance/cases/verdict.h"
#include "conformance/hostile/player.h"

namespace conformance::hostile {

// The work that the initiator is given in each case: `in` onto sectors [lba, lba + sectors), and
// what stands there then.
inline constexpr uint64_t kJobLba = 64;
inline constexpr uint64_t kJobSectors = 64;

// How the work ended. Where nobody was started (whoever asks is judged) nothing of it is known.
struct Ended {
  bool started = false;
  bool in_time = false;        // it ended by itself
  bool good = false;           // and said that all is well
  bool disk_is_right = false;  // the disk holds `in`
  bool read_is_right = false;  // and so does what it read back
  std::string how;             // "ended with exit code 1"
};

// What a judgement may look at.
struct Seen {
  Player& player;
  const Ended& ended;
  std::vector<Finding> findings;
  bool unsupported = false;
  std::string remark;  // of a case that passes, or is unsupported

  void say(Verdict verdict, const std::string& clause, const std::string& headline,
           const std::string& expected, const std::string& got, const Heard* frame = nullptr);
  // The ATA requests of this case, oldest first.
  std::vector<const Heard*> ata() const;
};

struct InitiatorCase {
  std::string id;
  std::string title;
  std::string clause;
  // Prepares the player: its middleware, its configuration.
  std::function<void(Player&)> play;
  // Beyond what is asked of every case; may be empty.
  std::function<void(Seen&)> judge;
  // Whether a good initiator gets its work done; else it is to say that it did not.
  enum class Work { done, refused, either } work = Work::done;
};

const std::vector<InitiatorCase>& initiator_cases();

// What is asked of every case: work that was said to be done is done, and the other way round.
void judge_work(const InitiatorCase& c, Seen& seen);
// Of all requests of the run: the form that the documents give them.
void judge_form(Seen& seen);

}  // namespace conformance::hostile
