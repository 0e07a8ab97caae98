// Tells when anything about the machine's interfaces changed (rtnetlink). It owns the socket only:
// what changed, who cares asks interface.h.
#pragma once

#include "target/linux/fd.h"

namespace target::linux_shell {

class LinkWatch {
 public:
  LinkWatch();  // throws StartError
  [[nodiscard]] int fd() const { return fd_.get(); }
  // Takes all messages that wait; true when something may have changed.
  bool drain();

 private:
  UniqueFd fd_;
};

}  // namespace target::linux_shell
