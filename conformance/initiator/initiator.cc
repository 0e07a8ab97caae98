// An AoE initiator, pure. A reader begins with run(): what is due is repeated, then what may be
// sent is sent. The order in which a session comes to be is enter(): asking, identifying,
// negotiating, sizing, ready; checking asks a session that was ready whether it is still there.
//
// Eras. A tag window knows its own 32,768 tags. When this initiator can no longer be sure that
// every copy of what it sent is known to the target's window (a new session, a write given up or
// failed, one that is cut in smaller pieces), it leaps ahead by more than a window: the first write
// of the new era pushes every older copy behind the window, where the target drops it. What is
// still outstanding is asked for again under tags of the new era.

#include "conformance/initiator/initiator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cctype>

namespace conformance::initiator {

using observer::F;
using observer::get;
using observer::kCrc8x4Bytes;
using observer::kSectorBytes;
namespace at = observer::at;
namespace ata = observer::ata;

namespace {

constexpr uint32_t kWindowTags = 32768;
constexpr uint32_t kEraLeap = 2 * kWindowTags;
constexpr size_t kEthernetHeaderBytes = 14;
constexpr size_t kArgumentBytes = at::ata_data - at::argument;
constexpr unsigned kSmallSectors = 2;  // fits whatever Ethernet carries
constexpr unsigned kTriesBeforeDoubt = 3;
constexpr unsigned kTriesBeforeSmaller = 3;
constexpr unsigned kTriesBeforeOtherOrder = 3;
constexpr unsigned kTriesBeforePlain = 6;
constexpr unsigned kTriesBeforeSizing = 4;
constexpr unsigned kTriesBeforeOtherPath = 2;
constexpr unsigned kMalformedMax = 8;
constexpr uint64_t kLba28Sectors = 1ULL << 28;
constexpr uint64_t kLba48Sectors = 1ULL << 48;

// Odd, so that multiplying is a permutation of the 32-bit numbers: tags in no order, all distinct.
constexpr uint32_t kScatter = 0x9e3779b1;
constexpr uint32_t inverse_of(uint32_t odd) {
  uint32_t inverse = odd;
  for (int i = 0; i < 5; ++i) {
    inverse *= 2 - odd * inverse;
  }
  return inverse;
}
constexpr uint32_t kGather = inverse_of(kScatter);
static_assert(kScatter * kGather == 1);

struct FeatureName {
  std::string_view name;
  Tags tags;
  bool Features::*flag;
};
constexpr FeatureName kFeatureNames[] = {
    {"tag_inc_be", Tags::increment_be, nullptr},
    {"tag_inc_le", Tags::increment_le, nullptr},
    {"tag_random", Tags::random, nullptr},
    {"coalesced_read", Tags::none, &Features::coalesced_read},
    {"coalesced_write_reply", Tags::none, &Features::coalesced_write_reply},
    {"crc8x4", Tags::none, &Features::crc8x4},
};

std::string upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return out;
}

bool covers(const Features& active, const Features& wished) {
  return (wished.tags == Tags::none || active.tags == wished.tags) &&
         (active.coalesced_read || !wished.coalesced_read) &&
         (active.coalesced_write_reply || !wished.coalesced_write_reply) &&
         (active.crc8x4 || !wished.crc8x4);
}

// A reply's header says which request it answers; everything after it is the request's.
uint64_t field_of(BytesView frame, F id) {
  return get(frame, id).value_or(0);
}

Mac mac_at(BytesView frame, size_t offset) {
  Mac mac{};
  std::copy_n(frame.begin() + static_cast<ptrdiff_t>(offset), mac.size(), mac.begin());
  return mac;
}

}  // namespace

// ------------------------------------------------------------------ words

std::optional<Features> features_from_string(std::string_view text, std::string& wrong) {
  Features features;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    const auto* known = std::find_if(std::begin(kFeatureNames), std::end(kFeatureNames),
                                     [&](const FeatureName& f) { return f.name == word; });
    if (known == std::end(kFeatureNames)) {
      wrong = std::string(word);
      return std::nullopt;
    }
    if (known->flag != nullptr) {
      features.*known->flag = true;
    } else if (features.tags != Tags::none && features.tags != known->tags) {
      wrong = fmt::format("{} beside another promise about tags", word);
      return std::nullopt;
    } else {
      features.tags = known->tags;
    }
  }
  return features;
}

std::string to_string(const Features& features) {
  std::string out;
  for (const FeatureName& f : kFeatureNames) {
    if (f.flag != nullptr ? features.*f.flag : features.tags == f.tags) {
      out += (out.empty() ? "" : ",") + std::string(f.name);
    }
  }
  return out;
}

std::string_view name_of(Result result) {
  switch (result) {
    case Result::done:
      return "done";
    case Result::refused:
      return "refused";
    case Result::failed:
      return "failed";
    case Result::unknown:
      return "unanswered";
    case Result::malformed:
      return "malformed";
    case Result::lost:
      return "lost";
  }
  return "";
}

std::string_view name_of(Phase phase) {
  switch (phase) {
    case Phase::asking:
      return "asking";
    case Phase::identifying:
      return "identifying";
    case Phase::negotiating:
      return "negotiating";
    case Phase::sizing:
      return "sizing";
    case Phase::checking:
      return "checking";
    case Phase::ready:
      return "ready";
  }
  return "";
}

std::string describe(const Completion& c) {
  const std::string what =
      c.kind == Kind::flush
          ? "flush"
          : fmt::format("{} of {} sectors at {}", c.kind == Kind::read ? "read" : "write",
                        c.sectors, c.lba);
  switch (c.result) {
    case Result::done:
      return what + ": done";
    case Result::refused:
      return fmt::format(
          "{}: refused with AoE error {}{}", what, c.aoe_error,
          c.aoe_error == observer::aoe_error::reserved ? " (the target is reserved)" : "");
    case Result::failed:
      return fmt::format("{}: ATA status {:#04x}, error {:#04x}{}", what, c.ata_status, c.ata_error,
                         (c.ata_error & ata::error_idnf) != 0 ? " (past the end)" : "");
    case Result::unknown:
      return what + ": no answer, nobody knows whether it was done";
    case Result::malformed:
      return what + ": the target's answers cannot be read";
    case Result::lost:
      return what + ": the target restarted with acknowledged writes in its volatile cache";
  }
  return what;
}

