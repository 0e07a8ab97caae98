// A UNIX stream socket on which somebody asks questions, one line each, and gets one line each. It
// owns the socket file and the clients, all bounded; it must never know what the questions mean.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "target/linux/event_loop.h"
#include "target/linux/fd.h"

namespace target::linux_shell {

inline constexpr std::size_t kControlClientsMax = 16;
inline constexpr std::size_t kControlLineBytesMax = 256;
// A client that does not read what it asked for is closed when this much waits for it.
inline constexpr std::size_t kControlReplyBytesMax = std::size_t{1} << 20;

class ControlSocket {
 public:
  // question (without its newline) -> answer (without its newline)
  using Answer = std::function<std::string(std::string_view question)>;

  // Replaces a socket file that nobody listens to any more; throws StartError when somebody does,
  // or when something else has that name.
  ControlSocket(EventLoop& loop, std::string path, Answer answer);
  ~ControlSocket();
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;

  [[nodiscard]] std::size_t clients() const { return clients_.size(); }

 private:
  struct Client {
    UniqueFd fd;
    std::string in;
    std::string out;
    bool ended = false;  // asks nothing more: closed when it has its answers
  };

  void bind_path();
  void accept_clients();
  void serve(EventLoop::Token token, std::uint32_t events);
  // False: the client is to be closed.
  bool take_questions(Client& client);
  bool send_answers(Client& client);
  void close_client(EventLoop::Token token);

  EventLoop& loop_;
  std::string path_;
  Answer answer_;
  UniqueFd listener_;
  EventLoop::Token listener_token_ = 0;
  std::map<EventLoop::Token, Client> clients_;
};

}  // namespace target::linux_shell
