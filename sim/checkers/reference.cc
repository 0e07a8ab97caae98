// The obvious target.
#include "sim/checkers/reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "sim/trace.h"

namespace sim::checkers {
namespace {

using clients::View;
using target::engine::DiskOpKind;
using target::engine::DiskStatus;

constexpr std::uint16_t kShelf = 1;
constexpr std::uint8_t kSlot = 1;
constexpr std::uint32_t kWindowTags = 32'768;
constexpr std::uint32_t kSerialHalf = 0x80000000U;
constexpr std::uint32_t kReadsMoveFrom = 0x40000000U;
constexpr std::uint64_t kLba28Mask = 0x0fffffff;
constexpr std::size_t kArgument = 24;
constexpr std::size_t kTable = 26;
constexpr std::size_t kListAt = 37;  // of further reads, or results
constexpr std::size_t kEntryBytes = 16;
constexpr std::uint8_t kCheckPower = 0xe5;
// ATA's registers.
constexpr std::uint8_t kReady = 0x40;
constexpr std::uint8_t kReadyError = 0x41;
constexpr std::uint8_t kReadyFaultError = 0x61;
constexpr std::uint8_t kAbort = 0x04;
constexpr std::uint8_t kNoSuchSector = 0x10;
constexpr std::uint8_t kUncorrectable = 0x40;
constexpr std::uint8_t kWriteFlag = 0x01;
constexpr std::uint8_t kDefinedFlags = 0x53;
// AoE's error codes.
constexpr std::uint8_t kUnknownCommand = 1;
constexpr std::uint8_t kBadArgument = 2;
constexpr std::uint8_t kUnavailable = 3;
constexpr std::uint8_t kStringPresent = 4;
constexpr std::uint8_t kWrongVersion = 5;
constexpr std::uint8_t kReserved = 6;
// A pause: half a second, at most four begun in ten.
constexpr Nanoseconds kPause = kSecond / 2;
constexpr Nanoseconds kPausePeriod = 10 * kSecond;
constexpr std::size_t kPausesMax = 4;
constexpr Nanoseconds kPauseSlack = 2 * kMillisecond;
constexpr std::int64_t kWaitingMax = 16;

bool overlaps(std::uint64_t a, std::uint32_t a_sectors, std::uint64_t b, std::uint32_t b_sectors) {
  return a < b + b_sectors && b < a + a_sectors;
}

std::string show(const MacAddress& address) {
  return fmt::format("{:02x}:{:02x}", address.octets[4], address.octets[5]);
}

bool is_group(const MacAddress& address) {
  return (address.octets[0] & 1U) != 0;
}

bool listed(const std::vector<MacAddress>& list, const MacAddress& address) {
  return std::find(list.begin(), list.end(), address) != list.end();
}

std::size_t shortest(std::uint8_t command) {
  switch (command) {
    case clients::kAta:
      return 36;
    case clients::kConfig:
      return 32;
    case clients::kMask:
      return 28;
    default:
      return 26;
  }
}

void put16(std::vector<std::uint8_t>& text, std::size_t value) {
  text.push_back(static_cast<std::uint8_t>(value >> 8U));
  text.push_back(static_cast<std::uint8_t>(value));
}

void put(std::vector<std::uint8_t>& text, const MacAddress& address) {
  text.insert(text.end(), address.octets.begin(), address.octets.end());
}

std::string lower(std::string text) {
  for (char& letter : text) {
    letter = letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter + 32) : letter;
  }
  return text;
}

std::string upper(std::string text) {
  for (char& letter : text) {
    letter = letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 32) : letter;
  }
  return text;
}

std::optional<std::uint64_t> decimal(const std::string& text) {
  unsigned __int128 value = 0;
  for (const char letter : text) {
    if (letter < '0' || letter > '9') {
      return std::nullopt;
    }
    value = value * 10 + static_cast<unsigned>(letter - '0');
    if (value > UINT64_MAX) {
      return std::nullopt;
    }
  }
  return text.empty() ? std::nullopt : std::optional(static_cast<std::uint64_t>(value));
}

bool is_failure(const View& view) {
  return view.error_flag() ||
         (view.command() == clients::kAta && view.ata() && (view.ata_command() & 1U) != 0);
}

}  // namespace

Reference::Reference(const Settings& settings, const MacAddress& target, Findings& findings)
    : settings_(settings), target_(target), findings_(findings) {}

void Reference::complain(const char* signature, std::string text) {
  findings_.add(Severity::safety, signature, std::move(text));
}

std::uint32_t Reference::sectors_max(bool crc) const {
  const std::int64_t room = settings_.mtu - 22 - (crc ? 4 : 0);
  return static_cast<std::uint32_t>(std::min<std::int64_t>(255, room / 512));
}

// Of entries of `each` bytes behind `from`: what a frame holds, and the count is one byte.
std::size_t Reference::list_limit(std::size_t from, std::size_t each) const {
  return std::min<std::size_t>(255, (static_cast<std::size_t>(settings_.mtu) + 14 - from) / each);
}

bool Reference::masked(const MacAddress& address) const {
  return !state_.mask_list.empty() && !listed(state_.mask_list, address);
}

std::size_t Reference::places_taken() const {
  return static_cast<std::size_t>(std::count_if(
      sessions_.begin(), sessions_.end(), [](const auto& each) { return each.second.exists; }));
}

// ---- lives
// ----------------------------------------------------------------------------------------

void Reference::start(const PersistentState& stored) {
  if (settings_.persist != 0) {
    if (stored != state_ && stored != in_doubt_) {
      complain("save:lost",
               "the target starts with a state that is neither the one it answered nor "
               "the one that was being stored");
    }
    state_ = stored;
  } else {
    state_ = {};
  }
  in_doubt_.reset();
  alive_ = true;
}

