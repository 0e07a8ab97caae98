// What is negotiated, as far as it is certain, and where the window of remembered tags stands.
#include "conformance/observer/tracker.h"

namespace conformance::observer {

namespace {

constexpr std::uint32_t kWindowTags = 32'768;
constexpr std::uint32_t kReadTakesWindow = 1U << 30;
constexpr std::uint8_t kConfigSet = 3, kConfigForce = 4;

}  // namespace

std::uint32_t Session::number_of(std::uint32_t tag) const {
  return (features & kFeatureTagIncLe) != 0 ? __builtin_bswap32(tag) : tag;
}

// A config command, and a table until it is answered, make unknown what they may have changed.
void Tracker::unsettle_all_features(const AoeFrame& frame, const Request& request) {
  if (request.command != kCommandConfig && request.command != kCommandExtensions) {
    return;
  }
  if (!request.to_all) {
    unsettle_features(frame, request, sessions_[request.session]);
    return;
  }
  for (const std::uint32_t index : sessions_by_initiator_[request.initiator]) {
    if (sessions_[index].vlan == request.vlan) {
      unsettle_features(frame, request, sessions_[index]);
    }
  }
}

void Tracker::unsettle_features(const AoeFrame& frame, const Request& request, Session& session) {
  if (request.command == kCommandConfig) {
    session.features_known &= static_cast<std::uint8_t>(~session.features);
    return;
  }
  const ExtensionTable table = ExtensionTable::find(frame);
  if (!table.well_formed) {
    session.features_known = frame.was_cut() ? 0 : session.features_known;
    return;
  }
  table.for_each([&session](std::string_view name) {
    const std::uint8_t bit = feature_bit(name);
    const std::uint8_t doubtful = bit == kFeatureReset        ? session.features
                                  : (bit & kFeaturesTag) != 0 ? kFeaturesTag
                                                              : bit;
    session.features_known &= static_cast<std::uint8_t>(~doubtful);
  });
}

// Where the window of remembered tags stands: a write far ahead pushes old ones out, one behind it
// may have started it anew.
void Tracker::follow_window(const AoeFrame& frame, const Request& request) {
  Session& session = sessions_[request.session];
  if ((session.features & kFeaturesTagInc) == 0 || request.command != kCommandAta) {
    return;
  }
  const std::uint32_t number = session.number_of(request.tag);
  const auto ahead = static_cast<std::int32_t>(number - session.newest_tag);
  if (!is_write(request.ata_command)) {
    if (session.newest_known && ahead >= static_cast<std::int32_t>(kReadTakesWindow)) {
      session.window_since = frame.number;
      session.newest_known = false;
    }
    return;
  }
  if (!session.newest_known || ahead > 0) {
    session.newest_tag = number;
    session.newest_known = true;
  } else if (-static_cast<std::int64_t>(ahead) >= kWindowTags) {
    session.window_since = frame.number;
    session.newest_known = false;
  }
}

// A target that announces itself has started: what was negotiated with it may be gone.
void Tracker::announced(const AoeFrame& frame) {
  for (Session& session : sessions_) {
    if (session.vlan == frame.vlan && session.shelf == frame.shelf() &&
        session.slot == frame.slot()) {
      session.features_known = 0;
      session.window_since = frame.number;
      session.newest_known = false;
    }
  }
}

void Tracker::apply_negotiation(const AoeFrame& frame, const Request& request, Session& session) {
  if (frame.command() == kCommandConfig) {
    const bool set = request.sub_command == kConfigSet || request.sub_command == kConfigForce;
    if (set && !frame.has_error_flag()) {
      session.features = 0;  // both readings of AoEde agree here
      session.features_known = kFeaturesAll;
      session.window_since = frame.number;
      session.newest_known = false;
    }
    return;
  }
  if (frame.command() != kCommandExtensions || frame.has_error_flag()) {
    return;
  }
  // With another table under way, or behind a copy that only its reply betrays, nobody can tell
  // what is on now.
  const bool settled = session.negotiating == 0 && request.answers <= request.copies;
  const ExtensionTable table = ExtensionTable::find(frame);
  if (!table.well_formed) {
    session.features_known = frame.was_cut() ? 0 : session.features_known;
    return;
  }
  table.for_each([&session, &frame, settled](std::string_view name) {
    const std::uint8_t bit = feature_bit(name);
    if (bit == 0) {
      return;
    }
    const bool on = is_upper_case(name);
    std::uint8_t decided = bit;
    if (bit == kFeatureReset) {
      if (on) {
        session.features = 0;
        decided = kFeaturesAll;
      }
    } else if ((bit & kFeaturesTag) != 0) {  // the last one named wins
      if (on) {
        session.features = static_cast<std::uint8_t>((session.features & ~kFeaturesTag) | bit);
        decided = kFeaturesTag;
      } else {
        session.features &= static_cast<std::uint8_t>(~bit);
      }
    } else {
      session.features =
          static_cast<std::uint8_t>(on ? session.features | bit : session.features & ~bit);
    }
    if (on && (bit & (kFeaturesTag | kFeatureReset)) != 0) {
      session.window_since = frame.number;
      session.newest_known = false;
    }
    session.features_known = static_cast<std::uint8_t>(settled ? session.features_known | decided
                                                               : session.features_known & ~decided);
  });
}

}  // namespace conformance::observer
