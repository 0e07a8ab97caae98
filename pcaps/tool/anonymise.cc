#include "pcaps/tool/anonymise.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>

#include "conformance/observer/decode.h"
#include "conformance/observer/extension_table.h"
#include "pcaps/tool/replay.h"

namespace pcaps {

namespace observer = conformance::observer;
using observer::get;
namespace at = observer::at;
using F = observer::F;
using Frame = std::span<std::uint8_t>;

namespace {

constexpr std::size_t kSector = observer::kSectorBytes;
constexpr std::size_t kEtherTypeAt = 12;
constexpr std::size_t kFcsBytes = 4;
constexpr std::size_t kOpenIdentifiesMax = 4096;

// Where the AoE of a frame begins, less the 14 bytes of an untagged one; nothing: it has none.
std::optional<std::size_t> tags_of(std::span<const std::uint8_t> frame) {
  std::size_t tags = 0;
  while (frame.size() >= kEtherTypeAt + tags + 2) {
    const auto type = static_cast<std::uint16_t>(frame[kEtherTypeAt + tags] << 8U |
                                                 frame[kEtherTypeAt + tags + 1]);
    if (type == observer::kEtherType) {
      return tags;
    }
    if (type != 0x8100 && type != 0x88a8 && type != 0x9100) {
      return std::nullopt;
    }
    tags += 4;
  }
  return std::nullopt;
}

std::uint32_t crc32_of(Frame bytes) {
  return static_cast<std::uint32_t>(crc32(0, bytes.data(), static_cast<uInt>(bytes.size())));
}

bool has_fcs(Frame frame) {
  if (frame.size() <= observer::kMinFrameBytes) {
    return false;
  }
  const Frame body = frame.first(frame.size() - kFcsBytes);
  return observer::load_le(frame, body.size(), kFcsBytes) == crc32_of(body);
}

// Where four check bytes stand that are right: behind whole sectors, or behind the bare argument.
std::optional<std::size_t> check_bytes_at(Frame frame) {
  for (std::size_t end = at::ata_data; end + observer::kCrc8x4Bytes <= frame.size();
       end += kSector) {
    const auto crc = observer::crc8x4(frame.subspan(at::argument, end - at::argument));
    if (std::equal(crc.begin(), crc.end(), frame.begin() + static_cast<std::ptrdiff_t>(end)) &&
        std::any_of(crc.begin(), crc.end(), [](auto b) { return b != 0; })) {
      return end;
    }
  }
  return std::nullopt;
}

bool is_zero(std::span<const std::uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](auto b) { return b == 0; });
}

}  // namespace

std::vector<std::uint8_t> Anonymiser::anonymised(const CapturedFrame& captured) {
  std::vector<std::uint8_t> out(captured.bytes.begin(), captured.bytes.end());
  Frame frame(out);
  const bool whole = captured.bytes.size() == captured.wire_length;
  const bool checked = whole && (captured.fcs_bytes == kFcsBytes || has_fcs(frame));
  const bool right = checked && has_fcs(frame);
  Frame body = checked && frame.size() > kFcsBytes ? frame.first(frame.size() - kFcsBytes) : frame;
  const auto tags = tags_of(body);
  for (const std::size_t mac : {std::size_t{0}, std::size_t{6}}) {
    if (body.size() >= mac + 6) {
      names_.address(Frame(body.subspan(mac, 6)).first<6>());
    }
  }
  if (!tags) {
    const std::size_t head = kEtherTypeAt + 2;
    if (body.size() > head) {
      std::fill(body.begin() + head, body.end(), 0);
    }
  } else if (*tags == 0) {
    aoe(body);
  } else {
    // As an untagged frame, and the tags in between again.
    std::vector<std::uint8_t> bare(body.begin(), body.begin() + kEtherTypeAt);
    bare.insert(bare.end(), body.begin() + kEtherTypeAt + static_cast<std::ptrdiff_t>(*tags),
                body.end());
    aoe(bare);
    std::copy(bare.begin() + kEtherTypeAt, bare.end(),
              body.begin() + kEtherTypeAt + static_cast<std::ptrdiff_t>(*tags));
  }
  if (right) {
    observer::store_le(frame, body.size(), kFcsBytes, crc32_of(body));
  } else if (checked) {
    names_.content(frame.last(kFcsBytes));
  }
  return out;
}

