// How many writes a source may have in operation while others want to be served too: as many as the
// target's buffer count, which is what it was told. A source that keeps more at the target fills
// whatever is there, the disk's queue and then every slot of the receive buffer, and all others are
// lost; what it has beyond is dropped, and asked for again. It must never know what a disk is.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "target/shell/surroundings.h"
#include "target/wire/mac.h"

namespace target::shell {

class WriteShare {
 public:
  // How long two sources that were heard one after the other count as two.
  static constexpr Nanoseconds kTogether_ns = 1'000'000'000;

  // most: writes in operation, for each source.
  explicit WriteShare(std::uint32_t most) : most_(most) {}

  // A frame is about to be handed in. False: it is a write beyond its source's share, and is
  // dropped.
  bool admit(std::span<const std::byte> frame, Nanoseconds now);
  // An operation was started, or has ended, whatever it is.
  void started(const engine::DiskOp& operation);
  void ended(std::uint32_t id);
  [[nodiscard]] std::uint64_t dropped() const { return dropped_; }

 private:
  static constexpr std::uint32_t kNone = ~std::uint32_t{0};
  struct Source {
    wire::MacAddress address;
    std::uint32_t writes = 0;  // 0: the place is free
  };
  [[nodiscard]] std::uint32_t find(const wire::MacAddress& address) const;

  std::uint32_t most_;
  std::vector<Source> sources_;           // no more than the engine holds operations
  std::vector<std::uint32_t> source_of_;  // by id of an operation: a place in sources_
  std::optional<wire::MacAddress> heard_last_;
  Nanoseconds another_at_ = -kTogether_ns;  // when somebody else than before was heard
  std::uint64_t dropped_ = 0;
};

}  // namespace target::shell
