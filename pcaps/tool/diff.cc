#include "pcaps/tool/diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <unordered_map>

namespace pcaps {

namespace {
constexpr std::size_t kExamplesMax = 20;

// What is asked: for reads and writes the range, for others every byte of the argument.
std::uint64_t key_of(const Request& request) {
  const bool ranged = request.command == kCommandAta &&
                      (is_read(request.ata_command) || is_write(request.ata_command));
  if (!ranged) {
    return request.fingerprint ^ static_cast<std::uint64_t>(request.command) << 56;
  }
  const std::array<std::uint64_t, 3> range{request.ata_command, request.lba, request.sectors};
  return hash_bytes(reinterpret_cast<const std::uint8_t*>(range.data()), sizeof range, 0);
}

void count(DiffSide& side, const PlannedFrame& planned, const Expectation& expectation,
           Nanoseconds& first_ns) {
  if (side.requests == 0) {
    first_ns = planned.time_ns;
  }
  ++side.requests;
  side.copies += planned.copy ? 1 : 0;
  side.took_ns = std::max(side.took_ns, planned.time_ns - first_ns);
  if (expectation.reply_frame == 0) {
    ++side.unanswered;
  } else {
    side.latency.add(expectation.reply_time_ns - planned.time_ns);
  }
}

void only_here(DiffSide& side, std::uint64_t frame, const Request& request) {
  ++side.only_here;
  if (side.examples.size() < kExamplesMax) {
    side.examples.push_back(fmt::format("frame {}: {}", frame, request_text(request)));
  }
}

struct Waiting {
  std::uint64_t frame;
  Expectation expectation;
};

void compare_pair(const Waiting& b, std::uint64_t frame_a, const Expectation& a,
                  const DifferenceSet& allowed, DiffResult& result) {
  ++result.paired;
  DifferenceSet differences;
  DifferenceSet write_data;
  if (a.request.fingerprint != b.expectation.request.fingerprint) {
    add(write_data, Difference::write_data);
  }
  if ((a.reply_frame == 0) != (b.expectation.reply_frame == 0)) {
    add(differences, a.reply_frame == 0 ? Difference::unexpected : Difference::missing);
  } else if (!a.reply.empty() && !b.expectation.reply.empty()) {
    CompareContext context;
    context.ata_command = a.request.ata_command;
    context.sectors = a.request.sectors;
    context.expected_shelf =
        static_cast<std::uint16_t>(b.expectation.reply[16] << 8 | b.expectation.reply[17]);
    context.expected_slot = b.expectation.reply[18];
    differences = compare_replies(a.reply, b.expectation.reply, context);
  }
  differences |= write_data;
  std::string names;
  for (std::size_t i = 0; i < kDifferences; ++i) {
    if (!differences[i]) {
      continue;
    }
    ++(allowed[i] ? result.allowed[i] : result.refused[i]);
    if (!allowed[i]) {
      names +=
          (names.empty() ? "" : ", ") + std::string(difference_name(static_cast<Difference>(i)));
    }
  }
  if (!names.empty() && result.examples.size() < kExamplesMax) {
    result.examples.push_back({frame_a, b.frame, request_text(a.request), names});
  }
}

std::string side_text(const char* name, const DiffSide& side) {
  return fmt::format(
      "{}  {}\n   {} requests in {}, {} unanswered ({} of them asked again under a new tag), "
      "{} copies; latency p50 {}, p99 {}, max {}\n",
      name, side.path, side.requests, duration_text(side.took_ns), side.unanswered, side.renewed,
      side.copies, duration_text(side.latency.quantile_ns(0.5)),
      duration_text(side.latency.quantile_ns(0.99)), duration_text(side.latency.max_ns()));
}

nlohmann::ordered_json side_json(const DiffSide& side) {
  return {{"path", side.path},
          {"requests", side.requests},
          {"unanswered", side.unanswered},
          {"asked_again_new_tag", side.renewed},
          {"copies", side.copies},
          {"only_here", side.only_here},
          {"seconds", static_cast<double>(side.took_ns) / 1e9},
          {"latency_p50_ms", static_cast<double>(side.latency.quantile_ns(0.5)) / 1e6},
          {"latency_p99_ms", static_cast<double>(side.latency.quantile_ns(0.99)) / 1e6},
          {"latency_max_ms", static_cast<double>(side.latency.max_ns()) / 1e6},
          {"examples", side.examples}};
}
}  // namespace

bool DiffResult::same() const {
  for (const std::uint64_t n : refused) {
    if (n != 0) {
      return false;
    }
  }
  return a.only_here == 0 && b.only_here == 0;
}

std::string DiffResult::to_text() const {
  std::string out = side_text("A", a) + side_text("B", b);
  out += fmt::format("{} requests in both, {} only in A, {} only in B\n", paired, a.only_here,
                     b.only_here);
  for (std::size_t i = 0; i < kDifferences; ++i) {
    const auto d = static_cast<Difference>(i);
    if (allowed[i] != 0) {
      out += fmt::format("allowed     {:14} {:6}  {}\n", difference_name(d), allowed[i],
                         difference_text(d));
    }
    if (refused[i] != 0) {
      out += fmt::format("DIFFERENT   {:14} {:6}  {}\n", difference_name(d), refused[i],
                         difference_text(d));
    }
  }
  for (const DiffExample& e : examples) {
    out += fmt::format("  A frame {}, B frame {}: {}: {}\n", e.frame_a, e.frame_b, e.request,
                       e.differences);
  }
  for (const std::string& e : a.examples) {
    out += fmt::format("  only in A: {}\n", e);
  }
  for (const std::string& e : b.examples) {
    out += fmt::format("  only in B: {}\n", e);
  }
  out += fmt::format("verdict: {}\n", same() ? "same" : "different");
  return out;
}

nlohmann::ordered_json DiffResult::to_json() const {
  nlohmann::ordered_json j;
  j["verdict"] = same() ? "same" : "different";
  j["a"] = side_json(a);
  j["b"] = side_json(b);
  j["paired"] = paired;
  j["allowed_differences"] = difference_counts_json(allowed);
  j["differences"] = difference_counts_json(refused);
  auto list = nlohmann::ordered_json::array();
  for (const DiffExample& e : examples) {
    list.push_back({{"frame_a", e.frame_a},
                    {"frame_b", e.frame_b},
                    {"request", e.request},
                    {"differences", e.differences}});
  }
  j["examples"] = list;
  return j;
}

std::optional<DiffResult> diff_captures(const CaptureSpec& a, const CaptureSpec& b,
                                        const DifferenceSet& allowed, std::string& error) {
  const auto plan_a = ReplayPlan::open(a, std::nullopt, error);
  const auto plan_b = plan_a == nullptr ? nullptr : ReplayPlan::open(b, std::nullopt, error);
  if (plan_b == nullptr) {
    return std::nullopt;
  }
  DiffResult result;
  result.a.path = a.path;
  result.b.path = b.path;
  std::unordered_map<std::uint64_t, std::deque<Waiting>> waiting;
  Nanoseconds first_ns = 0;
  const auto asked_again = [](const Expectation& e) {
    return e.request.superseded && e.reply_frame == 0;
  };
  while (const auto planned = plan_b->next()) {
    for (const Expectation& expectation : planned->expected) {
      count(result.b, *planned, expectation, first_ns);
      if (asked_again(expectation)) {
        ++result.b.renewed;
        continue;
      }
      waiting[key_of(expectation.request)].push_back({planned->number, expectation});
    }
  }
  while (const auto planned = plan_a->next()) {
    for (const Expectation& expectation : planned->expected) {
      count(result.a, *planned, expectation, first_ns);
      if (asked_again(expectation)) {
        ++result.a.renewed;
        continue;
      }
      const auto found = waiting.find(key_of(expectation.request));
      if (found == waiting.end()) {
        only_here(result.a, planned->number, expectation.request);
        continue;
      }
      compare_pair(found->second.front(), planned->number, expectation, allowed, result);
      found->second.pop_front();
      if (found->second.empty()) {
        waiting.erase(found);
      }
    }
  }
  std::vector<const Waiting*> rest;
  for (const auto& [key, places] : waiting) {
    for (const Waiting& place : places) {
      rest.push_back(&place);
    }
  }
  std::sort(rest.begin(), rest.end(),
            [](const Waiting* x, const Waiting* y) { return x->frame < y->frame; });
  for (const Waiting* place : rest) {
    only_here(result.b, place->frame, place->expectation.request);
  }
  return result;
}

}  // namespace pcaps
