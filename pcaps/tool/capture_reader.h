// Reads a capture as a stream of Ethernet frames, in constant memory: pcap and pcapng, packed with
// gzip or zstd, from a file, standard input or a live interface; frames of `any` become Ethernet
// again, and a frame that two interfaces saw is handed out once. It must never know what is right.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "pcaps/tool/cooked.h"
#include "pcaps/tool/packet_source.h"
#include "pcaps/tool/selection.h"

namespace pcaps {

// What is to be read.
struct CaptureSpec {
  CaptureSpec(const char* file) : path(file) {}             // NOLINT: a path is a capture
  CaptureSpec(std::string file) : path(std::move(file)) {}  // NOLINT
  std::string path;  // "-" is standard input; of a live capture the interface
  bool live = false;
  Selection only;
  const std::atomic<bool>* stop = nullptr;  // when it becomes true the capture ends there
};

class CaptureReader {
 public:
  // Null with one line in `error` when this is not a capture of Ethernet.
  static std::unique_ptr<CaptureReader> open(const CaptureSpec& spec, std::string& error);

  // False at the end; the frame's bytes are good until the next call. Numbers count every packet
  // of the file, as Wireshark's do, those too that are not handed out.
  bool next(CapturedFrame& frame);

  // Empty unless the file ends inside a frame or is damaged there: what is read so far is good.
  [[nodiscard]] std::string damage() const { return source_->damage(); }
  [[nodiscard]] CaptureDrops drops() const { return source_->drops(); }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::uint64_t frames() const { return frames_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }
  // Of links that are not Ethernet, and left out.
  [[nodiscard]] std::uint64_t foreign() const { return foreign_; }
  [[nodiscard]] std::uint16_t foreign_link() const { return foreign_link_; }
  // Seen on another interface already, and left out.
  [[nodiscard]] std::uint64_t seen_twice() const { return seen_twice_; }

 private:
  // A bridge hands a frame on within this time.
  static constexpr Nanoseconds kSeenTwiceNs = 10'000'000;
  static constexpr std::size_t kRecentKept = 256;
  struct Recent {
    std::uint64_t head = 0, whole = 0;  // hashes
    Nanoseconds time_ns = 0;
    std::uint32_t interface = 0;
    std::uint32_t wire_length = 0;
    std::uint32_t captured = 0;
    std::array<std::uint32_t, 4> also_on{};  // interfaces that have shown their copy
    std::uint32_t also_count = 0;
  };

  CaptureReader() = default;
  bool was_seen(const CapturedFrame& frame, std::uint32_t interface);

  std::string path_;
  Selection only_;
  std::unique_ptr<PacketSource> source_;
  CookedFrames cooked_;
  std::vector<std::uint8_t> ethernet_;
  std::vector<Recent> recent_;
  std::size_t next_recent_ = 0;
  std::uint64_t frames_ = 0;
  std::uint64_t bytes_ = 0;
  std::uint64_t foreign_ = 0;
  std::uint16_t foreign_link_ = 0;
  std::uint64_t seen_twice_ = 0;
};

}  // namespace pcaps
