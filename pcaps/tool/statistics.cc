#include "pcaps/tool/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "conformance/observer/decode.h"

namespace pcaps {

namespace {
constexpr std::uint32_t kIdentifyBytes = 512;
constexpr std::uint32_t kPlainMtu = 1500;
}  // namespace

std::uint32_t latency_row(Nanoseconds latency_ns) {
  constexpr double kFirstRowNs = 1e3;
  const double decades =
      std::log10(std::max(static_cast<double>(latency_ns), kFirstRowNs) / kFirstRowNs);
  return std::min(static_cast<std::uint32_t>(decades * kLatencyRowsPerDecade), kLatencyRows - 1);
}

void TimeBin::merge(const TimeBin& later) {
  requests += later.requests;
  replies += later.replies;
  asked_again += later.asked_again;
  lost += later.lost;
  answered += later.answered;
  outstanding_max = std::max(outstanding_max, later.outstanding_max);
  bytes_read += later.bytes_read;
  bytes_written += later.bytes_written;
  latency_max_ns = std::max(latency_max_ns, later.latency_max_ns);
  for (std::uint32_t i = 0; i < kLatencyRows; ++i) {
    felt[i] += later.felt[i];
  }
}

TimeBin& TimeLine::at(Nanoseconds since_start_ns) {
  since_start_ns = std::max<Nanoseconds>(since_start_ns, 0);
  while (since_start_ns / width_ns_ >= kBins) {
    for (std::uint32_t i = 0; i < kBins / 2; ++i) {
      TimeBin merged = bins_[2 * i];
      merged.merge(bins_[2 * i + 1]);
      bins_[i] = merged;
    }
    std::fill(bins_.begin() + kBins / 2, bins_.end(), TimeBin{});
    used_ = (used_ + 1) / 2;
    width_ns_ *= 2;
  }
  const auto index = static_cast<std::uint32_t>(since_start_ns / width_ns_);
  used_ = std::max(used_, index + 1);
  return bins_[index];
}

SessionStatistics& Statistics::of_session(std::uint32_t index) {
  if (index >= sessions_.size()) {
    sessions_.resize(index + 1);
  }
  return sessions_[index];
}

TargetStatistics& Statistics::of_target(std::uint32_t index) {
  if (index >= targets_.size()) {
    targets_.resize(index + 1);
  }
  return targets_[index];
}

Statistics::Line* Statistics::line_of(std::uint32_t session) {
  if (session >= kSessionLines) {
    return nullptr;
  }
  if (session >= lines_.size()) {
    lines_.resize(session + 1);
  }
  if (lines_[session] == nullptr) {
    lines_[session] = std::make_unique<Line>();
  }
  return lines_[session].get();
}

const TimeLine* Statistics::time_line_of(std::uint32_t session) const {
  return session < lines_.size() && lines_[session] != nullptr ? &lines_[session]->line : nullptr;
}

template <typename Change>
void Statistics::change_bins(std::uint32_t session, Nanoseconds time_ns, Change&& change) {
  change(all_.line.at(since_start(time_ns)));
  if (Line* own = line_of(session)) {
    change(own->line.at(since_start(time_ns)));
  }
}

// What waits goes on waiting in the bins in which no frame was seen.
void Statistics::carry_outstanding(Line& line, Nanoseconds now_ns, std::uint32_t outstanding) {
  if (now_ns <= line.filled_to_ns) {
    return;
  }
  line.line.at(now_ns);  // may make the bins wider
  const Nanoseconds width = line.line.bin_width_ns();
  for (Nanoseconds at = line.filled_to_ns; at / width <= now_ns / width; at += width) {
    TimeBin& passed = line.line.at(at);
    passed.outstanding_max = std::max(passed.outstanding_max, outstanding);
  }
  line.filled_to_ns = now_ns;
}

void Statistics::carry_outstanding_to(std::uint32_t session, Nanoseconds time_ns) {
  carry_outstanding(all_, since_start(time_ns), operations_.waiting());
  if (Line* own = line_of(session)) {
    carry_outstanding(*own, since_start(time_ns), operations_.waiting_in(session));
  }
}

void Statistics::count_kind(const Request& request, SessionStatistics& s) const {
  switch (request.command) {
    case kCommandAta:
      if (is_read(request.ata_command)) {
        ++s.reads;
        s.coalesced_reads += request.coalesced ? 1 : 0;
      } else if (is_write(request.ata_command)) {
        ++s.writes;
      } else if (request.ata_command == kAtaIdentify) {
        ++s.identifies;
      } else if (request.ata_command == kAtaFlush || request.ata_command == kAtaFlushExt) {
        ++s.flushes;
      } else {
        ++s.others;
      }
      break;
    case kCommandConfig:
      ++s.configs;
      break;
    case kCommandMask:
      ++s.masks;
      break;
    case kCommandReserve:
      ++s.reserves;
      break;
    case kCommandExtensions:
      ++s.extension_tables;
      break;
    default:
      ++s.others;
  }
}

void Statistics::on_request(const AoeFrame& frame, Request& request, Relation relation,
                            Request* earlier) {
  SessionStatistics& s = of_session(request.session);
  s.frame_bytes_max = std::max(s.frame_bytes_max, frame.wire_length);
  carry_outstanding_to(request.session, frame.time_ns);
  operations_.on_request(frame, request, relation, earlier);
  switch (relation) {
    case Relation::copy_waiting:
      ++s.retransmitted;
      return;
    case Relation::copy_answered:
      ++s.copied_late;
      return;
    case Relation::renewed:
      ++s.renewed;
      break;
    case Relation::fresh:
      break;
  }
  ++s.requests;
  count_kind(request, s);
  s.outstanding_max = std::max(s.outstanding_max, operations_.waiting_in(request.session));
  change_bins(request.session, frame.time_ns, [](TimeBin& now) { ++now.requests; });
  TimeBin& now = all_.line.at(since_start(frame.time_ns));
  now.outstanding_max = std::max(now.outstanding_max, operations_.waiting());
  if (Line* own = line_of(request.session)) {
    TimeBin& now_here = own->line.at(since_start(frame.time_ns));
    now_here.outstanding_max =
        std::max(now_here.outstanding_max, operations_.waiting_in(request.session));
  }
}

void Statistics::take_target_facts(const AoeFrame& frame, const Request& request,
                                   std::uint32_t target) {
  if (target == kNone || frame.has_error_flag()) {
    return;
  }
  TargetStatistics& t = of_target(target);
  if (frame.command() == kCommandConfig && frame.holds(kAoeHeaderEnd, 8)) {
    t.config_seen = true;
    t.buffer_count = frame.be16(24);
    t.firmware = frame.be16(26);
    t.sector_count = frame.u8(28);
    const std::uint32_t size = frame.be16(30);
    if (size <= kConfigStringMax && frame.holds(kConfigStringOffset, size)) {
      const auto bytes = frame.slice(kConfigStringOffset, size);
      t.config_string.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
  } else if (frame.command() == kCommandAta && request.ata_command == kAtaIdentify &&
             frame.holds(kAtaDataOffset, kIdentifyBytes) &&
             (frame.ata_status() & kStatusErr) == 0) {
    namespace observer = conformance::observer;
    const auto identify = frame.slice(kAtaDataOffset, kIdentifyBytes);
    t.capacity_sectors = observer::identify_sectors(identify);
    t.model = observer::identify_string(identify, 27, 46);
    t.serial = observer::identify_string(identify, 10, 19);
    t.firmware_text = observer::identify_string(identify, 23, 26);
  }
}

void Statistics::on_reply(const AoeFrame& frame, Request* request, Session* session) {
  if (session == nullptr) {
    return;
  }
  const auto index = static_cast<std::uint32_t>(session - tracker_.sessions().data());
  SessionStatistics& s = of_session(index);
  s.frame_bytes_max = std::max(s.frame_bytes_max, frame.wire_length);
  ++s.replies;
  carry_outstanding_to(request != nullptr ? request->session : index, frame.time_ns);
  operations_.on_reply(frame, request, session);
  change_bins(index, frame.time_ns, [](TimeBin& now) { ++now.replies; });
  if (request == nullptr) {
    if (frame.command() == kCommandConfig && frame.tag() == 0) {
      ++s.announcements;
      take_target_facts(frame, Request{}, session->target);
    } else {
      ++s.unasked_replies;
    }
    return;
  }
  take_target_facts(frame, *request, session->target);
  if (request->answers > 1 && !request->to_all) {
    if (request->answers > request->copies) {
      ++s.duplicate_replies;
    }
    return;
  }
  const std::uint64_t bytes = static_cast<std::uint64_t>(request->sectors) * kSectorBytes;
  if (frame.has_error_flag()) {
    ++s.aoe_errors;
  } else if (frame.command() == kCommandAta && frame.holds_ata()) {
    if ((frame.ata_status() & kStatusErr) != 0) {
      ++s.ata_errors;
    } else if (is_read(request->ata_command)) {
      s.sectors_read += request->sectors;
      change_bins(index, frame.time_ns, [bytes](TimeBin& now) { now.bytes_read += bytes; });
    } else if (is_write(request->ata_command)) {
      s.sectors_written += request->sectors;
      change_bins(index, frame.time_ns, [bytes](TimeBin& now) { now.bytes_written += bytes; });
    }
  }
}

void Statistics::on_end() {
  operations_.on_end();
}

void Statistics::on_asked_again(const Operation& operation, Nanoseconds time_ns) {
  change_bins(operation.session, time_ns, [](TimeBin& b) { ++b.asked_again; });
}

void Statistics::on_answered(const Operation& operation) {
  change_bins(operation.session, operation.answer_time_ns, [](TimeBin& b) { ++b.answered; });
  const Nanoseconds latency_ns = operation.latency_ns();
  change_bins(operation.session, operation.askings.front().time_ns, [latency_ns](TimeBin& b) {
    b.latency_max_ns = std::max(b.latency_max_ns, latency_ns);
    ++b.felt[latency_row(latency_ns)];
  });
}

void Statistics::on_asking_lost(const Operation& operation, const Asking& asking) {
  change_bins(operation.session, asking.time_ns, [](TimeBin& b) { ++b.lost; });
}

std::string mtu_text(std::uint32_t frame_bytes_max) {
  const std::uint32_t payload =
      frame_bytes_max > kEthernetHeaderBytes ? frame_bytes_max - kEthernetHeaderBytes : 0;
  return payload <= kPlainMtu ? fmt::format("at least {}", payload)
                              : fmt::format("at least {} (jumbo frames)", payload);
}

}  // namespace pcaps
