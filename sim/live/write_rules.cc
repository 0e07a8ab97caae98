// What is known of the writes on the wire, and what follows for their copies.
#include "sim/live/write_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <stdexcept>

#include "sim/clients/frames.h"

namespace sim::live {

using clients::View;

namespace {

constexpr std::size_t kListOffset = 36;  // of coalesced_write_reply: a count, then entries
constexpr std::size_t kEntryBytes = 16;
constexpr std::uint8_t kWriteFlag = 0x01;
constexpr std::uint8_t kStatusBad = 0x01 | 0x20;  // ERR, DF

std::uint64_t number_of(const target::wire::MacAddress& mac) {
  std::uint64_t value = 0;
  for (const auto octet : mac.octets) {
    value = value << 8U | octet;
  }
  return value;
}

bool overlap(std::uint64_t a, std::uint64_t a_sectors, std::uint64_t b, std::uint64_t b_sectors) {
  return a < b ? b - a < a_sectors : a - b < b_sectors;
}

}  // namespace

std::string_view name_of(WriteRule rule) {
  return rule == WriteRule::hold_copies ? "hold-write-copies" : "newest-write-last";
}

WriteRule parse_write_rule(std::string_view name) {
  for (const WriteRule rule : {WriteRule::hold_copies, WriteRule::newest_last}) {
    if (name == name_of(rule)) {
      return rule;
    }
  }
  throw std::runtime_error(fmt::format("--rule {}: there are {} and {}", name,
                                       name_of(WriteRule::hold_copies),
                                       name_of(WriteRule::newest_last)));
}

SectorRange parse_sector_range(std::string_view text) {
  SectorRange range;
  const char* end = text.data() + text.size();
  const auto [colon, first_error] = std::from_chars(text.data(), end, range.lba);
  if (first_error == std::errc{} && colon != end && *colon == ':') {
    const auto [rest, second_error] = std::from_chars(colon + 1, end, range.sectors);
    if (second_error == std::errc{} && rest == end && range.sectors != 0) {
      return range;
    }
  }
  throw std::runtime_error(
      fmt::format("--rule-sectors {}: LBA:COUNT, two numbers, COUNT at least 1", text));
}

std::optional<WriteRules::Write> WriteRules::read(std::span<const std::byte> frame) const {
  const View view(frame);
  if (!view.aoe() || !view.ata() || view.response() || view.command() != clients::kAta ||
      !clients::is_write(view.ata_command())) {
    return std::nullopt;
  }
  Write write;
  write.key = {number_of(view.source()), view.tag()};
  write.lba = view.lba();
  write.sectors = view.sectors();
  if (!overlap(write.lba, write.sectors, only_.lba, only_.sectors)) {
    return std::nullopt;
  }
  return write;
}

WriteRules::Write* WriteRules::find(const Key& key) {
  const auto known = numbers_.find(key);
  if (known == numbers_.end() || writes_.empty() || known->second < writes_.front().number) {
    return nullptr;
  }
  return &writes_[known->second - writes_.front().number];
}

void WriteRules::came_in(std::span<const std::byte> frame, std::uint32_t index,
                         std::int64_t stamp) {
  auto write = read(frame);
  if (!write) {
    return;
  }
  const Write* known = find(write->key);
  if (known != nullptr && known->lba == write->lba && known->sectors == write->sectors) {
    return;  // sent once more under its tag: no other write
  }
  write->number = next_number_++;
  write->index = index;
  write->stamp = stamp;
  if (rule_ == WriteRule::hold_copies) {
    write->bytes.assign(frame.begin(), frame.end());
  }
  numbers_[write->key] = write->number;
  writes_.push_back(*std::move(write));
  if (writes_.size() > kWritesMax) {
    const Write& oldest = writes_.front();
    forgotten_ += oldest.answered && oldest.bytes.empty() ? 0 : 1;
    const auto number = numbers_.find(oldest.key);
    if (number != numbers_.end() && number->second == oldest.number) {
      numbers_.erase(number);
    }
    writes_.pop_front();
  }
}

bool WriteRules::may_leave(std::span<const std::byte> frame) {
  if (rule_ != WriteRule::newest_last) {
    return true;
  }
  const auto write = read(frame);
  if (!write) {
    return true;
  }
  const Write* known = find(write->key);
  // One that is too old to be known is too old to leave.
  const std::uint64_t number = known != nullptr ? known->number : 0;
  for (std::uint64_t i = 0; i < write->sectors; ++i) {
    const auto newest = left_.find(write->lba + i);
    if (newest != left_.end() && newest->second > number) {
      ++held_back_;
      return false;
    }
  }
  for (std::uint64_t i = 0; i < write->sectors; ++i) {
    if (left_.size() < kSectorsMax || left_.count(write->lba + i) != 0) {
      left_[write->lba + i] = number;
    } else {
      ++forgotten_;
    }
  }
  return true;
}

void WriteRules::one_answer(const Key& key, std::vector<Copy>& copies) {
  Write* done = find(key);
  if (done == nullptr || done->answered) {
    return;
  }
  done->answered = true;
  for (Write& older : writes_) {
    if (older.number >= done->number) {
      break;
    }
    if (!older.bytes.empty() && overlap(older.lba, older.sectors, done->lba, done->sectors)) {
      copies.push_back({std::move(older.bytes), older.index, older.stamp});
      older.bytes.clear();
      ++let_go_;
    }
  }
}

std::vector<WriteRules::Copy> WriteRules::answered(std::span<const std::byte> frame) {
  std::vector<Copy> copies;
  const View view(frame);
  if (rule_ != WriteRule::hold_copies || !view.aoe() || !view.ata() || !view.response() ||
      view.error_flag() || view.command() != clients::kAta) {
    return copies;
  }
  const std::uint64_t to = number_of(view.destination());
  if ((view.ata_command() & kStatusBad) == 0) {
    one_answer({to, view.tag()}, copies);
  }
  if ((view.aflags() & kWriteFlag) != 0 && frame.size() > kListOffset) {
    std::size_t at = kListOffset + 1;
    for (unsigned i = 0; i < view.u8(kListOffset) && at + kEntryBytes <= frame.size(); ++i) {
      const std::uint32_t tag = std::uint32_t{view.u16(at)} << 16U | view.u16(at + 2);
      if ((view.u8(at + 7) & kStatusBad) == 0) {
        one_answer({to, tag}, copies);
      }
      at += kEntryBytes;
    }
  }
  return copies;
}

}  // namespace sim::live
