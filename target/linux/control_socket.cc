// A UNIX stream socket for questions: see control_socket.h.
#include "target/linux/control_socket.h"

#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "target/linux/start_error.h"

namespace target::linux_shell {
namespace {

sockaddr_un address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    throw StartError(
        fmt::format("control socket {}: a path of {} characters does not fit: choose "
                    "one of 1 to {}",
                    path, path.size(), sizeof address.sun_path - 1));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

UniqueFd stream_socket() {
  return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

void remove_stale(const std::string& path, const sockaddr_un& address) {
  struct stat facts {};
  if (::lstat(path.c_str(), &facts) != 0) {
    return;
  }
  if (!S_ISSOCK(facts.st_mode)) {
    throw StartError(
        fmt::format("control socket {}: a file of that name exists: choose another path", path));
  }
  const UniqueFd probe = stream_socket();
  if (::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ||
      errno == EAGAIN) {
    throw StartError(fmt::format(
        "control socket {}: another process listens there: stop it, or choose another path", path));
  }
  if (errno == ECONNREFUSED) {
    ::unlink(path.c_str());
  }
}

}  // namespace

ControlSocket::ControlSocket(EventLoop& loop, std::string path, Answer answer)
    : loop_(loop), path_(std::move(path)), answer_(std::move(answer)) {
  bind_path();
  listener_token_ =
      loop_.add(listener_.get(), EPOLLIN, [this](std::uint32_t) { accept_clients(); });
}

ControlSocket::~ControlSocket() {
  while (!clients_.empty()) {
    close_client(clients_.begin()->first);
  }
  loop_.remove(listener_token_);
  ::unlink(path_.c_str());
}

void ControlSocket::bind_path() {
  const auto address = address_of(path_);
  remove_stale(path_, address);
  listener_ = stream_socket();
  // The owner alone may ask.
  const mode_t before = ::umask(0177);
  const int bound =
      ::bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int error = errno;
  ::umask(before);
  if (bound != 0 || ::listen(listener_.get(), static_cast<int>(kControlClientsMax)) != 0) {
    throw StartError(
        fmt::format("control socket {}: {}: choose a path in a directory that you may "
                    "write to",
                    path_, errno_text(bound != 0 ? error : errno)));
  }
}

void ControlSocket::accept_clients() {
  for (;;) {
    UniqueFd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd.valid()) {
      return;
    }
    if (clients_.size() >= kControlClientsMax) {
      constexpr std::string_view kFull = "error: too many clients, try again later\n";
      [[maybe_unused]] const ssize_t sent =
          ::send(fd.get(), kFull.data(), kFull.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      continue;
    }
    const int raw = fd.get();
    // The token is known only after add(); the handler looks it up through this box.
    auto token = std::make_shared<EventLoop::Token>(0);
    *token =
        loop_.add(raw, EPOLLIN, [this, token](std::uint32_t events) { serve(*token, events); });
    clients_.emplace(*token, Client{std::move(fd), {}, {}, false});
  }
}

void ControlSocket::serve(EventLoop::Token token, std::uint32_t events) {
  Client& client = clients_.at(token);
  if ((events & EPOLLIN) != 0 && !take_questions(client)) {
    close_client(token);
    return;
  }
  const bool broken = (events & EPOLLERR) != 0;
  if (broken || !send_answers(client) || (client.ended && client.out.empty())) {
    close_client(token);
    return;
  }
  const std::uint32_t wanted = (client.ended ? 0U : EPOLLIN) | (client.out.empty() ? 0U : EPOLLOUT);
  loop_.modify(token, wanted);
}

bool ControlSocket::take_questions(Client& client) {
  std::array<char, 512> buffer;
  const ssize_t count = ::recv(client.fd.get(), buffer.data(), buffer.size(), 0);
  if (count < 0) {
    return errno == EAGAIN || errno == EINTR;
  }
  client.ended = count == 0;
  client.in.append(buffer.data(), static_cast<std::size_t>(count));
  for (auto end = client.in.find('\n'); end != std::string::npos; end = client.in.find('\n')) {
    const std::string question = client.in.substr(0, end);
    client.in.erase(0, end + 1);
    // One answer may be as long as it is.
    if (client.out.size() > kControlReplyBytesMax) {
      return false;
    }
    client.out += answer_(question) + "\n";
  }
  if (client.in.size() > kControlLineBytesMax) {
    client.out += "error: the question is too long\n";
    client.in.clear();
    client.ended = true;
  }
  return true;
}

bool ControlSocket::send_answers(Client& client) {
  while (!client.out.empty()) {
    const ssize_t count =
        ::send(client.fd.get(), client.out.data(), client.out.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count < 0) {
      return errno == EAGAIN || errno == EINTR;
    }
    client.out.erase(0, static_cast<std::size_t>(count));
  }
  return true;
}

void ControlSocket::close_client(EventLoop::Token token) {
  loop_.remove(token);
  clients_.erase(token);
}

}  // namespace target::linux_shell
