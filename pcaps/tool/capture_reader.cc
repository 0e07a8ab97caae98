#include "pcaps/tool/capture_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

namespace pcaps {

std::unique_ptr<CaptureReader> CaptureReader::open(const CaptureSpec& spec, std::string& error) {
  auto source = spec.live ? open_live_interface(spec.path, spec.stop, error)
                          : open_capture_file(spec.path, spec.stop, error);
  if (source == nullptr) {
    return nullptr;
  }
  std::unique_ptr<CaptureReader> reader(new CaptureReader());
  reader->path_ = spec.path;
  reader->only_ = spec.only;
  reader->source_ = std::move(source);
  return reader;
}

bool CaptureReader::was_seen(const CapturedFrame& frame, std::uint32_t interface) {
  Recent now;
  const std::size_t head = std::min<std::size_t>(frame.bytes.size(), kMinimumFrameBytes);
  now.head = hash_bytes(frame.bytes.data(), head, 0);
  now.whole = hash_bytes(frame.bytes.data(), frame.bytes.size(), 0);
  now.time_ns = frame.time_ns;
  now.interface = interface;
  now.wire_length = frame.wire_length;
  now.captured = static_cast<std::uint32_t>(frame.bytes.size());
  for (Recent& old : recent_) {
    if (old.interface == interface || old.wire_length != now.wire_length || old.head != now.head ||
        std::abs(now.time_ns - old.time_ns) > kSeenTwiceNs ||
        (old.captured == now.captured && old.whole != now.whole)) {
      continue;
    }
    const auto end = old.also_on.begin() + old.also_count;
    if (std::find(old.also_on.begin(), end, interface) != end ||
        old.also_count == old.also_on.size()) {
      continue;  // that one has shown its copy: this is another frame with the same bytes
    }
    old.also_on[old.also_count++] = interface;
    return true;
  }
  if (recent_.size() < kRecentKept) {
    recent_.push_back(now);
  } else {
    recent_[next_recent_++ % kRecentKept] = now;
  }
  return false;
}

bool CaptureReader::next(CapturedFrame& frame) {
  Packet packet;
  while (source_->next(packet)) {
    frame.number = ++frames_;
    frame.time_ns = packet.time_ns;
    bytes_ += packet.bytes.size();
    std::uint32_t interface = packet.interface;
    if (packet.link == kLinkEthernet) {
      frame.bytes = packet.bytes;
      frame.wire_length = packet.wire_length;
    } else if (packet.link == kLinkCooked || packet.link == kLinkCooked2) {
      if (!cooked_.to_ethernet(packet, ethernet_, interface)) {
        ++foreign_;
        foreign_link_ = packet.link;
        continue;
      }
      const std::uint32_t header = CookedFrames::header_bytes(packet.link);
      frame.bytes = ethernet_;
      frame.wire_length = std::max(packet.wire_length, header) - header + kEthernetHeaderBytes;
    } else {
      ++foreign_;
      foreign_link_ = packet.link;
      continue;
    }
    frame.fcs_bytes = packet.fcs_bytes;
    const bool several = packet.link == kLinkCooked2 || source_->interfaces() > 1;
    if (several && was_seen(frame, interface)) {
      ++seen_twice_;
      continue;
    }
    if (!only_.admits(frame)) {
      continue;
    }
    return true;
  }
  return false;
}

}  // namespace pcaps
