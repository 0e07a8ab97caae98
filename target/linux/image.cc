// The file or block device behind an export: see image.h.
#include "target/linux/image.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "target/engine/engine.h"
#include "target/linux/start_error.h"

namespace target::linux_shell {
namespace {

[[noreturn]] void fail(const std::string& path, const std::string& what,
                       const std::string& advice) {
  throw StartError(fmt::format("{}: {}: {}", path, what, advice));
}

std::string advice_for(int error) {
  switch (error) {
    case ENOENT:
      return "create the image first, or correct the path";
    case EACCES:
    case EPERM:
      return "give the user who runs aoe-target access to it, or use --read-only";
    case EROFS:
      return "the file system is read-only: use --read-only";
    case EBUSY:
      return "the device is mounted or in use: unmount it, or use --read-only";
    case EISDIR:
      return "name an image file or a block device";
    default:
      return "name an image file or a block device that can be opened";
  }
}

ImageSize measure(int fd, const struct stat& facts, const std::string& path) {
  std::uint64_t bytes = 0;
  if (S_ISREG(facts.st_mode)) {
    bytes = static_cast<std::uint64_t>(facts.st_size);
  } else if (::ioctl(fd, BLKGETSIZE64, &bytes) != 0) {
    fail(path, fmt::format("cannot read the size of the device: {}", errno_text(errno)),
         "is it a disk?");
  }
  ImageSize size;
  size.sectors = bytes / engine::kSectorBytes;
  size.rest_bytes = static_cast<std::uint32_t>(bytes % engine::kSectorBytes);
  if (size.sectors == 0) {
    fail(path, fmt::format("{} bytes are less than one sector of 512", bytes),
         "give it a size, as in truncate -s 1G FILE");
  }
  return size;
}

struct stat stat_image(const std::string& path) {
  struct stat facts {};
  if (::stat(path.c_str(), &facts) != 0) {
    fail(path, errno_text(errno), advice_for(errno));
  }
  if (!S_ISREG(facts.st_mode) && !S_ISBLK(facts.st_mode)) {
    fail(path, S_ISDIR(facts.st_mode) ? "is a directory" : "is no file and no block device",
         "name an image file or a block device");
  }
  return facts;
}

// The smallest unit of direct I/O in bytes; 0: the file system cannot do it at all.
std::uint32_t direct_unit_bytes(int fd, bool block_device) {
  if (block_device) {
    int logical_sector_bytes = 0;
    return ::ioctl(fd, BLKSSZGET, &logical_sector_bytes) == 0
               ? static_cast<std::uint32_t>(logical_sector_bytes)
               : 0;
  }
#ifdef STATX_DIOALIGN
  struct statx facts {};
  if (::statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &facts) == 0 &&
      (facts.stx_mask & STATX_DIOALIGN) != 0) {
    return facts.stx_dio_offset_align;
  }
#endif
  // An old kernel, or a file system that does not say: ask by reading.
  alignas(4096) static std::byte buffer[4096];
  for (const std::uint32_t unit : {512U, 1024U, 2048U, 4096U}) {
    if (::pread(fd, buffer, unit, 0) >= 0) {
      return unit;
    }
  }
  return 0;
}

void check_direct(int fd, bool block_device, const std::string& path) {
  const auto unit_bytes = direct_unit_bytes(fd, block_device);
  if (unit_bytes == 0) {
    fail(path, "its file system does not support direct I/O", "leave --direct away");
  }
  if (unit_bytes > engine::kSectorBytes) {
    fail(
        path,
        fmt::format("direct I/O needs units of {} bytes here, and AoE writes single sectors of 512",
                    unit_bytes),
        "leave --direct away, or use a device with sectors of 512 bytes");
  }
}

void lock_image(int fd, bool read_only, const std::string& path) {
  if (::flock(fd, (read_only ? LOCK_SH : LOCK_EX) | LOCK_NB) == 0) {
    return;
  }
  if (errno == EWOULDBLOCK) {
    fail(path,
         read_only ? "another target exports it for writing" : "another target exports it already",
         "stop that one first, or export it read-only from both");
  }
  fail(path, fmt::format("cannot lock: {}", errno_text(errno)),
       "use a file system that supports flock(2)");
}

}  // namespace

ImageSize measure_image(const std::string& path, bool read_only) {
  const auto facts = stat_image(path);
  if (::access(path.c_str(), read_only ? R_OK : R_OK | W_OK) != 0) {
    fail(path, errno_text(errno), advice_for(errno));
  }
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) {
    fail(path, errno_text(errno), advice_for(errno));
  }
  return measure(fd.get(), facts, path);
}

Image open_image(const ImageWish& wish) {
  const auto facts = stat_image(wish.path);
  const bool block_device = S_ISBLK(facts.st_mode);
  int flags = O_CLOEXEC | (wish.read_only ? O_RDONLY : O_RDWR);
  if (wish.direct) {
    flags |= O_DIRECT;
  }
  if (wish.direct && !wish.write_cache && !wish.read_only) {
    flags |= O_DSYNC;
  }
  if (block_device && !wish.read_only) {
    flags |= O_EXCL;  // refuses a device that is mounted here
  }
  Image image;
  image.fd.reset(::open(wish.path.c_str(), flags));
  if (!image.fd.valid()) {
    if (wish.direct && errno == EINVAL) {
      fail(wish.path, "its file system does not support direct I/O", "leave --direct away");
    }
    fail(wish.path, errno_text(errno), advice_for(errno));
  }
  lock_image(image.fd.get(), wish.read_only, wish.path);
  image.size = measure(image.fd.get(), facts, wish.path);
  if (wish.direct) {
    check_direct(image.fd.get(), block_device, wish.path);
  }
  return image;
}

}  // namespace target::linux_shell