void Anonymiser::aoe(Frame frame) {
  if (frame.size() < at::argument) {
    return;
  }
  switch (frame[19]) {
    case observer::command::ata:
      ata(frame);
      break;
    case observer::command::config:
      config(frame);
      break;
    case observer::command::mask:
      if (frame.size() > at::mask_list) {
        list(frame, at::mask_list, observer::kMaskEntryBytes, 2, frame[at::mask_list - 1]);
      }
      break;
    case observer::command::reserve:
      if (frame.size() > at::reserve_list) {
        list(frame, at::reserve_list, observer::kReserveEntryBytes, 0, frame[at::reserve_list - 1]);
      }
      break;
    case observer::command::extension:
      extensions(frame);
      break;
    default:
      names_.pieces(frame.subspan(at::argument), kSector);
  }
}

void Anonymiser::ata(Frame frame) {
  if (frame.size() < at::ata_data) {
    return;
  }
  const bool reply = get(frame, F::flag_response) == 1U;
  const auto check = check_bytes_at(frame);
  const auto host = [&](std::size_t from) {
    return observer::AoeFrame::read_mac(frame.data() + from);
  };
  const auto tag = static_cast<std::uint32_t>(*get(frame, F::tag));
  bool told_by_identify = false;
  if (!reply) {
    if (identifies_.size() > kOpenIdentifiesMax) {
      identifies_.clear();
    }
    identifies_[{host(6), tag}] = frame[27] == observer::ata::identify;
  } else {
    const auto asked = identifies_.find({host(0), tag});
    told_by_identify =
        asked != identifies_.end() && asked->second && frame.size() >= at::ata_data + kSector;
  }
  const Frame data = frame.subspan(at::ata_data);
  if (data.empty()) {
    return;
  }
  const std::size_t count = data[0];
  const std::size_t listed = 1 + count * observer::kCoalescedEntryBytes;
  if (told_by_identify) {
    identify(data.first(kSector));
    names_.pieces(data.subspan(kSector), kSector);
  } else if (!reply && observer::is_read(frame[27]) && count > 0 && listed <= data.size() &&
             is_zero(data.subspan(11, 5))) {
    // Further reads: numbers, as the header's are.
    names_.pieces(data.subspan(listed), kSector);
  } else if (reply && (frame[24] & observer::kAtaWriteFlag) != 0 && count > 0 &&
             listed <= data.size() && is_zero(data.subspan(15, 2))) {
    names_.pieces(data.subspan(listed), kSector);
  } else {
    names_.pieces(check ? data.first(*check - at::ata_data) : data, kSector);
    if (check) {
      names_.pieces(data.subspan(*check - at::ata_data + observer::kCrc8x4Bytes), kSector);
    }
  }
  if (check) {
    const auto crc = observer::crc8x4(frame.subspan(at::argument, *check - at::argument));
    std::copy(crc.begin(), crc.end(), frame.begin() + static_cast<std::ptrdiff_t>(*check));
  }
}

// Names become others; numbers stay, for clauses are about them. What a vendor put where no
// standard says anything goes.
void Anonymiser::identify(Frame words) {
  const bool summed = words[510] == 0xa5;
  for (const auto& [first, last] : {std::pair{10, 19}, {23, 26}, {27, 46}}) {
    names_.text(words.subspan(static_cast<std::size_t>(first) * 2,
                              static_cast<std::size_t>(last - first + 1) * 2));
  }
  for (const auto& [first, last] : {std::pair{108, 111}, {129, 159}, {176, 205}}) {
    names_.content(words.subspan(static_cast<std::size_t>(first) * 2,
                                 static_cast<std::size_t>(last - first + 1) * 2));
  }
  if (summed) {
    std::uint8_t sum = 0;
    for (const std::uint8_t byte : words.first(511)) {
      sum = static_cast<std::uint8_t>(sum + byte);
    }
    words[511] = static_cast<std::uint8_t>(-sum);
  }
}

