// One pcap file for each case.

#include "conformance/runner/capture.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace conformance {

Capture::Capture(std::string directory) : directory_(std::move(directory)) {
  if (mkdir(directory_.c_str(), 0777) != 0 && errno != EEXIST) {
    throw std::runtime_error(
        fmt::format("--capture {}: cannot be made: {}", directory_, std::strerror(errno)));
  }
  constexpr int frame_bytes_max = 65535;
  pcap_ =
      pcap_open_dead_with_tstamp_precision(DLT_EN10MB, frame_bytes_max, PCAP_TSTAMP_PRECISION_NANO);
}

Capture::~Capture() {
  finish();
  pcap_close(pcap_);
}

std::string Capture::begin(const std::string& case_id) {
  finish();
  std::string path = directory_ + "/" + case_id + ".pcap";
  dumper_ = pcap_dump_open(pcap_, path.c_str());
  if (dumper_ == nullptr) {
    throw std::runtime_error(fmt::format("--capture: {}", pcap_geterr(pcap_)));
  }
  return path;
}

void Capture::frame(int64_t at_ns, observer::BytesView bytes) {
  if (dumper_ == nullptr) {
    return;
  }
  constexpr int64_t ns_per_second = 1'000'000'000;
  pcap_pkthdr header{};
  header.ts.tv_sec = at_ns / ns_per_second;
  header.ts.tv_usec = at_ns % ns_per_second;  // nanoseconds, as the file's header says
  header.caplen = header.len = static_cast<bpf_u_int32>(bytes.size());
  pcap_dump(reinterpret_cast<u_char*>(dumper_), &header, bytes.data());
}

void Capture::finish() {
  if (dumper_ != nullptr) {
    pcap_dump_close(dumper_);
    dumper_ = nullptr;
  }
}

}  // namespace conformance
