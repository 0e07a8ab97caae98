// What a target keeps for everybody: config string, mask list, reserve list. Who may have changed
// them, and what a reply says they are.
#include <fmt/format.h>

#include <algorithm>

#include "conformance/observer/decode.h"
#include "conformance/observer/judge_parts.h"

namespace conformance::observer {

namespace {

constexpr std::uint32_t kSectorsWhenZero = 2;  // a sector count of 0 in a config reply
constexpr std::uint32_t kListedMax = 256;
constexpr std::uint8_t kDirectiveAdd = 1, kDirectiveDelete = 2;
constexpr std::uint8_t kMaskBadDirective = 2;

std::string config_string_in(const std::string& argument) {
  return argument.size() > 8 ? argument.substr(8) : std::string();
}

// The length that a config request claims: not more than may be, and not more than it sent.
bool config_length_holds(const std::string& argument, std::uint32_t frame_bytes) {
  if (argument.size() < 8) {
    return false;
  }
  const auto* p = reinterpret_cast<const std::uint8_t*>(argument.data());
  const auto size = static_cast<std::uint32_t>(p[6] << 8 | p[7]);
  return size <= kConfigStringMax && kConfigStringOffset + size <= frame_bytes;
}

std::vector<std::uint64_t> sorted(std::vector<std::uint64_t> macs) {
  std::sort(macs.begin(), macs.end());
  return macs;
}

std::vector<std::uint64_t> distinct(std::vector<std::uint64_t> macs) {
  macs = sorted(std::move(macs));
  macs.erase(std::unique(macs.begin(), macs.end()), macs.end());
  return macs;
}

}  // namespace

// A request that may change what the target knows makes it unsettled until its reply; a broadcast
// one, which not every target answers, until the next list that is told.
void Judge::note_state_change_asked(const AoeFrame& frame, const Request& request,
                                    Relation relation) {
  const bool copy = relation == Relation::copy_waiting || relation == Relation::copy_answered;
  const bool sets = request.command == kCommandConfig &&
                    (request.sub_command == kConfigSet || request.sub_command == kConfigForce);
  const auto number = static_cast<std::uint32_t>(frame.number);
  if (sets) {
    const std::uint32_t size = frame.holds(30, 2) ? frame.be16(30) : 0;
    const bool held = frame.holds(30, 2) && frame.holds(kConfigStringOffset, size);
    std::string asked;
    if (held) {
      const auto slice = frame.slice(kConfigStringOffset, size);
      asked.assign(reinterpret_cast<const char*>(slice.data()), slice.size());
    }
    const std::uint64_t hash = text_hash(asked);
    for_each_target(request, [&](std::uint32_t index) {
      ConfigString& config = state_of_target(index).config;
      config.possible.write(locked_out(request, index) ? Kind::refused
                            : !held && frame.was_cut() ? Kind::wildcard
                            : copy                     ? Kind::late_copy
                                                       : Kind::written,
                            hash, number);
      if (config.texts.size() < kTextsKept) {
        config.texts.emplace_back();
      }
      config.texts[config.next_text++ % kTextsKept] = {hash, asked};
    });
    return;
  }
  const bool masks = request.command == kCommandMask && request.sub_command != 0;
  const bool reserves = request.command == kCommandReserve && request.sub_command != 0;
  if (copy || (!masks && !reserves)) {
    return;
  }
  for_each_target(request, [&](std::uint32_t index) {
    if (locked_out(request, index)) {
      return;
    }
    TargetState& target = state_of_target(index);
    AddressList& list = masks ? target.mask : target.reserve;
    if (request.to_all) {
      list.known = false;
    } else {
      ++list.edits_waiting;
    }
  });
}

void Judge::note_state_change_ended(const Request& request, std::uint32_t target) {
  if (target == kNone || request.to_all || request.sub_command == 0) {
    return;
  }
  TargetState& state = state_of_target(target);
  if (request.command == kCommandMask && state.mask.edits_waiting != 0) {
    --state.mask.edits_waiting;
  } else if (request.command == kCommandReserve && state.reserve.edits_waiting != 0) {
    --state.reserve.edits_waiting;
  }
}

void Judge::judge_reply_config(const AoeFrame& frame, const Request& request, std::uint32_t session,
                               TargetState& target) {
  if (!frame.holds(kAoeHeaderEnd, 8)) {
    if (!frame.was_cut() && !frame.has_error_flag()) {
      note(Rule::reply_short, Certainty::proven, frame, session,
           [&frame] { return fmt::format("{} bytes hold no config argument", frame.wire_length); });
    }
    return;
  }
  const bool good = !frame.has_error_flag();
  const std::uint32_t size = frame.be16(30);
  const bool fits = size <= kConfigStringMax && kConfigStringOffset + size <= frame.wire_length;
  if (good) {
    if (!fits) {
      note(Rule::reply_config_length, Certainty::proven, frame, session, [&frame, size] {
        return fmt::format("string of {} bytes in a frame of {}", size, frame.wire_length);
      });
      return;
    }
    if (frame.u8(29) >> 4 != 1) {
      note(Rule::reply_config_version, Certainty::proven, frame, session,
           [&frame] { return fmt::format("AoE version {}", frame.u8(29) >> 4); });
    }
    if ((frame.u8(29) & 0x0F) != request.sub_command) {
      note(Rule::reply_config_ccmd, Certainty::proven, frame, session, [&frame, &request] {
        return fmt::format("CCmd {} in the reply to a {}", frame.u8(29) & 0x0F,
                           request_text(request));
      });
    }
    target.buffers = frame.be16(24);
    target.sectors_per_command = frame.u8(28) == 0 ? kSectorsWhenZero : frame.u8(28);
    if (!target.limits_known && target.buffers < 2) {
      note(Rule::reply_buffer_count, Certainty::proven, frame, session, [&target] {
        return fmt::format("{} buffers: the Linux driver is unusable with fewer than 2",
                           target.buffers);
      });
    }
    target.limits_known = true;
  }
  if (request.sub_command > kConfigForce) {
    if (good) {
      note(Rule::reply_config_unknown, Certainty::proven, frame, session, [&request] {
        return fmt::format("CCmd {} is answered without an error", request.sub_command);
      });
    }
    return;
  }
  judge_config_string(frame, request, session, target);
}

void Judge::judge_config_string(const AoeFrame& frame, const Request& request,
                                std::uint32_t session, TargetState& target) {
  const bool good = !frame.has_error_flag();
  const bool sets = request.sub_command == kConfigSet || request.sub_command == kConfigForce;
  const auto first = static_cast<std::uint32_t>(request.first_frame);
  const auto number = static_cast<std::uint32_t>(frame.number);
  const auto own_begin = static_cast<std::uint32_t>(
      request.answers <= 1 || request.to_all ? request.first_frame : request.last_frame);
  Sector& possible = target.config.possible;
  const std::string* argument = argument_of(request);
  if (argument == nullptr) {
    if (sets) {
      possible.answered(own_begin, number, good, Kind::failed);
    }
    return;
  }
  const std::string asked = config_string_in(*argument);
  const bool asked_well = config_length_holds(*argument, request.frame_bytes);
  const std::uint64_t asked_hash = text_hash(asked);
  const std::uint64_t none_hash = text_hash("");
  std::string told;
  const bool told_whole = good && frame.holds(kConfigStringOffset, frame.be16(30));
  if (told_whole) {
    const auto slice = frame.slice(kConfigStringOffset, frame.be16(30));
    told.assign(reinterpret_cast<const char*>(slice.data()), slice.size());
  }
  const auto may_be = [&possible, first, own_begin](auto&& accepts) {
    return possible.may_hold(first, [&](const Candidate& c) {
      return c.begin != own_begin && c.kind != Kind::refused &&
             (c.kind == Kind::wildcard || accepts(c.hash));
    });
  };
  const auto texts = [&asked, &told, &frame] {
    return fmt::format("asked \"{}\", {}", printable(asked),
                       frame.has_error_flag()
                           ? fmt::format("refused with error {}", frame.error())
                           : fmt::format("the reply says \"{}\"", printable(told)));
  };
  if (good && !asked_well && request.sub_command != kConfigRead) {
    const bool padded = request.frame_bytes < kMinimumFrameBytes;
    note(
        Rule::reply_config_long, padded ? Certainty::uncertain : Certainty::proven, frame, session,
        [&request] {
          return fmt::format("a {} whose length is more than may be, or than it sent, is good",
                             request_text(request));
        },
        "whether the wire padded the request");
  }
  switch (request.sub_command) {
    case kConfigTest:
      if (good && !may_be([&](std::uint64_t hash) { return hash == asked_hash; })) {
        note(Rule::reply_config_test, Certainty::suspect, frame, session, texts);
      }
      break;
    case kConfigPrefix:
      if (good && !may_be([&](std::uint64_t hash) {
            for (const auto& [known, text] : target.config.texts) {
              if (known == hash) {
                return text.compare(0, asked.size(), asked) == 0;
              }
            }
            return hash != none_hash || asked.empty();
          })) {
        note(Rule::reply_config_test, Certainty::suspect, frame, session, texts);
      }
      break;
    case kConfigSet:
      if (good &&
          !may_be([&](std::uint64_t hash) { return hash == none_hash || hash == asked_hash; })) {
        note(Rule::reply_config_set, Certainty::suspect, frame, session, texts);
      }
      if (!good && frame.error() == kErrorConfigPresent &&
          !may_be([&](std::uint64_t hash) { return hash != none_hash; })) {
        note(Rule::reply_config_set, Certainty::suspect, frame, session, texts);
      }
      break;
    case kConfigForce:
      if (!good && asked_well && frame.error() != kErrorUnavailable &&
          request.version_flags >> 4 == 1) {
        note(Rule::reply_config_force, Certainty::proven, frame, session, [&frame] {
          return fmt::format("a force set is refused with error {}", frame.error());
        });
      }
      break;
    default:
      break;
  }
  if (sets) {
    possible.answered(own_begin, number, good, Kind::refused);
    if (good && told_whole && !told.empty() && told != asked &&
        !may_be([&](std::uint64_t hash) { return hash == text_hash(told); })) {
      note(Rule::reply_config_string, Certainty::suspect, frame, session, texts);
    }
    return;
  }
  if (!good || !told_whole || (request.sub_command != kConfigRead && told.empty())) {
    return;
  }
  const std::uint64_t told_hash = text_hash(told);
  const Reading reading = possible.read(told_hash, first, number);
  const bool named = std::any_of(target.config.texts.begin(), target.config.texts.end(),
                                 [told_hash](const auto& text) { return text.first == told_hash; });
  if (!named) {
    if (target.config.texts.size() < kTextsKept) {
      target.config.texts.emplace_back();
    }
    target.config.texts[target.config.next_text++ % kTextsKept] = {told_hash, told};
  }
  if (reading.explanation == Explanation::hazard) {
    note(Rule::reply_config_string, Certainty::doubtful, frame, session, texts,
         "whether the late copy of a set was performed");
  } else if (reading.explanation > Explanation::hazard) {
    note(Rule::reply_config_string, Certainty::suspect, frame, session, [&] {
      for (const auto& [hash, text] : target.config.texts) {
        if (reading.newest.kind != Kind::empty && hash == reading.newest.hash) {
          return fmt::format("it was set to \"{}\", the reply says \"{}\"", printable(text),
                             printable(told));
        }
      }
      return fmt::format("the reply says \"{}\", which nobody set", printable(told));
    });
  }
}

void Judge::judge_reply_mask(const AoeFrame& frame, const Request& request, std::uint32_t session,
                             TargetState& target) {
  AddressList& mask = target.mask;
  const bool edits = request.sub_command == kMaskEdit;
  if (frame.has_error_flag() || !frame.holds(kAoeHeaderEnd, 4)) {
    return;
  }
  if (request.sub_command > kMaskEdit) {
    note(Rule::reply_mask_command, Certainty::proven, frame, session, [&request] {
      return fmt::format("MCmd {} is answered without an error", request.sub_command);
    });
    mask.known = false;
    return;
  }
  const std::uint32_t others =
      mask.edits_waiting - (edits && !request.to_all && mask.edits_waiting != 0 ? 1 : 0);
  const bool settled = mask.known && others == 0 && request.first_frame > mask.settled_frame;
  const std::uint8_t merror = frame.u8(26);
  const std::uint32_t count = frame.u8(27);
  // What the edit does to the list, as far as it can be applied.
  std::vector<std::uint64_t> expected = mask.macs;
  std::vector<std::uint64_t> added;
  std::vector<std::uint64_t> deleted;
  std::uint32_t bad_at = kNone;
  const std::string* argument = argument_of(request);
  const bool asked = argument != nullptr && argument->size() >= 4;
  if (asked && edits) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(argument->data());
    const std::uint32_t limit = merror != 0 ? std::min<std::uint32_t>(count, bytes[3]) : bytes[3];
    for (std::uint32_t i = 0; i < bytes[3] && 4 + (i + 1) * 8 <= argument->size(); ++i) {
      const std::uint8_t* directive = bytes + 4 + static_cast<std::size_t>(i) * 8;
      const std::uint64_t mac = AoeFrame::read_mac(directive + 2);
      if (directive[1] > kDirectiveDelete) {
        bad_at = i;
        break;
      }
      if (i >= limit) {
        continue;
      }
      const auto take_out = [mac](std::vector<std::uint64_t>& list) {
        list.erase(std::remove(list.begin(), list.end(), mac), list.end());
      };
      if (directive[1] == kDirectiveAdd) {
        take_out(deleted);
        added.push_back(mac);
        if (!holds_mac(expected, mac) && expected.size() < kListedMax) {
          expected.push_back(mac);
        }
      } else if (directive[1] == kDirectiveDelete) {
        take_out(added);
        take_out(expected);
        deleted.push_back(mac);
      }
    }
  }
  if (bad_at != kNone && (merror == 0 || (merror == kMaskBadDirective && count != bad_at))) {
    note(Rule::reply_mask_bad, Certainty::proven, frame, session, [bad_at, merror, count] {
      return fmt::format("directive {} is none, the reply says MError {}, count {}", bad_at, merror,
                         count);
    });
  }
  const bool no_reason =
      !edits ||
      (merror == kMaskBadDirective && bad_at == kNone && asked &&
       argument->size() >= 4 + std::size_t{8} * static_cast<std::uint8_t>((*argument)[3]));
  if (merror != 0 && no_reason) {
    note(Rule::reply_mask_bad, Certainty::proven, frame, session, [merror, edits] {
      return fmt::format("MError {} in the reply to {}", merror,
                         edits ? "an edit without a bad directive" : "a read");
    });
  }
  if (merror != 0) {
    // Those before it stayed applied, the rest are not; the list itself is not told.
    mask.known = settled && asked && edits;
    mask.macs = std::move(expected);
    mask.settled_frame = edits ? frame.number : mask.settled_frame;
    return;
  }
  std::vector<std::uint64_t> told;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t at = kMaskListOffset + i * kMaskDirectiveBytes;
    if (!frame.holds(at, kMaskDirectiveBytes)) {
      if (!frame.was_cut()) {
        note(Rule::reply_short, Certainty::proven, frame, session, [count, &frame] {
          return fmt::format("a mask list of {} in {} bytes", count, frame.wire_length);
        });
      }
      mask.known = false;
      return;
    }
    told.push_back(frame.mac(at + 2));
  }
  if (distinct(told).size() != told.size()) {
    note(Rule::reply_mask_twice, Certainty::proven, frame, session,
         [&told] { return fmt::format("the list is {}", list_text(told)); });
  }
  const bool kept_none =
      std::any_of(added.begin(), added.end(),
                  [&told](std::uint64_t mac) { return !holds_mac(told, mac); }) ||
      std::any_of(deleted.begin(), deleted.end(),
                  [&told](std::uint64_t mac) { return holds_mac(told, mac); });
  if (others == 0 && bad_at == kNone && kept_none && !request.to_all) {
    note(Rule::reply_mask_list, Certainty::proven, frame, session, [&added, &deleted, &told] {
      return fmt::format("added {}, deleted {}, the reply says {}", list_text(added),
                         list_text(deleted), list_text(told));
    });
  } else if (settled && asked && bad_at == kNone && distinct(expected) != distinct(told)) {
    note(Rule::reply_mask_list, Certainty::suspect, frame, session, [&expected, &told] {
      return fmt::format("the list should be {}, the reply says {}", list_text(expected),
                         list_text(told));
    });
  }
  mask.known = others == 0;
  mask.macs = std::move(told);
  if (edits || request.to_all) {
    mask.settled_frame = frame.number;
  }
}

