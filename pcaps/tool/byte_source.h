// The bytes of a capture, from a file or from standard input, as they come: gzip and zstd are
// unpacked on the way. A pipe is handed on as soon as it brings something. It must never know what
// the bytes mean.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace pcaps {

class Unpacker;  // of one compression

class ByteSource {
 public:
  // "-" is standard input. Null with one line in `error`. When `stop` becomes true, a wait for
  // more bytes ends as the file would.
  static std::unique_ptr<ByteSource> open(const std::string& path, const std::atomic<bool>* stop,
                                          std::string& error);
  ~ByteSource();
  ByteSource(const ByteSource&) = delete;
  ByteSource& operator=(const ByteSource&) = delete;

  // At least `size` bytes from the present place on; fewer only at the end. Good until the next
  // call. Takes nothing.
  std::span<const std::uint8_t> peek(std::size_t size);
  void take(std::size_t size);  // what peek has shown

  // Empty unless reading or unpacking failed: what came before is good.
  [[nodiscard]] const std::string& damage() const { return damage_; }
  [[nodiscard]] bool stopped() const { return stopped_; }

 private:
  ByteSource() = default;
  bool read_more();
  std::size_t read_raw(std::uint8_t* to, std::size_t size);

  int descriptor_ = -1;
  bool own_ = false;
  const std::atomic<bool>* stop_ = nullptr;
  bool stopped_ = false;
  bool ended_ = false;
  std::string damage_;
  std::vector<std::uint8_t> buffer_;
  std::size_t begin_ = 0, end_ = 0;
  std::unique_ptr<Unpacker> unpacker_;
};

}  // namespace pcaps
