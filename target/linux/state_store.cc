// Where a target keeps its lists across a restart: see state_store.h.
#include "target/linux/state_store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cstdio>

#include "target/linux/options.h"
#include "target/linux/start_error.h"

namespace target::linux_shell {
namespace {

constexpr char kMagic[] = "AOESTATE";
constexpr std::size_t kMagicBytes = 8;
constexpr std::uint16_t kVersion = 1;
constexpr std::size_t kHeaderBytes = 20;
constexpr std::size_t kCrcBytes = 4;
constexpr std::size_t kAddressBytes = 6;
constexpr std::size_t kFileBytesMax =
    kHeaderBytes + kConfigStringBytesMax + 2 * kListAddressesMax * kAddressBytes + kCrcBytes;

std::uint32_t crc32(std::span<const std::byte> bytes) {
  constexpr std::uint32_t kReflectedPolynomial = 0xEDB88320;
  std::uint32_t crc = 0xFFFFFFFF;
  for (const std::byte one : bytes) {
    crc ^= std::to_integer<std::uint32_t>(one);
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? kReflectedPolynomial : 0);
    }
  }
  return ~crc;
}

void put(std::vector<std::byte>& out, std::uint64_t value, int bytes) {
  for (int i = bytes - 1; i >= 0; --i) {
    out.push_back(static_cast<std::byte>(value >> (8 * i)));
  }
}

std::uint32_t get(std::span<const std::byte> bytes, std::size_t offset, std::size_t size) {
  std::uint32_t value = 0;
  for (const std::byte one : bytes.subspan(offset, size)) {
    value = (value << 8) | std::to_integer<std::uint32_t>(one);
  }
  return value;
}

void put_list(std::vector<std::byte>& out, const std::vector<wire::MacAddress>& list) {
  for (const auto& mac : list) {
    for (const auto octet : mac.octets) {
      out.push_back(static_cast<std::byte>(octet));
    }
  }
}

std::vector<wire::MacAddress> get_list(std::span<const std::byte> bytes) {
  std::vector<wire::MacAddress> list(bytes.size() / kAddressBytes);
  for (std::size_t i = 0; i < list.size() * kAddressBytes; ++i) {
    list[i / kAddressBytes].octets[i % kAddressBytes] = std::to_integer<std::uint8_t>(bytes[i]);
  }
  return list;
}

class RealDirectory : public StateDirectory {
 public:
  explicit RealDirectory(const std::string& path)
      : fd_(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)) {
    if (!fd_.valid()) {
      throw StartError(
          fmt::format("state directory {}: {}: create it, and let the user who runs "
                      "aoe-target write there",
                      path, errno_text(errno)));
    }
  }

  std::variant<std::vector<std::byte>, int> read_file(const std::string& name) override {
    const UniqueFd file(::openat(fd_.get(), name.c_str(), O_RDONLY | O_CLOEXEC));
    if (!file.valid()) {
      return -errno;
    }
    // One byte more than the longest good file: a longer one shows itself as damaged.
    std::vector<std::byte> bytes(kFileBytesMax + 1);
    std::size_t length = 0;
    while (length < bytes.size()) {
      const ssize_t count = ::read(file.get(), bytes.data() + length, bytes.size() - length);
      if (count < 0) {
        return -errno;
      }
      if (count == 0) {
        break;
      }
      length += static_cast<std::size_t>(count);
    }
    bytes.resize(length);
    return bytes;
  }

  int create(const std::string& name) override {
    const int fd = ::openat(fd_.get(), name.c_str(),
                            O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd >= 0 ? fd : -errno;
  }
  long write(int fd, std::span<const std::byte> bytes) override {
    const ssize_t count = ::write(fd, bytes.data(), bytes.size());
    return count >= 0 ? count : -errno;
  }
  int sync_file(int fd) override { return ::fsync(fd) == 0 ? 0 : -errno; }
  int close_file(int fd) override { return ::close(fd) == 0 ? 0 : -errno; }
  int rename(const std::string& from, const std::string& to) override {
    return ::renameat(fd_.get(), from.c_str(), fd_.get(), to.c_str()) == 0 ? 0 : -errno;
  }
  int sync_directory() override { return ::fsync(fd_.get()) == 0 ? 0 : -errno; }

 private:
  UniqueFd fd_;
};

}  // namespace