void Judge::judge_reply_reserve(const AoeFrame& frame, const Request& request,
                                std::uint32_t session, TargetState& target) {
  if (!frame.holds(kAoeHeaderEnd, 2)) {
    return;
  }
  AddressList& reserve = target.reserve;
  const bool edits = request.sub_command != 0;
  const std::uint32_t others =
      reserve.edits_waiting - (edits && !request.to_all && reserve.edits_waiting != 0 ? 1 : 0);
  const bool settled = reserve.known && others == 0 && request.first_frame > reserve.settled_frame;
  const bool holder = reserve.macs.empty() || holds_mac(reserve.macs, request.initiator);
  const bool refused = frame.has_error_flag();
  const std::string* argument = argument_of(request);
  std::vector<std::uint64_t> asked;
  bool asked_well = argument != nullptr && argument->size() >= 2;
  if (asked_well) {
    const auto* bytes = reinterpret_cast<const std::uint8_t*>(argument->data());
    asked_well = argument->size() >= 2 + bytes[1] * std::size_t{kMacBytes};
    for (std::uint32_t i = 0; asked_well && i < bytes[1]; ++i) {
      asked.push_back(AoeFrame::read_mac(bytes + 2 + static_cast<std::size_t>(i) * kMacBytes));
    }
  }
  if (request.sub_command > kReserveForce) {
    if (!refused) {
      note(Rule::reply_reserve_command, Certainty::proven, frame, session, [&request] {
        return fmt::format("RCmd {} is answered without an error", request.sub_command);
      });
      reserve.known = false;
    }
    return;
  }
  if (refused) {
    const bool other_reason = frame.error() == kErrorUnknownCommand ||
                              frame.error() == kErrorUnavailable || frame.error() == kErrorVersion;
    if (request.sub_command == kReserveForce && asked_well && !other_reason) {
      note(Rule::reply_reserve_force, Certainty::proven, frame, session,
           [&frame] { return fmt::format("a force set is refused with error {}", frame.error()); });
    }
    if (settled && request.sub_command == kReserveSet && !holder && asked_well &&
        frame.error() == kErrorBadArgument) {
      note(Rule::reply_reserve_set, Certainty::suspect, frame, session, [&reserve] {
        return fmt::format("reserved for {}: a set gets error 2 instead of 6",
                           list_text(reserve.macs));
      });
    }
    if (settled && request.sub_command == kReserveSet && holder &&
        frame.error() == kErrorReserved) {
      note(Rule::reply_reserve_refused, Certainty::suspect, frame, session, [&reserve, &request] {
        return fmt::format("reserved for {}, yet a set by {} is refused", list_text(reserve.macs),
                           mac_text(request.initiator));
      });
    }
    return;
  }
  if (settled && request.sub_command == kReserveSet && !holder) {
    note(Rule::reply_reserve_set, Certainty::suspect, frame, session, [&reserve, &request] {
      return fmt::format("reserved for {}, yet a set by {} succeeds", list_text(reserve.macs),
                         mac_text(request.initiator));
    });
  }
  const std::uint32_t count = frame.u8(25);
  std::vector<std::uint64_t> told;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t at = kReserveListOffset + i * kMacBytes;
    if (!frame.holds(at, kMacBytes)) {
      if (!frame.was_cut()) {
        note(Rule::reply_short, Certainty::proven, frame, session, [count, &frame] {
          return fmt::format("a reserve list of {} in {} bytes", count, frame.wire_length);
        });
      }
      reserve.known = false;
      return;
    }
    told.push_back(frame.mac(at));
  }
  if (edits && !asked_well && argument != nullptr) {
    const std::size_t carried = argument->size() < 2 ? 0 : (argument->size() - 2) / kMacBytes;
    if (told.size() > carried) {
      const bool padded = request.frame_bytes < kMinimumFrameBytes;
      note(
          Rule::reply_reserve_list, padded ? Certainty::uncertain : Certainty::proven, frame,
          session,
          [&told, carried] {
            return fmt::format("{} addresses were sent, the reply says {}", carried,
                               list_text(told));
          },
          "whether the wire padded the request");
    }
  }
  const bool sets = edits && others == 0 && asked_well && !request.to_all;
  const std::vector<std::uint64_t>& expected = edits ? asked : reserve.macs;
  if ((sets || (!edits && settled)) && distinct(expected) != distinct(told)) {
    note(Rule::reply_reserve_list, edits ? Certainty::proven : Certainty::suspect, frame, session,
         [&expected, &told] {
           return fmt::format("the list should be {}, the reply says {}", list_text(expected),
                              list_text(told));
         });
  }
  reserve.known = others == 0;
  reserve.macs = std::move(told);
  if (edits || request.to_all) {
    reserve.settled_frame = frame.number;
  }
}

}  // namespace conformance::observer
