// Reads a capture as a stream, frame after frame, in constant memory: pcap and pcapng, micro- and
// nanoseconds, both byte orders, from a file or from standard input. It must never know what is
// in a frame.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "pcaps/tool/observed.h"

struct pcap;

namespace pcaps {

class CaptureReader {
 public:
  // "-" is standard input. Null with one line in `error` when this is not a capture of Ethernet.
  static std::unique_ptr<CaptureReader> open(const std::string& path, std::string& error);
  ~CaptureReader();
  CaptureReader(const CaptureReader&) = delete;
  CaptureReader& operator=(const CaptureReader&) = delete;

  // False at the end; the frame's bytes are good until the next call.
  bool next(CapturedFrame& frame);

  // Empty unless the file ends inside a frame or is damaged there: what is read so far is good.
  [[nodiscard]] const std::string& damage() const { return damage_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::uint64_t frames() const { return frames_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  CaptureReader() = default;

  std::string path_;
  std::string damage_;
  std::vector<char> buffer_;
  pcap* handle_ = nullptr;
  std::uint64_t frames_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace pcaps
