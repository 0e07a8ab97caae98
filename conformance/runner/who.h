#pragma once
// Who is there, and which of them is meant: several targets, two machines that answer for one
// shelf and slot, one machine with two ports. Asks each that is in question for its serial number,
// and nothing else.

#include "conformance/runner/judge.h"

namespace conformance {

struct Wanted {
  std::optional<uint16_t> shelf;
  std::optional<uint8_t> slot;
  std::optional<Mac> mac;
  bool allows(const Found& found) const {
    return (!shelf || *shelf == found.shelf) && (!slot || *slot == found.slot) &&
           (!mac || *mac == found.mac);
  }
};

struct Choice {
  Found target{};
  std::vector<Mac> others;  // that answer for the same shelf and slot: not to be listened to
  std::string note;         // who they are, in a sentence; empty: nobody
};

// `found`: everybody that answered, at least one of them wanted. Throws UsageError when only the
// user can choose, with what there is to choose from.
Choice choose(Context& context, const std::vector<Found>& found, const Wanted& wanted);

// What identify says at this address, from bytes 20 on (words 10 to 19); empty when nothing comes.
std::string serial_at(Context& context, const Found& found);

}  // namespace conformance