std::vector<std::byte> encode_state(std::uint16_t shelf, std::uint8_t slot,
                                    const engine::PersistentState& state) {
  assert(state.config_string.size() <= kConfigStringBytesMax);
  assert(state.mask_list.size() <= kListAddressesMax);
  assert(state.reserve_list.size() <= kListAddressesMax);
  std::vector<std::byte> out;
  for (std::size_t i = 0; i < kMagicBytes; ++i) {
    out.push_back(static_cast<std::byte>(kMagic[i]));
  }
  put(out, kVersion, 2);
  put(out, shelf, 2);
  put(out, slot, 1);
  put(out, 0, 1);
  put(out, state.config_string.size(), 2);
  put(out, state.mask_list.size(), 2);
  put(out, state.reserve_list.size(), 2);
  out.insert(out.end(), state.config_string.begin(), state.config_string.end());
  put_list(out, state.mask_list);
  put_list(out, state.reserve_list);
  put(out, crc32(out), kCrcBytes);
  return out;
}

std::variant<engine::PersistentState, std::string> decode_state(std::uint16_t shelf,
                                                                std::uint8_t slot,
                                                                std::span<const std::byte> bytes) {
  if (bytes.size() < kHeaderBytes + kCrcBytes || bytes.size() > kFileBytesMax) {
    return fmt::format("its length of {} bytes is impossible", bytes.size());
  }
  for (std::size_t i = 0; i < kMagicBytes; ++i) {
    if (bytes[i] != static_cast<std::byte>(kMagic[i])) {
      return "it does not begin with AOESTATE";
    }
  }
  if (get(bytes, bytes.size() - kCrcBytes, kCrcBytes) !=
      crc32(bytes.first(bytes.size() - kCrcBytes))) {
    return "its checksum is wrong";
  }
  if (get(bytes, 8, 2) != kVersion) {
    return fmt::format("its format is version {}, and this program knows version {}",
                       get(bytes, 8, 2), kVersion);
  }
  if (get(bytes, 10, 2) != shelf || get(bytes, 12, 1) != slot) {
    return fmt::format("it belongs to e{}.{}", get(bytes, 10, 2), get(bytes, 12, 1));
  }
  const std::size_t config_bytes = get(bytes, 14, 2);
  const std::size_t mask_count = get(bytes, 16, 2);
  const std::size_t reserve_count = get(bytes, 18, 2);
  if (config_bytes > kConfigStringBytesMax || mask_count > kListAddressesMax ||
      reserve_count > kListAddressesMax ||
      bytes.size() !=
          kHeaderBytes + config_bytes + (mask_count + reserve_count) * kAddressBytes + kCrcBytes) {
    return "its lengths do not agree";
  }
  engine::PersistentState state;
  const auto config = bytes.subspan(kHeaderBytes, config_bytes);
  state.config_string.assign(config.begin(), config.end());
  const std::size_t lists = kHeaderBytes + config_bytes;
  state.mask_list = get_list(bytes.subspan(lists, mask_count * kAddressBytes));
  state.reserve_list =
      get_list(bytes.subspan(lists + mask_count * kAddressBytes, reserve_count * kAddressBytes));
  return state;
}

std::unique_ptr<StateDirectory> open_state_directory(const std::string& path) {
  return std::make_unique<RealDirectory>(path);
}

