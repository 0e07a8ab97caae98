// Load, and a workload that can be judged.

#include "conformance/initiator/bench.h"

#include <sys/resource.h>

#include <algorithm>

namespace conformance::initiator {

using observer::kSectorBytes;

namespace {

class Random {  // SplitMix64
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31U);
  }
  uint64_t below(uint64_t bound) { return next() % bound; }

 private:
  uint64_t state_;
};

uint64_t processor_ns() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto of = [](const timeval& t) {
    return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000U +
           static_cast<uint64_t>(t.tv_usec) * 1'000U;
  };
  return of(usage.ru_utime) + of(usage.ru_stime);
}

}  // namespace

Measured measure(Live& live, const Load& load, const volatile std::sig_atomic_t& stop) {
  constexpr uint64_t failures_max = 10;
  Measured m;
  Random random(load.seed);
  const uint64_t cells = std::max<uint64_t>(load.range_sectors / load.sectors, 1);
  uint64_t next_cell = 0;
  uint64_t started = 0;
  std::vector<Bytes> spare;  // buffers go round
  const int64_t begin_ns = now_ns();
  const int64_t end_ns = begin_ns + static_cast<int64_t>(load.seconds * 1e9);
  const uint64_t processor_begin_ns = processor_ns();
  int64_t last_ns = begin_ns;
  Initiator& initiator = live.initiator();
  const auto next = [&](Job& job, int64_t now) {
    if ((load.requests != 0 && started >= load.requests) || (load.requests == 0 && now >= end_ns) ||
        m.failed >= failures_max) {
      return false;
    }
    ++started;
    uint64_t cell = next_cell;
    if (load.pattern == Pattern::random) {
      cell = random.below(cells);
    } else {
      next_cell = next_cell + 1 == cells ? 0 : next_cell + 1;
    }
    const bool writes = load.write_percent == 100 ||
                        (load.write_percent != 0 && random.below(100) < load.write_percent);
    job.kind = writes ? Kind::write : Kind::read;
    job.lba = load.first_lba + cell * load.sectors;
    job.sectors = load.sectors;
    if (!spare.empty()) {
      job.data = std::move(spare.back());
      spare.pop_back();
    } else {
      job.data.assign(load.sectors * kSectorBytes, 0x6b);
    }
    return true;
  };
  while (stop == 0) {
    const int64_t now = now_ns();
    while (initiator.jobs() < load.outstanding) {
      Job job;
      if (!next(job, now) || !initiator.submit(job, now)) {
        break;
      }
    }
    if (initiator.jobs() == 0 && initiator.completions().empty()) {
      break;
    }
    constexpr int64_t look_around_ns = 200'000'000;
    live.turn(now + look_around_ns);
    if (initiator.completions().empty()) {
      if (load.requests == 0 && now >= end_ns + static_cast<int64_t>(2e9)) {
        break;  // what is outstanding now is not waited for
      }
      continue;
    }
    last_ns = now_ns();
    for (Completion& c : initiator.completions()) {
      if (c.result == Result::done) {
        ++m.requests;
        m.bytes += c.sectors * kSectorBytes;
        m.latency.add(last_ns - c.submitted_ns);
      } else {
        if (m.failed++ == 0) {
          m.first_failure = describe(c);
        }
      }
      spare.push_back(std::move(c.data));
    }
    initiator.completions().clear();
  }
  m.interrupted = stop != 0;
  m.seconds = static_cast<double>(std::max<int64_t>(last_ns - begin_ns, 1)) / 1e9;
  m.processor_ns = processor_ns() - processor_begin_ns;
  return m;
}

Filled fill(Live& live, const Load& load, Ledger& ledger, uint32_t first_version,
            const volatile std::sig_atomic_t& stop) {
  Filled result;
  Random random(load.seed);
  const uint64_t cells = (ledger.sectors() + load.sectors - 1) / load.sectors;
  std::vector<bool> busy(cells, false);
  uint64_t next_cell = 0;
  uint32_t version = first_version;
  bool failed = false;
  const int64_t end_ns = now_ns() + static_cast<int64_t>(load.seconds * 1e9);
  const auto next = [&](Job& job) {
    if (failed || (load.pattern == Pattern::sequential ? next_cell >= cells : now_ns() >= end_ns)) {
      return false;
    }
    uint64_t cell = next_cell;
    if (load.pattern == Pattern::random) {
      cell = random.below(cells);
      for (unsigned tries = 0; busy[cell]; ++tries) {
        if (tries > 16) {
          return false;  // nearly all are: after the next answer
        }
        cell = random.below(cells);
      }
    } else {
      ++next_cell;
    }
    busy[cell] = true;
    const uint64_t lba = ledger.lba() + cell * load.sectors;
    const auto sectors = static_cast<uint32_t>(
        std::min<uint64_t>(load.sectors, ledger.lba() + ledger.sectors() - lba));
    job.kind = Kind::write;
    job.lba = lba;
    job.sectors = sectors;
    job.cookie = version;
    job.data.resize(sectors * kSectorBytes);
    for (uint32_t i = 0; i < sectors; ++i) {
      write_stamp(std::span(job.data).subspan(i * kSectorBytes, kSectorBytes), version, lba + i);
    }
    ledger.asked(lba, sectors, version);
    version += load.pattern == Pattern::random ? 1 : 0;
    return true;
  };
  const auto done = [&](Completion& c) {
    busy[(c.lba - ledger.lba()) / load.sectors] = false;
    if (c.result == Result::done) {
      ++result.writes;
      ledger.acknowledged(c.lba, c.sectors, static_cast<uint32_t>(c.cookie));
      return true;
    }
    ++result.unanswered;
    if (result.first_failure.empty()) {
      result.first_failure = describe(c);
    }
    failed = true;
    return false;
  };
  result.interrupted = !run_jobs(live, load.outstanding, next, done, stop);
  return result;
}

Checked check(Live& live, const Ledger& ledger, unsigned outstanding,
              const volatile std::sig_atomic_t& stop) {
  constexpr size_t findings_max = 20;
  constexpr uint32_t job_sectors = 64;
  Checked result;
  uint64_t next_sector = 0;
  const auto next = [&](Job& job) {
    if (next_sector >= ledger.sectors() || !result.failure.empty()) {
      return false;
    }
    job.kind = Kind::read;
    job.lba = ledger.lba() + next_sector;
    job.sectors =
        static_cast<uint32_t>(std::min<uint64_t>(job_sectors, ledger.sectors() - next_sector));
    next_sector += job.sectors;
    return true;
  };
  const auto done = [&](Completion& c) {
    if (c.result != Result::done) {
      result.failure = describe(c);
      return false;
    }
    for (uint32_t i = 0; i < c.sectors; ++i) {
      ++result.sectors;
      const BytesView sector = BytesView(c.data).subspan(i * kSectorBytes, kSectorBytes);
      if (auto finding = ledger.judge(c.lba + i, sector)) {
        if (++result.wrong <= findings_max) {
          result.findings.push_back(*std::move(finding));
        }
      }
    }
    return true;
  };
  result.interrupted = !run_jobs(live, outstanding, next, done, stop);
  std::sort(result.findings.begin(), result.findings.end(),
            [](const auto& a, const auto& b) { return a.lba < b.lba; });
  return result;
}

}  // namespace conformance::initiator
