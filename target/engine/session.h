// What each initiator has negotiated, by port and source address: features, tag window, the last
// congestion probe. Owns the table, its bound and who may lose a place in it; does not know what a
// feature does.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "target/engine/tag_window.h"
#include "target/engine/values.h"
#include "target/wire/mac.h"

namespace target::engine {

enum class TagMode : std::uint8_t { none, increment_le, increment_be, random };

struct Features {
  TagMode tag_mode = TagMode::none;
  bool coalesced_read = false;
  bool coalesced_write_reply = false;
  bool crc8x4 = false;
  bool operator==(const Features&) const = default;
};

// Where an outbox stands to which a session's next write reply may be added.
struct OpenWriteReply {
  bool valid = false;
  std::uint64_t outbox_generation = 0;
  std::size_t frame_index = 0;
  std::uint32_t slot = 0;
  std::size_t further = 0;
};

struct Session {
  std::uint32_t index = 0;
  std::uint64_t generation =
      0;  // a new one whenever what was in flight is no longer this session's
  std::uint16_t port = 0;
  wire::MacAddress initiator;
  Features features;
  std::optional<std::uint64_t> congestion_id;
  bool congestion_refused = false;  // the pause for congestion_id was beyond the budget
  std::optional<TagWindow> window;  // made on first use, kept for the next owner of the place
  OpenWriteReply open_write_reply;
  // A write was performed under these features: whoever takes the place takes its protection.
  bool wrote = false;
  std::uint64_t heard = 0;  // counts what was heard on any session: the least is silent longest

  [[nodiscard]] bool increments_tags() const {
    return features.tag_mode == TagMode::increment_le || features.tag_mode == TagMode::increment_be;
  }
  // A tag as a number of the counter that the initiator increments.
  [[nodiscard]] std::uint32_t counter(std::uint32_t tag) const;
};

// A session as an operation remembers it.
struct SessionRef {
  static constexpr std::uint32_t kNone = 0xFFFF'FFFF;
  std::uint32_t index = kNone;
  std::uint64_t generation = 0;
  bool operator==(const SessionRef&) const = default;
};

class SessionTable {
 public:
  explicit SessionTable(std::uint32_t sessions_max);

  [[nodiscard]] Session* find(std::uint16_t port, const wire::MacAddress& initiator);
  // Nothing when the session was reset, or its tags began anew, since the reference was taken.
  [[nodiscard]] Session* find(const SessionRef& ref);
  // The initiator's session, a new one if need be. When the table is full one who merely probed for
  // congestion gives way, then one who never performed a write under its features, the longest
  // silent first; nothing when all of them did, for what protects a write is never taken.
  [[nodiscard]] Session* open(std::uint16_t port, const wire::MacAddress& initiator);

  // A frame of this initiator has come.
  void hear(Session& session) { session.heard = ++last_heard_; }

  // Back to plain AoE. The place is free again, unless the last congestion id is still to be known.
  void reset(Session& session);
  // An empty tag window; writes in flight belong to the old one.
  void restart_window(Session& session);

  [[nodiscard]] static SessionRef ref(const Session& session) {
    return {session.index, session.generation};
  }
  [[nodiscard]] std::uint64_t size() const { return by_key_.size(); }
  [[nodiscard]] std::vector<SessionFacts> facts() const;
  [[nodiscard]] std::uint64_t evicted() const { return evicted_; }
  [[nodiscard]] std::uint32_t with_coalesced_read() const;

 private:
  struct Key {
    std::uint16_t port = 0;
    wire::MacAddress initiator;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const;
  };
  void release(Session& session);
  bool evict_unprotected();

  std::vector<Session> sessions_;
  std::vector<std::uint32_t> free_;
  // Looked up; walked for people only, who get no order.
  std::unordered_map<Key, std::uint32_t, KeyHash> by_key_;
  std::uint64_t last_generation_ = 0;
  std::uint64_t last_heard_ = 0;
  std::uint64_t evicted_ = 0;  // who lost features to a newcomer
};

}  // namespace target::engine
