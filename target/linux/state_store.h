// Where a target keeps its config string, mask list and reserve list across a restart: one small
// file for each export, replaced as a whole. It owns the format of that file and the order of
// system calls that makes a crash at any moment leave the old file or the new one; it must never
// know who changed the state, or why.
//
// The file, all numbers big-endian:
//   offset  size
//        0     8  "AOESTATE"
//        8     2  version of the format: 1
//       10     2  shelf
//       12     1  slot
//       13     1  zero
//       14     2  C: length of the config string in bytes, at most 1,024
//       16     2  M: addresses on the mask list, at most 255
//       18     2  R: addresses on the reserve list, at most 255
//       20     C  config string
//     20+C   6*M  mask list
//  20+C+6M   6*R  reserve list
//      end     4  CRC-32 (ISO-HDLC, as in zip and Ethernet) of everything before it
// The name: e<shelf>.<slot>.state, and e<shelf>.<slot>.state.new while it is being written. Beside
// it lies e<shelf>.<slot>.state.lock, empty, held with flock(2) by the target that owns the file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "target/engine/engine.h"
#include "target/linux/fd.h"

namespace target::linux_shell {

inline constexpr std::size_t kConfigStringBytesMax = 1024;
inline constexpr std::size_t kListAddressesMax = 255;

std::vector<std::byte> encode_state(std::uint16_t shelf, std::uint8_t slot,
                                    const engine::PersistentState& state);

// The state, or what is wrong with the bytes.
std::variant<engine::PersistentState, std::string> decode_state(std::uint16_t shelf,
                                                                std::uint8_t slot,
                                                                std::span<const std::byte> bytes);

// What the store asks of the file system: one call, one step. Results: 0 (or a descriptor, or a
// count), or -errno. Tests play a file system that forgets.
class StateDirectory {
 public:
  virtual ~StateDirectory() = default;
  virtual std::variant<std::vector<std::byte>, int> read_file(const std::string& name) = 0;
  virtual int create(const std::string& name) = 0;
  virtual long write(int fd, std::span<const std::byte> bytes) = 0;
  virtual int sync_file(int fd) = 0;
  virtual int close_file(int fd) = 0;
  virtual int rename(const std::string& from, const std::string& to) = 0;
  virtual int sync_directory() = 0;
};

// A real directory, held open. Throws StartError when it cannot be opened.
std::unique_ptr<StateDirectory> open_state_directory(const std::string& path);

// Keeps a second target from writing the same file: the two would mix their bytes. Held as long as
// the descriptor. Throws StartError when another target has it.
UniqueFd lock_state(const std::string& directory_name, std::uint16_t shelf, std::uint8_t slot);

class StateStore {
 public:
  StateStore(StateDirectory& directory, std::string directory_name, std::uint16_t shelf,
             std::uint8_t slot);

  // An empty state when there is no file yet; throws StartError for one that is damaged.
  engine::PersistentState load();
  // Returns when the state is durable. After a failure the file is the old one: a change that was
  // answered as failed must not appear at the next start. (Only a crash before the old name is
  // durable again can bring the new one.)
  engine::DiskStatus save(const engine::PersistentState& state);
  // Why the last save failed.
  [[nodiscard]] const std::string& last_error() const { return last_error_; }

 private:
  engine::DiskStatus failed(const char* step, int error);
  engine::DiskStatus replace(std::span<const std::byte> bytes);

  StateDirectory& directory_;
  std::string directory_name_;
  std::string name_;
  std::uint16_t shelf_;
  std::uint8_t slot_;
  std::string last_error_;
};

}  // namespace target::linux_shell
