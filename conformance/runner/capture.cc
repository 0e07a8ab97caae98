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
  if (!trouble_.empty()) {
    return {};
  }
  std::string path = directory_ + "/" + case_id + ".pcap";
  try {
    file_ = std::make_unique<output::OutputFile>(path);
  } catch (const output::OutputError& e) {
    trouble_ = e.what();
    return {};
  }
  dumper_ = pcap_dump_fopen(pcap_, file_->stream());
  if (dumper_ == nullptr) {
    trouble_ = fmt::format("cannot write {}: {}", path, pcap_geterr(pcap_));
    file_.reset();
    return {};
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
  dumper_ = nullptr;  // the stream under another name: the file closes it
  if (file_ == nullptr) {
    return;
  }
  try {
    file_->commit();
  } catch (const output::OutputError& e) {
    if (trouble_.empty()) {
      trouble_ = e.what();
    }
  }
  file_.reset();
}

}  // namespace conformance
