#include "pcaps/tool/operations.h"

#include <algorithm>

namespace pcaps {

namespace {
// How many of a session's waiting operations are looked through for the whole of a part.
constexpr int kWaitingScanned = 128;
constexpr std::uint32_t kSectorsTracked = 256;
constexpr std::uint8_t kConfigRead = 0;

bool ranged(const Request& request) {
  return request.command == kCommandAta &&
         (is_read(request.ata_command) || is_write(request.ata_command));
}

bool is_discovery(const Request& request) {
  return request.command == kCommandConfig && request.sub_command == kConfigRead &&
         request.tag == 0;
}
}  // namespace

Nanoseconds Operation::latency_ns() const {
  return std::max<Nanoseconds>(answer_time_ns - askings.front().time_ns, 0);
}

void OperationCounts::add(const OperationCounts& other) {
  operations += other.operations;
  answered += other.answered;
  failed += other.failed;
  never += other.never;
  askings += other.askings;
  lost += other.lost;
  again_same_tag += other.again_same_tag;
  again_new_tag += other.again_new_tag;
  again_in_part += other.again_in_part;
  latency.add(other.latency);
  reads.add(other.reads);
  writes.add(other.writes);
  others.add(other.others);
  again_after.add(other.again_after);
}

std::size_t Operations::KeyHash::operator()(const Key& key) const {
  constexpr std::uint64_t kOdd = 0x9E37'79B9'7F4A'7C15;
  std::uint64_t h = (key.a ^ kOdd) * kOdd;
  h = (h ^ h >> 29 ^ key.b) * kOdd;
  h = (h ^ h >> 31 ^ key.lba) * kOdd;
  return h ^ h >> 32;
}

// ATA is asked again under any tag (the Linux driver takes a new one); everything else, congestion
// probes above all, only under its own.
Operations::Key Operations::content_key(const Request& request) {
  const std::uint64_t who = static_cast<std::uint64_t>(request.session) << 24 |
                            static_cast<std::uint64_t>(request.command) << 16 |
                            static_cast<std::uint64_t>(request.ata_command) << 8;
  if (ranged(request)) {
    const std::uint64_t content =
        is_write(request.ata_command) ? request.fingerprint : request.sectors;
    return {who, content, request.lba};
  }
  return {who, request.fingerprint,
          request.command == kCommandAta ? 0 : std::uint64_t{request.tag}};
}

OperationCounts& Operations::counts(std::uint32_t session) {
  if (session >= sessions_.size()) {
    sessions_.resize(session + 1);
  }
  return sessions_[session];
}

const OperationCounts& Operations::of_session(std::uint32_t session) const {
  static const OperationCounts kNothing;
  return session < sessions_.size() ? sessions_[session] : kNothing;
}

OperationCounts Operations::sum() const {
  OperationCounts all;
  for (const OperationCounts& one : sessions_) {
    all.add(one);
  }
  return all;
}

Operations::List& Operations::waiting_list(std::uint32_t session) {
  if (session >= waiting_.size()) {
    waiting_.resize(session + 1);
  }
  return waiting_[session];
}

void Operations::append(List& list, std::uint32_t index) {
  operations_[index].prev = list.last;
  operations_[index].next = kNone;
  (list.last == kNone ? list.first : operations_[list.last].next) = index;
  list.last = index;
  ++list.size;
}

void Operations::unlink(List& list, std::uint32_t index) {
  Operation& operation = operations_[index];
  (operation.prev == kNone ? list.first : operations_[operation.prev].next) = operation.next;
  (operation.next == kNone ? list.last : operations_[operation.next].prev) = operation.prev;
  operation.prev = operation.next = kNone;
  --list.size;
}

void Operations::stop_waiting_for_old(std::uint32_t session, Nanoseconds now_ns) {
  std::uint32_t first = waiting_list(session).first;
  while (first != kNone && now_ns - operations_[first].askings.back().time_ns >= kForgottenNs) {
    stop_waiting(first);
    first = waiting_list(session).first;
  }
}

void Operations::stop_waiting(std::uint32_t index) {
  Operation& operation = operations_[index];
  operation.waiting = false;
  --waiting_count_;
  unlink(waiting_list(operation.session), index);
  const auto found = by_content_.find(keys_[index]);
  if (found != by_content_.end() && found->second == index) {
    by_content_.erase(found);
  }
  append(done_, index);
}

void Operations::lose(const Operation& operation, const Asking& asking) {
  ++counts(operation.session).lost;
  if (sink_ != nullptr) {
    sink_->on_asking_lost(operation, asking);
  }
}

// Its place is wanted, or the capture has ended: what has no answer by now has none.
void Operations::forget(std::uint32_t index) {
  Operation& operation = operations_[index];
  if (operation.waiting) {
    stop_waiting(index);
  }
  if (operation.answer_frame == 0) {
    ++counts(operation.session).never;
    if (never_.size() < kOperationsListed) {
      never_.push_back(operation);
    }
  }
  unlink(done_, index);
  for (const Asking& asking : operation.askings) {
    if (!asking.answered) {
      lose(operation, asking);
    }
    const auto found = by_request_.find(request_key(asking.request_frame, asking.tag));
    if (found != by_request_.end() && found->second == index) {  // not taken over by a later one
      by_request_.erase(found);
    }
  }
}

std::uint32_t Operations::begin(const Request& request) {
  std::uint32_t index = kNone;
  if (operations_.size() < kept_) {
    index = static_cast<std::uint32_t>(operations_.size());
    operations_.emplace_back();
    keys_.emplace_back();
  } else {
    index = done_.first != kNone ? done_.first : hand_++ % kept_;
    forget(index);
  }
  Operation& operation = operations_[index];
  operation.askings.clear();
  operation.askings_left_out = 0;
  operation.fingerprint = request.fingerprint;
  operation.lba = request.lba;
  operation.answer_frame = 0;
  operation.answer_time_ns = 0;
  operation.sectors = request.sectors;
  operation.session = request.session;
  operation.served = {};
  operation.command = request.command;
  operation.ata_command = request.ata_command;
  operation.sub_command = request.sub_command;
  operation.waiting = true;
  operation.failed = false;
  ++waiting_count_;
  keys_[index] = content_key(request);
  append(waiting_list(request.session), index);
  by_content_[keys_[index]] = index;
  ++counts(request.session).operations;
  return index;
}

// The waiting operation that this asks a part of: a driver splits what it sends again when the MTU
// has shrunk meanwhile.
std::uint32_t Operations::find_whole(const Request& request, Nanoseconds now_ns) {
  if (!ranged(request) || request.coalesced) {
    return kNone;
  }
  std::uint32_t i = waiting_list(request.session).first;
  for (int scanned = 0; i != kNone && scanned < kWaitingScanned; ++scanned) {
    const Operation& old = operations_[i];
    if (old.command == kCommandAta && old.ata_command == request.ata_command &&
        old.sectors > request.sectors && request.lba >= old.lba &&
        request.lba + request.sectors <= old.lba + old.sectors &&
        now_ns - old.askings.back().time_ns < kForgottenNs) {
      return i;
    }
    i = old.next;
  }
  return kNone;
}

// The operation that this frame asks again; kNone when it begins one.
std::uint32_t Operations::find_repeated(const AoeFrame& frame, const Request& request,
                                        Relation relation) {
  std::uint32_t index = kNone;
  if (relation == Relation::copy_waiting || relation == Relation::copy_answered) {
    const auto found = by_request_.find(request_key(request.first_frame, request.tag));
    index = found == by_request_.end() ? kNone : found->second;
  } else {
    const auto found = by_content_.find(content_key(request));
    index = found == by_content_.end() ? find_whole(request, frame.time_ns) : found->second;
  }
  if (index == kNone) {
    return kNone;
  }
  const Asking& last = operations_[index].askings.back();
  const Nanoseconds since_ns = frame.time_ns - last.time_ns;
  const bool anew = since_ns >= (is_discovery(request) ? kDiscoveryAgainNs : kForgottenNs) ||
                    last.frame == frame.number;  // two equal reads in one coalesced request
  if (anew && operations_[index].waiting) {
    stop_waiting(index);
  }
  return anew ? kNone : index;
}

void Operations::ask(std::uint32_t index, const AoeFrame& frame, const Request& request) {
  Operation& operation = operations_[index];
  ++counts(operation.session).askings;
  if (operation.askings.size() == kAskingsKept) {
    const Asking dropped = operation.askings[1];
    if (!dropped.answered) {
      lose(operation, dropped);
    }
    operation.askings.erase(operation.askings.begin() + 1);
    ++operation.askings_left_out;
    const bool still_named = std::any_of(
        operation.askings.begin(), operation.askings.end(), [&dropped](const Asking& a) {
          return a.request_frame == dropped.request_frame && a.tag == dropped.tag;
        });
    if (!still_named) {
      by_request_.erase(request_key(dropped.request_frame, dropped.tag));
    }
  }
  operation.askings.push_back(
      {frame.number, request.first_frame, frame.time_ns, request.tag, request.sectors, false});
  by_request_[request_key(request.first_frame, request.tag)] = index;
}

void Operations::on_request(const AoeFrame& frame, Request& request, Relation relation,
                            Request* /*earlier*/) {
  stop_waiting_for_old(request.session, frame.time_ns);
  std::uint32_t index = find_repeated(frame, request, relation);
  if (index == kNone) {
    index = begin(request);
  } else {
    const Operation& operation = operations_[index];
    OperationCounts& c = counts(operation.session);
    const bool same_tag = request.first_frame != frame.number;
    ++(same_tag ? c.again_same_tag : c.again_new_tag);
    c.again_in_part += request.sectors < operation.sectors ? 1 : 0;
    c.again_after.add(std::max<Nanoseconds>(frame.time_ns - operation.askings.back().time_ns, 0));
    if (sink_ != nullptr) {
      sink_->on_asked_again(operation, frame.time_ns);
    }
  }
  ask(index, frame, request);
}

void Operations::list_slow(const Operation& operation) {
  const Nanoseconds latency_ns = operation.latency_ns();
  if (slowest_.size() == kOperationsListed && slowest_.back().latency_ns() >= latency_ns) {
    return;
  }
  const auto place = std::upper_bound(
      slowest_.begin(), slowest_.end(), latency_ns,
      [](Nanoseconds value, const Operation& other) { return value > other.latency_ns(); });
  slowest_.insert(place, operation);
  if (slowest_.size() > kOperationsListed) {
    slowest_.pop_back();
  }
}

void Operations::on_reply(const AoeFrame& frame, Request* request, Session* /*session*/) {
  if (request == nullptr) {
    return;
  }
  const auto found = by_request_.find(request_key(request->first_frame, request->tag));
  if (found == by_request_.end()) {
    return;
  }
  const std::uint32_t index = found->second;
  Operation& operation = operations_[index];
  const auto asking =
      std::find_if(operation.askings.begin(), operation.askings.end(), [request](const Asking& a) {
        return a.tag == request->tag && a.request_frame == request->first_frame && !a.answered;
      });
  if (asking != operation.askings.end()) {
    asking->answered = true;
  }
  if (!operation.waiting) {
    return;
  }
  if (request->sectors < operation.sectors && ranged(*request)) {
    for (std::uint32_t i = 0; i < request->sectors; ++i) {
      const std::uint64_t at = request->lba + i - operation.lba;
      if (at < kSectorsTracked) {
        operation.served[at / 64] |= std::uint64_t{1} << at % 64;
      }
    }
    for (std::uint32_t i = 0; i < std::min(operation.sectors, kSectorsTracked); ++i) {
      if ((operation.served[i / 64] >> i % 64 & 1) == 0) {
        return;  // the other parts are still to come
      }
    }
  }
  operation.answer_frame = frame.number;
  operation.answer_time_ns = frame.time_ns;
  operation.failed =
      frame.has_error_flag() || (frame.command() == kCommandAta && frame.holds_ata() &&
                                 (frame.ata_status() & (kStatusErr | kStatusDf)) != 0);
  stop_waiting(index);
  OperationCounts& c = counts(operation.session);
  ++c.answered;
  c.failed += operation.failed ? 1 : 0;
  const Nanoseconds latency_ns = operation.latency_ns();
  c.latency.add(latency_ns);
  const bool ata = operation.command == kCommandAta;
  (ata && is_read(operation.ata_command)    ? c.reads
   : ata && is_write(operation.ata_command) ? c.writes
                                            : c.others)
      .add(latency_ns);
  list_slow(operation);
  if (sink_ != nullptr) {
    sink_->on_answered(operation);
  }
}

void Operations::on_end() {
  if (ended_) {
    return;
  }
  ended_ = true;
  for (const List& list : std::vector<List>(waiting_)) {
    for (std::uint32_t i = list.first; i != kNone;) {
      const std::uint32_t next = operations_[i].next;
      forget(i);
      i = next;
    }
  }
  while (done_.first != kNone) {
    forget(done_.first);
  }
}

std::string operation_text(const Operation& operation) {
  Request request;
  request.command = operation.command;
  request.ata_command = operation.ata_command;
  request.sub_command = operation.sub_command;
  request.lba = operation.lba;
  request.sectors = operation.sectors;
  return request_text(request);
}

}  // namespace pcaps
