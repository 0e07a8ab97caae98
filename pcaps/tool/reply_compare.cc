#include "pcaps/tool/reply_compare.h"

#include <algorithm>
#include <cctype>

#include "conformance/observer/decode.h"
#include "conformance/observer/extension_table.h"

namespace pcaps {

namespace {
constexpr std::uint32_t kIdentifyBytes = 512;

struct Facts {
  const char* name;
  bool allowed;
  const char* text;
};
constexpr std::array<Facts, kDifferences> kFacts{{
    {"missing", false, "no reply where there was one"},
    {"unexpected", true, "a reply where there was none"},
    {"error", false, "another AoE error"},
    {"version", false, "another version"},
    {"address", false, "not the target's own shelf and slot"},
    {"ata-status", false, "another ATA status or error register"},
    {"data", false, "other data in a read"},
    {"length", false, "fields that do not fit the frame"},
    {"capacity", false, "another capacity in identify"},
    {"identify", true, "another identify, the capacity apart"},
    {"registers", true, "other flags, count or LBA in an ATA reply"},
    {"buffers", true, "another buffer count"},
    {"firmware", true, "another firmware version"},
    {"sectors", true, "another number of sectors per command"},
    {"config-string", false, "another config string"},
    {"config-command", true, "another config command in a config reply"},
    {"mask-list", false, "another mask list"},
    {"reserve-list", false, "another reserve list"},
    {"extensions", false, "another extension table"},
    {"write-data", true, "other data in a write: another workload, or another time of day"},
    {"congestion", true, "the congestion probe active in one only"},
    {"padding", true, "other padding, or another frame length"},
}};

AoeFrame view(std::span<const std::uint8_t> bytes) {
  AoeFrame frame;
  CapturedFrame captured;
  captured.bytes = bytes;
  captured.wire_length = static_cast<std::uint32_t>(bytes.size());
  AoeFrame::parse(captured, frame);
  return frame;
}

bool same_bytes(const AoeFrame& a, const AoeFrame& b, std::uint32_t offset, std::uint32_t size) {
  if (!a.holds(offset, size) || !b.holds(offset, size)) {
    return a.holds(offset, size) == b.holds(offset, size);
  }
  const auto x = a.slice(offset, size);
  const auto y = b.slice(offset, size);
  return std::equal(x.begin(), x.end(), y.begin());
}

void compare_padding(const AoeFrame& a, const AoeFrame& b, std::uint32_t end_a, std::uint32_t end_b,
                     DifferenceSet& out) {
  if (a.length < end_a || b.length < end_b) {
    add(out, Difference::length);
    return;
  }
  const auto x = a.slice(end_a, a.length - end_a);
  const auto y = b.slice(end_b, b.length - end_b);
  if (!std::equal(x.begin(), x.end(), y.begin(), y.end())) {
    add(out, Difference::padding);
  }
}

void compare_ata(const AoeFrame& a, const AoeFrame& b, const CompareContext& context,
                 DifferenceSet& out) {
  if (a.has_error_flag() || b.has_error_flag()) {
    return;  // beside the code anything may stand there
  }
  if (!a.holds_ata() || !b.holds_ata()) {
    add(out, Difference::length);
    return;
  }
  if (a.ata_status() != b.ata_status() || a.ata_error() != b.ata_error()) {
    add(out, Difference::ata_status);
  }
  if (a.ata_flags() != b.ata_flags() || a.ata_count() != b.ata_count() ||
      !same_bytes(a, b, 28, 8)) {
    add(out, Difference::registers);
  }
  const bool good = (a.ata_status() & kStatusErr) == 0 && (b.ata_status() & kStatusErr) == 0;
  std::uint32_t data_bytes = 0;
  if (good && is_read(context.ata_command)) {
    data_bytes = context.sectors * kSectorBytes;
    if (!same_bytes(a, b, kAtaDataOffset, data_bytes)) {
      add(out, Difference::data);
    }
  } else if (good && context.ata_command == kAtaIdentify) {
    data_bytes = kIdentifyBytes;
    if (a.holds(kAtaDataOffset, data_bytes) && b.holds(kAtaDataOffset, data_bytes) &&
        !same_bytes(a, b, kAtaDataOffset, data_bytes)) {
      namespace observer = conformance::observer;
      const bool same_size = observer::identify_sectors(a.slice(kAtaDataOffset, data_bytes)) ==
                             observer::identify_sectors(b.slice(kAtaDataOffset, data_bytes));
      add(out, same_size ? Difference::identify : Difference::capacity);
    }
  }
  compare_padding(a, b, kAtaDataOffset + data_bytes, kAtaDataOffset + data_bytes, out);
}

void compare_config(const AoeFrame& a, const AoeFrame& b, DifferenceSet& out) {
  if (!a.holds(24, 8) || !b.holds(24, 8)) {
    add(out, Difference::length);
    return;
  }
  if (a.be16(24) != b.be16(24)) {
    add(out, Difference::buffers);
  }
  if (a.be16(26) != b.be16(26)) {
    add(out, Difference::firmware);
  }
  if (a.u8(28) != b.u8(28)) {
    add(out, Difference::sectors);
  }
  if (a.u8(29) != b.u8(29)) {
    add(out, Difference::config_command);
  }
  const std::uint32_t size_a = a.be16(30);
  const std::uint32_t size_b = b.be16(30);
  if (a.has_error_flag()) {
    return;  // a refused set may tell the present string, or not
  }
  if (size_a != size_b || !same_bytes(a, b, kConfigStringOffset, size_a)) {
    add(out, Difference::config_string);
  }
  compare_padding(a, b, kConfigStringOffset + size_a, kConfigStringOffset + size_b, out);
}

std::vector<std::uint64_t> list_of(const AoeFrame& frame, std::uint32_t begin, std::uint32_t step,
                                   std::uint32_t skip, std::uint32_t count) {
  std::vector<std::uint64_t> macs;
  for (std::uint32_t i = 0; i < count && frame.holds(begin + i * step, step); ++i) {
    macs.push_back(frame.mac(begin + i * step + skip));
  }
  std::sort(macs.begin(), macs.end());
  return macs;
}

void translate(std::vector<std::uint64_t>& macs, const CompareContext& context) {
  for (std::uint64_t& mac : macs) {
    for (const auto& [from, to] : context.mac_map) {
      if (mac == from) {
        mac = to;
        break;
      }
    }
  }
  std::sort(macs.begin(), macs.end());
}

void compare_extensions(const AoeFrame& a, const AoeFrame& b, DifferenceSet& out) {
  if (a.has_error_flag() || b.has_error_flag()) {
    return;
  }
  const ExtensionTable x = ExtensionTable::find(a);
  const ExtensionTable y = ExtensionTable::find(b);
  if (!x.well_formed || !y.well_formed || x.order != y.order ||
      !equal_but_for_case(x.bytes, y.bytes)) {
    add(out, Difference::extensions);
    return;
  }
  std::string_view rest = y.bytes;
  x.for_each([&rest, &out](std::string_view name) {
    if (rest.substr(0, name.size()) != name) {
      add(out, feature_bit(name) == kFeatureCongestion ? Difference::congestion
                                                       : Difference::extensions);
    }
    rest.remove_prefix(std::min(rest.size(), name.size() + 1));
  });
}
}  // namespace

nlohmann::ordered_json difference_counts_json(const DifferenceCounts& counts) {
  auto seen = nlohmann::ordered_json::object();
  for (std::size_t i = 0; i < kDifferences; ++i) {
    if (counts[i] != 0) {
      seen[difference_name(static_cast<Difference>(i))] = counts[i];
    }
  }
  return seen;
}

const char* difference_name(Difference difference) {
  return kFacts[static_cast<std::size_t>(difference)].name;
}

const char* difference_text(Difference difference) {
  return kFacts[static_cast<std::size_t>(difference)].text;
}

Difference find_difference(std::string_view name) {
  for (std::size_t i = 0; i < kDifferences; ++i) {
    if (name == kFacts[i].name) {
      return static_cast<Difference>(i);
    }
  }
  return Difference::count;
}

DifferenceSet allowed_by_default() {
  DifferenceSet set;
  for (std::size_t i = 0; i < kDifferences; ++i) {
    set[i] = kFacts[i].allowed;
  }
  return set;
}

DifferenceSet compare_replies(std::span<const std::uint8_t> first,
                              std::span<const std::uint8_t> second, const CompareContext& context) {
  DifferenceSet out;
  if (first.size() < kAoeHeaderEnd || second.size() < kAoeHeaderEnd) {
    add(out, Difference::length);
    return out;
  }
  const AoeFrame a = view(first);
  const AoeFrame b = view(second);
  if (a.version() != b.version()) {
    add(out, Difference::version);
  }
  if (a.has_error_flag() != b.has_error_flag() || a.error() != b.error()) {
    add(out, Difference::error);
  }
  if (b.shelf() != context.expected_shelf || b.slot() != context.expected_slot) {
    add(out, Difference::address);
  }
  switch (a.command()) {
    case kCommandAta:
      compare_ata(a, b, context, out);
      break;
    case kCommandConfig:
      compare_config(a, b, out);
      break;
    case kCommandMask: {
      if (a.has_error_flag() || b.has_error_flag() || !a.holds(24, 4) || !b.holds(24, 4)) {
        break;
      }
      auto told = list_of(b, kMaskListOffset, kMaskDirectiveBytes, 2, b.u8(27));
      translate(told, context);
      if (a.u8(26) != b.u8(26) ||
          list_of(a, kMaskListOffset, kMaskDirectiveBytes, 2, a.u8(27)) != told) {
        add(out, Difference::mask_list);
      }
      break;
    }
    case kCommandReserve: {
      if (!a.holds(24, 2) || !b.holds(24, 2)) {
        break;
      }
      auto told = list_of(b, kReserveListOffset, kMacBytes, 0, b.u8(25));
      translate(told, context);
      if (list_of(a, kReserveListOffset, kMacBytes, 0, a.u8(25)) != told) {
        add(out, Difference::reserve_list);
      }
      break;
    }
    case kCommandExtensions:
      compare_extensions(a, b, out);
      break;
    default:
      break;
  }
  return out;
}

bool repeats_request(std::span<const std::uint8_t> request, std::span<const std::uint8_t> reply) {
  constexpr std::size_t kCommandOffset = 19, kLbaOffset = 28, kLbaBytes = 6;
  if (request.size() <= kAoeHeaderEnd || reply.size() <= kAoeHeaderEnd ||
      request[kCommandOffset] != reply[kCommandOffset]) {
    return true;  // nothing to go by
  }
  const auto same = [](std::uint8_t a, std::uint8_t b) {
    return std::tolower(a) == std::tolower(b);
  };
  if (request[kCommandOffset] == kCommandExtensions) {
    const std::size_t end = std::min(request.size(), reply.size());
    return std::equal(request.begin() + kAoeHeaderEnd, request.begin() + static_cast<long>(end),
                      reply.begin() + kAoeHeaderEnd, same);
  }
  if (request[kCommandOffset] == kCommandAta && request.size() >= kAtaDataOffset &&
      reply.size() >= kAtaDataOffset) {
    return std::equal(request.begin() + kLbaOffset, request.begin() + kLbaOffset + kLbaBytes,
                      reply.begin() + kLbaOffset);
  }
  return true;
}

}  // namespace pcaps