void Reference::crash() {
  alive_ = false;
  if (saving_) {
    in_doubt_ = saving_->changes.back().next;
  }
  saving_.reset();
  waiting_.clear();
  owed_.clear();
  in_batch_.clear();
  pause_until_.reset();
  pauses_.clear();
  announced_ = false;
  for (auto& [address, each] : sessions_) {
    const std::uint64_t epoch = each.epoch;
    const std::uint64_t corrupted = each.corrupted;
    each = Session{};
    each.epoch = epoch + 1;
    each.corrupted = corrupted;
  }
}

void Reference::cleared() {
  state_ = {};
  in_doubt_.reset();
}

void Reference::finish() {
  if (alive_ && !announced_) {
    findings_.add(Severity::liveness, "announcement:missing", "the target never announced itself");
  }
  if (saving_ && !saving_->started) {
    findings_.add(Severity::liveness, "save:missing", "a change of state was never stored");
  }
  for (const Owed& owed : owed_) {
    findings_.add(Severity::liveness, "reply:missing",
                  fmt::format("tag {} of {} (command {:02x}) was never answered", owed.tag,
                              show(owed.address), owed.command));
    return;
  }
}

// ---- frames in
// ------------------------------------------------------------------------------------

void Reference::frame_in(Bytes whole, std::uint64_t batch) {
  drop_due_ = false;
  owed_before_frame_ = owed_.size();
  if (pause_until_ && now_ < *pause_until_) {
    complain("pause:intake", "a frame is taken during a pause");
  }
  if (batch != batch_) {
    batch_ = batch;
    in_batch_.clear();
  }
  // What lies beyond the MTU is no part of a request.
  const Bytes frame =
      whole.first(std::min(whole.size(), static_cast<std::size_t>(settings_.mtu) + 14));
  const View view(frame);
  if (!view.aoe() || view.response()) {
    return;
  }
  if ((view.shelf() != kShelf && view.shelf() != 0xffff) ||
      (view.slot() != kSlot && view.slot() != 0xff) || is_group(view.source()) ||
      (!is_group(view.destination()) && view.destination() != target_) || masked(view.source())) {
    return;
  }
  Owed owed;
  owed.address = view.source();
  owed.tag = view.tag();
  owed.command = view.command();
  owed.arrival = ++next_arrival_;
  Session& here = session(owed.address);
  owed.epoch = here.epoch;
  const bool exists = owed.command <= clients::kReserve ||
                      (owed.command == clients::kExtensions && settings_.extensions != 0);
  if (view.version() != 1 || !exists) {
    owed.error = view.version() != 1 ? kWrongVersion : kUnknownCommand;
    owed_.push_back(owed);
    return;
  }
  if (frame.size() < shortest(owed.command)) {
    return;
  }
  if (owed.command != clients::kExtensions) {
    hear(here);
  }
  if (owed.command == clients::kAta && here.crc && clients::is_write(view.ata_command())) {
    // Before anything else: a damaged frame's tag is worth nothing.
    const std::size_t bytes = std::size_t{view.sectors()} * 512;
    if (bytes != 0 && view.data().size() >= bytes + 4) {
      const auto check = clients::crc8x4(view.bytes().subspan(kArgument, 12 + bytes));
      if (!std::equal(check.begin(), check.end(),
                      view.data().begin() + static_cast<std::ptrdiff_t>(bytes))) {
        return;  // dropped without a reply
      }
    }
  }
  if (owed.command == clients::kExtensions) {
    extensions_in(view, owed);
    return;
  }
  if (here.mode != Mode::none) {
    const InBatch key{owed.address, owed.tag, owed.command, owed.epoch};
    if (std::find(in_batch_.begin(), in_batch_.end(), key) != in_batch_.end()) {
      drop_due_ = true;
      return;
    }
    in_batch_.push_back(key);
  }
  switch (owed.command) {
    case clients::kAta:
      ata_in(view, owed);
      return;
    case clients::kConfig:
      config_in(view, owed);
      return;
    case clients::kMask:
      mask_in(view, owed);
      return;
    default:
      reserve_in(view, owed);
  }
}

void Reference::frame_taken(bool dropped) {
  if (dropped && !drop_due_) {
    complain("ring:dropped", "a frame was dropped as a duplicate in the ring, and is none");
  }
  if (dropped) {
    owed_.resize(std::min(owed_.size(), owed_before_frame_));
  }
  if (!dropped && drop_due_) {
    complain("ring:served", "a duplicate in the ring was served");
  }
}

// ---- ATA, down
// ------------------------------------------------------------------------------------

void Reference::ata_in(const View& view, Owed owed) {
  Session& here = session(owed.address);
  const std::uint8_t command = view.ata_command();
  owed.ata = true;
  owed.joins = here.joins;
  owed.sectors = view.sectors();
  owed.lba = view.lba();
  for (std::size_t i = kArgument; i < 36; ++i) {
    owed.argument.push_back(view.u8(i));
  }
  if (clients::is_write(command)) {
    const std::size_t bytes = std::min(std::size_t{owed.sectors} * 512, view.data().size());
    owed.digest = hash_bytes(view.data().first(bytes));
    const bool locked = !state_.reserve_list.empty() && !listed(state_.reserve_list, owed.address);
    if (!locked && here.counts() && answered_by_window(here, owed)) {
      return;
    }
    execute(here, owed, view.data().size());
    return;
  }
  if (!clients::is_read(command)) {
    execute(here, owed, view.data().size());
    return;
  }
  owed.crc = here.crc;
  if (here.counts() && !here.empty) {
    const std::uint32_t tag = here.mode == Mode::be ? owed.tag : __builtin_bswap32(owed.tag);
    const std::uint32_t ahead = tag - here.highest;
    if (ahead >= kReadsMoveFrom && ahead < kSerialHalf) {
      move_window(here, owed.address, tag);
    }
  }
  if (!here.coalesced) {
    execute(here, owed, 0);
    return;
  }
  const Bytes data = view.data();
  const std::size_t asked = data.empty() ? 0 : static_cast<std::uint8_t>(data[0]);
  owed.chain = asked == 0 ? 0 : ++next_chain_;
  execute(here, owed, 0);
  for (std::size_t i = 0; i < asked && 1 + (i + 1) * kEntryBytes <= data.size(); ++i) {
    const std::size_t at = kListAt + i * kEntryBytes;
    Owed further = owed;
    further.arrival = ++next_arrival_;
    further.tag = (std::uint32_t{view.u16(at)} << 16U) | view.u16(at + 2);
    further.lba = view.lba_at(at + 4);
    further.sectors = view.u8(at + 15);
    further.argument[2] = view.u8(at + 15);
    for (std::size_t k = 0; k < 6; ++k) {
      further.argument[4 + k] = view.u8(at + 4 + k);
    }
    execute(here, further, 0);
  }
}

