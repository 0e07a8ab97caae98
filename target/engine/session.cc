// The table of sessions. Places are numbered; a generation that is never used twice tells apart the
// sessions, and the tag windows, that one place has held.
#include "target/engine/session.h"

#include <cassert>
#include <tuple>

namespace target::engine {

std::uint32_t Session::counter(std::uint32_t tag) const {
  if (features.tag_mode != TagMode::increment_le) {
    return tag;
  }
  return tag >> 24 | (tag >> 8 & 0xFF00U) | (tag << 8 & 0xFF'0000U) | tag << 24;
}

std::size_t SessionTable::KeyHash::operator()(const Key& key) const {
  std::uint64_t hash = key.port;
  for (const std::uint8_t octet : key.initiator.octets) {
    hash = (hash ^ octet) * 0x100000001B3ULL;
  }
  return static_cast<std::size_t>(hash);
}

SessionTable::SessionTable(std::uint32_t sessions_max) : sessions_(sessions_max) {
  by_key_.reserve(sessions_max);
  free_.reserve(sessions_max);
  for (std::uint32_t index = sessions_max; index-- > 0;) {
    sessions_[index].index = index;
    free_.push_back(index);
  }
}

Session* SessionTable::find(std::uint16_t port, const wire::MacAddress& initiator) {
  if (by_key_.empty()) {
    return nullptr;
  }
  const auto found = by_key_.find(Key{port, initiator});
  return found == by_key_.end() ? nullptr : &sessions_[found->second];
}

Session* SessionTable::find(const SessionRef& ref) {
  if (ref.index == SessionRef::kNone || sessions_[ref.index].generation != ref.generation) {
    return nullptr;
  }
  return &sessions_[ref.index];
}

Session* SessionTable::open(std::uint16_t port, const wire::MacAddress& initiator) {
  if (Session* present = find(port, initiator)) {
    return present;
  }
  if (free_.empty() && !evict_unprotected()) {
    return nullptr;
  }
  Session& session = sessions_[free_.back()];
  free_.pop_back();
  session.generation = ++last_generation_;
  session.port = port;
  session.initiator = initiator;
  by_key_.emplace(Key{port, initiator}, session.index);
  hear(session);
  return &session;
}

void SessionTable::release(Session& session) {
  by_key_.erase(Key{session.port, session.initiator});
  session.features = {};
  session.congestion_id.reset();
  session.congestion_refused = false;
  session.open_write_reply = {};
  session.wrote = false;
  session.generation = ++last_generation_;
  free_.push_back(session.index);
}

bool SessionTable::evict_unprotected() {
  Session* chosen = nullptr;
  const auto rank = [](const Session& session) {
    return std::tuple(session.features != Features{}, session.heard);
  };
  for (Session& session : sessions_) {
    if (!session.wrote && (chosen == nullptr || rank(session) < rank(*chosen))) {
      chosen = &session;
    }
  }
  if (chosen == nullptr) {
    return false;
  }
  evicted_ += chosen->features != Features{} ? 1 : 0;
  release(*chosen);
  return true;
}

void SessionTable::reset(Session& session) {
  session.features = {};
  session.open_write_reply = {};
  session.wrote = false;
  session.generation = ++last_generation_;
  if (!session.congestion_id) {
    release(session);
  }
}

void SessionTable::restart_window(Session& session) {
  if (session.window) {
    session.window->restart();
  } else {
    session.window.emplace();
  }
  session.wrote = false;
  session.open_write_reply = {};
  session.generation = ++last_generation_;
}

std::vector<SessionFacts> SessionTable::facts() const {
  std::vector<SessionFacts> all;
  for (const auto& [key, index] : by_key_) {
    const Session& session = sessions_[index];
    SessionFacts one{session.port, session.initiator, {}, session.wrote};
    switch (session.features.tag_mode) {
      case TagMode::none:
        break;
      case TagMode::increment_le:
        one.features.emplace_back("tag_inc_le");
        break;
      case TagMode::increment_be:
        one.features.emplace_back("tag_inc_be");
        break;
      case TagMode::random:
        one.features.emplace_back("tag_random");
        break;
    }
    const auto add = [&](bool active, const char* name) {
      if (active) {
        one.features.emplace_back(name);
      }
    };
    add(session.features.coalesced_read, "coalesced_read");
    add(session.features.coalesced_write_reply, "coalesced_write_reply");
    add(session.features.crc8x4, "crc8x4");
    add(session.congestion_id.has_value(), "congestion");
    all.push_back(std::move(one));
  }
  return all;
}

std::uint32_t SessionTable::with_coalesced_read() const {
  std::uint32_t count = 0;
  for (const Session& session : sessions_) {
    count += session.features.coalesced_read ? 1 : 0;
  }
  return count;
}

}  // namespace target::engine
