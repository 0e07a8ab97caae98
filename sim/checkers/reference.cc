// The obvious target.
#include "sim/checkers/reference.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/trace.h"

namespace sim::checkers {
namespace {

using clients::View;
using target::engine::DiskOpKind;
using target::engine::DiskStatus;

constexpr std::uint16_t kShelf = 1;
constexpr std::uint8_t kSlot = 1;
constexpr std::uint32_t kWindowTags = 32'768;
constexpr std::uint64_t kLba28Mask = 0x0fffffff;
constexpr std::uint8_t kStatusError = 0x01;
constexpr std::uint8_t kStatusReady = 0x40;

bool overlaps(std::uint64_t a, std::uint32_t a_sectors, std::uint64_t b, std::uint32_t b_sectors) {
  return a < b + b_sectors && b < a + a_sectors;
}

std::string show(const MacAddress& address) {
  return fmt::format("{:02x}:{:02x}", address.octets[4], address.octets[5]);
}

std::size_t shortest(std::uint8_t command) {
  switch (command) {
    case clients::kAta:
      return 36;
    case clients::kConfig:
      return 32;
    case clients::kMask:
      return 28;
    case clients::kReserve:
    case clients::kExtensions:
      return 26;
    default:
      return clients::kHeaderBytes;
  }
}

bool table_well_formed(const View& view) {
  for (const bool big : {false, true}) {
    const std::size_t length =
        big ? view.u16(24) : static_cast<std::size_t>(view.u8(24) | (view.u8(25) << 8U));
    if (length >= 2 && 26 + length <= view.bytes().size() && view.u8(26 + length - 1) == 0 &&
        view.u8(26 + length - 2) == 0) {
      return true;
    }
  }
  return false;
}

}  // namespace

Reference::Reference(const Settings& settings, const MacAddress& target, Findings& findings)
    : settings_(settings), target_(target), findings_(findings) {}

void Reference::complain(const char* signature, std::string text) {
  if (!blind_) {
    findings_.add(Severity::safety, signature, std::move(text));
  }
}

std::uint32_t Reference::sectors_max(bool crc) const {
  const std::int64_t room = settings_.mtu - 22 - (crc ? 4 : 0);
  return static_cast<std::uint32_t>(std::min<std::int64_t>(255, room / 512));
}

void Reference::empty_session(const MacAddress& address) {
  Session& session = sessions_[address];
  const std::uint64_t epoch = session.epoch;
  session = Session{};
  session.epoch = epoch + 1;
}

void Reference::restart() {
  owed_.clear();
  batch_tags_.clear();
  for (auto& [address, session] : sessions_) {
    empty_session(address);
  }
}

// ---- frames in
// ------------------------------------------------------------------------------------

void Reference::frame_in(Bytes frame, std::uint64_t batch, bool predicted) {
  const View view(frame);
  if (!view.aoe() || view.response()) {
    return;
  }
  if ((view.shelf() != kShelf && view.shelf() != 0xffff) ||
      (view.slot() != kSlot && view.slot() != 0xff)) {
    return;
  }
  Owed owed;
  owed.address = view.source();
  owed.tag = view.tag();
  owed.command = view.command();
  owed.optional = !predicted;
  if (!predicted) {
    wild_.insert(owed.address);
  }
  if (batch != batch_) {
    batch_ = batch;
    batch_tags_.clear();
  }
  const std::pair<MacAddress, std::uint32_t> key{owed.address, owed.tag};
  may_drop_ = false;
  owed_before_frame_ = owed_.size();
  if (std::find(batch_tags_.begin(), batch_tags_.end(), key) != batch_tags_.end()) {
    may_drop_ = !predicted || session(owed.address).mode != Mode::none;
  } else {
    batch_tags_.push_back(key);
  }
  const bool exists = owed.command <= clients::kReserve ||
                      (owed.command == clients::kExtensions && settings_.extensions != 0);
  if (view.version() != 1 || !exists) {
    owed.error = view.version() != 1 ? 5 : 1;
    if (view.version() != 1 && !exists) {
      owed.error = kAnyError;  // which of the two is looked at first is the target's choice
    }
    owed.optional = owed.optional || frame.size() < shortest(owed.command);
    owed_.push_back(owed);
    return;
  }
  if (frame.size() < shortest(owed.command)) {
    return;
  }
  switch (owed.command) {
    case clients::kAta:
      ata_in(view, owed, predicted);
      return;
    case clients::kConfig: {
      const bool write = (view.u8(29) & 0xfU) >= 3;
      if (settings_.reset_on_config_write == 0 || write) {
        empty_session(owed.address);
      }
      break;
    }
    case clients::kExtensions:
      if (!table_well_formed(view)) {
        return;
      }
      break;
    default:
      break;
  }
  owed_.push_back(owed);
}

void Reference::dropped_in_ring() {
  if (!may_drop_) {
    complain("ring:dropped", "a frame was dropped as a duplicate in the ring, and is none");
  }
  owed_.resize(std::min(owed_.size(), owed_before_frame_));
}

void Reference::read_or_error(Owed owed) {
  if (owed.sectors == 0 || owed.sectors > sectors_max(owed.crc)) {
    owed.error = 2;
    owed.kind = Kind::other;
  } else if (owed.lba + owed.sectors > static_cast<std::uint64_t>(settings_.sectors)) {
    owed.error = 0;
    owed.state = State::failed;
  } else {
    owed.error = 0;
    owed.state = State::waiting;
  }
  owed_.push_back(owed);
}

void Reference::ata_in(const View& view, Owed owed, bool predicted) {
  Session& here = session(owed.address);
  const std::uint8_t command = view.ata_command();
  owed.crc = here.crc;
  owed.epoch = here.epoch;
  owed.sectors = view.sectors();
  owed.lba = view.lba();
  if (command == clients::kRead28 || command == clients::kWrite28) {
    owed.lba &= kLba28Mask;
  }
  if (clients::is_read(command)) {
    owed.kind = Kind::read;
    read_or_error(owed);
    coalesced_in(view, owed);
  } else if (clients::is_write(command)) {
    owed.kind = Kind::write;
    const std::size_t bytes = std::size_t{owed.sectors} * 512;
    if (owed.sectors == 0 || owed.sectors > sectors_max(here.crc) || view.data().size() < bytes) {
      owed.error = 2;
      owed.kind = Kind::other;
      // A cut write may also fail the check, or be known as a duplicate before it is looked at.
      owed.optional = owed.optional || here.crc;
      if (here.mode == Mode::be || here.mode == Mode::le) {
        owed.optional = true;
        owed.error = kAnyError;
      }
      owed_.push_back(owed);
      return;
    }
    if (here.crc && view.data().size() >= bytes + 4) {
      const auto check = clients::crc8x4(view.bytes().subspan(24, 12 + bytes));
      if (!std::equal(check.begin(), check.end(),
                      view.data().begin() + static_cast<std::ptrdiff_t>(bytes))) {
        return;  // dropped without a reply
      }
    }
    owed.digest = hash_bytes(view.data().first(bytes));
    write_in(here, owed, predicted);
  } else if (clients::is_flush(command)) {
    owed.kind = Kind::flush;
    owed.lba = 0;
    owed.sectors = 0;
    owed.error = 0;
    owed.state = State::waiting;
    owed_.push_back(owed);
  } else {
    owed.error = 0;
    owed_.push_back(owed);
  }
}

void Reference::coalesced_in(const View& view, const Owed& first) {
  const Session& here = session(first.address);
  const Bytes data = view.data();
  const bool active = here.coalesced || first.optional;
  if (!active || data.empty()) {
    return;
  }
  const std::size_t count = static_cast<std::uint8_t>(data[0]);
  for (std::size_t i = 0; i < count && 1 + (i + 1) * 16 <= data.size(); ++i) {
    const std::size_t at = 36 + 1 + i * 16;
    Owed further = first;
    further.tag = (std::uint32_t{view.u16(at)} << 16U) | view.u16(at + 2);
    further.lba = view.lba_at(at + 4);
    if (view.ata_command() == clients::kRead28) {
      further.lba &= kLba28Mask;
    }
    further.sectors = view.u8(at + 15);
    read_or_error(further);
  }
}

void Reference::write_in(Session& here, Owed owed, bool predicted) {
  const bool in_range = owed.lba + owed.sectors <= static_cast<std::uint64_t>(settings_.sectors);
  owed.error = 0;
  if (!predicted) {
    owed.state = in_range ? State::waiting : State::failed;
    owed_.push_back(owed);
    return;
  }
  if (here.mode == Mode::be || here.mode == Mode::le) {
    const std::uint32_t tag = here.mode == Mode::be ? owed.tag : __builtin_bswap32(owed.tag);
    const bool ahead = here.empty || (tag != here.highest && tag - here.highest < 0x80000000U);
    const bool behind = !ahead && here.highest - tag >= kWindowTags;
    if (behind && settings_.behind_window_perform == 0) {
      return;
    }
    if (!behind && here.performed.count(tag) != 0) {
      owed.remembered = true;
      owed_.push_back(owed);
      return;
    }
    const auto original = std::find_if(owed_.begin(), owed_.end(), [&](const Owed& other) {
      return other.windowed && other.address == owed.address && other.tag == owed.tag &&
             other.epoch == owed.epoch &&
             (other.state == State::waiting || other.state == State::started);
    });
    if (!behind && original != owed_.end()) {
      owed.state = State::follows;
      owed_.push_back(owed);
      return;
    }
    if (in_range) {
      owed.windowed = true;
      if (ahead || behind) {
        here.highest = tag;
        here.empty = false;
      }
      if (behind) {
        here.performed.clear();
        owed.optional = true;
      }
    }
  }
  owed.state = in_range ? State::waiting : State::failed;
  owed_.push_back(owed);
}

// ---- disk
// -----------------------------------------------------------------------------------------

Reference::Admission Reference::disk_started(const target::engine::DiskOp& op) {
  const Kind kind = op.kind == DiskOpKind::read    ? Kind::read
                    : op.kind == DiskOpKind::write ? Kind::write
                                                   : Kind::flush;
  const std::uint64_t digest = kind == Kind::write ? hash_bytes(op.data) : 0;
  const auto found = std::find_if(owed_.begin(), owed_.end(), [&](const Owed& owed) {
    return owed.state == State::waiting && owed.kind == kind &&
           (kind == Kind::flush || (owed.lba == op.lba && owed.sectors == op.sectors)) &&
           (kind != Kind::write || owed.digest == digest);
  });
  if (found == owed_.end()) {
    complain("disk:unasked", fmt::format("disk operation {} on {}+{} that no request asks for",
                                         static_cast<int>(op.kind), op.lba, op.sectors));
    return {};
  }
  for (const Owed& other : owed_) {
    if (&other == &*found || other.kind == Kind::other || kind == Kind::flush ||
        other.kind == Kind::flush || (kind == Kind::read && other.kind == Kind::read) ||
        !overlaps(op.lba, op.sectors, other.lba, other.sectors)) {
      continue;
    }
    if (other.state == State::started) {
      complain("disk:overlap", fmt::format("{}+{} and {}+{} are in flight together", op.lba,
                                           op.sectors, other.lba, other.sectors));
    }
    if (other.state == State::waiting && &other < &*found && !other.optional) {
      complain("disk:order", fmt::format("{}+{} overtakes {}+{} (tag {}) that arrived before it",
                                         op.lba, op.sectors, other.lba, other.sectors, other.tag));
    }
  }
  found->state = State::started;
  found->disk_id = op.id;
  return {found->epoch, found->windowed};
}

void Reference::disk_done(std::uint32_t id, DiskStatus status) {
  const auto found = std::find_if(owed_.begin(), owed_.end(), [&](const Owed& owed) {
    return owed.state == State::started && owed.disk_id == id;
  });
  if (found == owed_.end()) {
    return;
  }
  found->state = status == DiskStatus::ok ? State::done : State::failed;
  Session& here = session(found->address);
  if (found->windowed && here.epoch == found->epoch) {
    const std::uint32_t tag = here.mode == Mode::le ? __builtin_bswap32(found->tag) : found->tag;
    if (status == DiskStatus::ok) {
      here.performed.insert(tag);
      if (here.performed.size() > std::size_t{4} * kWindowTags) {
        here.performed.erase(here.performed.begin());
      }
    }
  }
  if (found->windowed) {
    for (Owed& other : owed_) {
      if (other.state == State::follows && other.address == found->address &&
          other.tag == found->tag) {
        other.state = found->state;
      }
    }
  }
}

// ---- frames out
// -----------------------------------------------------------------------------------

bool Reference::is_failure(const View& view) {
  return view.error_flag() || (view.command() == clients::kAta && view.ata() &&
                               (view.ata_command() & kStatusError) != 0);
}

Reference::Owed* Reference::find_owed(const View& view) {
  const bool failure = is_failure(view);
  Owed* best = nullptr;
  bool best_fits = false;
  for (Owed& owed : owed_) {
    if (owed.address != view.destination() || owed.tag != view.tag() ||
        owed.command != view.command()) {
      continue;
    }
    const bool ripe =
        owed.state == State::ready || owed.state == State::done || owed.state == State::failed;
    // A good reply is not the answer to what failed, when there is a better one; nor is what need
    // not be answered preferred to what must.
    const bool fits = owed.error == kAnyError || owed.kind == Kind::other ||
                      (owed.state == State::failed) == failure;
    if (ripe && (best == nullptr || (fits && !best_fits) ||
                 (fits == best_fits && best->optional && !owed.optional))) {
      best = &owed;
      best_fits = fits;
    }
  }
  if (best == nullptr || !best_fits) {
    Owed* swapped = swap_interchangeable(view, failure);
    best = swapped == nullptr ? best : swapped;
  }
  return best;
}

void Reference::frame_out(Bytes frame) {
  const View view(frame);
  if (frame.size() < clients::kHeaderBytes || !view.aoe()) {
    complain("reply:malformed", "the target sent a frame that is not AoE");
    return;
  }
  if (!view.response() || view.version() != 1 || (view.u8(14) & 3U) != 0 ||
      view.shelf() != kShelf || view.slot() != kSlot || view.source() != target_ ||
      view.error_flag() != (view.error() != 0)) {
    complain("reply:header",
             fmt::format("a reply with a wrong header: {}", clients::describe(frame)));
  }
  if (frame.size() > static_cast<std::size_t>(settings_.mtu) + 14) {
    complain("reply:long", fmt::format("a reply of {} bytes", frame.size()));
  }
  if (view.tag() == 0 && view.command() == clients::kConfig &&
      (view.destination().octets[0] & 1U) != 0) {
    return;  // the announcement
  }
  if (view.command() == clients::kExtensions && !view.error_flag()) {
    extension_out(view);
  }
  Owed* owed = find_owed(view);
  if (owed == nullptr && wild_.count(view.destination()) != 0) {
    return;
  }
  if (owed == nullptr) {
    const bool early = std::any_of(owed_.begin(), owed_.end(), [&](const Owed& each) {
      return each.address == view.destination() && each.tag == view.tag() &&
             each.command == view.command();
    });
    complain(early ? "reply:early" : "reply:unasked",
             fmt::format("a reply {} to {}: {}",
                         early ? "before the disk operation has ended" : "that nobody is owed",
                         show(view.destination()), clients::describe(frame)));
    return;
  }
  if (wild_.count(owed->address) == 0) {
    check_reply(view, *owed);
  }
  owed_.erase(owed_.begin() + (owed - owed_.data()));
}

// Two requests for the same thing have two disk operations, and nobody can tell which is whose:
// when the other's has ended and this one's has not, they change places.
Reference::Owed* Reference::swap_interchangeable(const View& view, bool failure) {
  const State wanted = failure ? State::failed : State::done;
  for (Owed& mine : owed_) {
    if (mine.address != view.destination() || mine.tag != view.tag() ||
        mine.command != view.command() || mine.kind == Kind::other || mine.windowed ||
        mine.state == State::ready || mine.state == State::follows) {
      continue;
    }
    for (Owed& other : owed_) {
      if (other.state == wanted && other.kind == mine.kind && other.lba == mine.lba &&
          other.sectors == mine.sectors && other.digest == mine.digest && !other.windowed) {
        std::swap(mine.state, other.state);
        std::swap(mine.disk_id, other.disk_id);
        return &mine;
      }
    }
  }
  return nullptr;
}

void Reference::check_reply(const View& view, const Owed& owed) {
  if (view.error_flag()) {
    if (owed.error != kAnyError && owed.error != view.error()) {
      complain("reply:error", fmt::format("error {} where {} is due: {}", view.error(), owed.error,
                                          clients::describe(view.bytes())));
    }
    return;
  }
  if (owed.error > 0) {
    complain("reply:error", fmt::format("no error where {} is due: {}", owed.error,
                                        clients::describe(view.bytes())));
    return;
  }
  if (owed.command != clients::kAta) {
    if (owed.command == clients::kConfig && view.bytes().size() >= 32) {
      check_tail(view, 32U + view.u16(30), owed);
    }
    return;
  }
  if (!view.ata()) {
    complain("reply:short", fmt::format("an ATA reply of {} bytes", view.bytes().size()));
    return;
  }
  const bool error = (view.ata_command() & kStatusError) != 0;
  if (owed.kind != Kind::other && error != (owed.state == State::failed)) {
    complain(error ? "reply:false-error" : "reply:false-success",
             fmt::format("status {:02x} where the operation {}: {}", view.ata_command(),
                         owed.state == State::failed ? "failed" : "succeeded",
                         clients::describe(view.bytes())));
  }
  if (!error && (view.ata_command() & kStatusReady) == 0) {
    complain("reply:status", fmt::format("status {:02x} without DRDY", view.ata_command()));
  }
  if (owed.kind == Kind::read && !error) {
    const std::size_t wanted = 36 + std::size_t{owed.sectors} * 512 + (owed.crc ? 4 : 0);
    if (view.bytes().size() != wanted) {
      complain("reply:length",
               fmt::format("{} bytes where {} are due", view.bytes().size(), wanted));
    }
  } else if (owed.kind != Kind::other) {
    check_tail(view, 36, owed);
  }
}

// What stands behind the last field is zero (and nothing of anybody else's).
void Reference::check_tail(const View& view, std::size_t from, const Owed& owed) {
  if (view.bytes().size() > std::max<std::size_t>(from, 60)) {
    complain("reply:length", fmt::format("{} bytes where {} are due", view.bytes().size(), from));
  }
  for (std::size_t i = from; i < view.bytes().size(); ++i) {
    if (view.u8(i) != 0) {
      complain("reply:padding", fmt::format("byte {} of the reply to tag {} is {:02x}, not zero", i,
                                            owed.tag, view.u8(i)));
      return;
    }
  }
}

// What the target says is active is active; a tag_inc_* begins an empty window.
void Reference::extension_out(const View& view) {
  const MacAddress address = view.destination();
  std::string name;
  std::vector<std::string> names;
  for (std::size_t i = 26; i < view.bytes().size(); ++i) {
    const char letter = static_cast<char>(view.u8(i));
    if (letter != '\0') {
      name += letter;
      continue;
    }
    if (name.empty()) {
      break;
    }
    names.push_back(name);
    name.clear();
  }
  for (const std::string& each : names) {
    if (each == "RESET") {
      empty_session(address);
    } else if (each == "TAG_INC_BE" || each == "TAG_INC_LE" || each == "TAG_RANDOM") {
      Session& here = session(address);
      ++here.epoch;
      here.performed.clear();
      here.empty = true;
      here.mode = each == "TAG_INC_BE" ? Mode::be : each == "TAG_INC_LE" ? Mode::le : Mode::random;
    } else if (each == "COALESCED_READ") {
      session(address).coalesced = true;
    } else if (each == "CRC8X4") {
      session(address).crc = true;
    }
  }
}

void Reference::finish() {
  for (const Owed& owed : owed_) {
    if (!owed.optional && !blind_) {
      findings_.add(Severity::liveness, "reply:missing",
                    fmt::format("tag {} of {} (command {:02x}) was never answered", owed.tag,
                                show(owed.address), owed.command));
      return;
    }
  }
}

}  // namespace sim::checkers