// ------------------------------------------------------------------ construction

Initiator::Initiator(Config config) : config_(std::move(config)), next_serial_(config_.first_tag) {
  assert(!config_.paths.empty() && config_.outstanding_limit > 0 && config_.jobs_max > 0);
  for (const PathConfig& p : config_.paths) {
    Path path;
    path.own = p.own;
    path.mtu = p.mtu;
    path.trips.fill(RoundTrip(config_.wait));
    paths_.push_back(path);
  }
  jobs_.resize(config_.jobs_max);
  for (size_t i = config_.jobs_max; i-- > 0;) {
    free_jobs_.push_back(static_cast<uint32_t>(i));
  }
  slots_.resize(config_.outstanding_limit);
  for (size_t i = config_.outstanding_limit; i-- > 0;) {
    free_slots_.push_back(static_cast<uint32_t>(i));
  }
  size_t table = 64;
  while (table < 4 * slots_.size()) {
    table *= 2;
  }
  by_tag_.assign(table, kNone);
  enter(Phase::asking, 0);
}

// ------------------------------------------------------------------ tags

uint32_t Initiator::on_wire(uint32_t serial) const {
  switch (config_.wished.tags) {
    case Tags::increment_le:
      return __builtin_bswap32(serial);
    case Tags::random:
      return serial * kScatter;
    default:
      return serial;
  }
}

// Zero is what a target puts into an announcement; no request of ours has it.
uint32_t Initiator::take_tag() {
  while (next_serial_ == 0 || by_tag_[next_serial_ % by_tag_.size()] != kNone) {
    ++next_serial_;
  }
  return next_serial_++;
}

uint32_t Initiator::serial_of(uint32_t tag) const {
  switch (config_.wished.tags) {
    case Tags::increment_le:
      return __builtin_bswap32(tag);
    case Tags::random:
      return tag * kGather;
    default:
      return tag;
  }
}

void Initiator::put_tag(Slot& slot, uint32_t serial) {
  slot.tag = serial;
  by_tag_[serial % by_tag_.size()] = static_cast<uint32_t>(&slot - slots_.data());
}

void Initiator::forget_tag(const Slot& slot) {
  by_tag_[slot.tag % by_tag_.size()] = kNone;
}

uint32_t Initiator::slot_of(uint32_t serial) const {
  const uint32_t slot = by_tag_[serial % by_tag_.size()];
  return slot != kNone && slots_[slot].used && slots_[slot].tag == serial ? slot : kNone;
}

void Initiator::begin_era() {
  ++counters_.eras;
  era_due_ = false;
  next_serial_ += kEraLeap;
  for (Slot& slot : slots_) {
    if (slot.used) {
      forget_tag(slot);
    }
  }
  for (Slot& slot : slots_) {
    if (slot.used) {
      put_tag(slot, take_tag());
      slot.overdue = true;
      slot.tail = false;
      slot.tries = 0;
      earliest_ns_ = 0;
    }
  }
}

// ------------------------------------------------------------------ the session

void Initiator::enter(Phase phase, int64_t now_ns) {
  phase_ = phase;
  control_ = Control{};
  control_.open = phase != Phase::ready;
  if (!control_.open) {
    earliest_ns_ = 0;  // deadlines may have passed meanwhile
    return;
  }
  control_.tag = take_tag();
  observer::Frame frame;
  switch (phase) {
    case Phase::asking:
      frame = observer::config_request(observer::ccmd::read);
      break;
    case Phase::identifying:
      frame = observer::identify_request();
      break;
    case Phase::negotiating: {
      std::vector<std::string> table{"reset"};
      Features wished = config_.wished;
      // Also the instrument that tells a live session from one that is gone.
      wished.coalesced_read =
          wished.coalesced_read || wished.tags != Tags::none || wished.coalesced_write_reply;
      for (const FeatureName& f : kFeatureNames) {
        if (f.flag != nullptr ? wished.*f.flag : wished.tags == f.tags) {
          table.emplace_back(f.name);
        }
      }
      frame = observer::extension_request(
          table, table_big_endian_ ? observer::Order::big : observer::Order::little);
      ++counters_.negotiations;
      break;
    }
    case Phase::sizing: {
      const unsigned sectors = sizing_small_ ? 1 : sizing_;
      frame = observer::read_request(0, static_cast<uint8_t>(sectors), device_.lba48);
      if (!sizing_small_) {  // as long as a write would be: both directions are tried at once
        frame.grow(at::ata_data + sectors * kSectorBytes +
                   (device_.active.crc8x4 ? kCrc8x4Bytes : 0));
      }
      break;
    }
    case Phase::checking:
      frame = observer::read_request(0, 1, device_.lba48);
      if (device_.active.coalesced_read) {
        control_.second_tag = take_tag();
        observer::add_coalesced(frame, {{on_wire(control_.second_tag), 0, 1}});
      }
      ++counters_.checks;
      break;
    case Phase::ready:
      break;
  }
  frame.set(F::shelf, config_.shelf).set(F::slot, config_.slot);
  frame.set(F::tag, on_wire(control_.tag));
  frame.grow(observer::kMinFrameBytes);
  control_.frame = frame.bytes();
  control_.deadline_ns = now_ns;  // run() sends it
}

void Initiator::send_control(int64_t now_ns) {
  control_.sent = true;
  control_.sent_ns = now_ns;
  const bool asking = phase_ == Phase::asking;
  control_.deadline_ns = now_ns + paths_[path_].trips[0].wait_ns(control_.tries);
  control_.copies.clear();
  for (size_t i = 0; i < paths_.size(); ++i) {
    if (i != path_ && !(asking && ask_everywhere_)) {
      continue;
    }
    const Path& path = paths_[i];
    Bytes copy = control_.frame;
    const Mac to = asking || !path.target ? observer::kBroadcastMac : *path.target;
    std::copy(to.begin(), to.end(), copy.begin());
    std::copy(path.own.begin(), path.own.end(), copy.begin() + 6);
    control_.copies.push_back(std::move(copy));
  }
  size_t next = 0;
  for (size_t i = 0; i < paths_.size(); ++i) {
    if (i == path_ || (asking && ask_everywhere_)) {
      frames_.push_back({i, control_.copies[next++]});
      ++counters_.sent;
    }
  }
}

