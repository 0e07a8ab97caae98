// What an undo file says is put back.

#include "conformance/runner/put_back.h"

#include <fmt/format.h>

#include <algorithm>

#include "conformance/runner/footing.h"

namespace conformance {

namespace {

std::string what_of(const UndoRecord& record) {
  std::string out;
  const auto add = [&](bool is_there, const std::string& name) {
    out += is_there ? (out.empty() ? "" : ", ") + name : "";
  };
  add(record.reserved.has_value(), "the reserve list");
  add(record.mask.has_value(), "the MAC mask list");
  add(record.config.has_value(), "the config string");
  add(!record.scratch.empty(),
      fmt::format("{} sectors from {} on", record.scratch.size() / observer::kSectorBytes,
                  record.scratch_lba));
  return out;
}

TargetState::Saved saved_of(const UndoRecord& record) {
  TargetState::Saved saved{record.config, record.mask, record.reserved, {}};
  for (size_t at = 0; at < record.scratch.size(); at += observer::kSectorBytes) {
    const auto from = record.scratch.begin() + static_cast<ptrdiff_t>(at);
    saved.sectors.emplace_back(from, from + observer::kSectorBytes);
  }
  return saved;
}

// Cases ask from these; a list may hold one of them and nobody else.
constexpr size_t kInitiators = 16;

}  // namespace

bool stands(Context& t, const UndoRecord& record) {
  const uint64_t sectors = record.scratch.size() / observer::kSectorBytes;
  TargetState::Saved then = saved_of(record);
  TargetState now;
  t.set_scratch({record.scratch_lba, sectors});
  try {
    now.save(t, true, true, sectors > 0);
  } catch (const CaseEnd&) {
    return false;
  }
  TargetState::Saved seen = now.saved();
  for (auto* list : {&then.mask, &seen.mask}) {
    if (*list) {
      std::sort((*list)->begin(), (*list)->end());
    }
  }
  return (!then.config || then.config == seen.config) && (!then.mask || then.mask == seen.mask) &&
         (!then.reserved || then.reserved == seen.reserved) && then.sectors == seen.sectors;
}

PutBack put_back(Context& t, const UndoRecord& record, bool any_disk) {
  PutBack done;
  done.what = what_of(record);
  TargetFacts& facts = t.facts();
  const auto is_it = [&](const Found& f) {
    return f.shelf == record.shelf && f.slot == record.slot;
  };
  const std::vector<Found> found = discover(t, record.shelf, record.slot);
  // One whose lists shut everybody out answers no broadcast of ours: then where it was.
  facts.mac = record.mac;
  facts.shelf = record.shelf;
  facts.slot = record.slot;
  const bool same_address = std::any_of(
      found.begin(), found.end(), [&](const Found& f) { return is_it(f) && f.mac == record.mac; });
  const auto other = std::find_if(found.begin(), found.end(), is_it);
  if (!same_address && other != found.end()) {
    facts.mac = other->mac;
  }
  auto& shared = t.shared();
  shared.allowed = {"config", "lockout", "write"};
  shared.may_write = !record.scratch.empty();
  shared.listed.insert(record.listed.begin(), record.listed.end());
  t.initiator(kInitiators - 1);
  TargetState state;
  state.assume(saved_of(record));
  RunConfig config;
  config.allowed = shared.allowed;
  Footing footing(t, state, config);
  try {
    t.begin_case({}, Level::must);
    if (!t.barrier() && !footing.let_in()) {
      done.reached = false;
      done.trouble = fmt::format("{} does not answer: nothing was put back", record.name());
      return done;
    }
    if (const auto why = learn_target(t)) {
      done.trouble = fmt::format("{}: {}", record.name(), *why);
      return done;
    }
    if (!record.is_of(facts) && !any_disk) {
      done.other = true;
      done.trouble = fmt::format(
          "what answers as {}.{} now has the serial {} and {} sectors, and is not {}: nothing was "
          "put back",
          record.shelf, record.slot, observer::quoted(facts.serial), facts.sectors, record.name());
      return done;
    }
    const uint64_t sectors = record.scratch.size() / observer::kSectorBytes;
    if (record.scratch_lba + sectors > facts.sectors) {
      done.other = true;
      done.trouble =
          fmt::format("the disk has {} sectors, and the saved ones end at {}: nothing was put back",
                      facts.sectors, record.scratch_lba + sectors);
      return done;
    }
    t.set_scratch({record.scratch_lba, sectors});
    constexpr int rounds = 4;
    for (int i = 0; i < rounds; ++i) {
      done.trouble.clear();
      for (const std::string& left : state.restore(t, false)) {
        done.trouble += (done.trouble.empty() ? "" : ", ") + left;
      }
      if (sectors > 0 && done.trouble.empty()) {
        learn_disk(t);
        for (const std::string& left : state.restore(t, true)) {
          done.trouble += (done.trouble.empty() ? "" : ", ") + left;
        }
      }
      if (done.trouble.empty() && i > 0) {
        break;  // still as it was when what the link held back had come
      }
      t.wait_for_latecomers();
    }
    if (!done.trouble.empty()) {
      done.trouble += " could not be put back";
    }
  } catch (const CaseEnd& end) {
    done.trouble = end.reason;
  }
  t.take_findings();
  return done;
}

}  // namespace conformance
