// aoe-reflector: answers like a target and has no disk: the ceiling of what the wire and the kernel
// let through, to measure targets against. It must never be mistaken for one: reads are zeros,
// writes are forgotten.

#include <fmt/format.h>
#include <poll.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "conformance/initiator/frame_socket.h"
#include "conformance/observer/decode.h"

namespace conformance::initiator {
namespace {

using observer::Bytes;
using observer::F;
using observer::get;
using observer::kSectorBytes;
namespace at = observer::at;
namespace ata = observer::ata;

constexpr uint64_t kSectors = 1ULL << 30;
constexpr uint16_t kBufferCount = 256;

volatile std::sig_atomic_t g_stop = 0;

class Reflector {
 public:
  Reflector(uint16_t shelf, uint8_t slot, const Mac& own, size_t mtu)
      : shelf_(shelf), slot_(slot), own_(own), mtu_(mtu) {}

  // The reply in `reply`; false when there is none.
  bool answer(BytesView request, Bytes& reply) const {
    if (!observer::is_aoe(request) || observer::is_reply(request)) {
      return false;
    }
    const auto shelf = get(request, F::shelf), slot = get(request, F::slot);
    if ((shelf != shelf_ && shelf != 0xffffU) || (slot != slot_ && slot != 0xffU)) {
      return false;
    }
    const bool is_ata =
        get(request, F::command) == observer::command::ata && request.size() >= at::ata_data;
    const auto command = static_cast<uint8_t>(get(request, F::ata_command).value_or(0));
    const auto count = static_cast<size_t>(get(request, F::ata_count).value_or(0));
    const size_t data = !is_ata                          ? 0
                        : observer::is_ata_read(command) ? count * kSectorBytes
                        : command == ata::identify       ? kSectorBytes
                                                         : 0;
    reply.resize(std::max(at::ata_data + data, observer::kMinFrameBytes), 0);
    std::copy_n(request.begin() + 6, 6, reply.begin());
    std::copy(own_.begin(), own_.end(), reply.begin() + 6);
    // Of what this buffer held before, only identify's data is no zeros.
    std::fill_n(reply.begin() + at::ata_data, std::min(data, kSectorBytes), uint8_t{0});
    const size_t head = std::min(request.size(), at::ata_data) - 12;
    std::copy_n(request.begin() + 12, head, reply.begin() + 12);
    observer::set(reply, F::flag_response, 1);
    observer::set(reply, F::shelf, shelf_);
    observer::set(reply, F::slot, slot_);
    if (is_ata) {
      reply[27] = ata::status_drdy;
      if (command == ata::identify) {
        identify(std::span(reply).subspan(at::ata_data));
      }
      return true;
    }
    if (get(request, F::command) == observer::command::config) {
      std::fill(reply.begin() + at::argument, reply.end(), uint8_t{0});
      observer::set(reply, F::cfg_buffer_count, kBufferCount);
      observer::set(reply, F::cfg_sector_count, std::min<size_t>(255, (mtu_ - 22) / kSectorBytes));
      observer::set(reply, F::cfg_version, 1);
      return true;
    }
    observer::set(reply, F::flag_error, 1);
    observer::set(reply, F::error, observer::aoe_error::bad_command);
    return true;
  }

 private:
  static void identify(std::span<uint8_t> data) {
    observer::store_le(data, 2 * 49, 2, 0x0200);
    observer::store_le(data, 2 * 83, 2, 0x4000 | 1U << 13 | 1U << 12 | 1U << 10);
    observer::store_le(data, 2 * 86, 2, 1U << 13 | 1U << 12 | 1U << 10);
    observer::store_le(data, 2 * 60, 4, (1U << 28) - 1);
    observer::store_le(data, 2 * 100, 8, kSectors);
  }

  uint16_t shelf_;
  uint8_t slot_;
  Mac own_;
  size_t mtu_;
};

int run(const char* interface, uint16_t shelf, uint8_t slot) {
  const InterfaceFacts facts = interface_facts(interface);
  FrameSocket socket(interface, facts.mac, Takes::requests);
  const Reflector reflector(shelf, slot, facts.mac, facts.mtu);
  std::vector<Bytes> replies(FrameSocket::kBatch);
  std::vector<BytesView> out;
  fmt::print("ready: e{}.{} on {}, no disk\n", shelf, slot, interface);
  std::fflush(stdout);
  while (g_stop == 0) {
    const auto& requests = socket.receive();
    if (requests.empty()) {
      pollfd p{socket.descriptor(), POLLIN, 0};
      poll(&p, 1, -1);
      continue;
    }
    out.clear();
    for (size_t i = 0; i < requests.size(); ++i) {
      if (reflector.answer(requests[i], replies[i])) {
        out.emplace_back(replies[i]);
      }
    }
    socket.send(out);
  }
  return 0;
}

}  // namespace
}  // namespace conformance::initiator

int main(int argc, char** argv) {
  using namespace conformance::initiator;
  if (argc != 4) {
    fmt::print(stderr, "usage: aoe-reflector SHELF SLOT INTERFACE\n");
    return 2;
  }
  struct sigaction action {};
  action.sa_handler = [](int) { g_stop = 1; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  try {
    return run(argv[3], static_cast<uint16_t>(std::strtoul(argv[1], nullptr, 10)),
               static_cast<uint8_t>(std::strtoul(argv[2], nullptr, 10)));
  } catch (const std::exception& e) {
    fmt::print(stderr, "aoe-reflector: {}\n", e.what());
    return 1;
  }
}