void Initiator::control_timeout(int64_t now_ns) {
  ++control_.tries;
  ++counters_.repeated;
  if (paths_.size() > 1 && control_.tries >= kTriesBeforeOtherPath && !control_.first_answered) {
    change_path(now_ns);
    return;
  }
  switch (phase_) {
    case Phase::negotiating:
      if (control_.tries == kTriesBeforePlain) {
        // Silence is how some targets say that they know no extensions. One that was ready before
        // may as well be gone: ask again who is there.
        table_big_endian_ = false;
        if (config_.features_required) {
          enter(Phase::asking, now_ns);
        } else {
          device_.active = Features{};
          begin_sizing(now_ns);
        }
      } else if (control_.tries == kTriesBeforeOtherOrder) {
        const unsigned tries = control_.tries;
        table_big_endian_ = true;
        enter(Phase::negotiating, now_ns);
        control_.tries = tries;
      }
      break;
    case Phase::identifying:
      if (control_.tries >= kTriesBeforePlain) {
        enter(Phase::asking, now_ns);  // it may have another address by now
      }
      break;
    case Phase::sizing:
      if (control_.tries >= kTriesBeforeSmaller && !sizing_small_ && sizing_ > 1) {
        sizing_small_ = true;
        enter(Phase::sizing, now_ns);
      }
      break;
    case Phase::checking:
      if (control_.first_answered && control_.tries >= kTriesBeforeDoubt) {
        lose_session(now_ns);
      }
      break;
    case Phase::asking:
      ask_everywhere_ = true;
      break;
    case Phase::ready:
      break;
  }
}

bool Initiator::can_check() const {
  return device_.active.coalesced_read || device_.active.crc8x4;
}

// Something says that the target may have forgotten us.
void Initiator::doubt(int64_t now_ns) {
  if (phase_ != Phase::ready) {
    return;
  }
  if (device_.active.any() && can_check()) {
    enter(Phase::checking, now_ns);
  } else {
    lose_session(now_ns);
  }
}

void Initiator::lose_session(int64_t now_ns) {
  ++counters_.sessions_lost;
  device_.active = Features{};
  silence_ = false;
  if (device_.volatile_write_cache && writes_done_ != writes_flushed_) {
    cache_lost_ = true;
    writes_flushed_ = writes_done_;
  }
  enter(Phase::asking, now_ns);
}

void Initiator::change_path(int64_t now_ns) {
  ++counters_.failovers;
  // Copies on the old path are beyond every window's reach: their sectors wait.
  const size_t quarantine_max = 4 * slots_.size();
  for (const Slot& slot : slots_) {
    if (slot.used && kind_of(slot) == Kind::write && quarantine_.size() < quarantine_max) {
      quarantine_.push_back({jobs_[slot.job].job.lba + slot.offset, slot.sectors,
                             now_ns + config_.path_quarantine_ns});
    }
  }
  path_ = (path_ + 1) % paths_.size();
  Path& path = paths_[path_];
  path.timeouts = 0;
  path.heard_ns = now_ns;
  ask_everywhere_ = false;
  sectors_cap_.reset();
  device_.active = Features{};
  enter(Phase::asking, now_ns);
}

void Initiator::begin_sizing(int64_t now_ns) {
  sizing_ = frame_sectors_max();
  if (sizing_ > device_.sectors) {
    sizing_ = static_cast<unsigned>(std::max<uint64_t>(device_.sectors, 1));
  }
  sizing_small_ = false;
  enter(Phase::sizing, now_ns);
}

void Initiator::become_ready(int64_t now_ns) {
  device_.sectors_per_frame = frame_sectors_max();
  split_oversized();
  begin_era();
  verified_ns_ = now_ns;
  silence_ = false;
  open_window();
  enter(Phase::ready, now_ns);
}

void Initiator::open_window() {
  const unsigned told = std::max<unsigned>(device_.buffer_count, 1);
  window_max_ = config_.outstanding_max != 0 ? config_.outstanding_max : told;
  window_max_ = std::min(window_max_, config_.outstanding_limit);
  window_ = window_max_;
  window_credit_ = 0;
}

unsigned Initiator::frame_sectors_max() const {
  const size_t mtu = paths_[path_].mtu;
  const size_t beside_data =
      at::ata_data - kEthernetHeaderBytes + (device_.active.crc8x4 ? kCrc8x4Bytes : 0);
  size_t sectors = mtu > beside_data + kSectorBytes ? (mtu - beside_data) / kSectorBytes : 1;
  sectors = std::min<size_t>(sectors, device_.sector_count == 0 ? 2 : device_.sector_count);
  sectors = std::min<size_t>(sectors, sectors_cap_.value_or(255));
  return static_cast<unsigned>(sectors);
}

// Requests that the path was found not to carry become pieces to ask for anew.
void Initiator::split_oversized() {
  for (Slot& slot : slots_) {
    if (slot.used && slot.sectors > device_.sectors_per_frame) {
      pieces_.push_back({slot.job, slot.offset, slot.sectors});
      ++jobs_[slot.job].requests;  // the piece keeps the job open
      finish_slot(static_cast<uint32_t>(&slot - slots_.data()));
    }
  }
}

// ------------------------------------------------------------------ frames in

