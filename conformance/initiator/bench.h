#pragma once
// Load: a number of requests kept outstanding at a target, and what came of it. And the workload
// that can be judged afterwards: stamped writes whose ledger says what each sector must hold.

#include <csignal>
#include <string>

#include "conformance/initiator/histogram.h"
#include "conformance/initiator/live.h"
#include "conformance/initiator/stamps.h"

namespace conformance::initiator {

enum class Pattern : uint8_t { sequential, random };

struct Load {
  unsigned write_percent = 0;
  Pattern pattern = Pattern::random;
  uint32_t sectors = 2;  // each request
  unsigned outstanding = 16;
  double seconds = 2;
  uint64_t requests = 0;  // 0: as many as the seconds allow
  uint64_t first_lba = 0;
  uint64_t range_sectors = 0;
  uint64_t seed = 1;
};

struct Measured {
  double seconds = 0;
  uint64_t requests = 0;
  uint64_t failed = 0;
  std::string first_failure;
  uint64_t bytes = 0;
  Histogram latency;
  uint64_t processor_ns = 0;  // of this program
  bool interrupted = false;
};

// The target is ready. Ends when the load has, at a signal, or at the tenth failure.
Measured measure(Live& live, const Load& load, const volatile std::sig_atomic_t& stop);

struct Filled {
  uint64_t writes = 0;
  uint64_t unanswered = 0;
  std::string first_failure;
  bool interrupted = false;
};
// Writes stamps and keeps the ledger: sequential is one pass over the range, random goes on for
// load.seconds. Never two writes to one sector at a time: the ledger would not know the order.
Filled fill(Live& live, const Load& load, Ledger& ledger, uint32_t first_version,
            const volatile std::sig_atomic_t& stop);

struct Checked {
  uint64_t sectors = 0;
  uint64_t wrong = 0;
  std::vector<Ledger::Finding> findings;  // the first 20
  std::string failure;
  bool interrupted = false;
};
Checked check(Live& live, const Ledger& ledger, unsigned outstanding,
              const volatile std::sig_atomic_t& stop);

// Keeps up to `depth` jobs at the target. `next` fills a job, or says that there is none now;
// `done` takes a completion, and says whether to go on. Ends when nothing is outstanding and
// nothing comes. False after a signal.
template <typename Next, typename Done>
bool run_jobs(Live& live, size_t depth, Next next, Done done,
              const volatile std::sig_atomic_t& stop) {
  constexpr int64_t look_around_ns = 200'000'000;
  Initiator& initiator = live.initiator();
  bool wanted = true;
  while (stop == 0) {
    while (wanted && initiator.jobs() < depth) {
      Job job;
      if (!next(job) || !initiator.submit(job, now_ns())) {
        break;
      }
    }
    if (initiator.jobs() == 0 && initiator.completions().empty()) {
      return true;
    }
    live.turn(now_ns() + look_around_ns);
    for (Completion& completion : initiator.completions()) {
      wanted = done(completion) && wanted;
    }
    initiator.completions().clear();
  }
  return false;
}

}  // namespace conformance::initiator
