#pragma once
// One pcap file for each case, written with libpcap, nanoseconds, on the clock of the log. Owns the
// open file. A disk that is full ends the capturing, never the run: what the run borrowed is to be
// put back whatever happens here.

#include <pcap/pcap.h>

#include <memory>
#include <string>

#include "conformance/observer/bytes.h"
#include "conformance/output/output_file.h"

namespace conformance {

class Capture {
 public:
  explicit Capture(std::string directory);  // made when missing; throws std::runtime_error
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  ~Capture();

  // Finishes the one before. Returns the path; empty when there is trouble.
  std::string begin(const std::string& case_id);
  void frame(int64_t at_ns, observer::BytesView bytes);
  void finish();
  // The first capture that could not be written, in one sentence. Empty: all were.
  [[nodiscard]] const std::string& trouble() const { return trouble_; }

 private:
  std::string directory_;
  std::string trouble_;
  pcap_t* pcap_ = nullptr;
  std::unique_ptr<output::OutputFile> file_;
  pcap_dumper_t* dumper_ = nullptr;
};

}  // namespace conformance