void Initiator::on_frame(size_t path, BytesView frame, int64_t now_ns) {
  if (path >= paths_.size() || !observer::is_aoe(frame) || !observer::is_reply(frame) ||
      field_of(frame, F::version) != 1 || field_of(frame, F::shelf) != config_.shelf ||
      field_of(frame, F::slot) != config_.slot) {
    ++counters_.stranger;
    return;
  }
  Path& from = paths_[path];
  const auto tag = static_cast<uint32_t>(field_of(frame, F::tag));
  const auto command = static_cast<uint8_t>(field_of(frame, F::command));
  const Mac to = mac_at(frame, 0);
  if (tag == 0 && command == observer::command::config) {  // it says by itself that it is there
    if (phase_ == Phase::ready) {
      doubt(now_ns);
    } else if (phase_ == Phase::checking && from.target && mac_at(frame, 6) != *from.target &&
               control_.tries >= kTriesBeforeDoubt) {
      lose_session(now_ns);  // back, at another address
    }
    return;
  }
  if (to != from.own || (phase_ != Phase::asking && from.target != mac_at(frame, 6))) {
    ++counters_.stranger;
    return;
  }
  const uint32_t serial = serial_of(tag);
  if (phase_ == Phase::asking) {
    if (serial == control_.tag && command == observer::command::config) {
      if (path != path_ && !ask_everywhere_) {
        ++counters_.late;
        return;
      }
      path_ = path;
      paths_[path].target = mac_at(frame, 6);
      on_config(frame, now_ns);
    } else if (from.target == mac_at(frame, 6) && command == observer::command::ata) {
      on_reply(serial, frame, now_ns);
    } else {
      ++counters_.late;
    }
    return;
  }
  from.heard_ns = now_ns;
  from.timeouts = 0;
  if (control_.open &&
      (serial == control_.tag ||
       (phase_ == Phase::checking && serial == control_.second_tag && control_.second_tag != 0))) {
    on_control(frame, serial, now_ns);
    return;
  }
  if (command != observer::command::ata) {
    // A negotiation of ours was answered a second time: its copy has emptied the window once more.
    if (command == observer::command::extension && phase_ == Phase::ready &&
        device_.active.tags != Tags::none) {
      begin_era();
    }
    ++counters_.late;
    return;
  }
  on_reply(serial, frame, now_ns);
  if (silence_) {
    silence_ = false;
    if (device_.active.any()) {
      doubt(now_ns);
    }
  }
}

void Initiator::on_control(BytesView frame, uint32_t serial, int64_t now_ns) {
  if (control_.tries == 0) {
    paths_[path_].trips[0].sample(now_ns - control_.sent_ns);
  }
  ++counters_.answered;
  switch (phase_) {
    case Phase::asking:
      on_config(frame, now_ns);
      break;
    case Phase::identifying:
      on_identify(frame, now_ns);
      break;
    case Phase::negotiating:
      on_extension(frame, now_ns);
      break;
    case Phase::sizing:
      on_sized(frame, now_ns);
      break;
    case Phase::checking:
      on_check(frame, serial, now_ns);
      break;
    case Phase::ready:
      break;
  }
}

void Initiator::on_config(BytesView frame, int64_t now_ns) {
  if (frame.size() < at::cfg_string || field_of(frame, F::flag_error) != 0) {
    ++counters_.malformed;
    return;
  }
  Path& path = paths_[path_];
  path.heard_ns = now_ns;
  path.timeouts = 0;
  device_.mac = *path.target;
  device_.buffer_count = static_cast<uint16_t>(field_of(frame, F::cfg_buffer_count));
  device_.firmware = static_cast<uint16_t>(field_of(frame, F::cfg_firmware));
  device_.sector_count = static_cast<uint8_t>(field_of(frame, F::cfg_sector_count));
  device_.config_string = observer::config_string(frame).value_or(Bytes{});
  device_.active = Features{};
  enter(Phase::identifying, now_ns);
}

void Initiator::on_identify(BytesView frame, int64_t now_ns) {
  const uint64_t status = field_of(frame, F::ata_status);
  if (field_of(frame, F::flag_error) != 0 || field_of(frame, F::command) != 0 ||
      (status & (ata::status_err | ata::status_df)) != 0 ||
      frame.size() < at::ata_data + kSectorBytes) {
    ++counters_.malformed;  // asked again when its time is up
    return;
  }
  says_ready_ = (status & ata::status_drdy) != 0;
  const BytesView words = frame.subspan(at::ata_data, kSectorBytes);
  constexpr uint16_t flushes = 1U << 12 | 1U << 13, lba48 = 1U << 10, write_cache = 1U << 5;
  device_.lba48 = (observer::identify_word(words, 83) & lba48) != 0;
  device_.flush = (observer::identify_word(words, 83) & flushes) != 0;
  device_.volatile_write_cache = (observer::identify_word(words, 85) & write_cache) != 0;
  device_.sectors = observer::identify_sectors(words);
  device_.serial = observer::identify_string(words, 10, 19);
  device_.revision = observer::identify_string(words, 23, 26);
  device_.model = observer::identify_string(words, 27, 46);
  if (config_.wished.any()) {
    enter(Phase::negotiating, now_ns);
  } else {
    begin_sizing(now_ns);
  }
}

void Initiator::on_extension(BytesView frame, int64_t now_ns) {
  Features active;
  const bool refused = field_of(frame, F::flag_error) != 0;
  if (!refused) {
    const auto table = observer::ext_table(
        frame, table_big_endian_ ? observer::Order::big : observer::Order::little);
    if (field_of(frame, F::command) != observer::command::extension || !table) {
      ++counters_.malformed;
      return;
    }
    for (const FeatureName& f : kFeatureNames) {
      if (std::find(table->strings.begin(), table->strings.end(), upper(f.name)) !=
          table->strings.end()) {
        if (f.flag != nullptr) {
          active.*f.flag = true;
        } else {
          active.tags = f.tags;
        }
      }
    }
  }
  if (config_.features_required && !covers(active, config_.wished)) {
    control_.deadline_ns = now_ns + config_.wait.max_ns;  // and then once more
    return;
  }
  device_.active = active;
  begin_sizing(now_ns);
}