// What the window says to a write; false: it is to be performed.
bool Reference::answered_by_window(Session& here, Owed& owed) {
  const std::uint32_t tag = here.mode == Mode::be ? owed.tag : __builtin_bswap32(owed.tag);
  if (here.empty || (tag != here.highest && tag - here.highest < kSerialHalf)) {
    return false;
  }
  if (here.highest - tag >= kWindowTags) {
    return settings_.behind_window_perform == 0;  // no answer at all
  }
  owed.kind = Kind::write;
  if (here.performed.count(tag) != 0) {
    owed.state = State::done;
    owed_.push_back(owed);
    return true;
  }
  const bool in_flight = std::any_of(owed_.begin(), owed_.end(), [&](const Owed& other) {
    return other.windowed && !other.fell_out && other.address == owed.address &&
           other.tag == owed.tag && other.epoch == owed.epoch &&
           (other.state == State::waiting || other.state == State::started);
  });
  if (in_flight) {
    owed.state = State::follows;
    owed_.push_back(owed);
  }
  return in_flight;
}

void Reference::begin_window(Session& here) {
  here.empty = true;
  here.highest = 0;
  here.performed.clear();
  here.wrote = false;
  ++here.epoch;
}

void Reference::move_window(Session& here, MacAddress address, std::uint32_t highest) {
  const auto outside = [&](std::uint32_t tag) { return highest - tag >= kWindowTags; };
  here.highest = highest;
  std::erase_if(here.performed, outside);
  for (Owed& each : owed_) {
    if (each.windowed && each.address == address && each.epoch == here.epoch &&
        outside(here.mode == Mode::le ? __builtin_bswap32(each.tag) : each.tag)) {
      each.fell_out = true;
    }
  }
}

void Reference::enter_window(Session& here, Owed& owed) {
  if (!here.counts()) {
    return;
  }
  const std::uint32_t tag = here.mode == Mode::be ? owed.tag : __builtin_bswap32(owed.tag);
  const bool ahead = here.empty || (tag != here.highest && tag - here.highest < kSerialHalf);
  if (!ahead && here.highest - tag >= kWindowTags) {
    begin_window(here);  // AoEde's way: it begins again here
  }
  if (here.empty || ahead) {
    here.empty = false;
    move_window(here, owed.address, tag);
  }
  owed.windowed = true;
  owed.epoch = here.epoch;
}

void Reference::execute(Session& here, Owed owed, std::size_t payload) {
  const std::uint8_t command = owed.argument[3];
  const bool writes = clients::is_write(command);
  const bool reads = clients::is_read(command);
  // Answered without the disk: error register, status, and the count when it is not the asked one.
  const auto answer = [&](std::uint8_t error_register, std::uint8_t status,
                          std::optional<std::uint8_t> count) {
    owed.argument[1] = error_register;
    owed.argument[2] = count.value_or(owed.argument[2]);
    owed.argument[3] = status;
    owed.kind = writes ? Kind::write : Kind::other;
    owed_.push_back(owed);
  };
  owed.state = State::ready;
  if (!state_.reserve_list.empty() && !listed(state_.reserve_list, owed.address) &&
      command != clients::kIdentify) {
    owed.error = kReserved;
    return answer(kAbort, kReadyError, std::nullopt);
  }
  if (writes || reads) {
    if (owed.sectors == 0 || owed.sectors > sectors_max(owed.crc) ||
        (writes && payload < std::size_t{owed.sectors} * 512)) {
      owed.error = kBadArgument;
      return answer(kAbort, kReadyError, std::nullopt);
    }
    if (writes && settings_.read_only != 0) {
      return answer(kAbort, kReadyError, std::nullopt);
    }
    if (command == clients::kRead28 || command == clients::kWrite28) {
      owed.lba &= kLba28Mask;
    }
    if (owed.lba + owed.sectors > static_cast<std::uint64_t>(settings_.sectors)) {
      return answer(kNoSuchSector, kReadyError, std::nullopt);
    }
    owed.kind = writes ? Kind::write : Kind::read;
    if (writes) {
      enter_window(here, owed);
      here.wrote = here.features();
    }
    owed.state = State::waiting;
    owed_.push_back(owed);
    return;
  }
  if (clients::is_flush(command)) {
    owed.kind = Kind::flush;
    owed.state = State::waiting;
    owed_.push_back(owed);
    return;
  }
  if (command == clients::kIdentify) {
    owed.identify = true;
    return answer(0, kReady, 0);
  }
  if (command == kCheckPower) {
    return answer(0, kReady, 0xff);
  }
  answer(kAbort, kReadyError, std::nullopt);
}

// ---- state
// ----------------------------------------------------------------------------------------

