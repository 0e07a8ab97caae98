// Extension tables that come back, and the pause that a congestion probe asks for. What is on by
// now the tracker follows.
#include <fmt/format.h>

#include <algorithm>

#include "conformance/observer/decode.h"
#include "conformance/observer/judge_parts.h"

namespace conformance::observer {

namespace {

constexpr Nanoseconds kPauseTooLongNs = 1'500'000'000;  // three of them
constexpr Nanoseconds kPauseNs = 450'000'000;           // 0.5 s, and to spare

// The ids of the congestion probes in a table, in its order.
std::vector<std::string_view> probe_ids_in(std::string_view table) {
  std::vector<std::string_view> ids;
  bool next = false;
  while (!table.empty() && table.front() != '\0') {
    const std::string_view name = table.substr(0, table.find('\0'));
    if (next) {
      ids.push_back(name);
    }
    next = !next && feature_bit(name) == kFeatureCongestion;
    table.remove_prefix(std::min(table.size(), name.size() + 1));
  }
  return ids;
}

}  // namespace

void Judge::note_probe(const AoeFrame& frame, const Request& request) {
  const auto ids = probe_ids_in(ExtensionTable::find(frame).bytes);
  if (ids.empty() || request.note >= arguments_.size()) {
    return;
  }
  see(Needs::congestion);
  SessionState& session = state_of_session(request.session);
  Argument& argument = arguments_[request.note];
  argument.new_probe = false;
  argument.sure_probe = true;
  for (const std::string_view id : ids) {  // one request pauses once, and its last id is known then
    const bool is_new = id != session.probe_id && id != last_probe_id_;
    argument.new_probe = argument.new_probe || is_new;
    argument.sure_probe =
        argument.sure_probe && (is_new || (id == session.probe_id && id == last_probe_id_));
    session.probe_id = id;
    last_probe_id_ = id;
  }
  pauses_waiting_ += argument.new_probe ? 1 : 0;
}

void Judge::judge_reply_extensions(const AoeFrame& frame, const Request& request,
                                   std::uint32_t session) {
  if (frame.has_error_flag()) {
    return;  // not supported: a plain target says so
  }
  const std::string* argument = argument_of(request);
  if (argument == nullptr || frame.was_cut()) {
    return;
  }
  const ExtensionTable told = ExtensionTable::find(frame);
  const std::string_view asked =
      argument->size() > 2 ? std::string_view(*argument).substr(2) : std::string_view();
  if (!told.well_formed) {
    note(Rule::reply_table_malformed, Certainty::proven, frame, session,
         [] { return std::string("no table that ends in two NULs inside the frame"); });
    return;
  }
  if (request.sub_command != 1) {
    note(
        Rule::reply_table_answered,
        request.frame_bytes < kMinimumFrameBytes ? Certainty::uncertain : Certainty::proven, frame,
        session, [] { return std::string("a malformed table is answered"); },
        "whether the wire padded the request");
    return;
  }
  const auto* length = reinterpret_cast<const std::uint8_t*>(argument->data());
  const auto little = static_cast<std::size_t>(length[1] << 8 | length[0]);
  const LengthOrder order = little == asked.size() ? LengthOrder::little : LengthOrder::big;
  const bool either = length[0] == length[1];
  if (told.order != order && !either && told.bytes.size() == asked.size()) {
    note(Rule::reply_table_order, Certainty::proven, frame, session, [order] {
      return fmt::format("asked with a length in {}-endian order, told in the other",
                         order == LengthOrder::little ? "little" : "big");
    });
  }
  bool same = equal_but_for_case(asked, told.bytes);
  std::string_view rest = asked;
  if (same) {
    told.for_each([&](std::string_view name) {
      const std::string_view was = rest.substr(0, name.size());
      rest.remove_prefix(std::min(rest.size(), name.size() + 1));
      const std::uint8_t bit = feature_bit(name);
      same = same && (bit != 0 || was == name);
      const bool lower_case =
          std::none_of(name.begin(), name.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
      if (bit != 0 && !is_upper_case(name) && !lower_case && was != name) {
        note(Rule::reply_table_case, Certainty::proven, frame, session,
             [was, name] { return fmt::format("asked \"{}\", told \"{}\"", was, name); });
      }
      if (bit == kFeatureReset && !is_upper_case(name)) {
        note(Rule::reply_reset, Certainty::proven, frame, session,
             [name] { return fmt::format("told \"{}\"", name); });
      }
    });
  }
  if (!same) {
    note(
        Rule::reply_table_changed, unless_frames_were_lost(), frame, session,
        [asked, &told] {
          return fmt::format("asked \"{}\", told \"{}\"", printable(asked), printable(told.bytes));
        },
        kLostFrames);
  }
}

void Judge::judge_congestion(const AoeFrame& frame, const Request& request, std::uint32_t session) {
  const Argument* argument = kept(request);
  if (argument == nullptr || frame.has_error_flag() || argument->bytes.size() < 2) {
    return;
  }
  const auto ids = probe_ids_in(std::string_view(argument->bytes).substr(2));
  if (ids.empty()) {
    return;
  }
  const std::string_view id = ids.back();
  bool active = false;
  ExtensionTable::find(frame).for_each([&active](std::string_view name) {
    active = active || (feature_bit(name) == kFeatureCongestion && is_upper_case(name));
  });
  const Nanoseconds waited = frame.time_ns - request.first_time_ns;
  if (argument->new_probe) {
    pauses_waiting_ -= pauses_waiting_ != 0 && request.answers == 1 ? 1 : 0;
    if (active && waited < kPauseNs) {
      note(
          Rule::congestion_pause, Certainty::uncertain, frame, session,
          [id, waited] {
            return fmt::format("new id {}, answered after {:.3f} s", printable(id),
                               static_cast<double>(waited) / 1e9);
          },
          "whether a probe with this id came before the capture");
    }
    if (active && waited > kPauseTooLongNs && request.copies == 1 && pauses_waiting_ == 0 &&
        pause_ended_ns_ < request.first_time_ns) {
      note(
          Rule::congestion_pause, Certainty::uncertain, frame, session,
          [id, waited] {
            return fmt::format("new id {}, answered only after {:.3f} s", printable(id),
                               static_cast<double>(waited) / 1e9);
          },
          "whether another host's probe paused the target as well");
    }
    pause_ended_ns_ = frame.time_ns;
    return;
  }
  if (active && argument->sure_probe && waited >= kPauseNs && request.copies == 1 &&
      pauses_waiting_ == 0 && pause_ended_ns_ < request.first_time_ns) {
    note(
        Rule::congestion_twice, Certainty::uncertain, frame, session,
        [id, waited] {
          return fmt::format("id {} again, answered after {:.3f} s", printable(id),
                             static_cast<double>(waited) / 1e9);
        },
        "whether another host's probe paused the target");
  }
}

}  // namespace conformance::observer
