#include "pcaps/tool/replay.h"

#include <fmt/format.h>
#include <pcap/pcap.h>

#include <algorithm>
#include <limits>

namespace pcaps {

namespace {
namespace links = conformance::links;

constexpr Nanoseconds kSecondNs = 1'000'000'000;
constexpr int kFindTries = 6;
constexpr Nanoseconds kFindWaitNs = 500'000'000;
constexpr std::uint32_t kFindTag = 0x7A6E'0001;
constexpr int kSnapLength = 65'535;
constexpr std::uint64_t kMadeUpInitiator = 0x02AE'7000'0000;  // locally administered

void put_mac(std::uint8_t* p, std::uint64_t mac) {
  for (int i = 0; i < 6; ++i) {
    p[i] = static_cast<std::uint8_t>(mac >> (40 - 8 * i));
  }
}

void put_be32(std::uint8_t* p, std::uint32_t value) {
  for (int i = 0; i < 4; ++i) {
    p[i] = static_cast<std::uint8_t>(value >> (24 - 8 * i));
  }
}

std::uint32_t get_be32(const std::uint8_t* p) {
  return static_cast<std::uint32_t>(p[0]) << 24 | static_cast<std::uint32_t>(p[1]) << 16 |
         static_cast<std::uint32_t>(p[2]) << 8 | p[3];
}

std::uint32_t byte_swapped(std::uint32_t v) {
  return v << 24 | (v & 0xFF00) << 8 | (v >> 8 & 0xFF00) | v >> 24;
}

std::uint64_t to_number(const links::Mac& mac) {
  return AoeFrame::read_mac(mac.data());
}

bool ranged(const Request& request) {
  return request.command == kCommandAta &&
         (is_read(request.ata_command) || is_write(request.ata_command));
}

bool overlap(const Request& a, const Request& b) {
  return a.lba < b.lba + b.sectors && b.lba < a.lba + a.sectors;
}

// May `next` not be sent before `before` is done?
bool depends_on(const Expectation& before, const Expectation& next, std::uint64_t next_frame) {
  const Request& a = before.request;
  const Request& b = next.request;
  if (a.tag == b.tag && a.initiator == b.initiator) {
    return true;  // their replies could not be told apart
  }
  if (ranged(a) && ranged(b)) {
    return overlap(a, b) && (is_write(a.ata_command) || is_write(b.ata_command));
  }
  if (before.reply_frame != 0) {
    return before.reply_frame < next_frame;  // the initiator knew the reply when it asked on
  }
  const bool both_probe =
      a.command == b.command && (a.command == kCommandExtensions || a.command == kCommandConfig);
  return !both_probe;
}

std::string names_of(const DifferenceSet& set) {
  std::string text;
  for (std::size_t i = 0; i < kDifferences; ++i) {
    if (set[i]) {
      text += (text.empty() ? "" : ", ") + std::string(difference_name(static_cast<Difference>(i)));
    }
  }
  return text;
}
}  // namespace

std::unique_ptr<CaptureWriter> CaptureWriter::create(const std::string& path, std::string& error) {
  std::unique_ptr<CaptureWriter> writer(new CaptureWriter());
  try {
    writer->file_ = std::make_unique<output::OutputFile>(path);
  } catch (const output::OutputError& e) {
    error = e.what();
    return nullptr;
  }
  writer->handle_ =
      pcap_open_dead_with_tstamp_precision(DLT_EN10MB, kSnapLength, PCAP_TSTAMP_PRECISION_NANO);
  writer->dumper_ = pcap_dump_fopen(writer->handle_, writer->file_->stream());
  if (writer->dumper_ == nullptr) {
    error = fmt::format("cannot write {}: {}", path, pcap_geterr(writer->handle_));
    return nullptr;
  }
  return writer;
}

CaptureWriter::~CaptureWriter() {
  if (handle_ != nullptr) {
    pcap_close(handle_);
  }
}

bool CaptureWriter::finish(std::string& error) {
  try {
    file_->commit();
  } catch (const output::OutputError& e) {
    error = e.what();
    return false;
  }
  return true;
}

void CaptureWriter::write(std::span<const std::uint8_t> frame, Nanoseconds time_ns,
                          std::uint32_t wire_length) {
  pcap_pkthdr header{};
  header.ts.tv_sec = time_ns / kSecondNs;
  header.ts.tv_usec = time_ns % kSecondNs;
  header.caplen = static_cast<bpf_u_int32>(frame.size());
  header.len = std::max(wire_length, header.caplen);
  pcap_dump(reinterpret_cast<u_char*>(dumper_), &header, frame.data());
}

bool ReplayResult::passed() const {
  return requests != 0 &&
         std::all_of(refused.begin(), refused.end(), [](std::uint64_t n) { return n == 0; });
}

std::string ReplayResult::to_text() const {
  std::string out = fmt::format(
      "replayed {} requests in {:.3f} s to {}: {} replies compared, {} retries\n", requests,
      static_cast<double>(took_ns) / 1e9, mac_text(target_mac), answered, retries);
  if (silent_both != 0) {
    out += fmt::format("no reply then and none now: {}\n", silent_both);
  }
  if (not_compared != 0) {
    out += fmt::format("not compared, for the captured reply is cut: {}\n", not_compared);
  }
  if (not_taken.frames != 0) {
    out += fmt::format("frames that the interface did not take: {} ({})\n", not_taken.frames,
                       not_taken.last);
  }
  if (late != 0) {
    out += fmt::format("replies that nobody waited for: {}\n", late);
  }
  out += fmt::format("sectors read with equal data: {}\n", sectors_equal);
  for (std::size_t i = 0; i < kDifferences; ++i) {
    if (allowed[i] != 0) {
      const auto d = static_cast<Difference>(i);
      out += fmt::format("allowed     {:14} {:6}  {}\n", difference_name(d), allowed[i],
                         difference_text(d));
    }
  }
  for (std::size_t i = 0; i < kDifferences; ++i) {
    if (refused[i] != 0) {
      const auto d = static_cast<Difference>(i);
      out += fmt::format("DIFFERENT   {:14} {:6}  {}\n", difference_name(d), refused[i],
                         difference_text(d));
    }
  }
  for (const ReplayExample& e : examples) {
    out += fmt::format("  frame {}: {}: {}{}{}\n", e.frame, e.request, e.differences,
                       e.detail.empty() ? "" : ": ", e.detail);
  }
  out += fmt::format("verdict: {}\n", passed() ? "pass" : "fail");
  return out;
}

nlohmann::ordered_json ReplayResult::to_json() const {
  nlohmann::ordered_json j;
  j["verdict"] = passed() ? "pass" : "fail";
  j["requests"] = requests;
  j["replies_compared"] = answered;
  j["retries"] = retries;
  j["silent_then_and_now"] = silent_both;
  j["not_compared"] = not_compared;
  j["late_replies"] = late;
  j["not_taken_by_the_interface"] = not_taken.frames;
  j["sectors_equal"] = sectors_equal;
  j["seconds"] = static_cast<double>(took_ns) / 1e9;
  j["target_mac"] = mac_text(target_mac);
  j["allowed_differences"] = difference_counts_json(allowed);
  j["differences"] = difference_counts_json(refused);
  auto list = nlohmann::ordered_json::array();
  for (const ReplayExample& e : examples) {
    list.push_back({{"frame", e.frame},
                    {"reply_frame", e.reply_frame},
                    {"request", e.request},
                    {"differences", e.differences},
                    {"detail", e.detail}});
  }
  j["examples"] = list;
  return j;
}

Replayer::Replayer(links::Link& link, const ReplayOptions& options,
                   const std::vector<std::uint64_t>& initiators)
    : link_(link), options_(options) {
  std::uint64_t made_up = kMadeUpInitiator;
  for (const std::uint64_t initiator : initiators) {
    std::uint64_t live = initiator;
    if (!options.keep_addresses) {
      live = initiators_.empty() ? to_number(link.mac()) : ++made_up;
    }
    initiators_.emplace_back(initiator, live);
  }
}

std::uint64_t Replayer::mapped(std::uint64_t initiator) const {
  for (const auto& [captured, live] : initiators_) {
    if (captured == initiator) {
      return live;
    }
  }
  return initiator;
}

std::uint32_t Replayer::shifted(std::uint32_t tag, std::uint8_t features) const {
  if ((features & kFeatureTagIncLe) != 0) {  // the promise is kept in its own byte order
    return byte_swapped(byte_swapped(tag) + options_.tag_offset);
  }
  return tag + options_.tag_offset;
}

bool Replayer::find_target(std::string& error) {
  const TargetAddress to = *options_.to;
  std::vector<std::uint8_t> query(kConfigStringOffset, 0);
  put_mac(query.data(), kBroadcastAddress);
  put_mac(query.data() + kMacBytes,
          initiators_.empty() ? to_number(link_.mac()) : initiators_.front().second);
  query[12] = kEtherTypeAoe >> 8;
  query[13] = kEtherTypeAoe & 0xFF;
  query[14] = 0x10;
  query[16] = static_cast<std::uint8_t>(to.shelf >> 8);
  query[17] = static_cast<std::uint8_t>(to.shelf);
  query[18] = to.slot;
  query[19] = kCommandConfig;
  put_be32(query.data() + 20, kFindTag);
  for (int i = 0; i < kFindTries; ++i) {
    link_.send(query);
    const Nanoseconds until = link_.now_ns() + kFindWaitNs;
    while (const auto received = link_.receive(until)) {
      AoeFrame frame;
      CapturedFrame captured;
      captured.bytes = received->bytes;
      captured.wire_length = static_cast<std::uint32_t>(received->bytes.size());
      if (AoeFrame::parse(captured, frame) == AoeFrame::Kind::aoe && frame.is_response() &&
          frame.tag() == kFindTag && frame.command() == kCommandConfig &&
          frame.shelf() == to.shelf && frame.slot() == to.slot) {
        target_mac_ = frame.source;
        return true;
      }
    }
  }
  error =
      fmt::format("no target answers as e{}.{} on {}: is it running, and does its mask admit us?",
                  to.shelf, to.slot, link_.name());
  return false;
}

void Replayer::map_lists(std::vector<std::uint8_t>& bytes) const {
  const auto map_at = [this, &bytes](std::size_t at) {
    if (at + kMacBytes <= bytes.size()) {
      put_mac(bytes.data() + at, mapped(AoeFrame::read_mac(bytes.data() + at)));
    }
  };
  if (bytes[19] == kCommandMask && bytes.size() >= kMaskListOffset) {
    for (std::size_t i = 0; i < bytes[27]; ++i) {
      map_at(kMaskListOffset + i * kMaskDirectiveBytes + 2);
    }
  } else if (bytes[19] == kCommandReserve && bytes.size() >= kReserveListOffset) {
    for (std::size_t i = 0; i < bytes[25]; ++i) {
      map_at(kReserveListOffset + i * kMacBytes);
    }
  }
}

Replayer::Flight Replayer::prepare(std::unique_ptr<PlannedFrame> planned) const {
  Flight flight;
  flight.bytes = planned->bytes;
  flight.answered.resize(planned->expected.size());
  flight.source = mapped(AoeFrame::read_mac(planned->bytes.data() + kMacBytes));
  std::uint8_t* p = flight.bytes.data();
  if (AoeFrame::read_mac(p) != kBroadcastAddress) {
    put_mac(p, target_mac_);
  }
  put_mac(p + kMacBytes, flight.source);
  const Request& head = planned->expected.front().request;
  if (options_.from && head.shelf == options_.from->shelf) {
    p[16] = static_cast<std::uint8_t>(options_.to->shelf >> 8);
    p[17] = static_cast<std::uint8_t>(options_.to->shelf);
  }
  if (options_.from && head.slot == options_.from->slot) {
    p[18] = options_.to->slot;
  }
  put_be32(p + 20, shifted(head.tag, planned->features));
  for (std::size_t i = 1; i < planned->expected.size(); ++i) {  // the tail of a coalesced read
    const std::size_t at = kAtaDataOffset + 1 + (i - 1) * kCoalescedEntryBytes;
    put_be32(p + at, shifted(get_be32(p + at), planned->features));
  }
  map_lists(flight.bytes);
  flight.planned = std::move(planned);
  return flight;
}

bool Replayer::depends(const PlannedFrame& next) const {
  for (const Flight& flight : flights_) {
    for (const Expectation& before : flight.planned->expected) {
      for (const Expectation& expectation : next.expected) {
        if (depends_on(before, expectation, next.number)) {
          return true;
        }
      }
    }
  }
  return false;
}

void Replayer::transmit(Flight& flight) {
  const bool reply_known =
      std::any_of(flight.planned->expected.begin(), flight.planned->expected.end(),
                  [](const Expectation& e) { return e.reply_frame != 0; });
  const Nanoseconds now = link_.now_ns();
  if (writer_ != nullptr) {
    writer_->write(flight.bytes, now);
  }
  link_.send(flight.bytes);
  ++flight.tries;
  flight.deadline_ns = now + (reply_known ? options_.reply_timeout_ns : options_.silence_ns);
}

void Replayer::note(const Flight& flight, const Expectation& expectation, DifferenceSet differences,
                    const std::string& detail, ReplayResult& result) const {
  DifferenceSet bad;
  for (std::size_t i = 0; i < kDifferences; ++i) {
    if (!differences[i]) {
      continue;
    }
    if (options_.allowed[i]) {
      ++result.allowed[i];
    } else {
      ++result.refused[i];
      bad[i] = true;
    }
  }
  if (bad.any() && result.examples.size() < options_.examples_max) {
    result.examples.push_back({flight.planned->number, expectation.reply_frame,
                               request_text(expectation.request), names_of(bad), detail});
  }
}

void Replayer::judge(const Flight& flight, std::size_t index, std::span<const std::uint8_t> reply,
                     ReplayResult& result) const {
  const Expectation& expectation = flight.planned->expected[index];
  if (expectation.reply_frame == 0) {
    DifferenceSet differences;
    add(differences, Difference::unexpected);
    note(flight, expectation, differences, "", result);
    return;
  }
  if (expectation.reply.empty()) {
    ++result.not_compared;
    return;
  }
  ++result.answered;
  CompareContext context;
  context.ata_command = expectation.request.ata_command;
  context.sectors = expectation.request.sectors;
  context.expected_shelf = options_.to->shelf;
  context.expected_slot = options_.to->slot;
  for (const auto& [captured, live] : initiators_) {
    context.mac_map.emplace_back(live, captured);
  }
  const DifferenceSet differences = compare_replies(expectation.reply, reply, context);
  std::string detail;
  if (has(differences, Difference::data)) {
    for (std::uint32_t i = 0; i < context.sectors; ++i) {
      const std::size_t at = kAtaDataOffset + static_cast<std::size_t>(i) * kSectorBytes;
      const std::size_t end = at + kSectorBytes;
      if (end > reply.size() || end > expectation.reply.size() ||
          !std::equal(reply.begin() + static_cast<std::ptrdiff_t>(at),
                      reply.begin() + static_cast<std::ptrdiff_t>(end),
                      expectation.reply.begin() + static_cast<std::ptrdiff_t>(at))) {
        detail = fmt::format("first at LBA {}", expectation.request.lba + i);
        break;
      }
    }
  } else if (has(differences, Difference::error)) {
    detail = fmt::format("error {} then, {} now", expectation.reply[15], reply[15]);
  } else if (has(differences, Difference::ata_status)) {
    detail = fmt::format("status 0x{:02x} error 0x{:02x} then, 0x{:02x} 0x{:02x} now",
                         expectation.reply[27], expectation.reply[25], reply[27], reply[25]);
  } else if (is_read(context.ata_command) && expectation.request.command == kCommandAta &&
             (reply[14] & kFlagError) == 0 && reply.size() > 27 && (reply[27] & kStatusErr) == 0) {
    result.sectors_equal += context.sectors;
  }
  note(flight, expectation, differences, detail, result);
}

bool Replayer::finished(const Flight& flight) {
  return std::all_of(flight.answered.begin(), flight.answered.end(), [](bool b) { return b; });
}

void Replayer::take(const links::ReceivedFrame& received, ReplayResult& result) {
  AoeFrame frame;
  CapturedFrame captured;
  captured.bytes = received.bytes;
  captured.wire_length = static_cast<std::uint32_t>(received.bytes.size());
  if (AoeFrame::parse(captured, frame) != AoeFrame::Kind::aoe || !frame.is_response()) {
    return;
  }
  for (auto flight = flights_.begin(); flight != flights_.end(); ++flight) {
    if (frame.destination != flight->source || frame.command() != flight->bytes[19]) {
      continue;
    }
    for (std::size_t i = 0; i < flight->answered.size(); ++i) {
      const Expectation& expectation = flight->planned->expected[i];
      if (flight->answered[i] ||
          frame.tag() != shifted(expectation.request.tag, flight->planned->features)) {
        continue;
      }
      if (expectation.request.to_all && frame.source != target_mac_) {
        return;  // somebody else's answer to a question asked of all
      }
      if (writer_ != nullptr) {
        writer_->write(received.bytes, received.at_ns);
      }
      flight->answered[i] = true;
      judge(*flight, i, received.bytes, result);
      if (finished(*flight)) {
        flights_.erase(flight);
      }
      return;
    }
  }
  if (frame.source == target_mac_) {
    ++result.late;
    if (writer_ != nullptr) {
      writer_->write(received.bytes, received.at_ns);
    }
  }
}

void Replayer::time_out(ReplayResult& result) {
  const Nanoseconds now = link_.now_ns();
  for (auto flight = flights_.begin(); flight != flights_.end();) {
    if (flight->deadline_ns > now) {
      ++flight;
      continue;
    }
    bool wanted = false;
    for (std::size_t i = 0; i < flight->answered.size(); ++i) {
      wanted = wanted || (!flight->answered[i] && flight->planned->expected[i].reply_frame != 0);
    }
    if (wanted && flight->tries < options_.tries_max) {
      ++result.retries;
      transmit(*flight);
      ++flight;
      continue;
    }
    for (std::size_t i = 0; i < flight->answered.size(); ++i) {
      const Expectation& expectation = flight->planned->expected[i];
      if (flight->answered[i]) {
        continue;
      }
      if (expectation.reply_frame == 0) {
        ++result.silent_both;
      } else {
        DifferenceSet differences;
        add(differences, Difference::missing);
        note(*flight, expectation, differences, fmt::format("{} tries", flight->tries), result);
      }
    }
    flight = flights_.erase(flight);
  }
}

Nanoseconds Replayer::next_deadline() const {
  Nanoseconds deadline = std::numeric_limits<Nanoseconds>::max();
  for (const Flight& flight : flights_) {
    deadline = std::min(deadline, flight.deadline_ns);
  }
  return deadline;
}

bool Replayer::run(ReplayPlan& plan, ReplayResult& result, std::string& error) {
  if (!options_.save_path.empty()) {
    writer_ = CaptureWriter::create(options_.save_path, error);
    if (writer_ == nullptr) {
      return false;
    }
  }
  const bool good = replay(plan, result, error);
  // What went over the wire is kept, also when the replay broke off.
  std::string unwritten;
  if (writer_ != nullptr && !writer_->finish(unwritten)) {
    error += (error.empty() ? "" : "; ") + unwritten;
    return false;
  }
  return good;
}

bool Replayer::replay(ReplayPlan& plan, ReplayResult& result, std::string& error) {
  if (!find_target(error)) {
    return false;
  }
  result.target_mac = target_mac_;
  std::unique_ptr<PlannedFrame> next = plan.next();
  const Nanoseconds start = link_.now_ns();
  const Nanoseconds captured_start = next == nullptr ? 0 : next->time_ns;
  const auto due = [this, start, captured_start](const PlannedFrame& planned) {
    const auto since = static_cast<double>(planned.time_ns - captured_start);
    return options_.speed <= 0 ? start : start + static_cast<Nanoseconds>(since / options_.speed);
  };
  while (next != nullptr || !flights_.empty()) {
    while (next != nullptr && flights_.size() < options_.outstanding &&
           due(*next) <= link_.now_ns() && !depends(*next)) {
      if (next->bytes.size() > link_.mtu() + kEthernetHeaderBytes) {
        error =
            fmt::format("frame {} has {} bytes, {} carries {}: ip link set {} mtu {}", next->number,
                        next->bytes.size(), link_.name(), link_.mtu() + kEthernetHeaderBytes,
                        link_.name(), next->bytes.size() - kEthernetHeaderBytes);
        return false;
      }
      ++result.requests;
      flights_.push_back(prepare(std::move(next)));
      transmit(flights_.back());
      next = plan.next();
    }
    Nanoseconds deadline = next_deadline();
    if (next != nullptr && flights_.size() < options_.outstanding && !depends(*next)) {
      deadline = std::min(deadline, due(*next));
    }
    if (deadline == std::numeric_limits<Nanoseconds>::max()) {
      continue;
    }
    if (const auto received = link_.receive(deadline)) {
      take(*received, result);
    }
    time_out(result);
  }
  result.took_ns = link_.now_ns() - start;
  result.not_taken = link_.not_taken();
  return true;
}

}  // namespace pcaps
