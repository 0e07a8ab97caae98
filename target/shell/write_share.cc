// How many writes a source may have in operation: see write_share.h.
#include "target/shell/write_share.h"

#include <algorithm>

#include "target/wire/aoe.h"
#include "target/wire/bytes.h"
#include "target/wire/parse.h"

namespace target::shell {
namespace {

constexpr std::size_t kSourceAt = 6;
constexpr std::size_t kCommandAt = 19;
constexpr std::size_t kAtaFlagsAt = 24;

// An ATA command with the W flag. What else may be wrong with it the engine finds out.
bool is_write(std::span<const std::byte> frame) {
  return wire::load_u8(frame, kCommandAt) == static_cast<std::uint8_t>(wire::Command::ata) &&
         (wire::load_u8(frame, kAtaFlagsAt) & wire::aflag::kWrite) != 0;
}

}  // namespace

std::uint32_t WriteShare::find(const wire::MacAddress& address) const {
  const auto found = std::find_if(sources_.begin(), sources_.end(), [&](const Source& one) {
    return one.writes > 0 && one.address == address;
  });
  return found == sources_.end() ? kNone : static_cast<std::uint32_t>(found - sources_.begin());
}

bool WriteShare::admit(std::span<const std::byte> frame, Nanoseconds now) {
  if (frame.size() <= kAtaFlagsAt) {
    return true;
  }
  const wire::MacAddress source = wire::load_mac(frame, kSourceAt);
  if (heard_last_ && source != *heard_last_) {
    another_at_ = now;
  }
  heard_last_ = source;
  if (now - another_at_ >= kTogether_ns || !is_write(frame)) {
    return true;
  }
  const std::uint32_t place = find(source);
  if (place == kNone || sources_[place].writes < most_) {
    return true;
  }
  ++dropped_;
  return false;
}

void WriteShare::started(const engine::DiskOp& operation) {
  if (operation.kind != engine::DiskOpKind::write) {
    return;
  }
  if (operation.id >= source_of_.size()) {
    source_of_.resize(operation.id + std::size_t{1}, kNone);
  }
  std::uint32_t place = find(operation.initiator);
  if (place == kNone) {
    const auto free = std::find_if(sources_.begin(), sources_.end(),
                                   [](const Source& one) { return one.writes == 0; });
    place = static_cast<std::uint32_t>(free - sources_.begin());
    if (free == sources_.end()) {
      sources_.emplace_back();
    }
    sources_[place] = {operation.initiator, 0};
  }
  ++sources_[place].writes;
  source_of_[operation.id] = place;
}

void WriteShare::ended(std::uint32_t id) {
  if (id < source_of_.size() && source_of_[id] != kNone) {
    --sources_[source_of_[id]].writes;
    source_of_[id] = kNone;
  }
}

}  // namespace target::shell
