#include "pcaps/tool/capture_reader.h"

#include <fmt/format.h>
#include <pcap/pcap.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace pcaps {

namespace {
constexpr std::size_t kFileBufferBytes = 1 << 20;
constexpr Nanoseconds kNanosecondsPerSecond = 1'000'000'000;
// A damaged pcapng can say anything: what is past the year 2200 is taken as that year, so that
// no difference of two instants can overflow.
constexpr std::int64_t kSecondsMax = 7'260'000'000;

bool begins_like_text(std::string_view error) {
  return error.find("unknown file format") != std::string_view::npos;
}
}  // namespace

std::unique_ptr<CaptureReader> CaptureReader::open(const std::string& path, std::string& error) {
  // Standard input through a descriptor of our own: its buffer is ours, and goes when we go.
  std::FILE* file = path == "-" ? fdopen(dup(STDIN_FILENO), "rb") : std::fopen(path.c_str(), "rb");
  if (file == nullptr) {
    error = fmt::format("cannot open the capture {}: {}", path, std::strerror(errno));
    return nullptr;
  }
  std::unique_ptr<CaptureReader> reader(new CaptureReader());
  reader->path_ = path;
  reader->buffer_.resize(kFileBufferBytes);
  std::setvbuf(file, reader->buffer_.data(), _IOFBF, reader->buffer_.size());
  char reason[PCAP_ERRBUF_SIZE] = "";
  reader->handle_ =
      pcap_fopen_offline_with_tstamp_precision(file, PCAP_TSTAMP_PRECISION_NANO, reason);
  if (reader->handle_ == nullptr) {
    std::fclose(file);
    error = begins_like_text(reason)
                ? fmt::format("{} is not a capture: give a pcap or pcapng file", path)
                : fmt::format("cannot read the capture {}: {}", path, reason);
    return nullptr;
  }
  const int link = pcap_datalink(reader->handle_);
  if (link != DLT_EN10MB) {
    const char* name = pcap_datalink_val_to_name(link);
    error = fmt::format(
        "{} holds frames of link type {}, not Ethernet: capture on the interface itself "
        "(tcpdump -i eth0, not -i any)",
        path, name != nullptr ? name : std::to_string(link));
    return nullptr;
  }
  return reader;
}

CaptureReader::~CaptureReader() {
  if (handle_ != nullptr) {
    pcap_close(handle_);
  }
}

bool CaptureReader::next(CapturedFrame& frame) {
  pcap_pkthdr* header = nullptr;
  const u_char* data = nullptr;
  const int result = damage_.empty() ? pcap_next_ex(handle_, &header, &data) : PCAP_ERROR_BREAK;
  if (result != 1) {
    if (result == PCAP_ERROR) {
      damage_ = pcap_geterr(handle_);
    }
    return false;
  }
  frame.number = ++frames_;
  const std::int64_t seconds = std::clamp<std::int64_t>(header->ts.tv_sec, 0, kSecondsMax);
  const std::int64_t fraction_ns =  // nanoseconds, by the precision that was asked for
      std::clamp<std::int64_t>(header->ts.tv_usec, 0, kNanosecondsPerSecond - 1);
  frame.time_ns = seconds * kNanosecondsPerSecond + fraction_ns;
  frame.bytes = {data, header->caplen};
  frame.wire_length = header->len;
  bytes_ += header->caplen;
  return true;
}

}  // namespace pcaps