void Reference::reset_session(const MacAddress& address) {
  Session& here = session(address);
  if (!here.exists || !here.features()) {
    return;
  }
  Session plain;
  plain.epoch = here.epoch + 1;
  plain.corrupted = here.corrupted;
  plain.congestion_id = here.congestion_id;
  plain.congestion_refused = here.congestion_refused;
  plain.exists = here.congestion_id.has_value();
  plain.heard = here.heard;
  here = plain;
}

void Reference::config_in(const View& view, Owed owed) {
  const std::uint8_t ccmd = view.u8(29) & 0xfU;
  const std::size_t length = view.u16(30);
  const bool fits = length <= 1024 && 32 + length <= view.bytes().size();
  owed.sub = ccmd;
  if (waits_for_save(view, owed, ccmd == 3 || ccmd == 4)) {
    return;
  }
  if (ccmd > 4 || (ccmd != 0 && !fits)) {
    if (gathers()) {
      wait_again(view, owed);
      return;
    }
    owed.error = kBadArgument;
    answer_change(owed);
    return;
  }
  std::vector<std::byte> text;
  if (fits) {
    const Bytes given = view.bytes().subspan(32, length);
    text.assign(given.begin(), given.end());
  }
  const std::vector<std::byte>& present = newest().config_string;
  if (gathers() && (text == present || (ccmd == 3 && !present.empty()))) {
    wait_again(view, owed);
    return;
  }
  if (settings_.reset_on_config_write == 0) {
    reset_session(owed.address);
  }
  const bool prefix =
      text.size() <= present.size() && std::equal(text.begin(), text.end(), present.begin());
  switch (ccmd) {
    case 0:
      answer_change(owed);
      return;
    case 1:
    case 2:
      if (prefix && (ccmd == 2 || text.size() == present.size())) {
        answer_change(owed);
      }
      return;
    case 3:
      if (!present.empty() && text != present) {
        owed.error = kStringPresent;
        answer_change(owed);
        return;
      }
      break;
    default:
      break;
  }
  PersistentState next = newest();
  next.config_string = text;
  change(owed, next, settings_.reset_on_config_write != 0);
}

void Reference::mask_in(const View& view, Owed owed) {
  const std::uint8_t mcmd = view.u8(25);
  const std::size_t count = view.u8(27);
  owed.sub = mcmd;
  if (waits_for_save(view, owed, mcmd == 1)) {
    return;
  }
  if (mcmd > 1 || (mcmd == 1 && 28 + count * 8 > view.bytes().size())) {
    if (gathers()) {
      wait_again(view, owed);
      return;
    }
    owed.error = kBadArgument;
    answer_change(owed);
    return;
  }
  PersistentState next = newest();
  for (std::size_t i = 0; mcmd == 1 && i < count; ++i) {
    const std::size_t at = 28 + i * 8;
    const MacAddress address = view.mac(at + 2);
    std::vector<MacAddress>& list = next.mask_list;
    const std::uint8_t directive = view.u8(at + 1);
    if (directive == 1 && !listed(list, address)) {
      if (list.size() >= list_limit(28, 8)) {
        owed.merror = 3;
      } else {
        list.push_back(address);
      }
    } else if (directive == 2) {
      std::erase(list, address);
    } else if (directive > 2) {
      owed.merror = 2;
    }
    if (owed.merror != 0) {
      owed.bad_directive = static_cast<std::uint8_t>(i);
      break;
    }
  }
  if (gathers() && next == newest()) {
    owed.merror = 0;
    owed.bad_directive = 0;
    wait_again(view, owed);
    return;
  }
  change(owed, next, false);
}

void Reference::reserve_in(const View& view, Owed owed) {
  const std::uint8_t rcmd = view.u8(24);
  const std::size_t count = view.u8(25);
  owed.sub = rcmd;
  if (rcmd == 0) {
    answer_change(owed);
    return;
  }
  if (waits_for_save(view, owed, rcmd == 1 || rcmd == 2)) {
    return;
  }
  PersistentState next = newest();
  const auto refuse = [&](std::uint8_t error) {
    if (gathers()) {
      wait_again(view, owed);
      return;
    }
    owed.error = error;
    answer_change(owed);
  };
  if (rcmd > 2 || 26 + count * 6 > view.bytes().size() || count > list_limit(26, 6)) {
    refuse(kBadArgument);
    return;
  }
  if (rcmd == 1 && !next.reserve_list.empty() && !listed(next.reserve_list, owed.address)) {
    refuse(kReserved);
    return;
  }
  next.reserve_list.clear();
  for (std::size_t i = 0; i < count; ++i) {
    next.reserve_list.push_back(view.mac(26 + i * 6));
  }
  if (gathers() && next == newest()) {
    wait_again(view, owed);
    return;
  }
  change(owed, next, false);
}

// One change of each host waits while others are stored, and no more than a quarter of the slots.
bool Reference::waits_for_save(const View& view, const Owed& owed, bool wants_change) {
  if (!saving_ || gathering_ || !wants_change) {
    return false;
  }
  const std::int64_t room =
      std::min<std::int64_t>(kWaitingMax, std::max<std::int64_t>(1, settings_.operations_max / 4));
  const bool one_waits = std::any_of(waiting_.begin(), waiting_.end(), [&](const Waiting& each) {
    return each.owed.address == owed.address;
  });
  if (!one_waits && std::ssize(waiting_) < room) {
    wait_again(view, owed);
  }
  return true;
}

void Reference::wait_again(const View& view, const Owed& owed) {
  waiting_.push_back({{view.bytes().begin(), view.bytes().end()}, owed});
}

// What waited becomes one state to be stored; what changes nothing waits for its end.
void Reference::take_waiting() {
  gathering_ = true;
  const std::vector<Waiting> before = std::move(waiting_);
  waiting_.clear();
  for (const Waiting& each : before) {
    const View view(each.frame);
    if (each.owed.command == clients::kConfig) {
      config_in(view, each.owed);
    } else if (each.owed.command == clients::kMask) {
      mask_in(view, each.owed);
    } else {
      reserve_in(view, each.owed);
    }
  }
  gathering_ = false;
}

