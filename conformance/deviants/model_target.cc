// A slow and obvious target that follows every clause. Written for reading.

#include "conformance/deviants/model_target.h"

#include <algorithm>
#include <cstring>

namespace conformance::deviants {

using observer::F;
using observer::get;
using observer::set;
namespace at = observer::at;
namespace ata = observer::ata;
namespace aoe_error = observer::aoe_error;

namespace {

constexpr uint64_t kLba28Sectors = 1ULL << 28;

Mac source_of(const Bytes& frame) {
  Mac mac{};
  std::copy_n(frame.begin() + 6, mac.size(), mac.begin());
  return mac;
}

bool contains(const std::vector<Mac>& list, const Mac& mac) {
  return std::find(list.begin(), list.end(), mac) != list.end();
}

void put_identify_string(Bytes& data, size_t first_word, size_t words, std::string text) {
  text.resize(words * 2, ' ');
  for (size_t w = 0; w < words; ++w) {
    data[2 * (first_word + w)] = static_cast<uint8_t>(text[2 * w + 1]);
    data[2 * (first_word + w) + 1] = static_cast<uint8_t>(text[2 * w]);
  }
}

std::string lower(std::string s) {
  std::transform(s.begin(), s.end(), s.begin(), [](unsigned char c) { return std::tolower(c); });
  return s;
}

std::string upper(std::string s) {
  std::transform(s.begin(), s.end(), s.begin(), [](unsigned char c) { return std::toupper(c); });
  return s;
}

void add_crc(Bytes& frame) {
  const auto crc = observer::crc8x4(BytesView(frame).subspan(at::argument));
  frame.insert(frame.end(), crc.begin(), crc.end());
}

}  // namespace

ModelTarget::ModelTarget(ModelConfig c) : config(std::move(c)) {
  config_string = observer::bytes_of(config.config_string);
}

void ModelTarget::restart() {
  sessions.clear();
  congestion_id.reset();
  pauses_ns.clear();
  paused_until_ns = 0;
  results.clear();
}

Bytes ModelTarget::read_sector(uint64_t lba) const {
  const auto it = disk.find(lba);
  return it != disk.end() ? it->second : Bytes(observer::kSectorBytes, 0);
}

Bytes ModelTarget::reply_to(const Bytes& request, size_t size) const {
  Bytes reply(std::max<size_t>(size, at::argument), 0);
  std::copy_n(request.begin() + 6, 6, reply.begin());
  std::copy(config.mac.begin(), config.mac.end(), reply.begin() + 6);
  set(reply, F::eth_type, observer::kEtherType);
  set(reply, F::version, 1);
  set(reply, F::flag_response, 1);
  set(reply, F::shelf, config.shelf);
  set(reply, F::slot, config.slot);
  set(reply, F::command, *get(request, F::command));
  set(reply, F::tag, *get(request, F::tag));
  return reply;
}

Bytes ModelTarget::error_reply(const Bytes& request, uint8_t error, size_t size) const {
  Bytes reply = reply_to(request, size);
  set(reply, F::flag_error, 1);
  set(reply, F::error, error);
  return reply;
}

Bytes ModelTarget::announcement() const {
  Bytes reply(at::cfg_string, 0);
  std::fill_n(reply.begin(), 6, 0xff);
  std::copy(config.mac.begin(), config.mac.end(), reply.begin() + 6);
  set(reply, F::eth_type, observer::kEtherType);
  set(reply, F::version, 1);
  set(reply, F::flag_response, 1);
  set(reply, F::shelf, config.shelf);
  set(reply, F::slot, config.slot);
  set(reply, F::command, observer::command::config);
  set(reply, F::cfg_buffer_count, config.buffer_count);
  set(reply, F::cfg_firmware, config.firmware);
  set(reply, F::cfg_sector_count, max_sectors());
  set(reply, F::cfg_version, 1);
  set(reply, F::cfg_length, config_string.size());
  reply.insert(reply.end(), config_string.begin(), config_string.end());
  return reply;
}

Answers ModelTarget::on_frame(const Bytes& frame, int64_t now_ns) {
  constexpr uint8_t group_bit = 1;
  if (!observer::is_aoe(frame) || observer::is_reply(frame) || (frame[6] & group_bit) != 0) {
    return {};
  }
  const uint64_t shelf = *get(frame, F::shelf);
  const uint64_t slot = *get(frame, F::slot);
  if ((shelf != config.shelf && shelf != 0xffff) || (slot != config.slot && slot != 0xff)) {
    return {};
  }
  if (!mask.empty() && !contains(mask, source_of(frame))) {
    return {};
  }
  if (*get(frame, F::version) != 1) {
    return {{error_reply(frame, aoe_error::bad_version, at::argument), kServiceNs}};
  }
  switch (*get(frame, F::command)) {
    case observer::command::ata:
      return keep_results(frame, on_ata(frame));
    case observer::command::config: {
      Answers answers = release_results(source_of(frame));
      for (Answer& a : on_config(frame)) {
        answers.push_back(std::move(a));
      }
      return answers;
    }
    case observer::command::mask:
      return on_mask(frame);
    case observer::command::reserve:
      return on_reserve(frame);
    case observer::command::extension:
      if (config.extensions) {
        Answers answers = release_results(source_of(frame));
        for (Answer& a : on_extension(frame, now_ns)) {
          answers.push_back(std::move(a));
        }
        return answers;
      }
      break;
    default:
      break;
  }
  return {{error_reply(frame, aoe_error::bad_command, at::argument), kServiceNs}};
}

Bytes ModelTarget::identify() const {
  Bytes data(observer::kSectorBytes, 0);
  const auto word = [&](size_t w, uint16_t value) { observer::store_le(data, 2 * w, 2, value); };
  word(0, 0x0040);
  put_identify_string(data, 10, 10, "MODEL0001");
  put_identify_string(data, 23, 4, "1.0");
  put_identify_string(data, 27, 20, "AoE conformance model target");
  word(49, 0x0200);  // LBA
  word(80, 0x0078);  // ATA/ATAPI-6
  // Flush cache (bit 12), flush cache ext (13), LBA48 (10): supported, and enabled.
  word(82, 0x4000);
  word(83, 0x4000 | 1U << 13 | 1U << 12 | 1U << 10);
  word(84, 0x4000);
  word(85, 0x4000);
  word(86, 1U << 13 | 1U << 12 | 1U << 10);
  word(87, 0x4000);
  const uint64_t lba28 = std::min<uint64_t>(config.sectors, kLba28Sectors - 1);
  observer::store_le(data, 120, 4, lba28);
  observer::store_le(data, 200, 8, config.sectors);
  return data;
}

Bytes ModelTarget::perform_read(const Bytes& request, uint32_t tag, uint64_t lba, unsigned count,
                                const Session& session) const {
  Bytes reply = reply_to(request, at::ata_data);
  set(reply, F::tag, tag);
  reply[at::argument] = request[at::argument];
  set(reply, F::ata_count, count);
  set(reply, F::ata_lba, lba);
  if (count > max_sectors()) {
    set(reply, F::flag_error, 1);
    set(reply, F::error, aoe_error::bad_argument);
    return reply;
  }
  if (lba + count > config.sectors) {
    set(reply, F::ata_status, ata::status_drdy | ata::status_err);
    set(reply, F::ata_error, ata::error_idnf);
    return reply;
  }
  set(reply, F::ata_status, ata::status_drdy);
  set(reply, F::ata_count, 0);
  for (unsigned i = 0; i < count; ++i) {
    const Bytes sector = read_sector(lba + i);
    reply.insert(reply.end(), sector.begin(), sector.end());
  }
  if (session.crc && count > 0) {
    add_crc(reply);
  }
  return reply;
}

uint32_t ModelTarget::serial_of(const Session& session, uint32_t tag) {
  return session.tags == Session::Tags::le ? __builtin_bswap32(tag) : tag;
}

ModelTarget::TagVerdict ModelTarget::judge_tag(const Session& session, uint32_t serial) const {
  if (session.window_empty) {
    return TagVerdict::fresh;
  }
  const auto ahead = static_cast<int32_t>(serial - session.highest);
  if (ahead > 0) {
    return TagVerdict::fresh;
  }
  if (static_cast<uint32_t>(-static_cast<int64_t>(ahead)) >= kWindowTags) {
    return TagVerdict::behind;
  }
  return session.done.count(serial) != 0 ? TagVerdict::duplicate : TagVerdict::fresh;
}

void ModelTarget::remember_tag(Session& session, uint32_t serial) {
  const uint32_t advance = serial - session.highest;
  if (session.window_empty || static_cast<int32_t>(advance) > 0) {
    session.highest = serial;
    constexpr uint32_t few = 64;  // step by step is quick for the usual case; a jump looks at all
    if (!session.window_empty && advance <= few) {
      for (uint32_t i = 0; i < advance; ++i) {
        session.done.erase(serial - kWindowTags - i);
      }
    } else {
      for (auto it = session.done.begin(); it != session.done.end();) {
        it = serial - *it >= kWindowTags ? session.done.erase(it) : std::next(it);
      }
    }
    session.window_empty = false;
  }
  session.done.insert(serial);
}

Answers ModelTarget::write(const Bytes& frame, uint64_t lba, unsigned count, bool lba48) {
  (void)lba48;
  Session& session = sessions[source_of(frame)];
  Bytes reply = reply_to(frame, at::ata_data);
  std::copy_n(frame.begin() + at::argument, at::ata_data - at::argument,
              reply.begin() + at::argument);
  set(reply, F::ata_error, 0);
  set(reply, F::ata_status, ata::status_drdy);
  set(reply, F::ata_reserved, 0);
  const size_t data_bytes = size_t{count} * observer::kSectorBytes;
  if (frame.size() < at::ata_data + data_bytes || count > max_sectors()) {
    set(reply, F::flag_error, 1);
    set(reply, F::error, aoe_error::bad_argument);
    set(reply, F::ata_status, 0);
    return {{reply, kServiceNs}};
  }
  if (session.crc && frame.size() >= at::ata_data + data_bytes + observer::kCrc8x4Bytes) {
    const BytesView covered =
        BytesView(frame).subspan(at::argument, at::ata_data - at::argument + data_bytes);
    const auto crc = observer::crc8x4(covered);
    if (!std::equal(crc.begin(), crc.end(),
                    frame.begin() + static_cast<ptrdiff_t>(at::ata_data + data_bytes))) {
      return {};
    }
  }
  if (lba + count > config.sectors) {
    set(reply, F::ata_status, ata::status_drdy | ata::status_err);
    set(reply, F::ata_error, ata::error_idnf);
    return {{reply, kServiceNs}};
  }
  set(reply, F::ata_count, 0);
  const bool windowed = session.tags == Session::Tags::le || session.tags == Session::Tags::be;
  const uint32_t serial = serial_of(session, static_cast<uint32_t>(*get(frame, F::tag)));
  if (windowed) {
    switch (judge_tag(session, serial)) {
      case TagVerdict::duplicate:
        return {{reply, kServiceNs}};
      case TagVerdict::behind:
        return {};
      case TagVerdict::fresh:
        break;
    }
  }
  for (unsigned i = 0; i < count; ++i) {
    const auto from =
        frame.begin() + static_cast<ptrdiff_t>(at::ata_data + i * observer::kSectorBytes);
    disk[lba + i] = Bytes(from, from + observer::kSectorBytes);
  }
  if (windowed) {
    remember_tag(session, serial);
  }
  return {{reply, kServiceNs + kDiskNs}};
}

Answers ModelTarget::on_ata(const Bytes& frame) {
  if (frame.size() < at::ata_data) {
    return {};
  }
  const auto cmd = static_cast<uint8_t>(*get(frame, F::ata_command));
  if (!reserved.empty() && !contains(reserved, source_of(frame)) && cmd != ata::identify) {
    Answers refused{{error_reply(frame, aoe_error::reserved, at::ata_data), kServiceNs}};
    if (observer::is_ata_read(cmd) && sessions[source_of(frame)].coalesced) {
      // Each further read gets a reply of its own, a refusal too.
      for (const observer::CoalescedEntry& e : observer::coalesced_tail(frame)) {
        Bytes entry = refused.front().bytes;
        set(entry, F::tag, e.tag);
        refused.push_back({entry, kServiceNs});
      }
    }
    return refused;
  }
  uint64_t lba = *get(frame, F::ata_lba);
  const auto count = static_cast<unsigned>(*get(frame, F::ata_count));
  const bool lba48 = cmd == ata::read_ext || cmd == ata::write_ext;
  if (!lba48) {
    lba &= kLba28Sectors - 1;
  }
  Bytes reply = reply_to(frame, at::ata_data);
  std::copy_n(frame.begin() + at::argument, at::ata_data - at::argument,
              reply.begin() + at::argument);
  set(reply, F::ata_error, 0);
  set(reply, F::ata_reserved, 0);
  set(reply, F::ata_status, ata::status_drdy);
  switch (cmd) {
    case ata::identify: {
      set(reply, F::ata_count, 0);
      const Bytes data = identify();
      reply.insert(reply.end(), data.begin(), data.end());
      return {{reply, kServiceNs}};
    }
    case ata::flush:
    case ata::flush_ext:
      set(reply, F::ata_count, 0);
      return {{reply, kServiceNs + kDiskNs}};
    case ata::check_power:
      set(reply, F::ata_count, 0xff);  // active
      return {{reply, kServiceNs}};
    case ata::write:
    case ata::write_ext:
      return write(frame, lba, count, lba48);
    case ata::read:
    case ata::read_ext: {
      const Session session = sessions[source_of(frame)];
      const uint64_t lba_limit_mask = lba48 ? ~uint64_t{0} : kLba28Sectors - 1;
      Answers answers{
          {perform_read(frame, static_cast<uint32_t>(*get(frame, F::tag)), lba, count, session),
           kServiceNs + kDiskNs}};
      if (session.coalesced) {
        for (const observer::CoalescedEntry& e : observer::coalesced_tail(frame)) {
          answers.push_back({perform_read(frame, e.tag, e.lba & lba_limit_mask, e.count, session),
                             answers.back().delay_ns + kDiskNs});
        }
      }
      return answers;
    }
    default:
      set(reply, F::ata_status, ata::status_drdy | ata::status_err);
      set(reply, F::ata_error, ata::error_abrt);
      return {{reply, kServiceNs}};
  }
}

Answers ModelTarget::keep_results(const Bytes& frame, Answers answers) {
  const auto session = sessions.find(source_of(frame));
  if (session == sessions.end() || !session->second.coalesced_writes) {
    return answers;
  }
  const bool writes = observer::is_ata_write(static_cast<uint8_t>(*get(frame, F::ata_command)));
  Answers out;
  for (Answer& a : answers) {
    if (a.bytes.size() >= at::ata_data) {
      set(a.bytes, F::ata_flag_write, writes ? 1 : 0);
    }
    // What takes its time on the disk ends alone: nothing waits for company.
    if (writes && get(a.bytes, F::flag_error) == 0U && config.write_ns == 0) {
      results.push_back(std::move(a.bytes));
    } else {
      out.push_back(std::move(a));
    }
  }
  return out;
}

Answers ModelTarget::release_results(const Mac& host) {
  Answers out;
  for (auto it = results.begin(); it != results.end();) {
    if (std::equal(host.begin(), host.end(), it->begin())) {
      out.push_back({std::move(*it), kServiceNs + kDiskNs});
      it = results.erase(it);
    } else {
      ++it;
    }
  }
  return out;
}

Answers ModelTarget::send_results() {
  const size_t room = std::min(
      config.results_max, (config.mtu + 14 - at::coalesced - 1) / observer::kCoalescedEntryBytes);
  Answers out;
  std::map<Mac, size_t> open;  // the frame of each host that takes further results
  for (const Bytes& result : results) {
    Mac host{};
    std::copy_n(result.begin(), host.size(), host.begin());
    const auto it = open.find(host);
    if (it == open.end() || (out[it->second].bytes.size() > at::coalesced &&
                             out[it->second].bytes[at::coalesced] >= room)) {
      open[host] = out.size();
      out.push_back({result, kServiceNs + kDiskNs});
      continue;
    }
    Bytes& frame = out[it->second].bytes;
    if (frame.size() == at::coalesced) {
      frame.push_back(0);
    }
    ++frame[at::coalesced];
    frame.insert(frame.end(), result.begin() + observer::field(F::tag).offset,
                 result.begin() + at::ata_data);
  }
  results.clear();
  return out;
}

Answers ModelTarget::on_config(const Bytes& frame) {
  if (frame.size() < at::cfg_string) {
    return {};
  }
  const auto cmd = static_cast<uint8_t>(*get(frame, F::cfg_ccmd));
  const size_t length = *get(frame, F::cfg_length);
  uint8_t error = 0;
  Bytes text;
  if (cmd != observer::ccmd::read) {
    if (cmd > observer::ccmd::force_set || length > observer::kConfigStringMax ||
        at::cfg_string + length > frame.size()) {
      error = aoe_error::bad_argument;
    } else {
      text.assign(frame.begin() + at::cfg_string,
                  frame.begin() + static_cast<ptrdiff_t>(at::cfg_string + length));
    }
  }
  if (error == 0) {
    sessions.erase(source_of(frame));  // a command that is refused as malformed changes nothing
    switch (cmd) {
      case observer::ccmd::test:
        if (text != config_string) {
          return {};
        }
        break;
      case observer::ccmd::prefix:
        if (text.size() > config_string.size() ||
            !std::equal(text.begin(), text.end(), config_string.begin())) {
          return {};
        }
        break;
      case observer::ccmd::set:
        if (!config_string.empty() && text != config_string) {
          error = aoe_error::config_present;
        } else {
          config_string = text;
        }
        break;
      case observer::ccmd::force_set:
        config_string = text;
        break;
      default:
        break;
    }
  }
  Bytes reply = reply_to(frame, at::cfg_string);
  if (error != 0) {
    set(reply, F::flag_error, 1);
    set(reply, F::error, error);
  }
  set(reply, F::cfg_buffer_count, config.buffer_count);
  set(reply, F::cfg_firmware, config.firmware);
  set(reply, F::cfg_sector_count, max_sectors());
  set(reply, F::cfg_version, 1);
  set(reply, F::cfg_ccmd, cmd);
  set(reply, F::cfg_length, config_string.size());
  reply.insert(reply.end(), config_string.begin(), config_string.end());
  return {{reply, kServiceNs}};
}

Answers ModelTarget::on_mask(const Bytes& frame) {
  if (frame.size() < at::mask_list) {
    return {};
  }
  const auto cmd = static_cast<uint8_t>(*get(frame, F::mask_mcmd));
  const size_t count = *get(frame, F::mask_count);
  if (cmd > observer::mcmd::edit ||
      (cmd == observer::mcmd::edit &&
       at::mask_list + count * observer::kMaskEntryBytes > frame.size())) {
    Bytes reply = error_reply(frame, aoe_error::bad_argument, at::mask_list);
    set(reply, F::mask_mcmd, cmd);
    return {{reply, kServiceNs}};
  }
  uint8_t merror = 0;
  size_t bad_index = 0;
  if (cmd == observer::mcmd::edit) {
    const std::vector<Directive> directives = *observer::mask_list(frame);
    for (size_t i = 0; i < directives.size() && merror == 0; ++i) {
      const Directive& d = directives[i];
      if (d.dcmd == observer::dcmd::add) {
        if (contains(mask, d.mac)) {
          continue;
        }
        if (mask.size() >= config.mask_max) {
          merror = 3;
        } else {
          mask.push_back(d.mac);
        }
      } else if (d.dcmd == observer::dcmd::del) {
        mask.erase(std::remove(mask.begin(), mask.end(), d.mac), mask.end());
      } else if (d.dcmd != observer::dcmd::nothing) {
        merror = 2;
      }
      bad_index = i;
    }
  }
  Bytes reply = reply_to(frame, at::mask_list);
  set(reply, F::mask_mcmd, cmd);
  set(reply, F::mask_merror, merror);
  set(reply, F::mask_count, merror != 0 ? bad_index : mask.size());
  const size_t room = (config.mtu + 14 - at::mask_list) / observer::kMaskEntryBytes;
  for (size_t i = 0; i < std::min(mask.size(), room); ++i) {
    const Mac& mac = mask[i];
    reply.push_back(0);
    reply.push_back(observer::dcmd::nothing);
    reply.insert(reply.end(), mac.begin(), mac.end());
  }
  return {{reply, kServiceNs}};
}

Answers ModelTarget::on_reserve(const Bytes& frame) {
  if (frame.size() < at::reserve_list) {
    return {};
  }
  const auto cmd = static_cast<uint8_t>(*get(frame, F::reserve_rcmd));
  const size_t count = *get(frame, F::reserve_count);
  uint8_t error = 0;
  const bool sets = cmd == observer::rcmd::set || cmd == observer::rcmd::force_set;
  if (cmd > observer::rcmd::force_set ||
      (sets && (at::reserve_list + count * observer::kReserveEntryBytes > frame.size() ||
                count > config.reserve_max))) {
    error = aoe_error::bad_argument;
  } else if (cmd == observer::rcmd::set && !reserved.empty() &&
             !contains(reserved, source_of(frame))) {
    error = aoe_error::reserved;
  } else if (sets) {
    reserved = *observer::reserve_list(frame);
  }
  Bytes reply = reply_to(frame, at::reserve_list);
  if (error != 0) {
    set(reply, F::flag_error, 1);
    set(reply, F::error, error);
  }
  set(reply, F::reserve_rcmd, cmd);
  set(reply, F::reserve_count, reserved.size());
  for (const Mac& mac : reserved) {
    reply.insert(reply.end(), mac.begin(), mac.end());
  }
  return {{reply, kServiceNs}};
}

Answers ModelTarget::on_extension(const Bytes& frame, int64_t now_ns) {
  auto table = observer::ext_table(frame);
  if (!table) {
    return {};
  }
  Session& session = sessions[source_of(frame)];
  int64_t delay_ns = kServiceNs;
  std::vector<std::string> out = table->strings;
  for (size_t i = 0; i < out.size(); ++i) {
    const std::string name = lower(out[i]);
    const auto start_window = [&](Session::Tags tags) {
      session.tags = tags;
      session.done.clear();
      session.window_empty = true;
    };
    bool active = true;
    if (name == "reset") {
      session = Session{};
    } else if (name == "tag_inc_le") {
      start_window(Session::Tags::le);
    } else if (name == "tag_inc_be") {
      start_window(Session::Tags::be);
    } else if (name == "tag_random") {
      start_window(Session::Tags::random);
    } else if (name == "coalesced_read") {
      session.coalesced = true;
    } else if (name == "coalesced_write_reply") {
      session.coalesced_writes = true;
    } else if (name == "crc8x4") {
      session.crc = true;
    } else if (name == "congestion" && i + 1 < out.size()) {
      const std::string id = out[i + 1];
      if (congestion_id != id) {
        pauses_ns.erase(std::remove_if(pauses_ns.begin(), pauses_ns.end(),
                                       [&](int64_t t) { return t <= now_ns - kPauseBudgetNs; }),
                        pauses_ns.end());
        active = pauses_ns.size() < kPauseBudget;
        if (active) {
          congestion_id = id;
          pauses_ns.push_back(now_ns);
          paused_until_ns = now_ns + kPauseNs;
          delay_ns = kPauseNs + kServiceNs;
        }
      }
      out[i] = active ? upper(name) : name;
      ++i;  // the argument stays as it is
      continue;
    } else {
      continue;  // unknown, or an argument: left as it was
    }
    out[i] = active ? upper(name) : name;
  }
  // Upper case says what is active after the whole table: not a tag order that a later one
  // replaced, nor what a later reset switched off.
  for (size_t i = 0; i < out.size(); ++i) {
    const std::string name = lower(out[i]);
    const bool off = (name == "tag_inc_le" && session.tags != Session::Tags::le) ||
                     (name == "tag_inc_be" && session.tags != Session::Tags::be) ||
                     (name == "tag_random" && session.tags != Session::Tags::random) ||
                     (name == "coalesced_read" && !session.coalesced) ||
                     (name == "coalesced_write_reply" && !session.coalesced_writes) ||
                     (name == "crc8x4" && !session.crc);
    if (off) {
      out[i] = name;
    }
    i += name == "congestion" ? 1 : 0;  // its argument is none of them
  }
  Bytes reply = reply_to(frame, at::argument);
  std::copy(frame.begin() + at::argument, frame.begin() + at::ext_table, std::back_inserter(reply));
  for (const std::string& s : out) {
    reply.insert(reply.end(), s.begin(), s.end());
    reply.push_back(0);
  }
  if (out.empty()) {
    reply.push_back(0);
  }
  reply.push_back(0);
  return {{reply, delay_ns}};
}

Deviant spoils(std::string name, std::string story, Middleware middleware) {
  Deviant d;
  d.name = std::move(name);
  d.story = std::move(story);
  d.make = [middleware = std::move(middleware)] { return middleware; };
  return d;
}

Deviant edits_reply(std::string name, std::string story,
                    std::function<void(const Bytes&, Bytes&)> edit) {
  return spoils(
      std::move(name), std::move(story),
      [edit = std::move(edit)](const Bytes& request, ModelTarget&, const Forward& forward) {
        Answers answers = forward(request);
        for (Answer& a : answers) {
          edit(request, a.bytes);
        }
        return answers;
      });
}

Deviant edits_request(std::string name, std::string story, std::function<void(Bytes&)> edit) {
  return spoils(
      std::move(name), std::move(story),
      [edit = std::move(edit)](const Bytes& request, ModelTarget&, const Forward& forward) {
        Bytes changed = request;
        edit(changed);
        return forward(changed);
      });
}

Deviant ignores(std::string name, std::string story,
                std::function<bool(const Bytes&, const ModelTarget&)> when) {
  return spoils(
      std::move(name), std::move(story),
      [when = std::move(when)](const Bytes& request, ModelTarget& model, const Forward& forward) {
        return when(request, model) ? Answers{} : forward(request);
      });
}

}  // namespace conformance::deviants