void Initiator::on_sized(BytesView frame, int64_t now_ns) {
  const bool refused = field_of(frame, F::flag_error) != 0;
  const bool error = refused || (field_of(frame, F::ata_status) & ata::status_err) != 0;
  // "Too many sectors"; any other error came through, and is none of the size.
  const bool too_much =
      error && (refused ? field_of(frame, F::error) == observer::aoe_error::bad_argument
                        : (field_of(frame, F::ata_error) & ata::error_abrt) != 0);
  const unsigned sectors = sizing_small_ ? 1 : sizing_;
  const bool whole = frame.size() >= at::ata_data + sectors * kSectorBytes;
  if (!sizing_small_ && (error ? !too_much || sizing_ <= 1 : whole)) {
    if (sizing_ < frame_sectors_max() && sizing_ < device_.sectors) {
      sectors_cap_ = sizing_;
    }
    become_ready(now_ns);
    return;
  }
  // Too much for the path (only the small one comes through) or for the target (it says so).
  if (sizing_small_ || too_much) {
    ++counters_.size_reductions;
    constexpr unsigned steps[] = {16, 8, kSmallSectors, 1};
    unsigned smaller = 1;
    for (const unsigned step : steps) {
      if (step < sizing_) {
        smaller = step;
        break;
      }
    }
    sizing_ = smaller;
    sizing_small_ = false;
    enter(Phase::sizing, now_ns);
  } else {
    ++counters_.malformed;
  }
}

void Initiator::on_check(BytesView frame, uint32_t serial, int64_t now_ns) {
  const auto alive = [&] {
    verified(control_.sent_ns);
    enter(Phase::ready, now_ns);
  };
  if (serial == control_.second_tag && control_.second_tag != 0) {
    alive();
    return;
  }
  control_.first_answered = true;
  if (!device_.active.coalesced_read) {  // crc8x4 alone: are the four bytes there?
    if (field_of(frame, F::flag_error) != 0 ||
        frame.size() >= at::ata_data + kSectorBytes + kCrc8x4Bytes) {
      alive();
    } else {
      lose_session(now_ns);
    }
  }
}

void Initiator::on_reply(uint32_t serial, BytesView frame, int64_t now_ns) {
  const uint32_t slot = slot_of(serial);
  const bool list = device_.active.coalesced_write_reply && frame.size() > at::coalesced &&
                    field_of(frame, F::flag_error) == 0 &&
                    field_of(frame, F::ata_flag_write) != 0 && frame[at::coalesced] != 0;
  if (slot == kNone) {
    ++counters_.late;
  } else if (frame.size() < at::ata_data) {
    malformed(slot);
  } else {
    answer(slot, frame, frame.subspan(at::argument, kArgumentBytes), now_ns);
  }
  if (list) {
    on_write_list(frame, now_ns);
  }
}

// The further results of a frame, each a tag and the twelve bytes of its own reply.
void Initiator::on_write_list(BytesView frame, int64_t now_ns) {
  constexpr size_t entry_bytes = 4 + kArgumentBytes;
  for (size_t i = 0, offset = at::coalesced + 1;
       i < frame[at::coalesced] && offset + entry_bytes <= frame.size();
       ++i, offset += entry_bytes) {
    const uint32_t slot =
        slot_of(serial_of(static_cast<uint32_t>(observer::load_be(frame, offset, 4))));
    if (slot == kNone || kind_of(slots_[slot]) != Kind::write) {
      ++counters_.late;
      continue;
    }
    answer(slot, frame, frame.subspan(offset + 4, kArgumentBytes), now_ns);
  }
}

void Initiator::answer(uint32_t index, BytesView frame, BytesView argument, int64_t now_ns) {
  Slot& slot = slots_[index];
  OpenJob& open = jobs_[slot.job];
  const Kind kind = open.job.kind;
  constexpr size_t error_at = 1, status_at = 3;
  const bool refused = field_of(frame, F::flag_error) != 0;
  const bool failed = (argument[status_at] & (ata::status_err | ata::status_df)) != 0;
  // Done is what a target that is ready says: a frame that was cut and filled up with zeros says
  // status 0. Where even identify came without DRDY, the target has no other word for it.
  constexpr uint8_t busy = 0x80;
  const bool sound = (argument[status_at] & (busy | ata::status_drq)) == 0 &&
                     (!says_ready_ || (argument[status_at] & ata::status_drdy) != 0);
  if (!refused && !failed && (!sound || (kind == Kind::read && !take_read(slot, frame, now_ns)))) {
    malformed(index);
    return;
  }
  ++counters_.answered;
  if (slot.tries == 0) {
    paths_[path_].trips[static_cast<size_t>(kind)].sample(now_ns - slot.sent_ns);
  }
  if (slot.tail) {
    verified(slot.sent_ns);
  }
  if (window_ < window_max_ && ++window_credit_ >= window_) {
    ++window_;
    window_credit_ = 0;
  }
  if (refused || failed) {
    if (open.result == Result::done) {
      open.aoe_error = refused ? static_cast<uint8_t>(field_of(frame, F::error)) : 0;
      open.ata_status = argument[status_at];
      open.ata_error = argument[error_at];
    }
    fail(index, refused ? Result::refused : Result::failed);
    return;
  }
  if (kind == Kind::write) {
    ++writes_done_;
    if (device_.active.coalesced_write_reply) {
      // Its sign stands in every reply to a write while the session lives.
      if (field_of(frame, F::ata_flag_write) != 0) {
        verified(slot.sent_ns);
      } else {
        doubt(now_ns);
      }
    }
  } else if (kind == Kind::flush) {
    if (cache_lost_) {
      cache_lost_ = false;
      fail(index, Result::lost);
      return;
    }
    writes_flushed_ = std::max(writes_flushed_, open.writes_before);
  }
  finish_slot(index);
}

