#pragma once
// One pcap file for each case, written with libpcap, nanoseconds, on the clock of the log. Owns the
// open file.

#include <pcap/pcap.h>

#include <string>

#include "conformance/observer/bytes.h"

namespace conformance {

class Capture {
 public:
  explicit Capture(std::string directory);  // made when missing; throws std::runtime_error
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  ~Capture();

  // Closes the one before. Returns the path.
  std::string begin(const std::string& case_id);
  void frame(int64_t at_ns, observer::BytesView bytes);
  void finish();

 private:
  std::string directory_;
  pcap_t* pcap_ = nullptr;
  pcap_dumper_t* dumper_ = nullptr;
};

}  // namespace conformance
