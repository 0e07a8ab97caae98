// A Link over a UNIX socket, one frame a message.

#include "conformance/links/unix_socket.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

namespace conformance::links {

namespace {
constexpr size_t kFrameBytesMax = 65536;

int64_t clock_ns(clockid_t id) {
  timespec t{};
  clock_gettime(id, &t);
  return t.tv_sec * kNsPerSecond + t.tv_nsec;
}

int connect_to(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    throw LinkError(fmt::format("socket '{}': the path is too long", path));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd < 0 || connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) {
    const std::string why = std::strerror(errno);
    if (fd >= 0) {
      close(fd);
    }
    throw LinkError(
        fmt::format("socket '{}': {} (a SOCK_SEQPACKET socket must listen there)", path, why));
  }
  return fd;
}
}  // namespace

UnixSocketLink::UnixSocketLink(const std::string& path, size_t mtu)
    : UnixSocketLink(connect_to(path), mtu) {
  path_ = path;
}

UnixSocketLink::UnixSocketLink(int fd, size_t mtu)
    : path_("socket"),
      fd_(fd),
      mtu_(mtu),
      clock_offset_ns_(clock_ns(CLOCK_REALTIME) - clock_ns(CLOCK_MONOTONIC)),
      buffer_(kFrameBytesMax) {}

UnixSocketLink::~UnixSocketLink() {
  close(fd_);
}

int64_t UnixSocketLink::now_ns() {
  return clock_ns(CLOCK_MONOTONIC) + clock_offset_ns_;
}

// A reader that does not read is a target that loses frames: a moment's patience, no more.
void UnixSocketLink::send(BytesView frame) {
  constexpr int patience_ms = 10;
  for (bool waited = last_refused_;;) {
    if (::send(fd_, frame.data(), frame.size(), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) {
      last_refused_ = false;
      return;
    }
    if (errno == EPIPE || errno == ECONNRESET) {
      closed_ = true;  // the other side is gone: a target that does not answer
      not_taken_ = {not_taken_.frames + 1,
                    fmt::format("socket '{}': its other end is gone", path_)};
      return;
    }
    if (errno == EMSGSIZE || ((errno == EAGAIN || errno == ENOBUFS) && waited)) {
      last_refused_ = errno != EMSGSIZE;
      not_taken_ = {not_taken_.frames + 1,
                    fmt::format("socket '{}' did not take a frame of {} bytes: {}", path_,
                                frame.size(), std::strerror(errno))};
      return;
    }
    if (errno == EAGAIN || errno == ENOBUFS) {
      pollfd p{fd_, POLLOUT, 0};
      poll(&p, 1, patience_ms);
      waited = true;
    } else if (errno != EINTR) {
      throw LinkError(fmt::format("socket '{}': sending: {}", path_, std::strerror(errno)));
    }
  }
}

std::optional<ReceivedFrame> UnixSocketLink::receive(int64_t deadline_ns) {
  for (;;) {
    const int64_t left_ns = std::max<int64_t>(deadline_ns - now_ns(), 0);
    const timespec wait{left_ns / kNsPerSecond, left_ns % kNsPerSecond};
    pollfd p{fd_, static_cast<short>(closed_ ? 0 : POLLIN), 0};
    if (ppoll(&p, closed_ ? 0 : 1, &wait, nullptr) <= 0) {
      return std::nullopt;
    }
    const ssize_t n = recv(fd_, buffer_.data(), buffer_.size(), 0);
    if (n > 0) {
      return ReceivedFrame{Bytes(buffer_.begin(), buffer_.begin() + n), now_ns()};
    }
    if (n < 0 && errno == EINTR) {
      return std::nullopt;
    }
    closed_ = true;
  }
}

}  // namespace conformance::links
