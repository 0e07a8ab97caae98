// The judge: what it remembers of targets and sessions, how sure a finding is, and which of its
// rooms looks at a frame. What is looked for stands in judge_*.cc, one file for each kind of field.
#include "conformance/observer/judge.h"

#include <fmt/format.h>

#include <algorithm>

#include "conformance/observer/decode.h"
#include "conformance/observer/judge_parts.h"

namespace conformance::observer {

namespace {

// A table may fill a jumbo frame. What is longer is not kept, and nothing is said of its reply.
constexpr std::uint32_t kArgumentBytesMax = 9'216;

// Bytes of a frame that its command cannot do without.
std::uint32_t fixed_argument_end(std::uint8_t command) {
  switch (command) {
    case kCommandAta:
      return kAtaDataOffset;
    case kCommandConfig:
      return kConfigStringOffset;
    case kCommandMask:
      return kMaskListOffset;
    case kCommandReserve:
      return kReserveListOffset;
    case kCommandExtensions:
      return kExtensionTableOffset;
    default:
      return kAoeHeaderEnd;
  }
}

}  // namespace

Judge::Judge(Tracker& tracker, std::uint32_t examples_max, std::uint32_t sector_sets)
    : tracker_(tracker),
      examples_max_(examples_max),
      disk_(sector_sets),
      arguments_(kArgumentsKept) {}

Certainty Judge::unless_frames_were_lost() const {
  const bool lost_some = tracker_.counters().unknown > 0 || counters_.tag_gaps > 0;
  return lost_some ? Certainty::uncertain : Certainty::proven;
}

Verdict Judge::level(Rule rule, Certainty certainty) const {
  const Verdict full = facts_of(rule).verdict;
  switch (certainty) {
    case Certainty::proven:
      return full;
    case Certainty::suspect:
      return tracker_.complete() ? full : std::min(full, Verdict::warn);
    case Certainty::uncertain:
      return tracker_.complete() ? full : Verdict::info;
    case Certainty::hazard:
      return Verdict::warn;
    case Certainty::doubtful:
      return Verdict::info;
  }
  return full;
}

Judge::TargetState& Judge::state_of_target(std::uint32_t target) {
  while (target >= targets_.size()) {
    targets_.emplace_back().config.possible.start(1);
  }
  return targets_[target];
}

Judge::SessionState& Judge::state_of_session(std::uint32_t session) {
  if (session >= sessions_.size()) {
    sessions_.resize(session + 1);
  }
  return sessions_[session];
}

std::uint32_t Judge::target_of(const Request& request) const {
  return tracker_.sessions()[request.session].target;
}

void Judge::keep_argument(const AoeFrame& frame, Request& request) {
  if (request.argument_bytes > kAoeHeaderEnd + kArgumentBytesMax) {
    return;
  }
  const std::uint32_t end = std::min(request.argument_bytes, frame.length);
  Argument& argument = arguments_[next_argument_];
  argument.frame = request.first_frame;
  argument.new_probe = argument.sure_probe = false;
  const std::uint32_t size = end > kAoeHeaderEnd ? end - kAoeHeaderEnd : 0;
  const auto bytes = frame.slice(kAoeHeaderEnd, size);
  argument.bytes.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  request.note = next_argument_;
  next_argument_ = (next_argument_ + 1) % kArgumentsKept;
}

const Judge::Argument* Judge::kept(const Request& request) const {
  if (request.note >= arguments_.size() || arguments_[request.note].frame != request.first_frame) {
    return nullptr;
  }
  return &arguments_[request.note];
}

const std::string* Judge::argument_of(const Request& request) const {
  const Argument* argument = kept(request);
  return argument == nullptr ? nullptr : &argument->bytes;
}

void Judge::on_runt(const AoeFrame& frame) {
  note(Rule::request_runt, Certainty::proven, frame, kNone, [&frame] {
    return fmt::format("{} bytes from {}: shorter than the header", frame.length,
                       mac_text(frame.source));
  });
}

void Judge::see_request(const Request& request, Relation relation) {
  see(Needs::anything);
  const Session& session = tracker_.sessions()[request.session];
  if ((session.features & kFeaturesTagInc) != 0) {
    see(Needs::tag_inc);
  }
  if ((session.features & kFeatureCrc) != 0) {
    see(Needs::crc);
  }
  switch (request.command) {
    case kCommandAta:
      see(Needs::ata);
      if (is_write(request.ata_command)) {
        see(Needs::write);
        if (relation == Relation::copy_answered || relation == Relation::copy_waiting) {
          see(Needs::write_copy);
        }
      } else if (is_read(request.ata_command) && (session.features & kFeatureCoalescedRead) != 0) {
        see(Needs::coalesced);
      }
      break;
    case kCommandConfig:
      see(Needs::config);
      break;
    case kCommandMask:
      see(Needs::mask);
      break;
    case kCommandReserve:
      see(Needs::reserve);
      break;
    case kCommandExtensions:
      see(Needs::extensions);
      break;
    default:
      break;
  }
}

void Judge::on_request(const AoeFrame& frame, Request& request, Relation relation,
                       Request* earlier) {
  ++counters_.requests;
  const bool copy = relation == Relation::copy_waiting || relation == Relation::copy_answered;
  see_request(request, relation);
  judge_tag_promise(frame, request, relation);
  if (request.command == kCommandAta && is_write(request.ata_command)) {
    write_seen(frame, request, relation, earlier);
  }
  if (copy) {
    note_state_change_asked(frame, request, relation);
    return;  // the first one has been judged
  }
  judge_limits(frame, request);
  if (request.coalesced) {
    return;  // the rest is its head's
  }
  judge_request_header(frame, request);
  switch (request.command) {
    case kCommandAta:
      judge_request_ata(frame, request);
      break;
    case kCommandConfig:
      judge_request_config(frame, request);
      break;
    case kCommandMask:
      if (request.sub_command > kMaskEdit) {
        note(Rule::request_mask_command, Certainty::proven, frame, request.session,
             [&request] { return fmt::format("MCmd {}", request.sub_command); });
      }
      break;
    case kCommandReserve:
      if (request.sub_command > kReserveForce) {
        note(Rule::request_reserve_command, Certainty::proven, frame, request.session,
             [&request] { return fmt::format("RCmd {}", request.sub_command); });
      }
      break;
    case kCommandExtensions:
      judge_request_extensions(frame, request);
      break;
    default:
      break;
  }
  judge_request_padding(frame, request);
  if (request.command == kCommandAta && is_write(request.ata_command) && !frame.was_cut() &&
      frame.holds(request.argument_bytes, kCrcBytes) &&
      tracker_.sessions()[request.session].on(kFeatureCrc) &&
      !crc_follows(frame, request.argument_bytes)) {
    request.note = kCheckIsWrong;
  }
  if (request.command != kCommandAta) {
    keep_argument(frame, request);
    note_state_change_asked(frame, request, relation);
    if (request.command == kCommandExtensions) {
      note_probe(frame, request);
    }
  }
}

void Judge::on_given_up(const Request& request) {
  if (request.command == kCommandAta) {
    return;
  }
  if (request.command == kCommandExtensions) {
    const Argument* argument = kept(request);
    pauses_waiting_ -= argument != nullptr && argument->new_probe && pauses_waiting_ != 0 ? 1 : 0;
    return;
  }
  const std::uint32_t index = target_of(request);
  if (index == kNone || request.sub_command == 0) {
    return;
  }
  // Done or not, nobody knows: what it would have changed is unknown from here on. (A config string
  // that was asked for stays possible by itself.)
  TargetState& target = state_of_target(index);
  if (request.command == kCommandMask) {
    target.mask.known = false;
  } else if (request.command == kCommandReserve) {
    target.reserve.known = false;
  }
  note_state_change_ended(request, index);
}

void Judge::on_reply(const AoeFrame& frame, Request* request, Session* session) {
  ++counters_.replies;
  see(Needs::reply);
  const std::uint32_t s =
      session == nullptr ? kNone : static_cast<std::uint32_t>(session - tracker_.sessions().data());
  if (request == nullptr && session == nullptr) {
    // Sent by an initiator, or beyond the table: nobody answers to it, and nobody may answer it.
    responses_[next_response_++ % kResponsesKept] =
        Response{frame.source, frame.destination, frame.number, frame.tag()};
    return;
  }
  if (!frame.from_list) {
    judge_reply_header(frame, request, s);
  }
  if (session == nullptr || session->target == kNone) {
    return;
  }
  const std::uint32_t target_index = session->target;
  const Target& seen = tracker_.targets()[target_index];
  if (seen.mac_count > 1 && frame.source != seen.macs[0]) {
    note(Rule::reply_two_sources, Certainty::proven, frame, s, [&frame, &seen] {
      return fmt::format("{} answers as {}, so did {}", mac_text(frame.source),
                         address_text(seen.vlan, seen.shelf, seen.slot), mac_text(seen.macs[0]));
    });
  }
  if (request == nullptr) {
    judge_unasked(frame, s, target_index);
    return;
  }
  if (request->answers > request->copies && !request->to_all) {
    note(
        Rule::reply_duplicate, Certainty::uncertain, frame, s,
        [request] {
          return fmt::format("reply {} to {} cop{} of a {}, tag 0x{:08x}", request->answers,
                             request->copies, request->copies == 1 ? "y" : "ies",
                             request_text(*request), request->tag);
        },
        "whether the network doubled the reply, or the request behind the tap,");
    if (request->command == kCommandAta && is_write(request->ata_command)) {
      write_answered(frame, *request, target_index);
    }
    return;  // or the reply to a request that the capture missed: it must not be judged by this one
  }
  if (frame.source == frame.destination && seen.macs[0] != frame.source) {
    note(Rule::reply_source, Certainty::proven, frame, s,
         [&frame] { return fmt::format("from {}, which is who asked", mac_text(frame.source)); });
  }
  TargetState& target = state_of_target(target_index);
  if (request->frame_bytes < fixed_argument_end(request->command) && !frame.has_error_flag()) {
    note(
        Rule::reply_to_short,
        request->frame_bytes < kMinimumFrameBytes ? Certainty::uncertain : Certainty::proven, frame,
        s,
        [request] {
          return fmt::format("a request of {} bytes, command {}, is answered", request->frame_bytes,
                             request->command);
        },
        "whether the wire padded the request to 60 bytes");
    return;
  }
  judge_access(frame, *request, s, target);
  if (request->list_before != kNone && request->answers == 1 && !request->maybe) {
    const Request& before = tracker_.request(request->list_before);
    if (before.first_frame == request->first_frame && before.answers == 0) {
      note(
          Rule::reply_coalesced_order, Certainty::uncertain, frame, s,
          [request, &before] {
            return fmt::format("tag 0x{:08x} is answered before tag 0x{:08x}", request->tag,
                               before.tag);
          },
          "whether the network changed the order, or lost a reply,");
    }
  }
  judge_reply_padding(frame, *request, s);
  switch (frame.command()) {
    case kCommandAta:
      judge_reply_ata(frame, *request, s, target_index);
      break;
    case kCommandConfig:
      judge_reply_config(frame, *request, s, target);
      break;
    case kCommandMask:
      judge_reply_mask(frame, *request, s, target);
      break;
    case kCommandReserve:
      judge_reply_reserve(frame, *request, s, target);
      break;
    case kCommandExtensions:
      judge_reply_extensions(frame, *request, s);
      judge_congestion(frame, *request, s);
      break;
    default:
      if (!frame.has_error_flag() && frame.command() < 0xF0) {
        note(Rule::reply_unknown_command, Certainty::proven, frame, s, [&frame] {
          return fmt::format("command 0x{:02x} is answered without an error", frame.command());
        });
      }
  }
  if (request->command != kCommandAta && request->answers == 1) {
    note_state_change_ended(*request, target_index);
  }
}

}  // namespace conformance::observer