// The data of a read's reply, checked if it can be.
bool Initiator::take_read(Slot& slot, BytesView frame, int64_t now_ns) {
  const size_t bytes = slot.sectors * kSectorBytes;
  if (frame.size() < at::ata_data + bytes) {
    return false;
  }
  if (device_.active.crc8x4) {
    if (frame.size() < at::ata_data + bytes + kCrc8x4Bytes) {
      doubt(now_ns);  // plain, where four more bytes were agreed
      return false;
    }
    const auto crc = observer::crc8x4(frame.subspan(at::argument, kArgumentBytes + bytes));
    if (!std::equal(crc.begin(), crc.end(),
                    frame.begin() + static_cast<ptrdiff_t>(at::ata_data + bytes))) {
      return false;
    }
    verified(slot.sent_ns);
  }
  std::copy_n(
      frame.begin() + at::ata_data, bytes,
      jobs_[slot.job].job.data.begin() + static_cast<ptrdiff_t>(slot.offset * kSectorBytes));
  return true;
}

// An answer that cannot be read is no answer; one that never can be is the target's last word.
void Initiator::malformed(uint32_t index) {
  ++counters_.malformed;
  if (++slots_[index].malformed >= kMalformedMax) {
    fail(index, Result::malformed);
  }
}

void Initiator::fail(uint32_t index, Result result) {
  OpenJob& open = jobs_[slots_[index].job];
  // A write that was not performed is not in the window: whatever copy of it is on its way would
  // be.
  era_due_ = era_due_ || open.job.kind == Kind::write;
  if (open.result == Result::done) {
    open.result = result;
  }
  if (open.next_sector < open.job.sectors) {  // nothing more of it is asked for
    open.next_sector = open.job.sectors;
    unsent_.erase(std::remove(unsent_.begin(), unsent_.end(), slots_[index].job), unsent_.end());
  }
  finish_slot(index);
}

void Initiator::finish_slot(uint32_t index) {
  Slot& slot = slots_[index];
  const uint32_t job = slot.job;
  forget_tag(slot);
  slot.used = false;
  free_slots_.push_back(index);
  --outstanding_;
  OpenJob& open = jobs_[job];
  writes_outstanding_ -= open.job.kind == Kind::write ? 1 : 0;
  --open.requests;
  if (open.requests == 0 && open.next_sector >= open.job.sectors) {
    finish_job(job);
  }
}

void Initiator::finish_job(uint32_t index) {
  OpenJob& open = jobs_[index];
  Completion c;
  c.cookie = open.job.cookie;
  c.kind = open.job.kind;
  c.result = open.result;
  c.aoe_error = open.aoe_error;
  c.ata_status = open.ata_status;
  c.ata_error = open.ata_error;
  c.lba = open.job.lba;
  c.sectors = open.job.sectors;
  c.data = std::move(open.job.data);
  c.submitted_ns = open.submitted_ns;
  completions_.push_back(std::move(c));
  open.used = false;
  free_jobs_.push_back(index);
  --jobs_open_;
}

// ------------------------------------------------------------------ jobs in

bool Initiator::submit(Job& job, int64_t now_ns) {
  assert(job.sectors <= kJobSectorsMax && (job.kind == Kind::flush) == (job.sectors == 0));
  if (free_jobs_.empty()) {
    return false;
  }
  const uint32_t index = free_jobs_.back();
  free_jobs_.pop_back();
  OpenJob& open = jobs_[index];
  open = OpenJob{};
  open.job = std::move(job);
  open.used = true;
  open.submitted_ns = now_ns;
  const size_t bytes = open.job.sectors * kSectorBytes;
  assert(open.job.kind != Kind::write || open.job.data.size() >= bytes);
  if (open.job.kind == Kind::read) {
    open.job.data.resize(bytes);
  }
  unsent_.push_back(index);
  ++jobs_open_;
  return true;
}

// ------------------------------------------------------------------ frames out

void Initiator::run(int64_t now_ns) {
  if (control_.open && control_.deadline_ns <= now_ns) {
    if (control_.sent) {
      control_timeout(now_ns);
    }
    if (control_.open) {
      send_control(now_ns);
    }
  }
  timers(now_ns);
  if (phase_ == Phase::ready) {
    if (era_due_) {
      begin_era();
    }
    pump(now_ns);
    if (control_.open && !control_.sent) {  // a check came in between
      send_control(now_ns);
    }
  }
}

std::optional<int64_t> Initiator::next_deadline_ns() const {
  int64_t earliest = INT64_MAX;
  if (control_.open) {
    earliest = control_.deadline_ns;
  }
  if (phase_ == Phase::ready || config_.give_up_ns > 0) {
    earliest = std::min(earliest, earliest_ns_);
    earliest = std::min(earliest, held_until_ns_);
  }
  if (config_.give_up_ns > 0 && !unsent_.empty() && jobs_[unsent_.front()].requests == 0) {
    earliest = std::min(earliest, jobs_[unsent_.front()].submitted_ns + config_.give_up_ns);
  }
  return earliest == INT64_MAX ? std::nullopt : std::optional(earliest);
}

// Of what was never sent: nobody answered for that long.
void Initiator::give_up_unsent(int64_t now_ns) {
  while (config_.give_up_ns > 0 && !unsent_.empty()) {
    const uint32_t index = unsent_.front();
    OpenJob& open = jobs_[index];
    if (open.requests != 0 || now_ns < open.submitted_ns + config_.give_up_ns) {
      return;
    }
    unsent_.pop_front();
    open.result = Result::unknown;
    finish_job(index);
  }
}