UniqueFd lock_state(const std::string& directory_name, std::uint16_t shelf, std::uint8_t slot) {
  const auto name = export_name(shelf, slot);
  const auto path = fmt::format("{}/{}.state.lock", directory_name, name);
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) {
    throw StartError(
        fmt::format("{}: {}: let the user who runs aoe-target write there (as root it gives up the "
                    "right to write into other users' directories)",
                    path, errno_text(errno)));
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    throw StartError(fmt::format(
        "state directory {}: {}: stop that one first, or choose another directory", directory_name,
        errno == EWOULDBLOCK ? fmt::format("another target keeps the state of {} there", name)
                             : fmt::format("cannot lock {}: {}", path, errno_text(errno))));
  }
  return fd;
}

StateStore::StateStore(StateDirectory& directory, std::string directory_name, std::uint16_t shelf,
                       std::uint8_t slot)
    : directory_(directory),
      directory_name_(std::move(directory_name)),
      name_(export_name(shelf, slot) + ".state"),
      shelf_(shelf),
      slot_(slot) {}

engine::PersistentState StateStore::load() {
  const auto content = directory_.read_file(name_);
  if (const auto* error = std::get_if<int>(&content)) {
    if (*error == -ENOENT) {
      return {};
    }
    throw StartError(fmt::format("{}/{}: {}: let the user who runs aoe-target read it",
                                 directory_name_, name_, errno_text(-*error)));
  }
  auto decoded = decode_state(shelf_, slot_, std::get<std::vector<std::byte>>(content));
  if (const auto* wrong = std::get_if<std::string>(&decoded)) {
    throw StartError(
        fmt::format("{}/{} is damaged: {}: restore it from a copy, or remove it to start with an "
                    "empty config string, mask list and reserve list",
                    directory_name_, name_, *wrong));
  }
  return std::get<engine::PersistentState>(std::move(decoded));
}

engine::DiskStatus StateStore::failed(const char* step, int error) {
  last_error_ =
      fmt::format("{}/{}: cannot {}: {}", directory_name_, name_, step, errno_text(-error));
  return error == -ENOSPC || error == -EDQUOT ? engine::DiskStatus::no_space
                                              : engine::DiskStatus::io_error;
}

engine::DiskStatus StateStore::save(const engine::PersistentState& state) {
  const auto before = directory_.read_file(name_);
  const auto status = replace(encode_state(shelf_, slot_, state));
  const auto* old = std::get_if<std::vector<std::byte>>(&before);
  if (status == engine::DiskStatus::ok) {
    return status;
  }
  // The new name may stand there, and only its durability be in doubt.
  const auto after = directory_.read_file(name_);
  if (after == before) {
    return status;
  }
  const std::string why = last_error_;
  (void)replace(old != nullptr ? *old : encode_state(shelf_, slot_, {}));
  last_error_ = why;
  return status;
}

engine::DiskStatus StateStore::replace(std::span<const std::byte> bytes) {
  const std::string temporary = name_ + ".new";
  const int fd = directory_.create(temporary);
  if (fd < 0) {
    return failed("create the new file", fd);
  }
  std::span<const std::byte> rest = bytes;
  while (!rest.empty()) {
    const long count = directory_.write(fd, rest);
    if (count == -EINTR) {
      continue;
    }
    if (count <= 0) {
      directory_.close_file(fd);
      return failed("write the new file", count == 0 ? -ENOSPC : static_cast<int>(count));
    }
    rest = rest.subspan(static_cast<std::size_t>(count));
  }
  // Content before name: a name that survives a crash must find its content.
  if (const int error = directory_.sync_file(fd); error < 0) {
    directory_.close_file(fd);
    return failed("make the new file durable", error);
  }
  if (const int error = directory_.close_file(fd); error < 0) {
    return failed("close the new file", error);
  }
  if (const int error = directory_.rename(temporary, name_); error < 0) {
    return failed("put the new file in place", error);
  }
  if (const int error = directory_.sync_directory(); error < 0) {
    return failed("make the new name durable", error);
  }
  return engine::DiskStatus::ok;
}

}  // namespace target::linux_shell
