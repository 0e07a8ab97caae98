#pragma once
// A Witness on a network interface of this machine that the target stands at. Listens only; what
// its buffer lost it admits.

#include <string>

#include "conformance/links/witness.h"

namespace conformance::links {

class PortWatch : public Witness {
 public:
  // Throws LinkError: there is no such interface here, or no permission.
  explicit PortWatch(const std::string& interface);
  ~PortWatch() override;

  std::vector<AnsweredTwice> take() override;
  // Empties the socket's buffer; to be called now and then.
  void listen();

 private:
  int fd_ = -1;
  bool missed_ = false;
  observer::Bytes buffer_;
  PortCounts counts_;
};

}  // namespace conformance::links
