// The ledger of a link.

#include "conformance/links/ledger.h"

#include <fmt/format.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <string_view>
#include <utility>

#include "conformance/observer/decode.h"

namespace conformance::links {

using observer::F;
using observer::get;

namespace {
constexpr uint64_t kEveryShelf = 0xffff;
constexpr uint64_t kEverySlot = 0xff;

// Lateness is forgotten so many questions later, twice as many at most, whatever less late has come
// since: one slow moment does not slow the rest of a run.
constexpr uint64_t kLatenessQuestions = 300;
constexpr int64_t kLatenessMaxNs = 1000 * kNsPerMs;
// Away so much longer than the quickest is slow.
constexpr int64_t kSlowNs = 5 * kNsPerMs;
constexpr int64_t kSlowTimes = 20;

Mac mac_at(BytesView frame, size_t offset) {
  Mac mac{};
  std::copy_n(frame.begin() + static_cast<std::ptrdiff_t>(offset), mac.size(), mac.begin());
  return mac;
}

size_t hash_of(BytesView frame) {
  return std::hash<std::string_view>()({reinterpret_cast<const char*>(frame.data()), frame.size()});
}

}  // namespace

LinkCounts LinkCounts::operator-(const LinkCounts& b) const {
  return {asked - b.asked,        lost - b.lost,       late - b.late,
          repeated - b.repeated,  doubled - b.doubled, reordered - b.reordered,
          not_taken - b.not_taken};
}

std::string to_string(const LinkCounts& c) {
  std::string out;
  const auto add = [&](uint64_t n, const char* what) {
    if (n > 0) {
      out += fmt::format("{}{} {}", out.empty() ? "" : ", ", n, what);
    }
  };
  add(c.lost, "lost and asked again");
  add(c.late, "late");
  add(c.repeated, "repeated");
  add(c.doubled, "doubled questions");
  add(c.reordered, "out of order");
  add(c.not_taken, "not taken by our interface");
  return out;
}

size_t Ledger::Hash::operator()(const Key& key) const {
  uint64_t mac = 0;
  for (const uint8_t byte : key.ours) {
    mac = mac << 8 | byte;
  }
  constexpr uint64_t spread = 0x9e3779b97f4a7c15ULL;
  return ((mac << 8 | key.command) * spread) ^ (key.tag * (spread >> 7));
}

void Ledger::note_question(const Key& key, int64_t at_ns) {
  Question& q = page_[key];
  overlapped_ = overlapped_ || outstanding_ > 0 || (q.sent > 0 && !q.settled);
  q.measured = measuring_;
  if (q.settled) {
    reused_ = true;
    q.received = std::min(q.received, q.sent);  // copies of the earlier answer are not of this one
  }
  if (q.sent++ == 0) {
    q.first_ns = at_ns;
    q.number = ++number_;
    ++outstanding_;
  }
  q.last_ns = at_ns;
  q.settled = false;
}

void Ledger::send(BytesView frame) {
  if (observer::is_aoe(frame) && !observer::is_reply(frame)) {
    Key key{mac_at(frame, 6), static_cast<uint32_t>(*get(frame, F::tag)),
            static_cast<uint8_t>(*get(frame, F::command))};
    note_question(key, now_ns());
    const bool to_every_port = (frame[0] & 1) != 0;
    page_[key].to_all =
        to_every_port || get(frame, F::shelf) == kEveryShelf || get(frame, F::slot) == kEverySlot;
    const auto ata = static_cast<uint8_t>(get(frame, F::ata_command).value_or(0));
    page_[key].writes = key.command == observer::command::ata && observer::is_ata_write(ata);
    if (key.command == observer::command::ata && observer::is_ata_read(ata)) {
      for (const auto& entry : observer::coalesced_tail(frame)) {
        key.tag = entry.tag;
        note_question(key, now_ns());
      }
    }
  }
  inner().send(frame);
}

std::optional<ReceivedFrame> Ledger::receive(int64_t deadline_ns) {
  for (;;) {
    auto frame = inner().receive(deadline_ns);
    if (!frame || take(*frame)) {
      return frame;
    }
  }
}

bool Ledger::take(const ReceivedFrame& frame) {
  if (!observer::is_aoe(frame.bytes) || !observer::is_reply(frame.bytes)) {
    return true;
  }
  const Key key{mac_at(frame.bytes, 0), static_cast<uint32_t>(*get(frame.bytes, F::tag)),
                static_cast<uint8_t>(*get(frame.bytes, F::command))};
  bool old = false;
  auto it = page_.find(key);
  if (it == page_.end()) {
    old = true;
    it = past_.find(key);
    if (it == past_.end()) {
      it = long_past_.find(key);
      if (it == long_past_.end()) {
        return true;
      }
    }
  }
  Question& q = it->second;
  const size_t hash = hash_of(frame.bytes);
  if (q.to_all && !old && !q.settled &&
      q.who
          .insert({mac_at(frame.bytes, 6), static_cast<uint32_t>(*get(frame.bytes, F::shelf) << 8 |
                                                                 *get(frame.bytes, F::slot))})
          .second &&
      q.who.size() > 1) {
    return true;  // another target's answer, or another port's
  }
  const uint64_t lba =
      key.command == observer::command::ata ? get(frame.bytes, F::ata_lba).value_or(0) : 0;
  if (q.received > 0 && lba != q.answer_lba) {
    return true;  // no link makes this of the first answer: the target sent it under this tag
  }
  ++q.received;
  if (q.writes) {
    take_list(frame, key);
  }
  if (!old && !q.settled && q.received <= q.sent) {
    if (q.received == 1) {
      q.answer = hash;
      q.answer_lba = lba;
      outstanding_ -= outstanding_ > 0 ? 1 : 0;
      const int64_t away_ns = frame.at_ns - q.last_ns;
      if (measuring_) {
        quickest_ns_ = std::min(quickest_ns_, away_ns);
      }
      if (quickest_ns_ != INT64_MAX && away_ns > std::max(kSlowNs, kSlowTimes * quickest_ns_)) {
        slow_ = true;
        delays_ = delays_ || measuring_;
      }
      if (q.number < newest_answered_ && (measuring_ || reorders_)) {
        ++counts_.reordered;
        reorders_ = true;
      }
      newest_answered_ = std::max(newest_answered_, q.number);
    }
    return true;
  }
  if (q.received > q.sent) {
    repeats_ = repeats_ || q.measured;
    (hash == q.answer || q.received == 1 ? counts_.repeated : counts_.doubled) += 1;
  } else {
    ++counts_.late;
    if (q.settled && q.received > 1 && counts_.lost > 0) {
      --counts_.lost;  // it was not lost
    }
  }
  note_lateness(frame.at_ns - q.last_ns);
  return false;
}

void Ledger::take_list(const ReceivedFrame& frame, Key key) {
  if (get(frame.bytes, F::ata_flag_write) != 1U || get(frame.bytes, F::flag_error) != 0U) {
    return;
  }
  for (const auto& entry : observer::coalesced_tail(frame.bytes)) {
    key.tag = entry.tag;
    const auto it = page_.find(key);
    if (it == page_.end() || !it->second.writes || it->second.settled) {
      continue;
    }
    Question& q = it->second;
    if (q.received++ == 0) {
      outstanding_ -= outstanding_ > 0 ? 1 : 0;
      newest_answered_ = std::max(newest_answered_, q.number);
    }
  }
}

void Ledger::note_lateness(int64_t ns) {
  lateness_ns_ = std::min(std::max(lateness_ns_, ns), kLatenessMaxNs);
  lateness_max_ns_ = std::max(lateness_max_ns_, lateness_ns_);
}

void Ledger::new_page() {
  // Of what is long past nothing will come any more.
  constexpr size_t kept = 50'000;
  if (past_.size() > kept) {
    long_past_ = std::move(past_);
    past_.clear();
  }
  for (auto& [key, question] : page_) {
    past_[key] = question;
  }
  page_.clear();
  newest_answered_ = number_;
  overlapped_ = false;
  slow_ = false;
  reused_ = false;
  outstanding_ = 0;
}

void Ledger::settle(BytesView request, unsigned attempts) {
  if (!observer::is_aoe(request)) {
    return;
  }
  const auto it = page_.find({mac_at(request, 6), static_cast<uint32_t>(*get(request, F::tag)),
                              static_cast<uint8_t>(*get(request, F::command))});
  if (it == page_.end() || it->second.settled) {
    return;
  }
  Question& q = it->second;
  q.settled = true;
  if (q.received == 0 && outstanding_ > 0) {
    --outstanding_;
  }
  q.attempts = attempts;
  if (q.received > 0) {
    ++counts_.asked;
    counts_.lost += q.sent - std::min(q.sent, q.received);
    if (counts_.asked - asked_at_turn_ >= kLatenessQuestions) {
      asked_at_turn_ = counts_.asked;
      lateness_before_ns_ = std::exchange(lateness_ns_, 0);
    }
  }
}

void Ledger::settle_signs(const std::vector<Bytes>& requests) {
  for (const Bytes& request : requests) {
    settle(request, static_cast<unsigned>(requests.size()));
  }
  counts_.lost += requests.size() - 1;
}

LinkCounts Ledger::counts() const {
  LinkCounts counts = counts_;
  counts.not_taken = not_taken().frames;
  return counts;
}

double Ledger::loss() const {
  constexpr double caution = 1;  // what was never seen may still happen
  const auto lost = static_cast<double>(counts_.lost);
  return std::min(0.5, (lost + caution) / (static_cast<double>(counts_.asked) + lost + caution));
}

size_t Ledger::unanswered() const {
  return static_cast<size_t>(std::count_if(page_.begin(), page_.end(), [](const auto& asked) {
    const Question& q = asked.second;
    return q.settled ? q.received == 0 : q.received < q.sent;
  }));
}

// Of all that was asked as often as what went unanswered: whatever was asked once and was answered
// says nothing about a question that eight frames did not get an answer to.
double Ledger::chance_of_silence() const {
  const double lost = loss();
  const auto tries = [](const Question& q) {
    return q.settled ? std::max(q.sent, q.attempts) : 1U;
  };
  unsigned least = UINT_MAX;
  for (const auto& [key, q] : page_) {
    if (q.settled ? q.received == 0 : q.received < q.sent) {
      least = std::min<unsigned>(least, tries(q));
    }
  }
  double expected = 0;
  for (const auto& [key, q] : page_) {
    if (tries(q) >= least) {
      expected += q.settled ? std::pow(lost, tries(q)) : lost * q.sent;
    }
  }
  return 1 - std::exp(-expected);
}

}  // namespace conformance::links
