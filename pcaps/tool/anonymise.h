// A capture that may be shown to others: addresses, data, strings and padding replaced, everything
// that a judge looks at as it was: lengths, tags, times, LBAs, flags, which bytes are equal and
// which are zero, which check bytes are right. Owns what of a frame is whose; knows no files but
// the two.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "conformance/observer/frame.h"
#include "pcaps/tool/capture_reader.h"
#include "pcaps/tool/pseudonyms.h"

namespace pcaps {

class Anonymiser {
 public:
  // One frame, as long as before. Frames in order: the answer to an identify is known by its
  // request.
  std::vector<std::uint8_t> anonymised(const CapturedFrame& frame);

 private:
  void aoe(std::span<std::uint8_t> frame);
  void ata(std::span<std::uint8_t> frame);
  void identify(std::span<std::uint8_t> words);
  void config(std::span<std::uint8_t> frame);
  void list(std::span<std::uint8_t> frame, std::size_t from, std::size_t entry_bytes,
            std::size_t address_at, std::size_t count);
  void extensions(std::span<std::uint8_t> frame);

  Pseudonyms names_;
  // Whoever asked for identify last, by address and tag.
  std::map<std::pair<std::uint64_t, std::uint32_t>, bool> identifies_;
};

struct Anonymised {
  std::uint64_t frames = 0;
  std::uint64_t blank = 0;  // of these no AoE: their length and type are all that is left
};
// Where everything counts, frames keep their numbers: what the reader does not hand out becomes a
// blank frame. Nothing,
// with one line in `error`, when it cannot be read or written.
std::optional<Anonymised> anonymise(const CaptureSpec& capture, const std::string& output,
                                    std::string& error);

}  // namespace pcaps
