#include "pcaps/tool/reconstruct.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "conformance/observer/decode.h"

namespace pcaps {

namespace {
constexpr std::uint32_t kIdentifyBytes = 512;
}  // namespace

const char* known_text(Known known) {
  switch (known) {
    case Known::unknown:
      return "unknown";
    case Known::read:
      return "read";
    case Known::written:
      return "written";
    case Known::unsure:
      return "unsure";
    case Known::lost:
      return "overwritten-unread";
  }
  return "?";
}

std::optional<TargetAddress> parse_address(const std::string& text) {
  const char* p = text.data();
  const char* end = p + text.size();
  if (p != end && *p == 'e') {
    ++p;
  }
  unsigned shelf = 0;
  unsigned slot = 0;
  const auto first = std::from_chars(p, end, shelf);
  if (first.ec != std::errc() || first.ptr == end || *first.ptr != '.') {
    return std::nullopt;
  }
  const auto second = std::from_chars(first.ptr + 1, end, slot);
  if (second.ec != std::errc() || shelf >= kBroadcastShelf || slot >= kBroadcastSlot) {
    return std::nullopt;
  }
  TargetAddress address{static_cast<std::uint16_t>(shelf), static_cast<std::uint8_t>(slot),
                        std::nullopt};
  if (second.ptr == end) {
    return address;
  }
  if (*second.ptr != '@') {
    return std::nullopt;
  }
  const std::string_view vlan(second.ptr + 1, static_cast<std::size_t>(end - second.ptr - 1));
  if (vlan == "none") {
    address.vlan = kNoVlan;
    return address;
  }
  std::uint32_t outer = 0;
  const auto third = std::from_chars(vlan.data(), end, outer);
  constexpr std::uint32_t kVlanMax = 0x0FFF;
  if (third.ec != std::errc() || third.ptr != end || outer > kVlanMax) {
    return std::nullopt;
  }
  address.vlan = outer;
  return address;
}

std::unique_ptr<ImageFile> ImageFile::create(const std::string& path,
                                             const std::vector<std::string>& inputs,
                                             std::string& error) {
  std::unique_ptr<ImageFile> image(new ImageFile());
  image->path_ = path;
  try {
    image->file_ = std::make_unique<output::OutputFile>(path, inputs);
  } catch (const output::OutputError& e) {
    error = e.what();
    return nullptr;
  }
  image->descriptor_ = image->file_->descriptor();
  return image;
}

std::unique_ptr<ImageFile> ImageFile::open_in_place(const std::string& path, std::string& error) {
  std::unique_ptr<ImageFile> image(new ImageFile());
  image->path_ = path;
  image->descriptor_ = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (image->descriptor_ < 0) {
    error = fmt::format("cannot open the target's image {}: {}", path, std::strerror(errno));
    return nullptr;
  }
  const off_t size = ::lseek(image->descriptor_, 0, SEEK_END);  // of a block device too
  if (size < 0) {
    error = fmt::format("cannot tell how long the target's image {} is: {}", path,
                        std::strerror(errno));
    return nullptr;
  }
  image->sectors_ = static_cast<std::uint64_t>(size) / kSectorBytes;
  return image;
}

ImageFile::~ImageFile() {
  if (file_ == nullptr && descriptor_ >= 0) {
    ::close(descriptor_);
  }
}

bool ImageFile::write_sector(std::uint64_t lba, const std::uint8_t* bytes) {
  if (lba >= sectors_) {
    ++beyond_;  // an existing image keeps its size: it is the target's disk
    return true;
  }
  const auto at = static_cast<off_t>(lba * kSectorBytes);
  if (::pwrite(descriptor_, bytes, kSectorBytes, at) == static_cast<ssize_t>(kSectorBytes)) {
    return true;
  }
  error_ =
      fmt::format("cannot write sector {} of the image {}: {}", lba, path_, std::strerror(errno));
  return false;
}

bool ImageFile::finish(std::uint64_t sectors) {
  const bool new_file = file_ != nullptr && file_->replaces();
  if (new_file && ::ftruncate(descriptor_, static_cast<off_t>(sectors * kSectorBytes)) != 0) {
    error_ = fmt::format("cannot give the image {} its {} sectors: {}", path_, sectors,
                         std::strerror(errno));
    return false;
  }
  if (::fsync(descriptor_) != 0 && errno != EINVAL && errno != EROFS) {
    error_ = fmt::format("cannot finish the image {}: {}", path_, std::strerror(errno));
    return false;
  }
  if (file_ == nullptr) {
    ::close(descriptor_);
    descriptor_ = -1;
    return true;
  }
  descriptor_ = -1;
  try {
    file_->commit();
  } catch (const output::OutputError& e) {
    error_ = e.what();
    return false;
  }
  return true;
}

Reconstructor::Reconstructor(const Tracker& tracker, ImageFile& image,
                             const ReconstructOptions& options)
    : tracker_(tracker), image_(image), options_(options) {}

Reconstructor::Place Reconstructor::place(std::uint64_t lba) {
  Page& page = pages_[lba / kPageSectors];
  const std::uint64_t i = lba % kPageSectors;
  return {page.known[i], page.write_frame[i], page.answer_frame[i], page.read_frame[i]};
}

Known Reconstructor::known_at(std::uint64_t lba) const {
  const auto page = pages_.find(lba / kPageSectors);
  return page == pages_.end() ? Known::unknown : page->second.known[lba % kPageSectors];
}

// Whether a request may be one to the chosen target: what is asked of all concerns it too.
bool Reconstructor::may_be_chosen(const Request& request) const {
  std::optional<TargetAddress> wanted = options_.target;
  if (!wanted && target_ != kNone) {
    const Target& target = tracker_.targets()[target_];
    wanted = TargetAddress{target.shelf, target.slot, target.vlan};
  }
  return !wanted || ((request.shelf == wanted->shelf || request.shelf == kBroadcastShelf) &&
                     (request.slot == wanted->slot || request.slot == kBroadcastSlot) &&
                     (!wanted->vlan || *wanted->vlan == request.vlan));
}

bool Reconstructor::chosen(std::uint32_t index) {
  if (!error_.empty() || index == kNone) {
    return false;
  }
  const Target& target = tracker_.targets()[index];
  if (options_.target && !options_.target->is(target.shelf, target.slot, target.vlan)) {
    return false;
  }
  if (target_ == kNone) {
    target_ = index;
  }
  if (target_ != index) {
    const Target& first = tracker_.targets()[target_];
    error_ = fmt::format("the capture has data of {} and of {}: choose one with --target{}",
                         address_text(first.vlan, first.shelf, first.slot),
                         address_text(target.vlan, target.shelf, target.slot),
                         (first.vlan == kNoVlan) != (target.vlan == kNoVlan)
                             ? "; outside of any VLAN it is as in e1.1@none"
                             : "");
    return false;
  }
  return true;
}

void Reconstructor::store(std::uint64_t lba, const std::uint8_t* bytes) {
  if (!image_.write_sector(lba, bytes)) {
    error_ = image_.error();
  }
  highest_end_ = std::max(highest_end_, lba + 1);
}

void Reconstructor::on_request(const AoeFrame& frame, Request& request, Relation relation,
                               Request* /*earlier*/) {
  const bool write = request.command == kCommandAta && is_write(request.ata_command);
  if (!write || frame.number > options_.last_frame ||
      !(request.to_all ? may_be_chosen(request)
                       : chosen(tracker_.sessions()[request.session].target))) {
    return;
  }
  if (relation == Relation::copy_waiting || relation == Relation::copy_answered) {
    const bool protected_by_tags =
        (tracker_.sessions()[request.session].features & kFeaturesTagInc) != 0;
    for (std::uint32_t i = 0; i < request.sectors && !protected_by_tags && !options_.before; ++i) {
      if (request.lba + i >= kSectorsMax) {
        break;
      }
      const Place p = place(request.lba + i);
      if (p.write_frame > request.first_frame) {
        p.known = Known::unsure;  // the older data may be back
        p.answer_frame = static_cast<std::uint32_t>(frame.number);
      }
    }
    const auto found = waiting_.find(request.first_frame);
    if (found != waiting_.end()) {
      found->second.request = request;
    }
    return;
  }
  if (options_.before) {
    for (std::uint32_t i = 0; i < request.sectors && request.lba + i < kSectorsMax; ++i) {
      const Place p = place(request.lba + i);
      if (p.known == Known::unknown) {
        p.known = Known::lost;
      }
    }
    return;
  }
  const std::uint32_t room = frame.length > kAtaDataOffset ? frame.length - kAtaDataOffset : 0;
  const auto bytes =
      static_cast<std::uint32_t>(std::min<std::size_t>(request.sectors * kSectorBytes, room));
  const auto data = frame.slice(kAtaDataOffset, bytes);
  Waiting& waiting = waiting_[request.first_frame];
  waiting.request = request;
  waiting.data.assign(data.begin(), data.end());
}

void Reconstructor::apply_write(const Request& request, std::uint64_t answer_frame, Known known) {
  const auto found = waiting_.find(request.first_frame);
  if (found == waiting_.end()) {
    return;
  }
  const std::vector<std::uint8_t> data = std::move(found->second.data);
  waiting_.erase(found);
  for (std::uint32_t i = 0; i < request.sectors; ++i) {
    const std::uint64_t lba = request.lba + i;
    if (lba >= kSectorsMax) {
      ++beyond_;
      continue;
    }
    const Place p = place(lba);
    if (p.write_frame > request.first_frame) {
      continue;  // a newer write has been answered already
    }
    if (known == Known::unsure && p.read_frame > request.last_frame) {
      continue;  // a later read has seen what is there, whether this was performed or not
    }
    p.write_frame = static_cast<std::uint32_t>(request.first_frame);
    p.answer_frame = static_cast<std::uint32_t>(answer_frame);
    const std::size_t at = static_cast<std::size_t>(i) * kSectorBytes;
    if (at + kSectorBytes > data.size()) {
      p.known = Known::unknown;  // cut by snaplen
      continue;
    }
    p.known = known;
    store(lba, data.data() + at);
  }
}

// A write that failed on the disk may have been done in part: what was there before stays in the
// image, and nobody knows.
void Reconstructor::doubt(const Request& request, std::uint64_t answer_frame) {
  waiting_.erase(request.first_frame);
  for (std::uint32_t i = 0; i < request.sectors && request.lba + i < kSectorsMax; ++i) {
    const std::uint64_t lba = request.lba + i;
    if (capacity_sectors_ != 0 && lba >= capacity_sectors_) {
      break;
    }
    const Place p = place(lba);
    if (p.write_frame > request.first_frame || p.read_frame > request.last_frame) {
      continue;
    }
    p.write_frame = static_cast<std::uint32_t>(request.first_frame);
    p.answer_frame = static_cast<std::uint32_t>(answer_frame);
    p.known = Known::unsure;
    highest_end_ = std::max(highest_end_, lba + 1);
  }
}

void Reconstructor::on_reply(const AoeFrame& frame, Request* request, Session* session) {
  if (request == nullptr || request->command != kCommandAta) {
    return;
  }
  const std::uint32_t target = request->to_all ? (session == nullptr ? kNone : session->target)
                                               : tracker_.sessions()[request->session].target;
  if (!chosen(target)) {
    return;
  }
  const bool write = is_write(request->ata_command);
  if (frame.number > options_.last_frame) {
    // Sent before that frame, answered after it: as of then nobody knew.
    if (write) {
      apply_write(*request, request->last_frame, Known::unsure);
    }
    return;
  }
  const bool good = !frame.has_error_flag() && frame.holds_ata() &&
                    (frame.ata_status() & (kStatusErr | kStatusDf)) == 0;
  if (write) {
    // Refused before anything was done: an AoE error, a command that the device does not have, a
    // range that it does not have.
    constexpr std::uint8_t kAbort = 0x04, kNotFound = 0x10, kUncorrectable = 0x40;
    const bool refused =
        frame.has_error_flag() || !frame.holds_ata() ||
        ((frame.ata_error() & (kAbort | kNotFound)) != 0 &&
         (frame.ata_error() & kUncorrectable) == 0 && (frame.ata_status() & kStatusDf) == 0);
    if (good) {
      apply_write(*request, frame.number, Known::written);  // once: then it waits no more
    } else if (refused || options_.before) {
      waiting_.erase(request->first_frame);
    } else if (request->answers == 1 || request->to_all) {
      doubt(*request, frame.number);
    }
    return;
  }
  if (!good) {
    return;
  }
  if (request->ata_command == kAtaIdentify && frame.holds(kAtaDataOffset, kIdentifyBytes)) {
    capacity_sectors_ =
        conformance::observer::identify_sectors(frame.slice(kAtaDataOffset, kIdentifyBytes));
    return;
  }
  if (!is_read(request->ata_command) || (request->answers != 1 && !request->to_all)) {
    return;
  }
  for (std::uint32_t i = 0; i < request->sectors; ++i) {
    const std::uint64_t lba = request->lba + i;
    const std::uint32_t at = kAtaDataOffset + i * kSectorBytes;
    if (lba >= kSectorsMax || !frame.holds(at, kSectorBytes)) {
      beyond_ += lba >= kSectorsMax ? 1 : 0;
      continue;
    }
    const Place p = place(lba);
    const bool first_sight = options_.before && p.known == Known::unknown;
    const bool newer_than_write = !options_.before && p.answer_frame < request->first_frame;
    if (!first_sight && !newer_than_write) {
      continue;
    }
    // A read of what a write left says nothing new, but that it was really left there.
    if (options_.before || p.known != Known::written) {
      p.known = Known::read;
    }
    p.read_frame = std::max(p.read_frame, static_cast<std::uint32_t>(request->first_frame));
    store(lba, frame.slice(at, kSectorBytes).data());
  }
}

void Reconstructor::on_given_up(const Request& request) {
  if (!options_.before && request.command == kCommandAta && is_write(request.ata_command)) {
    apply_write(request, request.last_frame, Known::unsure);
  }
}

// What is left was asked of all, and the chosen target is not among those that answered.
void Reconstructor::on_end() {
  while (!waiting_.empty()) {
    const Request request = waiting_.begin()->second.request;
    if (may_be_chosen(request)) {
      apply_write(request, request.last_frame, Known::unsure);
    } else {
      waiting_.erase(waiting_.begin());
    }
  }
}

std::uint64_t Reconstructor::image_sectors() const {
  return std::max(capacity_sectors_, highest_end_);
}

std::string Reconstructor::map_text() const {
  std::string out = "# LBA\tsectors\tknown from\n";
  Known run = Known::unknown;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  const auto flush = [&out, &run, &begin, &end] {
    if (run != Known::unknown && end != begin) {
      out += fmt::format("{}\t{}\t{}\n", begin, end - begin, known_text(run));
    }
  };
  for (const auto& [number, page] : pages_) {
    for (std::uint64_t i = 0; i < kPageSectors; ++i) {
      const std::uint64_t lba = number * kPageSectors + i;
      if (page.known[i] != run || lba != end) {
        flush();
        run = page.known[i];
        begin = lba;
      }
      end = lba + 1;
    }
  }
  flush();
  return out;
}

std::string Reconstructor::summary() const {
  std::array<std::uint64_t, 5> counts{};
  for (const auto& [number, page] : pages_) {
    for (const Known known : page.known) {
      ++counts[static_cast<std::size_t>(known)];
    }
  }
  const std::uint64_t told = counts[1] + counts[2] + counts[3];
  std::string text = fmt::format("{} sectors: {} known from reads, {} from writes, {} unsure",
                                 image_sectors(), counts[1], counts[2], counts[3]);
  if (options_.before) {
    text += fmt::format(", {} overwritten before anybody read them", counts[4]);
  }
  text +=
      fmt::format("; {} unknown, left zero\n", image_sectors() > told ? image_sectors() - told : 0);
  if (beyond_ != 0) {
    text += fmt::format("{} sectors beyond 4 TiB left out\n", beyond_);
  }
  return text;
}

}  // namespace pcaps
