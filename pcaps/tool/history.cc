#include "pcaps/tool/history.h"

#include <fmt/format.h>

#include <algorithm>

#include "pcaps/tool/text.h"

namespace pcaps {

namespace {
constexpr std::size_t kLateCopiesKept = 16;

bool ranged(const Request& request) {
  return request.command == kCommandAta &&
         (is_read(request.ata_command) || is_write(request.ata_command));
}
std::string data_name(std::uint64_t hash) {
  return fmt::format("data #{:08x}", hash >> 32);
}
}  // namespace

bool History::concerns(const Request& request) const {
  if (options_.tag) {
    return request.tag == *options_.tag;
  }
  return ranged(request) && *options_.lba >= request.lba &&
         *options_.lba < request.lba + request.sectors;
}

// Of the sector in question, in the frame at hand.
std::optional<std::uint64_t> History::hash_of(const Request& request) const {
  if (!options_.lba || !ranged(request)) {
    return std::nullopt;
  }
  const std::uint64_t index = *options_.lba - request.lba;
  const auto hashes = tracker_.sector_hashes();
  return index < hashes.size() ? std::optional<std::uint64_t>(hashes[index]) : std::nullopt;
}

History::Version* History::version_of(const Request& request) {
  for (auto v = versions_.rbegin(); v != versions_.rend(); ++v) {
    if (v->frame == request.first_frame) {
      return &*v;
    }
  }
  return nullptr;
}

const History::Version* History::settled(std::uint32_t target, std::uint64_t before_frame) const {
  const Version* newest = nullptr;
  for (const Version& v : versions_) {
    const bool here = v.target == target || v.target == kNone;
    if (here && v.answer_frame != 0 && v.answer_frame < before_frame &&
        (newest == nullptr || v.frame > newest->frame)) {
      newest = &v;
    }
  }
  return newest;
}

void History::tell(const AoeFrame& frame, std::uint32_t session, std::string text, bool stale) {
  ++events_;
  told_({frame.number, frame.time_ns, session, frame.tag(), frame.is_response(), stale,
         std::move(text)});
}

void History::on_request(const AoeFrame& frame, Request& request, Relation relation,
                         Request* earlier) {
  if (!concerns(request)) {
    return;
  }
  std::string text = request_text(request);
  const bool write = request.command == kCommandAta && is_write(request.ata_command);
  const auto hash = hash_of(request);
  if (hash) {
    text += ": " + data_name(*hash);
  }
  const std::uint32_t target = tracker_.sessions()[request.session].target;
  if (relation == Relation::copy_waiting) {
    text += fmt::format(", the same again as in frame {}, which waits", request.first_frame);
  } else if (relation == Relation::copy_answered) {
    text += fmt::format(", a late copy of frame {}, which was answered in {}", request.first_frame,
                        request.answer_frame);
    Version* version = write ? version_of(request) : nullptr;
    const Version* newest = settled(target, frame.number);
    if (version != nullptr && version->late_copies.size() < kLateCopiesKept) {
      version->late_copies.push_back(frame.number);
    }
    if (version != nullptr && newest != nullptr && newest->frame > version->frame &&
        newest->hash != version->hash) {
      text += fmt::format(
          "; since then frame {} wrote {}, answered in {}: a stale write, if it is performed",
          newest->frame, data_name(newest->hash), newest->answer_frame);
    }
  } else {
    if (relation == Relation::renewed && earlier != nullptr) {
      text += fmt::format(", probably what frame {} asked under tag 0x{:08x}", earlier->first_frame,
                          earlier->tag);
    }
    if (write && hash) {
      versions_.push_back({request.first_frame, *hash, target, 0, {}});
      if (versions_.size() > kVersionsKept) {
        versions_.pop_front();
      }
    }
  }
  tell(frame, request.session, text);
}

std::string History::read_text(const Request& request, std::uint32_t target, bool& stale) {
  const auto hash = hash_of(request);
  if (!hash) {
    return "good";
  }
  std::string text = "brings " + data_name(*hash);
  const Version* newest = settled(target, request.first_frame);
  const Version* source = nullptr;
  for (auto v = versions_.rbegin(); v != versions_.rend() && source == nullptr; ++v) {
    if (v->hash == *hash && (v->target == target || v->target == kNone)) {
      source = &*v;
    }
  }
  if (source == nullptr) {
    text += newest == nullptr ? ", which no write in this capture left"
                              : fmt::format(
                                    ", which no write in this capture left, although frame "
                                    "{} wrote {}, answered in {}",
                                    newest->frame, data_name(newest->hash), newest->answer_frame);
    stale = newest != nullptr;
    return text;
  }
  text += fmt::format(" of the write of frame {}", source->frame);
  if (newest != nullptr && newest->frame > source->frame && newest->hash != source->hash) {
    stale = true;
    text += fmt::format(", STALE: frame {} wrote {} after it, and was answered in {}",
                        newest->frame, data_name(newest->hash), newest->answer_frame);
    for (auto copy = source->late_copies.rbegin(); copy != source->late_copies.rend(); ++copy) {
      if (*copy > newest->frame && *copy < request.last_frame) {
        text += fmt::format("; the late copy in frame {} was performed", *copy);
        break;
      }
    }
  } else if (source->answer_frame == 0) {
    text += ", which has no answer yet";
  }
  return text;
}

void History::on_reply(const AoeFrame& frame, Request* request, Session* session) {
  if (request == nullptr) {
    if (options_.tag && frame.tag() == *options_.tag && session != nullptr) {
      tell(frame, static_cast<std::uint32_t>(session - tracker_.sessions().data()),
           "a reply to a request that was not seen");
    }
    return;
  }
  if (!concerns(*request)) {
    return;
  }
  const std::uint32_t target =
      session != nullptr ? session->target : tracker_.sessions()[request->session].target;
  std::string text =
      fmt::format("answer to frame {} after {}: ", request->first_frame,
                  duration_text(std::max<Nanoseconds>(frame.time_ns - request->first_time_ns, 0)));
  bool stale = false;
  if (frame.has_error_flag()) {
    text += fmt::format("AoE error {}", frame.error());
  } else if (frame.command() == kCommandAta && frame.holds_ata() &&
             (frame.ata_status() & (kStatusErr | kStatusDf)) != 0) {
    text += fmt::format("ATA status 0x{:02x}, error register 0x{:02x}", frame.ata_status(),
                        frame.ata_error());
  } else if (request->command == kCommandAta && is_read(request->ata_command)) {
    text += read_text(*request, target, stale);
  } else {
    text += "good";
    Version* version = version_of(*request);
    if (version != nullptr && version->answer_frame == 0) {
      version->answer_frame = frame.number;
    }
  }
  if (request->answers > 1 && !request->to_all) {
    text += fmt::format(" (reply {} to it)", request->answers);
  }
  tell(frame, request->session, text, stale);
}

void History::on_given_up(const Request& request) {
  if (!concerns(request)) {
    return;
  }
  ++events_;
  told_({request.last_frame, request.last_time_ns, request.session, request.tag, false, false,
         fmt::format("frame {}, {}: no answer", request.first_frame, request_text(request))});
}

}  // namespace pcaps
