// Data: which writes may have been performed, by window and lists, and whether a read shows what
// the sectors can hold.
#include <fmt/format.h>

#include <algorithm>

#include "conformance/observer/decode.h"
#include "conformance/observer/judge_parts.h"

namespace conformance::observer {

bool Judge::window_stops(const Request& request) const {
  const Session& session = tracker_.sessions()[request.session];
  if (!session.on(kFeatureTagIncLe) && !session.on(kFeatureTagIncBe)) {
    return false;
  }
  const auto behind =
      static_cast<std::int32_t>(session.newest_tag - session.number_of(request.tag));
  return request.outcome == Outcome::good && request.first_frame > session.window_since &&
         session.newest_known && behind >= 0 && behind < static_cast<std::int32_t>(kTagWindow);
}

bool Judge::locked_out(const Request& request, std::uint32_t target) {
  const AddressList& mask = state_of_target(target).mask;
  return tracker_.complete() && mask.known && mask.edits_waiting == 0 &&
         request.first_frame > mask.settled_frame && !mask.macs.empty() &&
         !holds_mac(mask.macs, request.initiator);
}

Candidate::Kind Judge::kind_of_new(const Request& request) const {
  const Session& session = tracker_.sessions()[request.session];
  if ((session.features & kFeaturesTagInc) == 0) {
    return Kind::written;
  }
  const bool sure = session.on(kFeatureTagIncLe) || session.on(kFeatureTagIncBe);
  const auto behind =
      static_cast<std::int32_t>(session.newest_tag - session.number_of(request.tag));
  for (std::uint32_t i = request.older; i != kNone; i = tracker_.request(i).older) {
    const Request& old = tracker_.request(i);
    if (old.tag != request.tag || old.session != request.session || !is_write(old.ata_command) ||
        old.command != kCommandAta || old.first_frame <= session.window_since) {
      continue;
    }
    if (old.outcome == Outcome::good) {
      return sure && session.newest_known && behind >= 0 &&
                     behind < static_cast<std::int32_t>(kTagWindow)
                 ? Kind::window_copy
                 : Kind::failed;
    }
    if (old.outcome == Outcome::none) {
      return Kind::failed;  // it waits, and nobody knows for what
    }
  }
  const bool first = !session.newest_known || behind < 0;
  const bool known =
      sure && !tracker_.forgot_requests() && behind < static_cast<std::int32_t>(kTagWindow);
  return first || known ? Kind::written : Kind::failed;
}

void Judge::write_seen(const AoeFrame& frame, const Request& request, Relation relation,
                       const Request* earlier) {
  const auto hashes = tracker_.sector_hashes();
  const auto number = static_cast<std::uint32_t>(frame.number);
  const bool copy = relation == Relation::copy_waiting || relation == Relation::copy_answered;
  const bool again = copy && (request.outcome == Outcome::refused ||
                              request.outcome == Outcome::failed);  // not remembered: a new write
  const bool stopped = copy && !again && window_stops(request);
  const Session& own = tracker_.sessions()[request.session];
  const bool held = copy && request.outcome == Outcome::none &&
                    (own.on(kFeatureTagIncLe) || own.on(kFeatureTagIncBe));
  bool stale = false;
  // A damaged write under crc8x4, and one of a host that is locked out, is never done.
  const bool damaged = !frame.was_cut() && own.on(kFeatureCrc) &&
                       frame.holds(request.argument_bytes, kCrcBytes) &&
                       !crc_follows(frame, request.argument_bytes);
  for_each_target(request, [&](std::uint32_t target) {
    const bool never = damaged || locked_out(request, target);
    for (std::uint32_t i = 0; i < request.sectors; ++i) {
      Sector& sector = disk_.obtain(target, request.lba + i);
      if (i >= hashes.size()) {
        sector.write(Kind::wildcard, 0, number);  // cut by snaplen: nobody knows
        continue;
      }
      if (!copy || again) {
        sector.write(never  ? Kind::refused
                     : copy ? Kind::written
                            : kind_of_new(request),
                     hashes[i], number);
        continue;
      }
      if (held) {
        continue;  // it waits for its original, and ends as that one
      }
      stale = stale || sector.may_hold(number, [&](const Candidate& c) {
        return c.gone == 0 && (c.kind == Kind::written || c.kind == Kind::seen) &&
               c.hash != hashes[i] && c.begin > request.first_frame;
      });
      sector.write(stopped ? Kind::window_copy : Kind::late_copy, hashes[i], number);
    }
  });
  counters_.stale_copies += stale ? 1 : 0;
  if (relation == Relation::renewed && earlier != nullptr && is_write(earlier->ata_command)) {
    for_each_target(*earlier, [&](std::uint32_t target) {
      for (std::uint32_t i = 0; i < earlier->sectors; ++i) {
        if (Sector* sector = disk_.find(target, earlier->lba + i)) {
          sector->renew(static_cast<std::uint32_t>(earlier->first_frame));
        }
      }
    });
  }
}

void Judge::write_answered(const AoeFrame& frame, const Request& request, std::uint32_t target) {
  const TargetState& state = state_of_target(target);
  const bool good = good_ata(frame);
  const bool beyond =
      state.capacity_known && request.lba + request.sectors > state.capacity_sectors;
  const bool aborted =
      frame.holds_ata() && (frame.ata_status() & kStatusDf) == 0 &&
      (frame.ata_error() == kAtaErrorAbrt || (beyond && (frame.ata_error() & kAtaErrorIdnf) != 0));
  // With copies of it about nobody knows which of them this reply is for.
  const Kind left =
      (frame.has_error_flag() || aborted) && request.copies == 1 ? Kind::refused : Kind::failed;
  const auto number = static_cast<std::uint32_t>(frame.number);
  const auto begin = static_cast<std::uint32_t>(
      request.answers <= 1 || request.to_all ? request.first_frame : request.last_frame);
  const bool behind_tap = request.answers > request.copies && !request.to_all;
  if (behind_tap && (!good || tracker_.complete() || window_stops(request))) {
    return;
  }
  for (std::uint32_t i = 0; i < request.sectors; ++i) {
    Sector* sector = disk_.find(target, request.lba + i);
    if (sector == nullptr) {
      continue;
    }
    if (behind_tap) {
      sector->maybe_again(static_cast<std::uint32_t>(request.first_frame), number);
    } else {
      sector->answered(begin, number, good, left);
    }
  }
}

void Judge::read_answered(const AoeFrame& frame, const Request& request, std::uint32_t session,
                          std::uint32_t target) {
  if (request.ambiguous) {
    return;  // two requests under one tag: nobody knows which of them this answers
  }
  const auto hashes = tracker_.sector_hashes();
  if (!hashes.empty()) {
    see(Needs::read);
  }
  for (std::uint32_t i = 0; i < hashes.size(); ++i) {
    check_sector(frame, request, session, target, request.lba + i, hashes[i]);
  }
}

void Judge::check_sector(const AoeFrame& frame, const Request& request, std::uint32_t session,
                         std::uint32_t target, std::uint64_t lba, std::uint64_t value) {
  Sector& sector = disk_.obtain(target, lba);
  // The reply may belong to an earlier question in the same words, doubled by the network.
  const auto begin =
      static_cast<std::uint32_t>(tracker_.complete() ? request.first_frame : request.since_frame);
  const Reading reading = sector.read(value, begin, static_cast<std::uint32_t>(frame.number));
  if (reading.explanation == Explanation::unknown) {
    ++counters_.sectors_unknown;
    return;
  }
  ++counters_.sectors_checked;
  const Candidate& by = reading.by;
  const Candidate& newest = reading.newest;
  const auto where = [&request, lba] {
    return fmt::format("{}: LBA {} holds", request_text(request), lba);
  };
  const auto over = [&newest]() -> std::string {
    return newest.kind == Kind::empty
               ? std::string()
               : fmt::format(", last was the write of frame {}", newest.begin);
  };
  switch (reading.explanation) {
    case Explanation::expected:
      if (const Candidate& late = reading.not_performed;
          late.kind != Kind::empty && last_stale_told_ != late.begin) {
        last_stale_told_ = late.begin;
        ++counters_.stale_not_executed;
        note(Rule::stale_refused, Certainty::proven, frame, session, [&late, lba] {
          return fmt::format(
              "a write came again in frame {}, after newer data: not executed, LBA {} still holds "
              "the newer",
              late.begin, lba);
        });
      }
      return;
    case Explanation::hazard:
    case Explanation::window: {
      if (last_stale_told_ == by.begin) {
        return;  // once for each copy, not for each of its sectors
      }
      last_stale_told_ = by.begin;
      ++counters_.stale_executed;
      const bool window = reading.explanation == Explanation::window;
      // Where a window may have been emptied the copy counts as a new write, and rightly so.
      const bool emptied =
          !window && (tracker_.sessions()[request.session].features & kFeaturesTagInc) != 0;
      note(
          window ? Rule::stale_executed : Rule::stale_executed_plain,
          window    ? Certainty::suspect
          : emptied ? Certainty::doubtful
                    : Certainty::hazard,
          frame, session,
          [&] {
            return by.kind == Kind::renewed
                       ? fmt::format(
                             "{} what frame {} wrote: it was repeated under another tag, "
                             "answered and overwritten, and its first frame came late{}",
                             where(), by.begin, over())
                       : fmt::format(
                             "{} the older data again: a late copy of a write, frame {}, "
                             "was executed{}",
                             where(), by.begin, over());
          },
          emptied ? "whether the window had been emptied when the copy came" : nullptr);
      return;
    }
    case Explanation::refused:
      note(Rule::data_refused, Certainty::suspect, frame, session,
           [&] { return fmt::format("{} what frame {} was refused to write", where(), by.begin); });
      return;
    case Explanation::old:
      note(Rule::data_old, Certainty::suspect, frame, session,
           [&] { return fmt::format("{} what stood there before{}", where(), over()); });
      return;
    default:
      note(Rule::data_foreign, Certainty::suspect, frame, session,
           [&] { return fmt::format("{} what nobody wrote there{}", where(), over()); });
  }
}

}  // namespace conformance::observer