// The operator's word (--freeze) comes before what a host may ask for.
bool Reference::frozen(std::uint8_t command) const {
  const std::int64_t bit = command == clients::kConfig ? kFrozenConfig
                           : command == clients::kMask ? kFrozenMask
                                                       : kFrozenReserve;
  return (settings_.frozen & bit) != 0;
}

void Reference::change(Owed owed, const PersistentState& next, bool resets) {
  if (next != newest() && frozen(owed.command)) {
    owed.error = kUnavailable;
    answer_change(owed);
    return;
  }
  if (next != newest() && settings_.persist != 0) {
    owed.state = State::saving;
    if (!saving_) {
      saving_ = Saving{};
    }
    saving_->changes.push_back({next, owed, resets});
    return;
  }
  state_ = next;
  if (resets) {
    reset_session(owed.address);
  }
  answer_change(owed);
}

// What the reply to a config, mask or reserve command holds now.
void Reference::answer_change(Owed& owed) {
  Text& text = owed.argument;
  if (owed.command == clients::kConfig) {
    text = config_argument(owed.sub);
  } else if (owed.command == clients::kMask) {
    const std::vector<MacAddress>& list = state_.mask_list;
    std::size_t entries = std::min(list.size(), list_limit(28, 8));
    if (owed.error != 0) {
      entries = 0;
    } else if (owed.merror != 0) {
      entries = owed.bad_directive;
    }
    text = {0, owed.sub, owed.error != 0 ? std::uint8_t{0} : owed.merror,
            static_cast<std::uint8_t>(entries)};
    for (std::size_t i = 0; i < entries; ++i) {
      put16(text, 0);
      put(text, i < list.size() ? list[i] : MacAddress{});
    }
  } else {
    const std::vector<MacAddress>& list = state_.reserve_list;
    const bool shown = owed.error == 0 || owed.error == kReserved;
    const std::size_t count = shown ? std::min(list.size(), list_limit(26, 6)) : 0;
    text = {owed.sub, static_cast<std::uint8_t>(count)};
    for (std::size_t i = 0; i < count; ++i) {
      put(text, list[i]);
    }
  }
  owed.state = State::ready;
  owed_.push_back(owed);
}

Reference::Text Reference::config_argument(std::uint8_t ccmd) const {
  Text text;
  put16(text, static_cast<std::size_t>(settings_.buffer_count));
  put16(text, 1);
  text.push_back(static_cast<std::uint8_t>(sectors_max(false)));
  text.push_back(static_cast<std::uint8_t>(0x10 | ccmd));
  put16(text, state_.config_string.size());
  for (const std::byte letter : state_.config_string) {
    text.push_back(static_cast<std::uint8_t>(letter));
  }
  return text;
}

void Reference::save_started(const PersistentState& state) {
  if (!saving_ || saving_->started) {
    complain("save:unasked", "a state is stored that nobody asked for");
    return;
  }
  saving_->started = true;
  if (state != saving_->changes.back().next) {
    complain("save:state", "what is stored is not what was asked for");
  }
}

void Reference::save_done(DiskStatus status) {
  if (!saving_) {
    return;
  }
  const Saving saving = *saving_;
  saving_.reset();
  for (const Change& each : saving.changes) {
    Owed owed = each.owed;
    if (status == DiskStatus::ok) {
      state_ = each.next;
      if (each.resets) {
        reset_session(owed.address);
      }
    } else {
      owed.error = kUnavailable;
    }
    answer_change(owed);
  }
  take_waiting();
}

// ---- extensions
// -----------------------------------------------------------------------------------

