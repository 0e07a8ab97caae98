// Sends, repeats, judges.
#include "sim/clients/initiator.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <string_view>

#include "sim/streams.h"

namespace sim::clients {
namespace {

constexpr std::uint16_t kShelf = 1;
constexpr std::uint8_t kSlot = 1;
constexpr std::int64_t kMillion = 1'000'000;
constexpr std::uint32_t kErrorRetriesMax = 8;
constexpr std::uint32_t kBackoffMax = 8;
constexpr Nanoseconds kCongestionPatience = 2 * kSecond;
constexpr std::uint8_t kStatusError = 0x01;
constexpr std::uint8_t kStatusFault = 0x20;
constexpr std::uint8_t kWriteFlag = 0x01;
// From then on nobody changes who may speak: what is on its way must not lock anybody out for good.
constexpr Nanoseconds kListsUntil = 5 * kSecond / 2;
constexpr std::size_t kCoalescedEntryBytes = 16;
// Timer arguments: a part's timer, or the end of a wait.
constexpr std::uint64_t kWaitTimer = 0;

enum Outcome : std::uint8_t { kDone, kFailed, kGivenUp };

bool overlaps(std::uint64_t a, std::uint32_t a_sectors, std::uint64_t b, std::uint32_t b_sectors) {
  return a < b + b_sectors && b < a + a_sectors;
}

bool transfers(OpKind kind) {
  return kind == OpKind::read || kind == OpKind::write || kind == OpKind::coalesced;
}

// The AoE command that an operation is asked under, and so answered.
std::uint8_t command_of(OpKind kind) {
  switch (kind) {
    case OpKind::config:
    case OpKind::set_config:
      return kConfig;
    case OpKind::negotiate:
    case OpKind::congestion:
      return kExtensions;
    default:
      return kAta;
  }
}

bool all_zero(Bytes bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

}  // namespace

void judge_read(const Surroundings& world, const std::string& what, std::uint64_t first_lba,
                std::uint32_t sectors, checkers::Order asked, Bytes data) {
  for (std::uint32_t i = 0; i < sectors; ++i) {
    const std::uint64_t lba = first_lba + i;
    const disk::Stamp found = disk::read_stamp(data.subspan(i * kSectorBytes, kSectorBytes), lba);
    ++world.coverage.sectors_judged;
    if (world.sectors.judge_read(found, lba, asked)) {
      continue;
    }
    std::string held = "broken data";
    if (found.state == disk::StampState::misplaced) {
      held = fmt::format("the data of sector {}", found.lba);
    } else if (found.state == disk::StampState::good && world.sectors.known(found.version)) {
      const checkers::Write& write = world.sectors.write(found.version);
      held = found.version == disk::kFormatted
                 ? std::string("what was there before the first write")
                 : fmt::format("an outdated write (host {} #{})", write.initiator, write.op);
    }
    const bool known = world.known_damage(lba, found.version);
    world.findings.add(known ? checkers::Severity::known : checkers::Severity::safety,
                       known ? "damage:stale-read" : "data:wrong-read",
                       fmt::format("{}: sector {} holds {}", what, lba, held));
    if (found.state == disk::StampState::good && world.sectors.known(found.version)) {
      world.sectors.accept(found.version, lba);
    }
  }
}

Initiator::Initiator(std::uint32_t host, const InitiatorSpec& spec, Surroundings surroundings)
    : host_(host), spec_(spec), world_(std::move(surroundings)), ops_(spec.ops) {
  // No more than a frame carries, as any initiator does that knows its interface's MTU.
  constexpr std::int64_t kAtaHeaderBytes = kAtaBytes - 14;
  const auto fits = [&](std::size_t check_bytes) {
    const std::int64_t room =
        world_.settings.mtu - kAtaHeaderBytes - static_cast<std::int64_t>(check_bytes);
    return std::clamp<std::int64_t>(room / static_cast<std::int64_t>(kSectorBytes), 1, 255);
  };
  write_sectors_ = std::clamp<std::int64_t>(spec_.frame_sectors, 1, fits(0));
  spec_.frame_sectors =
      std::clamp<std::int64_t>(spec_.frame_sectors, 1, fits(spec_.crc != 0 ? kCrcBytes : 0));
  spec_.window = std::max<std::int64_t>(spec_.window, 1);
  spec_.rto_ns = std::max<std::int64_t>(spec_.rto_ns, kMicrosecond);
}

void Initiator::start(Nanoseconds now) {
  if (spec_.kind == InitiatorKind::aoede) {
    renegotiate_ = true;  // also without tags: "reset", back to plain AoE
  }
  pump(now);
}

void Initiator::sweep(bool everything, Nanoseconds now) {
  sweeping_ = true;
  if (spec_.kind == InitiatorKind::hostile) {
    return;
  }
  const auto step = static_cast<std::uint64_t>(spec_.frame_sectors);
  const std::uint64_t end = everything ? world_.sectors.sectors() : 1;
  for (std::uint64_t lba = 0; lba < end; lba += step) {
    ops_.push_back({.kind = OpKind::read,
                    .lba = lba,
                    .sectors = static_cast<std::uint32_t>(std::min(step, end - lba)),
                    .amount = 0});
  }
  pump(now);
}

checkers::Order Initiator::oldest_read() const {
  checkers::Order oldest = checkers::kNever;
  for (const Active& active : active_) {
    oldest = std::min(oldest, active.asked);
  }
  return oldest;
}

std::string Initiator::unfinished() const {
  std::string text;
  for (const Active& active : active_) {
    text += fmt::format("{}{} #{} {} {}+{}", text.empty() ? "" : ", ", spec_.name, active.op,
                        op_name(active.kind), active.lba, active.sectors);
  }
  if (text.empty()) {
    text = fmt::format("{}: {} of {} operations begun", spec_.name, next_op_, ops_.size());
  }
  return text;
}

void Initiator::complain(const char* signature, const std::string& text) {
  world_.findings.add(checkers::Severity::safety, signature,
                      fmt::format("{}: {}", spec_.name, text));
}

// ---- operations
// -----------------------------------------------------------------------------------

bool Initiator::may_start(const Op& op) const {
  if (active_.size() >= static_cast<std::size_t>(spec_.window)) {
    return false;
  }
  const bool barrier =
      op.kind == OpKind::negotiate || op.kind == OpKind::skip || op.kind == OpKind::congestion;
  if (barrier) {
    return active_.empty();
  }
  for (const Active& active : active_) {
    if (active.kind == OpKind::negotiate || active.kind == OpKind::congestion) {
      return false;
    }
    const bool both_read = op.kind != OpKind::write && active.kind != OpKind::write;
    if (spec_.overlap == 0 && transfers(op.kind) && transfers(active.kind) && !both_read &&
        overlaps(op.lba, op.sectors * static_cast<std::uint32_t>(op.amount + 1), active.lba,
                 active.sectors * static_cast<std::uint32_t>(active.amount + 1))) {
      return false;
    }
  }
  return true;
}

void Initiator::pump(Nanoseconds now) {
  while (!waiting_) {
    if (renegotiate_) {
      for (const Active& active : active_) {
        if (active.kind == OpKind::negotiate) {
          return;
        }
      }
      renegotiate_ = false;
      negotiate(now);
      return;
    }
    if (next_op_ == ops_.size() || !may_start(ops_[next_op_])) {
      return;
    }
    const Op op = ops_[next_op_++];
    begin(op, now);
  }
}

void Initiator::negotiate(Nanoseconds now) {
  begin({.kind = OpKind::negotiate, .lba = 0, .sectors = 0, .amount = 0}, now);
}

// Operations that need no answer.
void Initiator::begin_instant(const Op& op, Nanoseconds now) {
  switch (op.kind) {
    case OpKind::wait: {
      waiting_ = true;
      const Nanoseconds length = op.amount * (kMillion + spec_.clock_ppm) / kMillion;
      world_.queue.at(now + length, EventKind::initiator_timer, host_, kWaitTimer);
      break;
    }
    case OpKind::skip:
      tag_counter_ += static_cast<std::uint32_t>(op.amount);
      break;
    case OpKind::garbage:
      send_garbage(op.amount, now);
      break;
    case OpKind::lists:
      send_lists(op.amount, now);
      break;
    default:
      break;
  }
}

void Initiator::begin(const Op& op, Nanoseconds now) {
  if (op.kind == OpKind::wait || op.kind == OpKind::skip || op.kind == OpKind::garbage ||
      op.kind == OpKind::lists) {
    begin_instant(op, now);
    return;
  }
  Active active;
  active.op = static_cast<std::uint32_t>(next_op_);
  active.kind = op.kind;
  active.lba = op.lba;
  active.sectors = op.sectors;
  active.amount = op.amount;
  active.asked = world_.sectors.tick();
  if (!spare_parts_.empty()) {
    active.parts = std::move(spare_parts_.back());
    spare_parts_.pop_back();
    active.parts.clear();
  }
  if (op.kind == OpKind::write) {
    active.version = world_.sectors.ask_write(host_, active.op, op.lba, op.sectors, now);
  }
  const std::string text = world_.tracer.watched()
                               ? fmt::format("{} {}+{}", op_name(op.kind), op.lba, op.sectors)
                               : std::string();
  world_.tracer.emit({.time = now,
                      .kind = TraceKind::op_started,
                      .detail = static_cast<std::uint8_t>(op.kind),
                      .host = host_,
                      .serial = active.op,
                      .text = text});
  active_.push_back(std::move(active));
  Active& here = active_.back();
  if (here.kind == OpKind::congestion) {
    send_probes(here, now);
    return;
  }
  cut_into_parts(here);
  if (here.kind == OpKind::coalesced && coalesced_active_) {
    send_coalesced(here, now);
    return;
  }
  for (Part& part : here.parts) {
    send_part(here, part, now);
  }
}

void Initiator::cut_into_parts(Active& active) {
  if (active.kind == OpKind::coalesced) {
    const std::int64_t fits =
        (world_.settings.mtu + 14 - static_cast<std::int64_t>(kAtaBytes) - 1) /
        static_cast<std::int64_t>(kCoalescedEntryBytes);
    const std::int64_t further =
        std::clamp<std::int64_t>(active.amount, 0, std::min<std::int64_t>(fits, 255));
    for (std::int64_t i = 0; i <= further; ++i) {
      Part part;
      part.tag = new_tag();
      // Around the export: a long list reads some sectors again.
      const std::uint64_t places =
          world_.sectors.sectors() -
          std::min<std::uint64_t>(world_.sectors.sectors() - 1, active.sectors - 1);
      part.lba = (active.lba + static_cast<std::uint64_t>(i) * active.sectors) % places;
      part.sectors = active.sectors;
      active.parts.push_back(part);
    }
    return;
  }
  const auto most = static_cast<std::uint32_t>(active.kind == OpKind::write ? write_sectors_
                                                                            : spec_.frame_sectors);
  std::uint32_t done = 0;
  do {
    Part part;
    part.tag = new_tag();
    part.lba = active.lba + done;
    part.sectors = std::min(most, active.sectors - done);
    done += part.sectors;
    active.parts.push_back(part);
  } while (done < active.sectors);
}

void Initiator::finish(std::size_t at, std::uint8_t outcome, Nanoseconds now) {
  Active& active = active_[at];
  world_.tracer.emit({.time = now,
                      .kind = TraceKind::op_done,
                      .detail = outcome,
                      .host = host_,
                      .serial = active.op});
  Coverage& coverage = world_.coverage;
  if (outcome == kDone) {
    switch (active.kind) {
      case OpKind::read:
        ++coverage.reads_done;
        break;
      case OpKind::coalesced:
        ++coverage.coalesced_done;
        break;
      case OpKind::write:
        ++coverage.writes_done;
        break;
      case OpKind::flush:
        ++coverage.flushes_done;
        if (!active.doubtful) {
          world_.sectors.flush_done(active.asked);
        }
        break;
      case OpKind::identify:
        ++coverage.identifies_done;
        break;
      case OpKind::negotiate:
        ++coverage.negotiations_done;
        break;
      case OpKind::congestion:
        ++coverage.congestions_done;
        break;
      default:
        ++coverage.configs_done;
    }
  } else if (outcome == kFailed) {
    ++coverage.operations_failed;
  } else {
    ++coverage.operations_given_up;
  }
  spare_parts_.push_back(std::move(active.parts));
  active_.erase(active_.begin() + static_cast<std::ptrdiff_t>(at));
}

// ---- sending
// --------------------------------------------------------------------------------------

std::uint32_t Initiator::new_tag() {
  const std::uint32_t number = tag_counter_++;
  if (spec_.tags == TagMode::random) {
    // A permutation of the 32-bit numbers: distinct, in no order.
    std::uint32_t tag = number ^ static_cast<std::uint32_t>(spec_.tag_seed);
    tag = (tag ^ (tag >> 16U)) * 0x7feb352dU;
    tag = (tag ^ (tag >> 15U)) * 0x846ca68bU;
    tag ^= tag >> 16U;
    tags_used_.push_back(tag);
    return tag;
  }
  std::uint32_t tag = static_cast<std::uint32_t>(spec_.tag_start) + number;
  if (spec_.tags == TagMode::increment_le) {
    tag = __builtin_bswap32(tag);
  }
  tags_used_.push_back(tag);
  return tag;
}

bool Initiator::tag_was_used(std::uint32_t tag) const {
  return std::find(tags_used_.rbegin(), tags_used_.rend(), tag) != tags_used_.rend();
}

void Initiator::send_frame(ethernet::FrameId id, std::size_t size, Nanoseconds now) {
  world_.network.frame(id).size = static_cast<std::uint32_t>(size);
  world_.network.send(host_, id, now);
}

void Initiator::arm(Part& part, Nanoseconds now) {
  part.timer = next_timer_++;
  const std::uint32_t doubled = std::min(part.attempts, 3U);
  const Nanoseconds rto = (spec_.rto_ns << doubled) * (kMillion + spec_.clock_ppm) / kMillion;
  static_assert(kBackoffMax == 1U << 3U);
  world_.queue.at(now + rto, EventKind::initiator_timer, host_, part.timer);
}

void Initiator::send_part(Active& active, Part& part, Nanoseconds now) {
  const ethernet::FrameId id = world_.network.allocate();
  const MacAddress me = ethernet::Network::mac_of(host_);
  const MacAddress target = ethernet::Network::mac_of(kTargetHost);
  const auto builder = [&](Command command) {
    return Builder(world_.network.frame(id).storage, target, me, kShelf, kSlot, command, part.tag);
  };
  const auto count = static_cast<std::uint8_t>(part.sectors);
  std::size_t size = 0;
  switch (active.kind) {
    case OpKind::write: {
      Builder frame = builder(kAta);
      frame.ata(part.tag % 2 == 0 ? kWrite28 : kWrite48, part.lba, count);
      const std::span<std::byte> data = frame.room(part.sectors * kSectorBytes);
      for (std::uint32_t i = 0; i < part.sectors; ++i) {
        disk::write_stamp(data.subspan(i * kSectorBytes, kSectorBytes), active.version,
                          part.lba + i);
      }
      // Where a frame has no room for them, a write goes without: it is taken as it is.
      if (crc_active_ &&
          frame.size() + kCrcBytes <= static_cast<std::size_t>(world_.settings.mtu) + 14) {
        frame.crc();
      }
      size = frame.size();
      break;
    }
    case OpKind::flush:
    case OpKind::identify:
    case OpKind::read:
    case OpKind::coalesced: {
      Builder frame = builder(kAta);
      const bool read = active.kind == OpKind::read || active.kind == OpKind::coalesced;
      const std::uint8_t read_command = part.tag % 2 == 0 ? kRead28 : kRead48;
      const std::uint8_t flush_command = part.tag % 2 == 0 ? kFlush28 : kFlush48;
      frame.ata(active.kind == OpKind::flush      ? flush_command
                : active.kind == OpKind::identify ? std::uint8_t{kIdentify}
                                                  : read_command,
                part.lba, active.kind == OpKind::identify ? std::uint8_t{1} : count);
      if (read && coalesced_active_) {
        frame.u8(0);  // no further reads
      }
      size = frame.size();
      break;
    }
    case OpKind::config:
    case OpKind::set_config: {
      Builder frame = builder(kConfig);
      const bool set = active.kind == OpKind::set_config;
      const std::string text = set ? fmt::format("string {}", active.amount) : std::string();
      frame.u16(0);
      frame.u16(0);
      frame.u8(0);
      frame.u8(set ? 0x14 : 0x10);
      frame.u16(static_cast<std::uint16_t>(text.size()));
      frame.text(text);
      size = frame.size();
      break;
    }
    case OpKind::negotiate: {
      Builder frame = builder(kExtensions);
      std::string table;
      const auto name = [&](std::string_view text) {
        table += text;
        table += '\0';
      };
      name(spec_.tags == TagMode::none ? "reset" : tag_mode_name(spec_.tags));
      if (spec_.tags != TagMode::none) {
        name("coalesced_read");
        if (spec_.crc != 0) {
          name("crc8x4");
        }
        if (spec_.joins != 0) {
          name("coalesced_write_reply");
        }
      }
      table += '\0';
      if (spec_.big_endian != 0) {
        frame.u16(static_cast<std::uint16_t>(table.size()));
      } else {  // as AoEde sends it
        frame.u8(static_cast<std::uint8_t>(table.size()));
        frame.u8(0);
      }
      frame.text(table);
      size = frame.size();
      break;
    }
    default:
      assert(false);
  }
  send_frame(id, size, now);
  arm(part, now);
}

void Initiator::send_coalesced(Active& active, Nanoseconds now) {
  const ethernet::FrameId id = world_.network.allocate();
  const Part& first = active.parts.front();
  Builder frame(world_.network.frame(id).storage, ethernet::Network::mac_of(kTargetHost),
                ethernet::Network::mac_of(host_), kShelf, kSlot, kAta, first.tag);
  const auto count = static_cast<std::uint8_t>(active.sectors);
  frame.ata(kRead48, first.lba, count);
  frame.u8(static_cast<std::uint8_t>(active.parts.size() - 1));
  for (std::size_t i = 1; i < active.parts.size(); ++i) {
    const Part& part = active.parts[i];
    frame.u16(static_cast<std::uint16_t>(part.tag >> 16U));
    frame.u16(static_cast<std::uint16_t>(part.tag & 0xffffU));
    frame.lba(part.lba);
    static_assert(kCoalescedEntryBytes == 4 + 6 + 5 + 1);
    for (int reserved = 0; reserved < 5; ++reserved) {
      frame.u8(0);
    }
    frame.u8(count);
  }
  send_frame(id, frame.size(), now);
  for (Part& part : active.parts) {
    arm(part, now);
  }
}

void Initiator::send_probes(Active& active, Nanoseconds now) {
  const std::string table = fmt::format("congestion{0}{1}{0}{0}", '\0', active.amount);
  for (std::uint32_t i = 0; i < active.sectors; ++i) {
    const ethernet::FrameId id = world_.network.allocate();
    Builder frame(world_.network.frame(id).storage, ethernet::Network::mac_of(kTargetHost),
                  ethernet::Network::mac_of(host_), kShelf, kSlot, kExtensions, new_tag());
    frame.u8(static_cast<std::uint8_t>(table.size()));
    frame.u8(0);
    frame.text(table);
    send_frame(id, frame.size(), now);
  }
  Part patience;
  patience.tag = new_tag();
  patience.timer = next_timer_++;
  active.parts.push_back(patience);
  world_.queue.at(now + kCongestionPatience, EventKind::initiator_timer, host_, patience.timer);
}

void Initiator::repeat(Active& active, std::size_t at, Nanoseconds now) {
  Part& part = active.parts[at];
  ++part.attempts;
  // One flipped bit in a tag takes the window far ahead, or in a negotiation makes it another: then
  // nothing is heard any more, and only beginning anew helps.
  constexpr std::uint32_t kSilencesBeforeAnew = 16;
  if (spec_.kind == InitiatorKind::aoede && !distrusted_.empty() &&
      part.attempts % kSilencesBeforeAnew == 0) {
    renegotiate_ = true;
  }
  if (spec_.kind != InitiatorKind::linux_) {
    ++world_.coverage.repetitions;
    send_part(active, part, now);
    return;
  }
  // The Linux driver: a new tag, and what was one request may become two.
  part.tag = new_tag();
  if (transfers(active.kind) && part.sectors >= 2) {
    ++world_.coverage.splits;
    Part second = part;
    second.sectors = part.sectors / 2;
    part.sectors -= second.sectors;
    second.lba = part.lba + part.sectors;
    second.tag = new_tag();
    active.parts.push_back(second);
    send_part(active, active.parts[at], now);
    send_part(active, active.parts.back(), now);
    return;
  }
  send_part(active, part, now);
}

// A well-formed change of the mask list or the reserve list, of addresses that are in the world.
// The answer is the reference's business.
void Initiator::send_lists(std::int64_t what, Nanoseconds now) {
  if (now >= kListsUntil) {
    return;
  }
  Stream stream(static_cast<std::uint64_t>(what), "lists", 0);
  const auto somebody = [&] {
    const std::uint64_t who = stream.below(5);
    // Itself, most often: it would like to go on.
    return ethernet::Network::mac_of(who < 2 ? host_ : static_cast<std::uint32_t>(who));
  };
  const bool mask = stream.below(2) == 0;
  const ethernet::FrameId id = world_.network.allocate();
  Builder frame(world_.network.frame(id).storage, ethernet::Network::mac_of(kTargetHost),
                ethernet::Network::mac_of(host_), kShelf, kSlot, mask ? kMask : kReserve,
                new_tag());
  const std::uint64_t count = stream.below(4) == 0 ? stream.between(40, 250) : stream.below(4);
  const bool crowd = count >= 40;
  const auto put = [&](const MacAddress& address) {
    for (std::size_t i = 0; i < address.octets.size(); ++i) {
      // A crowd of strangers, told apart by their fourth octet.
      frame.u8(crowd && i == 3 ? static_cast<std::uint8_t>(stream.next()) : address.octets[i]);
    }
  };
  const std::size_t fits = static_cast<std::size_t>(world_.settings.mtu) + 14;
  std::uint64_t sent = 0;
  if (mask) {
    frame.u8(0);
    frame.u8(static_cast<std::uint8_t>(stream.below(8) == 0 ? stream.below(3) : 1));
    frame.u8(0);
    const std::size_t count_at = frame.size();
    frame.u8(0);
    for (; sent < count && frame.size() + 8 <= fits; ++sent) {
      frame.u8(0);
      const std::uint64_t directive = crowd ? stream.below(9) : stream.below(16);
      frame.u8(static_cast<std::uint8_t>(directive < 8    ? 1
                                         : directive < 14 ? 2
                                         : directive < 15 ? 0
                                                          : 3));
      put(somebody());
    }
    world_.network.frame(id).storage[count_at] = static_cast<std::byte>(sent);
  } else {
    frame.u8(static_cast<std::uint8_t>(stream.below(8) == 0 ? 3 : stream.below(3)));
    const std::size_t count_at = frame.size();
    frame.u8(0);
    for (; sent < count && frame.size() + 6 <= fits; ++sent) {
      put(somebody());
    }
    world_.network.frame(id).storage[count_at] = static_cast<std::byte>(sent);
  }
  send_frame(id, frame.size(), now);
}

// Anything: a frame that depends on one number alone, so that a schedule may name it.
void Initiator::send_garbage(std::int64_t what, Nanoseconds now) {
  ++world_.coverage.hostile_frames;
  Stream stream(static_cast<std::uint64_t>(what), "garbage", 0);
  const ethernet::FrameId id = world_.network.allocate();
  const std::span<std::byte> storage = world_.network.frame(id).storage;
  constexpr std::array<std::uint8_t, 7> kCommands{0, 0, 1, 2, 3, 0x23, 0xf0};
  const auto command = stream.below(8) == 0 ? static_cast<std::uint8_t>(stream.next())
                                            : kCommands[stream.below(kCommands.size())];
  // One draw a line: the order in which arguments are evaluated differs between compilers.
  const std::uint32_t tag =
      static_cast<std::uint32_t>(stream.below(2) == 0 ? stream.below(16) : stream.next());
  std::uint16_t shelf = stream.below(4) == 0 ? std::uint16_t{0xffff} : kShelf;
  std::uint8_t slot = stream.below(4) == 0 ? std::uint8_t{0xff} : kSlot;
  // Sometimes it asks another target, or says that it is somebody else: a stranger, or a group.
  Stream places(static_cast<std::uint64_t>(what), "garbage.places", 0);
  MacAddress source = ethernet::Network::mac_of(host_);
  const std::uint32_t garbage_tag =
      places.below(2) == 0 ? static_cast<std::uint32_t>(places.below(3)) : tag;
  switch (places.below(24)) {
    case 0:
      slot = static_cast<std::uint8_t>(places.next());
      break;
    case 1:
      shelf = static_cast<std::uint16_t>(places.next());
      break;
    case 2:
    case 3:
      source.octets[3] = static_cast<std::uint8_t>(places.between(1, 3));
      break;
    case 4:
      source.octets[0] |= 1U;
      break;
    default:
      break;
  }
  Builder frame(storage, ethernet::Network::mac_of(kTargetHost), source, shelf, slot,
                static_cast<Command>(command), garbage_tag);
  if (stream.below(4) == 0) {
    storage[14] = std::byte{static_cast<std::uint8_t>(stream.next())};
  }
  if (command == kAta) {
    constexpr std::array<std::uint8_t, 8> kAtaCommands{0x20, 0x24, 0x30, 0x34,
                                                       0xec, 0xe7, 0xea, 0xe5};
    const std::int64_t largest = (world_.settings.mtu - 22) / 512;
    const std::uint64_t lba =
        stream.below(3) == 0 ? stream.next() >> 16U : stream.below(world_.sectors.sectors() + 4);
    const std::uint8_t ata_command = kAtaCommands[stream.below(kAtaCommands.size())];
    const auto count =
        static_cast<std::uint8_t>(stream.below(2) == 0 ? stream.below(5) : stream.next());
    frame.ata(ata_command, lba, places.below(4) == 0 ? static_cast<std::uint8_t>(largest) : count);
    if (places.below(4) == 0) {
      storage[kHeaderBytes] = static_cast<std::byte>(places.next());
    }
  } else if (command == kConfig && places.below(4) != 0) {
    // The strings that set-config sets, so that some are equal and some are prefixes.
    const std::string text =
        fmt::format("string {}", places.below(12)).substr(0, places.between(5, 9));
    frame.u16(0);
    frame.u16(0);
    frame.u8(0);
    frame.u8(static_cast<std::uint8_t>(0x10 | places.below(6)));
    frame.u16(static_cast<std::uint16_t>(text.size()));
    frame.text(text);
  } else if (command == kExtensions) {
    constexpr std::array<std::string_view, 10> kNames{
        "coalesced_write_reply", "reset",      "tag_inc_be", "TAG_INC_LE", "tag_random",
        "coalesced_read",        "congestion", "crc8x4",     "17",         "x"};
    std::string table;
    for (std::uint64_t names = stream.below(12); names > 0; --names) {
      table += kNames[stream.below(kNames.size())];
      table += '\0';
    }
    table += '\0';
    frame.u8(
        static_cast<std::uint8_t>(table.size() + (stream.below(4) == 0 ? stream.below(9) : 0)));
    frame.u8(0);
    frame.text(table);
  }
  std::uint64_t tail = stream.below(3) == 0 ? stream.below(1200) : stream.below(80);
  tail = std::min<std::uint64_t>(
      tail, static_cast<std::uint64_t>(world_.settings.mtu) + 14 - frame.size());
  const bool zeros = stream.below(2) == 0;
  for (; tail > 0; --tail) {
    frame.u8(zeros ? 0 : static_cast<std::uint8_t>(stream.next()));
  }
  std::size_t size = frame.size();
  if (stream.below(8) == 0) {
    size = stream.below(size + 1);
  }
  // It may not lock the others out for good, which the protocol allows it: mask edit, reserve set.
  if (size > 25 && storage[19] == std::byte{kMask}) {
    storage[25] = std::byte{0};
  }
  if (size > 25 && storage[19] == std::byte{kReserve}) {
    storage[24] &= std::byte{0xfc};
  }
  send_frame(id, size, now);
}

// ---- receiving
// ------------------------------------------------------------------------------------

void Initiator::receive(const ethernet::Frame& frame, Nanoseconds now) {
  if (spec_.kind == InitiatorKind::hostile) {
    return;
  }
  const View view(frame.bytes());
  const bool damaged = frame.mangled || tainted(frame);
  if (!view.aoe()) {
    if (!damaged) {
      complain("reply:not-aoe", "a frame that is not AoE came");
    }
    return;
  }
  if (frame.sender != kTargetHost) {
    return;  // another initiator's broadcast
  }
  // An announcement goes to everybody and has no request: its tag 0 answers nobody's tag 0.
  const bool announcement = (view.destination().octets[0] & 1U) != 0;
  if (announcement) {
    take_announcement(view, now);
    return;
  }
  const bool mine = answered(frame, now);
  if (spec_.joins != 0 && view.command() == kAta && view.bytes().size() > kAtaBytes &&
      !view.error_flag() && (view.aflags() & kWriteFlag) != 0) {
    take_results(frame, now);
    pump(now);
  }
  if (mine) {
    pump(now);
    return;
  }
  ++world_.coverage.late_replies;
  if (!damaged && !tag_was_used(view.tag())) {
    complain("reply:unknown-tag", fmt::format("a reply to tag {} that was never used", view.tag()));
  }
}

// True: something outstanding was waiting for it.
bool Initiator::answered(const ethernet::Frame& frame, Nanoseconds now) {
  const View view(frame.bytes());
  for (std::size_t at = 0; at < active_.size(); ++at) {
    for (std::size_t part = 0; part < active_[at].parts.size(); ++part) {
      if (!active_[at].parts[part].done && active_[at].parts[part].tag == view.tag() &&
          command_of(active_[at].kind) == view.command() &&
          active_[at].kind != OpKind::congestion) {
        part_answered(at, part, frame, now);
        return true;
      }
    }
  }
  return false;
}

// Results of further writes in a frame of coalesced_write_reply: each is the reply it stands for.
void Initiator::take_results(const ethernet::Frame& frame, Nanoseconds now) {
  const View view(frame.bytes());
  const std::size_t count = view.u8(kAtaBytes);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = kAtaBytes + 1 + i * kCoalescedEntryBytes;
    if (at + kCoalescedEntryBytes > frame.size) {
      return;
    }
    ethernet::Frame one;
    one.storage.assign(frame.storage.begin(), frame.storage.begin() + kAtaBytes);
    std::copy_n(frame.storage.begin() + static_cast<std::ptrdiff_t>(at), 4,
                one.storage.begin() + 20);
    std::copy_n(frame.storage.begin() + static_cast<std::ptrdiff_t>(at) + 4, 12,
                one.storage.begin() + kHeaderBytes);
    one.storage.resize(kMinimumFrameBytes);
    one.size = kMinimumFrameBytes;
    one.serial = frame.serial;
    one.sender = frame.sender;
    one.mangled = frame.mangled;
    one.tainted = frame.tainted;
    answered(one, now);
  }
}

// The target announces itself: it has no memory of us.
void Initiator::take_announcement(const View& view, Nanoseconds now) {
  if (view.command() != kConfig || view.tag() != 0) {
    return;
  }
  const bool negotiating = std::any_of(active_.begin(), active_.end(), [](const Active& active) {
    return active.kind == OpKind::negotiate;
  });
  if (spec_.kind == InitiatorKind::aoede && !negotiating) {
    renegotiate_ = true;
    pump(now);
  }
}

void Initiator::distrust(Bytes request) {
  const View view(request);
  distrusted_.push_back(view.tag());
  // The tags of further reads travel in it, too.
  for (std::size_t at = kAtaBytes + 1; at + kCoalescedEntryBytes <= request.size();
       at += kCoalescedEntryBytes) {
    distrusted_.push_back((std::uint32_t{view.u16(at)} << 16U) | view.u16(at + 2));
  }
  for (const Active& active : active_) {
    for (const Part& part : active.parts) {
      distrusted_.push_back(part.tag);
    }
  }
}

bool Initiator::tainted(const ethernet::Frame& frame) const {
  if (frame.tainted || distrusted_.empty()) {
    return frame.tainted;
  }
  const View view(frame.bytes());
  return view.aoe() &&
         std::find(distrusted_.begin(), distrusted_.end(), view.tag()) != distrusted_.end();
}

// Whether a reply is long enough to be one; a frame cut on the way is not the target's fault.
bool Initiator::reply_fits(const Active& active, const Part& part,
                           const ethernet::Frame& frame) const {
  const View view(frame.bytes());
  if (view.error_flag()) {
    return true;
  }
  std::size_t wanted = kHeaderBytes;
  switch (active.kind) {
    case OpKind::read:
    case OpKind::coalesced: {
      if (!view.ata()) {
        return false;
      }
      const bool good = (view.ata_command() & kStatusError) == 0;
      wanted = kAtaBytes + (good ? part.sectors * kSectorBytes : 0);
      if (good && crc_active_ && frame.size >= wanted + kCrcBytes) {
        const auto check = crc8x4(frame.bytes().subspan(kHeaderBytes, wanted - kHeaderBytes));
        const Bytes sent = frame.bytes().subspan(wanted, kCrcBytes);
        // Zeros: padding of a target that restarted and knows nothing of the check.
        if (!std::equal(check.begin(), check.end(), sent.begin()) && !all_zero(sent)) {
          return false;
        }
      }
      break;
    }
    case OpKind::write:
    case OpKind::flush:
      wanted = kAtaBytes;
      break;
    case OpKind::identify:
      wanted = kAtaBytes + kSectorBytes;
      break;
    default:
      break;
  }
  return frame.size >= wanted;
}

void Initiator::part_answered(std::size_t at, std::size_t part_at, const ethernet::Frame& frame,
                              Nanoseconds now) {
  Active& active = active_[at];
  Part& part = active.parts[part_at];
  const View view(frame.bytes());
  if (!reply_fits(active, part, frame)) {
    if (!frame.mangled && !tainted(frame)) {
      complain("reply:short", fmt::format("a reply of {} bytes to #{}", frame.size, active.op));
    }
    return;
  }
  const bool ata = active.kind != OpKind::config && active.kind != OpKind::set_config &&
                   active.kind != OpKind::negotiate;
  const bool refused =
      view.error_flag() || (ata && (view.ata_command() & (kStatusError | kStatusFault)) != 0);
  const bool not_supported = active.kind == OpKind::negotiate && refused;
  if (refused && !not_supported) {
    if (++part.errors <= kErrorRetriesMax) {
      arm(part, now);  // again when the timer says so
      return;
    }
    active.failed = true;
  } else if (tainted(frame) && active.kind == OpKind::write) {
    // Perhaps the answer to something else: what the sectors hold is anybody's guess.
    for (std::uint32_t i = 0; i < part.sectors; ++i) {
      world_.sectors.taint(part.lba + i);
    }
  } else if (!tainted(frame) && (active.kind == OpKind::read || active.kind == OpKind::coalesced)) {
    judge_read(world_, fmt::format("{} #{}", spec_.name, active.op), part.lba, part.sectors,
               active.asked, view.data().first(part.sectors * kSectorBytes));
  } else if (active.kind == OpKind::write) {
    world_.sectors.write_done(active.version, part.lba, part.sectors, world_.oldest_read());
  } else if (active.kind == OpKind::negotiate) {
    take_negotiation(refused ? Bytes{} : frame.bytes());
  }
  active.doubtful = active.doubtful || tainted(frame);
  part.done = true;
  part.timer = 0;
  if (std::all_of(active.parts.begin(), active.parts.end(),
                  [](const Part& each) { return each.done; })) {
    const bool lost = std::any_of(active.parts.begin(), active.parts.end(), [&](const Part& each) {
      return world_.lost(each.lba, each.sectors);
    });
    if (active.failed && sweeping_ && !lost) {
      world_.findings.add(
          checkers::Severity::liveness, "liveness:refused",
          fmt::format("{}: #{} failed although everything has healed", spec_.name, active.op));
    }
    finish(at, active.failed ? kFailed : kDone, now);
  }
}

void Initiator::take_negotiation(Bytes frame) {
  std::string table;
  for (std::size_t i = 26; i < frame.size(); ++i) {
    const char letter = static_cast<char>(frame[i]);
    table += letter == '\0' ? ' ' : letter;
  }
  crc_active_ = table.find("CRC8X4 ") != std::string::npos;
  coalesced_active_ = table.find("COALESCED_READ ") != std::string::npos;
}

void Initiator::on_timer(std::uint64_t arg, Nanoseconds now) {
  if (arg == kWaitTimer) {
    waiting_ = false;
    pump(now);
    return;
  }
  for (std::size_t at = 0; at < active_.size(); ++at) {
    Active& active = active_[at];
    for (std::size_t part = 0; part < active.parts.size(); ++part) {
      if (active.parts[part].timer != arg) {
        continue;
      }
      if (active.kind == OpKind::congestion) {
        finish(at, kDone, now);
        pump(now);
        return;
      }
      const bool out_of_patience = spec_.retries > 0 && !sweeping_ &&
                                   active.kind != OpKind::negotiate &&
                                   active.parts[part].attempts >= spec_.retries;
      if (out_of_patience) {
        finish(at, kGivenUp, now);
        pump(now);
      } else {
        repeat(active, part, now);
        pump(now);
      }
      return;
    }
  }
}

}  // namespace sim::clients
