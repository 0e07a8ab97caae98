#pragma once
// A raw packet socket for many frames at a time: one system call takes a batch in, one sends a
// batch out. It owns the socket, its buffers and the words for what can go wrong; it knows of a
// frame only its EtherType and whom it is for.

#include <string>
#include <vector>

#include "conformance/links/link.h"

namespace conformance::initiator {

using links::LinkError;
using observer::BytesView;
using observer::Mac;

// What the kernel says of an interface. Throws LinkError.
struct InterfaceFacts {
  unsigned index = 0;
  Mac mac{};
  size_t mtu = 0;
};
InterfaceFacts interface_facts(const std::string& interface);

enum class Takes : uint8_t { replies, requests };

class FrameSocket {
 public:
  static constexpr size_t kBatch = 64;

  // Receives AoE frames for `own` and for everybody. Throws LinkError with the name and what to do.
  FrameSocket(const std::string& interface, const Mac& own, Takes takes = Takes::replies);
  FrameSocket(const FrameSocket&) = delete;
  FrameSocket& operator=(const FrameSocket&) = delete;
  ~FrameSocket();

  // What has come, without waiting; at most kBatch frames, valid until the next call. Throws
  // LinkError when the interface is gone for good.
  const std::vector<BytesView>& receive();
  // Frames that an interface which is down or busy does not take are lost, as on any wire, and
  // counted.
  void send(const std::vector<BytesView>& frames);

  int descriptor() const { return fd_; }
  uint64_t unsent() const { return unsent_; }
  // Frames that the kernel dropped because nobody took them in time.
  uint64_t missed();

 private:
  struct Batch;
  std::string interface_;
  int fd_ = -1;
  Batch* batch_ = nullptr;
  std::vector<BytesView> views_;
  uint64_t unsent_ = 0;
  uint64_t missed_ = 0;
};

// An address of this machine's own to ask from, derived from the interface's, locally administered,
// and held by this process until it ends: a second process on the same interface gets another.
// Stable, so that a target's table of initiators does not fill with addresses that nobody uses any
// more.
class OwnAddress {
 public:
  explicit OwnAddress(const InterfaceFacts& facts);
  // The one that the user named; nobody else may hold it.
  OwnAddress(const InterfaceFacts& facts, const Mac& wanted);
  OwnAddress(OwnAddress&& other) noexcept : mac_(other.mac_), lock_(other.lock_) {
    other.lock_ = -1;
  }
  OwnAddress(const OwnAddress&) = delete;
  OwnAddress& operator=(const OwnAddress&) = delete;
  ~OwnAddress();
  const Mac& mac() const { return mac_; }

 private:
  bool hold(unsigned interface_index);
  Mac mac_{};
  int lock_ = -1;
};

}  // namespace conformance::initiator