void Reference::extensions_in(const View& view, Owed owed) {
  const Bytes frame = view.bytes();
  std::size_t length = 0;
  bool well_formed = false;
  for (const bool big : {false, true}) {
    length = big ? view.u16(24) : static_cast<std::size_t>(view.u8(24) | (view.u8(25) << 8U));
    well_formed = length >= 2 && kTable + length <= frame.size() &&
                  view.u8(kTable + length - 1) == 0 && view.u8(kTable + length - 2) == 0;
    if (well_formed) {
      break;
    }
  }
  if (!well_formed) {
    return;
  }
  Session& here = session(owed.address);
  hear(here);
  if (here.mode != Mode::none) {
    const InBatch key{owed.address, owed.tag, owed.command, owed.epoch};
    if (std::find(in_batch_.begin(), in_batch_.end(), key) != in_batch_.end()) {
      drop_due_ = true;
      return;
    }
    in_batch_.push_back(key);
  }
  struct Name {
    std::string text;
    std::size_t at = 0;
    std::optional<std::uint64_t> id;
  };
  std::vector<Name> names;
  for (std::size_t at = kTable; at < kTable + length;) {
    std::string text;
    for (std::size_t i = at; view.u8(i) != 0; ++i) {
      text += static_cast<char>(view.u8(i));
    }
    if (text.empty()) {
      break;
    }
    names.push_back({lower(text), at, std::nullopt});
    at += text.size() + 1;
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i].text == "congestion") {
      if (i + 1 < names.size()) {
        names[i].id = decimal(names[i + 1].text);
        names.erase(names.begin() + static_cast<std::ptrdiff_t>(i) + 1);
      }
    }
  }

  bool pauses = false;
  const auto open = [&] {
    if (!here.exists && places_taken() >= static_cast<std::size_t>(settings_.initiators_max)) {
      give_way();
    }
    if (!here.exists && places_taken() < static_cast<std::size_t>(settings_.initiators_max)) {
      here.exists = true;
      hear(here);
    }
    return here.exists;
  };
  for (const Name& name : names) {
    if (name.text == "reset") {
      if (here.exists) {
        Session plain;
        plain.epoch = here.epoch + 1;
        plain.corrupted = here.corrupted;
        plain.congestion_id = here.congestion_id;
        plain.congestion_refused = here.congestion_refused;
        plain.exists = here.congestion_id.has_value();
        plain.heard = here.heard;
        here = plain;
      }
    } else if (name.text == "tag_inc_be" || name.text == "tag_inc_le" ||
               name.text == "tag_random") {
      if (!open()) {
        continue;
      }
      here.mode = name.text == "tag_inc_be"   ? Mode::be
                  : name.text == "tag_inc_le" ? Mode::le
                                              : Mode::random;
      begin_window(here);
    } else if (name.text == "coalesced_read") {
      here.coalesced = open() || here.coalesced;
    } else if (name.text == "coalesced_write_reply") {
      here.joins = open() || here.joins;
    } else if (name.text == "crc8x4") {
      here.crc = open() || here.crc;
    } else if (name.text == "congestion" && name.id) {
      if (open() && here.congestion_id != name.id) {
        const bool granted =
            pauses || std::count_if(pauses_.begin(), pauses_.end(), [&](Nanoseconds begun) {
                        return now_ - begun < kPausePeriod;
                      }) < static_cast<std::ptrdiff_t>(kPausesMax);
        here.congestion_id = name.id;
        here.congestion_refused = !granted;
        pauses = pauses || granted;
      }
    }
  }
  // The same table, each known name in the case that tells whether it is active.
  for (std::size_t i = kArgument; i < kTable + length; ++i) {
    owed.argument.push_back(view.u8(i));
  }
  for (const Name& name : names) {
    const bool active = name.text == "reset" ||
                        (name.text == "tag_inc_be" && here.mode == Mode::be) ||
                        (name.text == "tag_inc_le" && here.mode == Mode::le) ||
                        (name.text == "tag_random" && here.mode == Mode::random) ||
                        (name.text == "coalesced_read" && here.coalesced) ||
                        (name.text == "coalesced_write_reply" && here.joins) ||
                        (name.text == "crc8x4" && here.crc) ||
                        (name.text == "congestion" && name.id && here.exists &&
                         here.congestion_id == name.id && !here.congestion_refused);
    const bool known = name.text == "reset" || name.text == "tag_inc_be" ||
                       name.text == "tag_inc_le" || name.text == "tag_random" ||
                       name.text == "coalesced_read" || name.text == "coalesced_write_reply" ||
                       name.text == "crc8x4" || name.text == "congestion";
    const std::string cased = active ? upper(name.text) : name.text;
    for (std::size_t i = 0; known && i < cased.size(); ++i) {
      owed.argument[name.at - kArgument + i] = static_cast<std::uint8_t>(cased[i]);
    }
  }
  if (pauses) {
    pauses_.push_back(now_);
    owed.not_before = now_ + kPause;
    pause_until_ = owed.not_before;
  }
  owed_.push_back(owed);
}

// The table is full: who never wrote under his features loses his place, if there is one, those
// without features first, and of them the one that has been silent for longest.
void Reference::give_way() {
  Session* loser = nullptr;
  for (auto& [address, each] : sessions_) {
    if (!each.exists || each.wrote) {
      continue;
    }
    const bool worse = loser == nullptr || each.features() < loser->features() ||
                       (each.features() == loser->features() && each.heard < loser->heard);
    loser = worse ? &each : loser;
  }
  if (loser != nullptr) {
    Session nothing;
    nothing.epoch = loser->epoch + 1;
    nothing.corrupted = loser->corrupted;
    *loser = nothing;
  }
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
    if (&other == &*found || other.kind == Kind::other ||
        (other.state != State::waiting && other.state != State::started)) {
      continue;
    }
    const bool earlier = other.arrival < found->arrival;
    if (kind == Kind::flush) {
      if (earlier && other.kind == Kind::write) {
        complain("disk:flush-order",
                 fmt::format("a flush overtakes the write {}+{} (tag {}) that arrived before it",
                             other.lba, other.sectors, other.tag));
      }
      continue;
    }
    if (other.kind == Kind::flush || (kind == Kind::read && other.kind == Kind::read) ||
        !overlaps(op.lba, op.sectors, other.lba, other.sectors)) {
      continue;
    }
    if (other.state == State::started) {
      complain("disk:overlap", fmt::format("{}+{} and {}+{} are in flight together", op.lba,
                                           op.sectors, other.lba, other.sectors));
    } else if (earlier) {
      complain("disk:order", fmt::format("{}+{} overtakes {}+{} (tag {}) that arrived before it",
                                         op.lba, op.sectors, other.lba, other.sectors, other.tag));
    }
  }
  found->state = State::started;
  found->disk_id = op.id;
  const std::uint64_t corrupted = session(found->address).corrupted;
  return {found->epoch + (corrupted << 32U), found->windowed};
}

void Reference::disk_done(std::uint32_t id, DiskStatus status) {
  const auto found = std::find_if(owed_.begin(), owed_.end(), [&](const Owed& owed) {
    return owed.state == State::started && owed.disk_id == id;
  });
  if (found == owed_.end()) {
    return;
  }
  found->state = status == DiskStatus::ok ? State::done : State::failed;
  if (!found->windowed) {
    return;
  }
  Session& here = session(found->address);
  const std::uint32_t tag = here.mode == Mode::le ? __builtin_bswap32(found->tag) : found->tag;
  if (here.epoch == found->epoch && status == DiskStatus::ok && here.highest - tag < kWindowTags) {
    here.performed.insert(tag);
  }
  for (Owed& other : owed_) {
    if (other.state == State::follows && other.address == found->address &&
        other.tag == found->tag && other.epoch == found->epoch) {
      other.state = found->state;
    }
  }
}

