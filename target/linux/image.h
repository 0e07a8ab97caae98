// The file or block device behind an export: opened, locked, measured. It owns what open(2) needs
// to know about durability, alignment and sharing; it must never know the protocol nor read data.
#pragma once

#include <cstdint>
#include <string>

#include "target/linux/fd.h"

namespace target::linux_shell {

struct ImageWish {
  std::string path;
  bool read_only = false;
  bool direct = false;       // O_DIRECT
  bool write_cache = false;  // with direct and without it: O_DSYNC
};

struct ImageSize {
  std::uint64_t sectors = 0;     // whole sectors of 512 bytes
  std::uint32_t rest_bytes = 0;  // bytes after the last whole sector: not exported
};

struct Image {
  UniqueFd fd;
  ImageSize size;
};

// Looks without opening for writing and without locking; throws StartError.
ImageSize measure_image(const std::string& path, bool read_only);

// Opens and locks (shared when read-only, else exclusive); throws StartError. With direct it
// refuses an image that cannot be read and written in units of one sector, for a target never
// reads, changes and writes back what an initiator did not send.
Image open_image(const ImageWish& wish);

}  // namespace target::linux_shell
