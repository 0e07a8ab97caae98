// The table of command 0x23: NUL-terminated strings, ended by one more NUL. Owns where the table
// lies in a frame and how it is walked; does not know what any string means.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string_view>

#include "target/wire/aoe.h"

namespace target::wire {

// The table of a frame that is at least 26 bytes long. The length counts the whole table with both
// final NULs; it is read little-endian, as AoEde sends it on nearly every machine, and big-endian
// when no table is well-formed that way. Nothing if neither is.
[[nodiscard]] std::optional<ExtensionRequest> find_extension_table(
    std::span<const std::byte> frame);

// Walks the strings of a table that find_extension_table found. It ends at the first empty string:
// that is the terminator, whatever the length says follows.
class ExtensionStrings {
 public:
  explicit ExtensionStrings(std::span<const std::byte> table) : table_(table) {}
  // The next string without its NUL, and where it starts in the table. Nothing at the end.
  struct Item {
    std::string_view text;
    std::size_t offset = 0;
  };
  std::optional<Item> next();

 private:
  std::span<const std::byte> table_;
  std::size_t offset_ = 0;
};

}  // namespace target::wire
