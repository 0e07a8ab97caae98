// Packets of a live interface, through libpcap: only AoE, in VLANs or not, whole.
#include <fmt/format.h>
#include <pcap/pcap.h>
#include <poll.h>

#include "pcaps/tool/packet_source.h"

namespace pcaps {

namespace {
constexpr int kSnaplen = 1 << 18;
constexpr int kWaitMs = 200;  // how often it is looked whether somebody said stop
constexpr int kBufferBytes = 32 << 20;
// "vlan" moves the offsets of all that follows: one and two tags, and without.
constexpr const char* kFilter =
    "ether proto 0x88a2 or (vlan and (ether proto 0x88a2 or (vlan and ether proto 0x88a2)))";

class LiveInterface : public PacketSource {
 public:
  LiveInterface(pcap_t* handle, const std::atomic<bool>* stop) : handle_(handle), stop_(stop) {}
  ~LiveInterface() override { pcap_close(handle_); }
  LiveInterface(const LiveInterface&) = delete;
  LiveInterface& operator=(const LiveInterface&) = delete;

  bool next(Packet& packet) override {
    while (stop_ == nullptr || !stop_->load()) {
      pcap_pkthdr* header = nullptr;
      const u_char* data = nullptr;
      const int result = pcap_next_ex(handle_, &header, &data);
      if (result == 1) {
        constexpr Nanoseconds kNanosecondsPerSecond = 1'000'000'000;
        packet.bytes = {data, header->caplen};
        packet.wire_length = header->len;
        packet.time_ns = header->ts.tv_sec * kNanosecondsPerSecond + header->ts.tv_usec * scale_;
        packet.link = link_;
        packet.interface = 0;
        packet.fcs_bytes = 0;
        return true;
      }
      if (result == PCAP_ERROR) {
        damage_ = pcap_geterr(handle_);
        return false;
      }
      // libpcap's own wait does not end at a signal, nor always at its timeout.
      pollfd waiting{pcap_get_selectable_fd(handle_), POLLIN, 0};
      ::poll(&waiting, 1, kWaitMs);
    }
    return false;
  }
  [[nodiscard]] std::string damage() const override { return damage_; }
  [[nodiscard]] CaptureDrops drops() const override {
    pcap_stat now{};
    CaptureDrops drops;
    if (pcap_stats(handle_, &now) == 0) {
      drops.told = true;
      drops.dropped = static_cast<std::uint64_t>(now.ps_drop) + now.ps_ifdrop;
    }
    return drops;
  }
  void learn() {
    link_ = static_cast<std::uint16_t>(pcap_datalink(handle_));
    scale_ = pcap_get_tstamp_precision(handle_) == PCAP_TSTAMP_PRECISION_NANO ? 1 : 1'000;
  }

 private:
  pcap_t* handle_;
  const std::atomic<bool>* stop_;
  std::string damage_;
  std::uint16_t link_ = kLinkEthernet;
  Nanoseconds scale_ = 1;
};
}  // namespace

std::unique_ptr<PacketSource> open_live_interface(const std::string& name,
                                                  const std::atomic<bool>* stop,
                                                  std::string& error) {
  char reason[PCAP_ERRBUF_SIZE] = "";
  pcap_t* handle = pcap_create(name.c_str(), reason);
  if (handle == nullptr) {
    error = fmt::format("cannot listen on {}: {}", name, reason);
    return nullptr;
  }
  auto live = std::make_unique<LiveInterface>(handle, stop);
  pcap_set_snaplen(handle, kSnaplen);
  pcap_set_promisc(handle, 1);
  pcap_set_timeout(handle, kWaitMs);
  pcap_set_immediate_mode(handle, 1);
  pcap_set_buffer_size(handle, kBufferBytes);
  pcap_set_tstamp_precision(handle, PCAP_TSTAMP_PRECISION_NANO);  // or microseconds
  const int result = pcap_activate(handle);
  if (result < 0) {
    error = fmt::format("cannot listen on {}: {}{}", name, pcap_statustostr(result),
                        result == PCAP_ERROR_PERM_DENIED ? ": CAP_NET_RAW is needed" : "");
    return nullptr;
  }
  live->learn();
  bpf_program filter{};
  if (pcap_compile(handle, &filter, kFilter, 1, PCAP_NETMASK_UNKNOWN) != 0 ||
      pcap_setfilter(handle, &filter) != 0) {
    error = fmt::format("cannot listen on {} for AoE: {}", name, pcap_geterr(handle));
    pcap_freecode(&filter);
    return nullptr;
  }
  pcap_freecode(&filter);
  if (pcap_setnonblock(handle, 1, reason) != 0) {
    error = fmt::format("cannot listen on {}: {}", name, reason);
    return nullptr;
  }
  pcap_set_datalink(handle, DLT_EN10MB);  // of `any` too, where it can
  live->learn();
  return live;
}

}  // namespace pcaps
