#pragma once
// A Link over a UNIX socket (SOCK_SEQPACKET): one Ethernet frame is one message, both ways. So that
// anything that can open a socket may be judged: a simulator, a target in another language, a
// tunnel. The suite connects.

#include "conformance/links/link.h"

namespace conformance::links {

class UnixSocketLink : public Link {
 public:
  UnixSocketLink(const std::string& path, size_t mtu);
  // A socket that is connected already; for tests.
  UnixSocketLink(int fd, size_t mtu);
  ~UnixSocketLink() override;

  void send(BytesView frame) override;
  std::optional<ReceivedFrame> receive(int64_t deadline_ns) override;
  int64_t now_ns() override;
  Mac mac() const override { return {0x02, 0xae, 0, 0, 0, 0x01}; }
  size_t mtu() const override { return mtu_; }
  std::string name() const override { return path_; }
  NotTaken not_taken() const override { return not_taken_; }

 private:
  std::string path_;
  int fd_ = -1;
  size_t mtu_;
  int64_t clock_offset_ns_ = 0;
  Bytes buffer_;
  bool closed_ = false;
  bool last_refused_ = false;
  NotTaken not_taken_;
};

}  // namespace conformance::links
