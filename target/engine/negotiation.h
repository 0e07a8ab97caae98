// Command 0x23: which strings are features, what naming them does to a session, and in which case
// they come back. Owns the names; does not know frames, and does not pause: it says that one is
// due.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "target/engine/pause_budget.h"
#include "target/engine/session.h"
#include "target/wire/mac.h"

namespace target::engine {

struct Negotiated {
  bool reset = false;          // a session was put back to plain AoE
  bool table_full = false;     // no place for this initiator
  bool pause = false;          // a new congestion id: stop taking frames, answer after it
  bool pause_refused = false;  // a new congestion id beyond the budget
  std::uint64_t congestion_id = 0;
};

// table: the request's, as it stands in the reply. Its strings are applied in order; then the name
// of every feature that is active for this initiator afterwards is put in upper case, of every
// other one in lower case. All other strings stay as they are.
Negotiated negotiate(std::span<std::byte> table, SessionTable& sessions, std::uint16_t port,
                     const wire::MacAddress& initiator, PauseBudget& budget, Nanoseconds now);

// For one who may have no session: every name of a feature but reset is put in lower case.
void refuse_all(std::span<std::byte> table);

}  // namespace target::engine
