// Turns a capture back into a disk: what its reads saw and its writes left. Before: a sector as the
// first read saw it, if no write came first. After (or as of a frame): the last answered write, or
// a later read. What nobody can know is said to be unknown. It must never guess data.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "conformance/output/output_file.h"
#include "pcaps/tool/observed.h"

namespace pcaps {

enum class Known : std::uint8_t {
  unknown,
  read,     // a read saw it
  written,  // an answered write left it
  unsure,   // a write without an answer or that failed, or a late copy that may have been executed
  lost,     // only for `before`: overwritten before anybody read it
};
const char* known_text(Known known);

struct TargetAddress {
  std::uint16_t shelf = 0;
  std::uint8_t slot = 0;
  std::optional<std::uint32_t> vlan;  // none: whatever VLAN it stands in
  [[nodiscard]] bool is(std::uint16_t other_shelf, std::uint8_t other_slot,
                        std::uint32_t other_vlan) const {
    return shelf == other_shelf && slot == other_slot && (!vlan || *vlan == other_vlan);
  }
};
// "e1.1" or "1.1"; "e1.1@5" in VLAN 5, "e1.1@none" outside of any.
std::optional<TargetAddress> parse_address(const std::string& text);

struct ReconstructOptions {
  bool before = false;
  std::uint64_t last_frame = UINT64_MAX;  // nothing after it counts
  std::optional<TargetAddress> target;    // needed when the capture has several
};

// Where the sectors go: a new file that takes its name only when it is whole, or an existing one
// that is written in place.
class ImageFile {
 public:
  // `inputs`: names of files that are read, none of which is to be written.
  static std::unique_ptr<ImageFile> create(const std::string& path,
                                           const std::vector<std::string>& inputs,
                                           std::string& error);
  static std::unique_ptr<ImageFile> open_in_place(const std::string& path, std::string& error);
  ~ImageFile();
  ImageFile(const ImageFile&) = delete;
  ImageFile& operator=(const ImageFile&) = delete;

  bool write_sector(std::uint64_t lba, const std::uint8_t* bytes);
  // Of an existing image: sectors that lie beyond its end, and were not written.
  [[nodiscard]] std::uint64_t beyond() const { return beyond_; }
  bool finish(std::uint64_t sectors);  // a new file gets this size and its name
  [[nodiscard]] const std::string& error() const { return error_; }

 private:
  ImageFile() = default;
  std::string path_, error_;
  std::unique_ptr<output::OutputFile> file_;  // null in place
  int descriptor_ = -1;
  std::uint64_t sectors_ = UINT64_MAX;  // of an existing image
  std::uint64_t beyond_ = 0;
};

class Reconstructor : public TrackerObserver {
 public:
  Reconstructor(const Tracker& tracker, ImageFile& image, const ReconstructOptions& options);

  void on_request(const AoeFrame& frame, Request& request, Relation relation,
                  Request* earlier) override;
  void on_reply(const AoeFrame& frame, Request* request, Session* session) override;
  void on_given_up(const Request& request) override;
  void on_end() override;

  // One clear line, or empty.
  [[nodiscard]] const std::string& error() const { return error_; }
  [[nodiscard]] std::uint64_t image_sectors() const;
  // "LBA count state" a line, runs merged, unknown left out.
  [[nodiscard]] std::string map_text() const;
  [[nodiscard]] std::string summary() const;
  [[nodiscard]] Known known_at(std::uint64_t lba) const;

 private:
  static constexpr std::uint64_t kPageSectors = 2048;
  // Without identify nobody knows the size: no capture in its right mind goes past 4 TiB.
  static constexpr std::uint64_t kSectorsMax = std::uint64_t{1} << 33;

  struct Page {
    std::array<Known, kPageSectors> known{};
    std::array<std::uint32_t, kPageSectors> write_frame{};   // of the write that was applied
    std::array<std::uint32_t, kPageSectors> answer_frame{};  // of its answer
    std::array<std::uint32_t, kPageSectors> read_frame{};    // of the newest read's request
  };
  struct Place {
    Known& known;
    std::uint32_t& write_frame;
    std::uint32_t& answer_frame;
    std::uint32_t& read_frame;
  };
  struct Waiting {
    Request request;
    std::vector<std::uint8_t> data;
  };
  Place place(std::uint64_t lba);
  [[nodiscard]] bool may_be_chosen(const Request& request) const;
  bool chosen(std::uint32_t target);
  void apply_write(const Request& request, std::uint64_t answer_frame, Known known);
  void doubt(const Request& request, std::uint64_t answer_frame);
  void store(std::uint64_t lba, const std::uint8_t* bytes);

  const Tracker& tracker_;
  ImageFile& image_;
  ReconstructOptions options_;
  std::string error_;
  std::map<std::uint64_t, Page> pages_;
  std::map<std::uint64_t, Waiting> waiting_;  // writes without an answer, by first frame
  std::uint32_t target_ = kNone;
  std::uint64_t capacity_sectors_ = 0;
  std::uint64_t highest_end_ = 0;
  std::uint64_t beyond_ = 0;  // sectors that no image can hold
};

}  // namespace pcaps
