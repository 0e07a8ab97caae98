// Finds and walks the table of command 0x23. No allocation: strings are views into the frame.
#include "target/wire/extension_table.h"

#include "target/wire/bytes.h"

namespace target::wire {

namespace {

bool ends_in_two_nuls(std::span<const std::byte> frame, std::size_t length) {
  if (length < 2 || length > frame.size() - kExtensionArgumentEnd) {
    return false;
  }
  const std::size_t end = kExtensionArgumentEnd + length;
  return load_u8(frame, end - 1) == 0 && load_u8(frame, end - 2) == 0;
}

}  // namespace

std::optional<ExtensionRequest> find_extension_table(std::span<const std::byte> frame) {
  const std::size_t little = load_le16(frame, kAoeHeaderEnd);
  if (ends_in_two_nuls(frame, little)) {
    return ExtensionRequest{LengthOrder::little_endian,
                            frame.subspan(kExtensionArgumentEnd, little)};
  }
  const std::size_t big = load_be16(frame, kAoeHeaderEnd);
  if (ends_in_two_nuls(frame, big)) {
    return ExtensionRequest{LengthOrder::big_endian, frame.subspan(kExtensionArgumentEnd, big)};
  }
  return std::nullopt;
}

std::optional<ExtensionStrings::Item> ExtensionStrings::next() {
  std::size_t end = offset_;
  while (end < table_.size() && table_[end] != std::byte{0}) {
    ++end;
  }
  if (end == offset_ || end == table_.size()) {
    return std::nullopt;
  }
  Item item{{reinterpret_cast<const char*>(table_.data()) + offset_, end - offset_}, offset_};
  offset_ = end + 1;
  return item;
}

}  // namespace target::wire