void Anonymiser::config(Frame frame) {
  if (frame.size() <= at::cfg_string) {
    return;
  }
  const Frame rest = frame.subspan(at::cfg_string);
  const std::size_t length = std::min<std::size_t>(*get(frame, F::cfg_length), rest.size());
  names_.string(rest.first(length));
  names_.pieces(rest.subspan(length), kSector);
}

void Anonymiser::list(Frame frame, std::size_t from, std::size_t entry_bytes,
                      std::size_t address_at, std::size_t count) {
  std::size_t end = from;
  for (std::size_t i = 0; i < count && end + entry_bytes <= frame.size(); ++i) {
    names_.address(Frame(frame.subspan(end + address_at, 6)).first<6>());
    end += entry_bytes;
  }
  names_.pieces(frame.subspan(end), kSector);
}

void Anonymiser::extensions(Frame frame) {
  CapturedFrame captured;
  captured.bytes = frame;
  captured.wire_length = static_cast<std::uint32_t>(frame.size());
  observer::AoeFrame view;
  if (frame.size() <= at::ext_table ||
      observer::AoeFrame::parse(captured, view) != observer::AoeFrame::Kind::aoe) {
    return;
  }
  const auto table = observer::ExtensionTable::find(view);
  if (!table.well_formed) {
    names_.pieces(frame.subspan(at::ext_table), kSector);
    return;
  }
  table.for_each([&](std::string_view word) {
    const bool number =
        std::all_of(word.begin(), word.end(), [](unsigned char c) { return c >= '0' && c <= '9'; });
    if (observer::feature_bit(word) == 0 && !number) {
      const auto offset = static_cast<std::size_t>(
          reinterpret_cast<const std::uint8_t*>(word.data()) - frame.data());
      names_.word(frame.subspan(offset, word.size()));
    }
  });
  names_.pieces(frame.subspan(at::ext_table + table.bytes.size()), kSector);
}

std::optional<Anonymised> anonymise(const CaptureSpec& capture, const std::string& output,
                                    std::string& error) {
  const auto reader = CaptureReader::open(capture, error);
  const auto writer = reader == nullptr ? nullptr : CaptureWriter::create(output, error);
  if (writer == nullptr) {
    return std::nullopt;
  }
  Anonymiser anonymiser;
  Anonymised done;
  CapturedFrame frame;
  const std::vector<std::uint8_t> blank(observer::kMinFrameBytes, 0);
  while (reader->next(frame)) {
    for (; capture.only.everything() && done.frames + 1 < frame.number;
         ++done.frames, ++done.blank) {
      writer->write(blank, frame.time_ns);
    }
    const bool is_aoe = tags_of(frame.bytes).has_value();
    writer->write(anonymiser.anonymised(frame), frame.time_ns, frame.wire_length);
    ++done.frames;
    done.blank += is_aoe ? 0 : 1;
  }
  if (!writer->finish(error)) {
    return std::nullopt;
  }
  if (!reader->damage().empty()) {
    fmt::print(stderr, "aoe-pcap: {} is damaged after frame {} ({}): what is before that counts\n",
               reader->path(), reader->frames(), reader->damage());
  }
  if (reader->drops().dropped != 0) {
    fmt::print(stderr,
               "aoe-pcap: {}: it says that it lost {} frames itself; the copy cannot say so\n",
               reader->path(), reader->drops().dropped);
  }
  return done;
}

}  // namespace pcaps
