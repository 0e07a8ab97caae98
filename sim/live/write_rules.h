// Rules by content for the bridge: what may happen to a copy of a write when newer writes to its
// sectors have been answered. Free rates hit such a moment by luck; a rule makes it happen to every
// write, or to none. It owns what is known of the writes on the wire; it never sends a frame, and
// must never know the clock. Everything it remembers is bounded: of the oldest it lets go.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace sim::live {

enum class WriteRule : std::uint8_t {
  // Of every write a copy is kept, and let go when a newer write to its sectors has been answered:
  // the late duplicate that AoEde was made against.
  hold_copies,
  // A write never leaves when a newer one to any of its sectors has left already, however late or
  // doubled the bridge's own verdicts make it.
  newest_last,
};
std::string_view name_of(WriteRule rule);
// Throws std::runtime_error, with the names that there are.
WriteRule parse_write_rule(std::string_view name);

struct SectorRange {
  std::uint64_t lba = 0;
  std::uint64_t sectors = UINT64_MAX;
};
// "LBA:COUNT". Throws std::runtime_error.
SectorRange parse_sector_range(std::string_view text);

class WriteRules {
 public:
  // only: writes that touch none of these sectors are not looked at.
  explicit WriteRules(WriteRule rule, SectorRange only = {}) : rule_(rule), only_(only) {}

  struct Copy {
    std::vector<std::byte> bytes;
    std::uint32_t index = 0;  // of the frame that it is a copy of, on its link
    std::int64_t stamp = 0;
  };

  // From the initiator's side, as it comes in. stamp: the caller's, comes back with a copy.
  void came_in(std::span<const std::byte> frame, std::uint32_t index, std::int64_t stamp = 0);
  // To the target's side: whether it may leave now. Counts as having left when it may.
  bool may_leave(std::span<const std::byte> frame);
  // From the target's side: the copies that are let go by what this reply says.
  std::vector<Copy> answered(std::span<const std::byte> frame);

  [[nodiscard]] std::uint64_t let_go() const { return let_go_; }
  [[nodiscard]] std::uint64_t held_back() const { return held_back_; }
  // Writes that it could not keep in mind.
  [[nodiscard]] std::uint64_t forgotten() const { return forgotten_; }

 private:
  static constexpr std::size_t kWritesMax = 16'384;
  static constexpr std::size_t kSectorsMax = 1U << 22U;

  struct Key {
    std::uint64_t source = 0;
    std::uint32_t tag = 0;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const {
      return std::hash<std::uint64_t>{}(key.source * 0x9e3779b97f4a7c15ULL ^ key.tag);
    }
  };
  struct Write {
    Key key;
    std::uint64_t number = 0;  // in the order in which they first came in
    std::uint64_t lba = 0;
    std::uint32_t sectors = 0;
    std::uint32_t index = 0;
    std::int64_t stamp = 0;
    bool answered = false;
    std::vector<std::byte> bytes;  // empty when its copy was let go, or none is kept
  };

  std::optional<Write> read(std::span<const std::byte> frame) const;
  Write* find(const Key& key);
  void one_answer(const Key& key, std::vector<Copy>& copies);

  WriteRule rule_;
  SectorRange only_;
  std::deque<Write> writes_;                                 // by number
  std::unordered_map<Key, std::uint64_t, KeyHash> numbers_;  // of the write that last had the key
  std::unordered_map<std::uint64_t, std::uint64_t> left_;    // sector -> newest number that left
  std::uint64_t next_number_ = 1;
  std::uint64_t let_go_ = 0;
  std::uint64_t held_back_ = 0;
  std::uint64_t forgotten_ = 0;
};

}  // namespace sim::live