void Initiator::timers(int64_t now_ns) {
  give_up_unsent(now_ns);
  if (now_ns < earliest_ns_ || (phase_ != Phase::ready && config_.give_up_ns == 0)) {
    return;
  }
  int64_t earliest = INT64_MAX;
  bool too_large = false;
  Path& path = paths_[path_];
  for (uint32_t i = 0; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    if (!slot.used) {
      continue;
    }
    if (config_.give_up_ns > 0 && now_ns >= slot.first_sent_ns + config_.give_up_ns) {
      fail(i, Result::unknown);
      continue;
    }
    if (config_.give_up_ns > 0) {
      earliest = std::min(earliest, slot.first_sent_ns + config_.give_up_ns);
    }
    if (phase_ != Phase::ready) {
      continue;
    }
    if (!slot.overdue && slot.deadline_ns <= now_ns) {
      ++path.timeouts;
      ++slot.tries;
      slot.overdue = true;
      silence_ = silence_ || slot.tries >= kTriesBeforeDoubt;
      too_large = too_large || (slot.tries >= kTriesBeforeSizing && slot.sectors > kSmallSectors &&
                                path.heard_ns > slot.sent_ns);
      if (last_reduction_ns_ <= slot.sent_ns) {
        last_reduction_ns_ = now_ns;
        window_ = std::max(1U, window_ / 2);
        window_credit_ = 0;
      }
    }
    earliest = std::min(earliest, slot.overdue ? now_ns : slot.deadline_ns);
  }
  earliest_ns_ = earliest;
  if (phase_ != Phase::ready) {
    return;
  }
  if (paths_.size() > 1 && path.timeouts >= kTriesBeforeOtherPath &&
      now_ns - path.heard_ns >= config_.failover_ns) {
    change_path(now_ns);
  } else if (too_large) {
    sizing_ = device_.sectors_per_frame;
    sizing_small_ = false;
    enter(Phase::sizing, now_ns);
  }
}

void Initiator::pump(int64_t now_ns) {
  batch_.clear();
  const bool coalesce = device_.active.coalesced_read && config_.wished.coalesced_read;
  if (earliest_ns_ <= now_ns || overdue_left_) {
    repeat_overdue(now_ns);
  }
  held_until_ns_ = INT64_MAX;
  Piece piece;
  while (phase_ == Phase::ready && outstanding_ < window_ && !free_slots_.empty() &&
         next_piece(piece, now_ns)) {
    const uint32_t index = free_slots_.back();
    free_slots_.pop_back();
    Slot& slot = slots_[index];
    slot.used = true;
    slot.overdue = false;
    slot.tail = false;
    slot.job = piece.job;
    slot.offset = piece.offset;
    slot.sectors = piece.sectors;
    slot.tries = 0;
    slot.malformed = 0;
    slot.first_sent_ns = now_ns;
    put_tag(slot, take_tag());
    ++outstanding_;
    writes_outstanding_ += kind_of(slot) == Kind::write ? 1 : 0;
    ++jobs_[piece.job].requests;
    if (kind_of(slot) == Kind::flush) {
      jobs_[piece.job].writes_before = writes_done_;
    }
    if (coalesce && kind_of(slot) == Kind::read) {
      batch_.push_back(index);
    } else {
      send_slot(index, now_ns);
    }
  }
  send_reads(batch_, now_ns);
}

// As many as the window lets through beside what is on its way; the others wait for an answer.
void Initiator::repeat_overdue(int64_t now_ns) {
  unsigned on_the_way = 0;
  for (const Slot& slot : slots_) {
    on_the_way += slot.used && !slot.overdue ? 1 : 0;
  }
  overdue_left_ = false;
  earliest_ns_ = INT64_MAX;
  for (uint32_t i = 0; i < slots_.size(); ++i) {
    Slot& slot = slots_[i];
    if (!slot.used) {
      continue;
    }
    if (slot.overdue && on_the_way < window_) {
      ++on_the_way;
      ++counters_.repeated;
      send_slot(i, now_ns);
    }
    overdue_left_ = overdue_left_ || slot.overdue;
    if (!slot.overdue) {
      earliest_ns_ = std::min(earliest_ns_, slot.deadline_ns);
    }
    if (config_.give_up_ns > 0) {
      earliest_ns_ = std::min(earliest_ns_, slot.first_sent_ns + config_.give_up_ns);
    }
  }
}

// The next sectors to ask for, at most a frame's worth.
bool Initiator::next_piece(Piece& piece, int64_t now_ns) {
  const unsigned most = device_.sectors_per_frame;
  while (!pieces_.empty()) {
    Piece& front = pieces_.front();
    OpenJob& open = jobs_[front.job];
    if (open.result != Result::done) {  // failed meanwhile: the piece lets go of it
      const uint32_t job = front.job;
      pieces_.pop_front();
      if (--open.requests == 0) {
        finish_job(job);
      }
      continue;
    }
    piece = {front.job, front.offset, std::min(front.sectors, most)};
    if (!may_send(piece, now_ns)) {
      return false;
    }
    front.offset += piece.sectors;
    front.sectors -= piece.sectors;
    if (front.sectors == 0) {
      --open.requests;  // the slot that is made now holds it
      pieces_.pop_front();
    }
    return true;
  }
  while (!unsent_.empty()) {
    OpenJob& open = jobs_[unsent_.front()];
    if (open.next_sector >= open.job.sectors && open.job.kind != Kind::flush) {
      unsent_.pop_front();  // failed meanwhile
      continue;
    }
    const uint32_t index = unsent_.front();
    if (open.job.kind == Kind::flush) {
      unsent_.pop_front();
      if (!device_.flush && !device_.volatile_write_cache) {  // nothing there that could be flushed
        finish_job(index);
        continue;
      }
      piece = {index, 0, 0};
      return true;
    }
    // A number that the command cannot carry would name another sector.
    const uint64_t nameable = device_.lba48 ? kLba48Sectors : kLba28Sectors;
    if (open.job.lba >= nameable || open.job.sectors > nameable - open.job.lba) {
      unsent_.pop_front();
      open.result = Result::failed;
      open.ata_status = ata::status_drdy | ata::status_err;
      open.ata_error = ata::error_idnf;
      open.next_sector = open.job.sectors;
      if (open.requests == 0) {
        finish_job(index);
      }
      continue;
    }
    piece = {unsent_.front(), open.next_sector,
             std::min<uint32_t>(open.job.sectors - open.next_sector, most)};
    if (!may_send(piece, now_ns)) {
      return false;
    }
    open.next_sector += piece.sectors;
    if (open.next_sector >= open.job.sectors) {
      unsent_.pop_front();
    }
    return true;
  }
  return false;
}

