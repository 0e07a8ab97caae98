// How much the engine may hold at once, and when the next frame may come.
#include "target/engine/engine_impl.h"

#include <algorithm>
#include <limits>

#include "target/wire/coalesced.h"

namespace target::engine {

std::uint16_t mtu_max(const EngineConfig& config) {
  std::uint16_t mtu = 0;
  for (const PortConfig& port : config.ports) {
    mtu = std::max(mtu, port.mtu);
  }
  return mtu;
}

std::uint16_t mtu_min(const EngineConfig& config) {
  std::uint16_t mtu = std::numeric_limits<std::uint16_t>::max();
  for (const PortConfig& port : config.ports) {
    mtu = std::min(mtu, port.mtu);
  }
  return mtu;
}

std::uint32_t operations_min(const EngineConfig& config) {
  const std::size_t further =
      config.extensions ? wire::coalesced_entries_that_fit(frame_bytes_max(mtu_max(config))) : 0;
  return static_cast<std::uint32_t>(1 + further);
}

// What lay in the slots of the frames has left; whether another frame may come is known anew.
void Engine::Impl::clear_outbox() {
  outbox_.frames.clear();
  outbox_.disk_ops.clear();
  outbox_.saves.clear();
  outbox_.notes.clear();
  ++outbox_generation_;
  for (const std::uint32_t slot : sent_slots_) {
    slots_.give_back(slot);
  }
  sent_slots_.clear();
  intake_open_ = slots_.free_count() >= slots_needed() && !is_stopped();
}

// Ends every event: says whether another frame may come.
void Engine::Impl::settle() {
  const bool has_room = slots_.free_count() >= slots_needed();
  intake_open_ = has_room && !is_stopped();
  counters_.intake_closed += intake_was_open_ && !has_room ? 1 : 0;
  intake_was_open_ = has_room;
  counters_.sessions = sessions_.size();
  counters_.sessions_evicted = sessions_.evicted();
}

}  // namespace target::engine