// ---- frames out
// -----------------------------------------------------------------------------------

bool Reference::frame_out(Bytes frame) {
  const View view(frame);
  if (frame.size() < clients::kHeaderBytes || !view.aoe()) {
    complain("reply:malformed", "the target sent a frame that is not AoE");
    return false;
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
  if (frame.size() < clients::kMinimumFrameBytes) {
    complain("reply:short", fmt::format("a reply of {} bytes", frame.size()));
  }
  if (is_group(view.destination())) {
    announcement_out(view);
    return false;
  }
  return reply_out(view.destination(), view.tag(), view.command(), frame, std::nullopt);
}

void Reference::announcement_out(const View& view) {
  Owed nobody;
  nobody.address = view.destination();
  nobody.command = clients::kConfig;
  if (announced_ || view.tag() != 0 || view.command() != clients::kConfig || view.error_flag()) {
    complain("reply:to-all", fmt::format("not the one announcement of a life: {}",
                                         clients::describe(view.bytes())));
    return;
  }
  announced_ = true;
  check_bytes(view, kArgument, config_argument(0), nobody);
  check_tail(view, kArgument + config_argument(0).size(), nobody);
}

// Whether a read of the same request that stands before this one is still unanswered.
bool Reference::waits_in_chain(const Owed& owed) const {
  return owed.chain != 0 && std::any_of(owed_.begin(), owed_.end(), [&](const Owed& other) {
           return other.chain == owed.chain && other.arrival < owed.arrival;
         });
}

Reference::Owed* Reference::find_owed(const MacAddress& address, std::uint32_t tag,
                                      std::uint8_t command, bool failure) {
  Owed* best = nullptr;
  bool best_fits = false;
  for (Owed& owed : owed_) {
    if (owed.address != address || owed.tag != tag || owed.command != command) {
      continue;
    }
    const bool ripe =
        owed.state == State::ready || owed.state == State::done || owed.state == State::failed;
    // A good reply is not the answer to what failed, when there is a better one.
    const bool failed = owed.error != 0 || owed.state == State::failed ||
                        (owed.ata && owed.state == State::ready && (owed.argument[3] & 1U) != 0);
    const bool fits = failed == failure && !waits_in_chain(owed);
    if (ripe && (best == nullptr || (fits && !best_fits))) {
      best = &owed;
      best_fits = fits;
    }
  }
  if (best == nullptr || !best_fits) {
    Owed like;
    like.address = address;
    like.tag = tag;
    like.command = command;
    Owed* swapped = swap_interchangeable(like, failure);
    best = swapped == nullptr ? best : swapped;
  }
  return best;
}

// Two requests for the same thing have two disk operations, and nobody can tell which is whose:
// when the other's has ended and this one's has not, they change places.
Reference::Owed* Reference::swap_interchangeable(const Owed& like, bool failure) {
  const State wanted = failure ? State::failed : State::done;
  for (Owed& mine : owed_) {
    if (mine.address != like.address || mine.tag != like.tag || mine.command != like.command ||
        mine.kind == Kind::other || mine.windowed || mine.state == State::ready ||
        mine.state == State::follows || waits_in_chain(mine)) {
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

// A reply of its own, or (entry: its offset) a result in another's frame.
bool Reference::reply_out(const MacAddress& address, std::uint32_t tag, std::uint8_t command,
                          Bytes frame, std::optional<std::size_t> entry) {
  const View view(frame);
  const bool failure = entry ? (view.u8(*entry + 4 + 3) & 1U) != 0 : is_failure(view);
  Owed* owed = find_owed(address, tag, command, failure);
  if (owed == nullptr) {
    const auto mine = std::find_if(owed_.begin(), owed_.end(), [&](const Owed& each) {
      return each.address == address && each.tag == tag && each.command == command;
    });
    const bool early = mine != owed_.end();
    complain(early ? "reply:early" : "reply:unasked",
             fmt::format("a reply {} to {} tag {}: {}",
                         early ? "before the disk operation has ended" : "that nobody is owed",
                         show(address), tag, clients::describe(frame)));
    return false;
  }
  const Owed mine = *owed;
  owed_.erase(owed_.begin() + (owed - owed_.data()));
  check_reply(view, mine, entry);
  return mine.joins && mine.ata && mine.kind == Kind::write && !view.error_flag();
}

std::size_t Reference::results_out(Bytes frame, std::size_t from) {
  const View view(frame);
  if (frame.size() < kListAt) {
    return 0;
  }
  const std::size_t count = view.u8(36);
  for (std::size_t i = from; i < count; ++i) {
    const std::size_t at = kListAt + i * kEntryBytes;
    if (at + kEntryBytes > frame.size()) {
      complain("reply:results", "a list of results that its frame does not hold");
      return count;
    }
    const std::uint32_t tag = (std::uint32_t{view.u16(at)} << 16U) | view.u16(at + 2);
    reply_out(view.destination(), tag, view.command(), frame, at);
  }
  return count;
}

void Reference::check_reply(const View& view, const Owed& owed, std::optional<std::size_t> entry) {
  if (now_ < owed.not_before) {
    complain("pause:short", fmt::format("a pause ended {} ns early", owed.not_before - now_));
  } else if (owed.not_before != INT64_MIN && now_ > owed.not_before + kPauseSlack) {
    complain("pause:long", fmt::format("a pause ended {} ns late", now_ - owed.not_before));
  }
  if (pause_until_ && owed.not_before == *pause_until_) {
    pause_until_.reset();
  }
  if (waits_in_chain(owed)) {
    complain("reply:chain",
             fmt::format("tag {} is answered before one that stands before it in its request",
                         owed.tag));
  }
  const std::uint8_t error = entry ? 0 : view.error();
  if (error != owed.error) {
    complain("reply:error", fmt::format("error {} where {} is due: {}", error, owed.error,
                                        clients::describe(view.bytes())));
    return;
  }
  if (owed.ata) {
    check_ata(view, owed, entry);
    return;
  }
  check_bytes(view, kArgument, owed.argument, owed);
  check_tail(view, kArgument + owed.argument.size(), owed);
}

void Reference::check_ata(const View& view, const Owed& owed, std::optional<std::size_t> entry) {
  Text registers = owed.argument;
  const bool failed = owed.state == State::failed;
  if (owed.state == State::done) {
    registers[1] = 0;
    registers[2] = 0;  // nothing is left to transfer
    registers[3] = kReady;
  } else if (failed) {
    registers[1] = owed.kind == Kind::read ? kUncorrectable : kAbort;
    registers[3] = owed.kind == Kind::read ? kReadyError : kReadyFaultError;
  }
  const bool writes = owed.kind == Kind::write;
  registers[0] &= kDefinedFlags;
  if (owed.joins) {
    registers[0] =
        static_cast<std::uint8_t>(writes ? registers[0] | kWriteFlag : registers[0] & ~kWriteFlag);
  }
  registers[10] = 0;
  registers[11] = 0;
  if (entry) {
    check_bytes(view, *entry + 4, registers, owed);
    return;
  }
  if (!view.ata()) {
    complain("reply:short", fmt::format("an ATA reply of {} bytes", view.bytes().size()));
    return;
  }
  check_bytes(view, kArgument, registers, owed);
  if (owed.kind == Kind::read && owed.state == State::done) {
    const std::size_t wanted = 36 + std::size_t{owed.sectors} * 512 + (owed.crc ? 4 : 0);
    if (view.bytes().size() != wanted) {
      complain("reply:length",
               fmt::format("{} bytes where {} are due", view.bytes().size(), wanted));
    } else if (owed.crc) {
      const auto check = clients::crc8x4(view.bytes().subspan(kArgument, wanted - 28));
      if (!std::equal(check.begin(), check.end(), view.bytes().end() - 4)) {
        complain("reply:check", fmt::format("wrong check bytes to tag {}", owed.tag));
      }
    }
    return;
  }
  const bool identify = owed.kind == Kind::other && owed.identify && owed.error == 0;
  if (identify) {
    check_bytes(view, 36, identify_data(), owed);
    check_tail(view, 36 + 512, owed);
    return;
  }
  std::size_t tail = 36;
  if (writes && owed.joins && view.bytes().size() > 36 && owed.error == 0 && view.u8(36) != 0) {
    tail = kListAt + std::size_t{view.u8(36)} * kEntryBytes;
  }
  check_tail(view, tail, owed);
}

void Reference::check_bytes(const View& view, std::size_t from, const Text& wanted,
                            const Owed& owed) {
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const bool there = from + i < view.bytes().size();
    if (!there || view.u8(from + i) != wanted[i]) {
      const bool status = owed.ata && from + i == 27;
      complain(status ? "reply:status" : "reply:content",
               there
                   ? fmt::format("byte {} of the reply to tag {} is {:02x} where {:02x} is due: {}",
                                 from + i, owed.tag, view.u8(from + i), wanted[i],
                                 clients::describe(view.bytes()))
                   : fmt::format("the reply to tag {} ends at byte {}", owed.tag, from + i));
      return;
    }
  }
}

// What stands behind the last field is zero (and nothing of anybody else's).
void Reference::check_tail(const View& view, std::size_t from, const Owed& owed) {
  if (view.bytes().size() != std::max<std::size_t>(from, clients::kMinimumFrameBytes)) {
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

// Word by word, from the ATA standard and docs/aoe-target.md.
Reference::Text Reference::identify_data() const {
  const target::engine::EngineConfig names;
  std::array<std::uint16_t, 256> words{};
  const auto sectors = static_cast<std::uint64_t>(settings_.sectors);
  const auto text = [&](std::size_t first, std::size_t count, std::string_view value) {
    std::string padded(value);
    padded.resize(count * 2, ' ');
    for (std::size_t i = 0; i < count; ++i) {
      words[first + i] =
          static_cast<std::uint16_t>((static_cast<std::uint8_t>(padded[2 * i]) << 8U) |
                                     static_cast<std::uint8_t>(padded[2 * i + 1]));
    }
  };
  words[0] = 0x0040;  // a fixed device
  words[1] = static_cast<std::uint16_t>(std::min<std::uint64_t>(16'383, sectors / 1'008));
  words[3] = 16;
  words[6] = 63;
  text(10, 10, names.serial);
  text(23, 4, names.firmware);
  text(27, 20, names.model);
  words[47] = 0x8000;
  words[49] = 0x0200;  // LBA
  words[50] = 0x4000;
  words[60] = static_cast<std::uint16_t>(sectors);
  words[61] = static_cast<std::uint16_t>(sectors >> 16U);
  words[80] = 0x00f0;
  words[82] = settings_.volatile_write_cache != 0 ? 0x0020 : 0;
  words[83] = 0x7400;  // valid, flush ext, flush, LBA48
  words[84] = 0x4000;
  words[85] = words[82];
  words[86] = 0x3400;
  words[87] = 0x4000;
  words[100] = words[60];
  words[101] = words[61];
  words[102] = static_cast<std::uint16_t>(sectors >> 32U);
  Text data;
  std::uint8_t sum = 0xa5;
  for (std::size_t i = 0; i < 255; ++i) {
    data.push_back(static_cast<std::uint8_t>(words[i]));
    data.push_back(static_cast<std::uint8_t>(words[i] >> 8U));
    sum = static_cast<std::uint8_t>(sum + data[2 * i] + data[2 * i + 1]);
  }
  data.push_back(0xa5);
  data.push_back(static_cast<std::uint8_t>(-sum));
  return data;
}

}  // namespace sim::checkers