// Two requests for one sector, one of them a write, are never out together: repeated under other
// tags, in another session or in pieces, they could change places.
bool Initiator::waits_for_another(const Piece& piece) const {
  const Job& job = jobs_[piece.job].job;
  if (job.kind == Kind::flush || (job.kind == Kind::read && writes_outstanding_ == 0)) {
    return false;
  }
  const uint64_t lba = job.lba + piece.offset;
  return std::any_of(slots_.begin(), slots_.end(), [&](const Slot& slot) {
    if (!slot.used || (job.kind == Kind::read && kind_of(slot) != Kind::write)) {
      return false;
    }
    const uint64_t other = jobs_[slot.job].job.lba + slot.offset;
    return lba < other + slot.sectors && other < lba + piece.sectors;
  });
}

bool Initiator::may_send(const Piece& piece, int64_t now_ns) {
  const Job& job = jobs_[piece.job].job;
  if (waits_for_another(piece)) {
    return false;
  }
  if (job.kind != Kind::write) {
    return true;
  }
  const bool window =
      device_.active.tags == Tags::increment_be || device_.active.tags == Tags::increment_le;
  if (window && can_check() && now_ns - verified_ns_ > config_.session_check_ns) {
    doubt(now_ns);
    return false;
  }
  if (!quarantine_.empty()) {
    quarantine_.erase(std::remove_if(quarantine_.begin(), quarantine_.end(),
                                     [&](const Quarantine& q) { return q.until_ns <= now_ns; }),
                      quarantine_.end());
    const uint64_t lba = job.lba + piece.offset;
    for (const Quarantine& q : quarantine_) {
      if (lba < q.lba + q.sectors && q.lba < lba + piece.sectors) {
        held_until_ns_ = q.until_ns;
        return false;
      }
    }
  }
  return true;
}

void Initiator::build(Slot& slot) {
  const OpenJob& open = jobs_[slot.job];
  const uint64_t lba = open.job.lba + slot.offset;
  const size_t bytes = slot.sectors * kSectorBytes;
  const bool writes = open.job.kind == Kind::write;
  const bool crc = writes && device_.active.crc8x4;
  const size_t data_end = at::ata_data + (writes ? bytes : 0);
  const Path& path = paths_[path_];
  slot.frame.assign(at::ata_data, 0);
  Bytes& f = slot.frame;
  std::copy(path.target->begin(), path.target->end(), f.begin());
  std::copy(path.own.begin(), path.own.end(), f.begin() + 6);
  observer::set(f, F::eth_type, observer::kEtherType);
  observer::set(f, F::version, 1);
  observer::set(f, F::shelf, config_.shelf);
  observer::set(f, F::slot, config_.slot);
  observer::set(f, F::tag, on_wire(slot.tag));
  observer::set(f, F::ata_flag_extended, device_.lba48 ? 1 : 0);
  observer::set(f, F::ata_count, slot.sectors);
  observer::set(f, F::ata_lba, lba);
  uint8_t command = 0;
  switch (open.job.kind) {
    case Kind::read:
      command = device_.lba48 ? ata::read_ext : ata::read;
      break;
    case Kind::write:
      command = device_.lba48 ? ata::write_ext : ata::write;
      observer::set(f, F::ata_flag_write, 1);
      f.insert(f.end(), open.job.data.begin() + static_cast<ptrdiff_t>(slot.offset * kSectorBytes),
               open.job.data.begin() + static_cast<ptrdiff_t>(slot.offset * kSectorBytes + bytes));
      break;
    case Kind::flush:
      command = device_.lba48 ? ata::flush_ext : ata::flush;
      break;
  }
  observer::set(f, F::ata_command, command);
  if (crc) {
    const auto sum = observer::crc8x4(BytesView(f).subspan(at::argument, data_end - at::argument));
    f.insert(f.end(), sum.begin(), sum.end());
  }
  if (f.size() < observer::kMinFrameBytes) {
    f.resize(observer::kMinFrameBytes, 0);
  }
}

void Initiator::note_sent(Slot& slot, int64_t now_ns) {
  slot.overdue = false;
  slot.sent_ns = now_ns;
  slot.deadline_ns =
      now_ns + paths_[path_].trips[static_cast<size_t>(kind_of(slot))].wait_ns(slot.tries);
  earliest_ns_ = std::min(earliest_ns_, slot.deadline_ns);
  if (config_.give_up_ns > 0) {
    earliest_ns_ = std::min(earliest_ns_, slot.first_sent_ns + config_.give_up_ns);
  }
}

void Initiator::send_slot(uint32_t index, int64_t now_ns) {
  Slot& slot = slots_[index];
  slot.tail = false;
  build(slot);
  note_sent(slot, now_ns);
  ++counters_.sent;
  frames_.push_back({path_, slot.frame});
}

// Several reads in as few frames as they fit in.
void Initiator::send_reads(const std::vector<uint32_t>& slots, int64_t now_ns) {
  const size_t frame_max = paths_[path_].mtu + kEthernetHeaderBytes;
  const size_t room = (frame_max - at::coalesced - 1) / observer::kCoalescedEntryBytes;
  const size_t each = 1 + std::min<size_t>({room, config_.coalesced_max - 1, 255});
  for (size_t first = 0; first < slots.size(); first += each) {
    const size_t end = std::min(slots.size(), first + each);
    Slot& lead = slots_[slots[first]];
    send_slot(slots[first], now_ns);
    if (end - first == 1) {
      continue;
    }
    lead.frame.resize(at::coalesced);
    lead.frame.push_back(static_cast<uint8_t>(end - first - 1));
    for (size_t i = first + 1; i < end; ++i) {
      Slot& slot = slots_[slots[i]];
      std::array<uint8_t, observer::kCoalescedEntryBytes> entry{};
      observer::store_be(entry, 0, 4, on_wire(slot.tag));
      observer::store_le(entry, 4, 6, jobs_[slot.job].job.lba + slot.offset);
      entry[15] = static_cast<uint8_t>(slot.sectors);
      lead.frame.insert(lead.frame.end(), entry.begin(), entry.end());
      note_sent(slot, now_ns);
      slot.tail = true;
    }
    if (lead.frame.size() < observer::kMinFrameBytes) {
      lead.frame.resize(observer::kMinFrameBytes, 0);
    }
    frames_.back().frame = lead.frame;
  }
}

}  // namespace conformance::initiator
