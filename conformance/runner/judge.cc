// One case against one target.

#include "conformance/runner/judge.h"

#include <fmt/format.h>

#include <algorithm>

namespace conformance {

using observer::get;
using observer::Order;

namespace {

int weight(Verdict v) {
  switch (v) {
    case Verdict::error:
      return 7;
    case Verdict::fail:
      return 6;
    case Verdict::inconclusive:
      return 5;
    case Verdict::warn:
      return 4;
    case Verdict::unsupported:
      return 3;
    case Verdict::skip:
      return 2;
    case Verdict::info:
      return 1;
    case Verdict::pass:
      return 0;
  }
  return 0;
}

// A target without an extension that the case needs: its refusal is judged, and the case is
// `unsupported`.
void require_extensions(Context& t, const Case& c) {
  if (c.extensions.empty()) {
    return;
  }
  if (!t.target().extensions) {
    const Exchange x =
        t.a().ask(observer::extension_request({c.extensions.front()}, t.target().ext_order));
    if (!x.answered()) {
      t.unsupported("command 0x23 is met with silence");
    }
    t.expect_field(x, F::command, observer::command::extension);
    t.expect_error(x, observer::aoe_error::bad_command);
    t.unsupported("command 0x23 is refused with error 1, as it should be where it is unknown");
  }
  const auto& active = t.target().active_extensions;
  for (const std::string& name : c.extensions) {
    if (name != "command" && std::find(active.begin(), active.end(), name) == active.end()) {
      t.unsupported(
          fmt::format("'{}' comes back in lower case: the target does not offer it", name));
    }
  }
}

void settle(CaseResult& result) {
  for (const Finding& f : result.findings) {
    if (weight(f.verdict) > weight(result.verdict)) {
      result.verdict = f.verdict;
      result.reason = f.headline;
    }
  }
  if (result.reason.empty()) {
    for (const Finding& f : result.findings) {
      if (f.verdict == result.verdict) {
        result.reason = f.headline;
        break;
      }
    }
  }
}

// What findings show was judged, not set up.
void name_frames(CaseResult& result) {
  for (const Finding& f : result.findings) {
    for (const ShownFrame& shown : f.frames) {
      for (CaseFrame& frame : result.frames) {
        if (frame.bytes == shown.bytes && frame.outgoing == (shown.role == FrameRole::request)) {
          frame.role = shown.role;
        }
      }
    }
  }
}

Bytes sector_at(Context& t, uint64_t lba) {
  const Exchange x = t.a().ask_firmly(observer::read_request(lba, 1));
  if (!seen::good_ata(x) || x.data().size() != observer::kSectorBytes) {
    throw CaseEnd(Verdict::inconclusive, fmt::format("sector {} cannot be read", lba));
  }
  return x.data();
}

// Reads far behind the disk, with the same low 28 bits: where the bits above them are lost, one
// brings what stands on a scratch sector. In-disk bits are believed where both hold the same.
bool reads_all_of_lba48(Context& t) {
  constexpr uint64_t looked_at = 4;
  const Scratch& s = t.scratch();
  for (unsigned bit = 28; bit < 48; ++bit) {
    bool kept = false;
    for (uint64_t i = 0; i < std::min(s.count, looked_at) && !kept; ++i) {
      const uint64_t lba = s.lba + i * (s.count - 1) / looked_at;
      const uint64_t high = lba | 1ULL << bit;
      if (high == lba) {
        kept = true;
        break;
      }
      const Exchange x = t.a().ask_firmly(observer::read_request(high, 1));
      const bool inside = high < t.target().sectors;
      kept = inside || (x.answered() && !seen::good_ata(x)) ||
             (seen::good_ata(x) && x.data() != sector_at(t, lba));
    }
    if (!kept) {
      return false;
    }
  }
  return true;
}

// A scratch range beyond 28 bits: what stands on the sector that the low 28 bits say is written to
// a scratch sector; on the wrong one it changes nothing.
bool writes_all_of_lba48(Context& t) {
  constexpr uint64_t looked_at = 64;
  const uint64_t first = std::max(t.scratch().lba, kLba28End);
  const uint64_t end = t.scratch().lba + t.scratch().count;
  for (uint64_t lba = first; lba < std::min(end, first + looked_at); ++lba) {
    const Bytes low = sector_at(t, lba % kLba28End);
    const Bytes before = sector_at(t, lba);
    if (low != before) {
      t.a().ask_firmly(observer::write_request(lba, low));
      const bool reached = sector_at(t, lba) == low;
      t.a().ask_firmly(observer::write_request(lba, before));
      return reached;
    }
  }
  return true;  // the same everywhere: nothing stands there that a cut LBA could spoil unseen
}

// Nothing but what stands there is written, in both widths: an export that takes neither is for
// reading.
std::string refusal_of_writes(Context& t, uint64_t lba, const Bytes& stands) {
  std::string why;
  for (const bool wide : {true, false}) {
    if (!wide && lba >= kLba28End) {
      continue;
    }
    const Exchange x = t.a().ask_firmly(observer::write_request(lba, stands, wide));
    constexpr uint64_t err_or_df = 0x21;
    if (!x.answered() || (!x.is_error() && (x.field(F::ata_status) & err_or_df) == 0)) {
      return {};  // taken, or answered in a way that is for a case to judge
    }
    why = x.is_error() ? fmt::format("AoE error {}", x.error())
                       : fmt::format("status {:#04x}, error {:#04x}", x.field(F::ata_status),
                                     x.field(F::ata_error));
  }
  return fmt::format(
      "the export takes no writes: one of what stands on scratch sector {} already "
      "is refused ({})",
      lba, why);
}

// Before the first case that writes, and as a part of it: whether the export takes writes, how long
// a write takes, by writing what stands there, and whether 48-bit writes go where they should.
void prepare_writing(Context& t) {
  auto& shared = t.shared();
  if (shared.writing_prepared || !shared.may_write || t.scratch().count == 0) {
    return;
  }
  shared.writing_prepared = true;
  constexpr int samples = 3;
  const uint64_t lba = t.scratch().lba;
  const bool kept = shared.keeps_lba48;
  shared.keeps_lba48 = true;  // what it writes here keeps to the scratch range, or changes nothing
  bool reached = false;
  try {
    const Bytes stands = sector_at(t, lba);
    shared.refuses_writes = refusal_of_writes(t, lba, stands);
    for (int i = 0; i < samples && shared.refuses_writes.empty();
         ++i) {  // the context remembers how long a write takes
      if (sector_at(t, lba) != stands ||
          !t.a().ask(observer::write_request(lba, stands)).answered()) {
        break;
      }
    }
    reached = kept && shared.refuses_writes.empty() && writes_all_of_lba48(t);
  } catch (const CaseEnd&) {
    reached = false;  // the case itself meets whatever stood in the way
  }
  shared.keeps_lba48 = reached;
}

}  // namespace

CaseResult run_case(Context& t, const Case& c) {
  return run_case(t, c, c.level);
}

CaseResult run_case(Context& t, const Case& c, Level level) {
  CaseResult result;
  result.id = c.id;
  result.level = c.level;
  result.clauses = c.clauses;
  result.verdict = Verdict::pass;
  const int64_t start_ns = t.now_ns();
  result.started_ns = start_ns;
  t.begin_case(c.clauses.empty() ? std::string() : c.clauses.front(), level);
  const auto guarded = [&](const std::function<void()>& step) {
    try {
      step();
    } catch (const CaseEnd& end) {
      if (weight(end.verdict) >= weight(result.verdict)) {
        result.verdict = end.verdict;
        result.reason = end.reason;
      }
    } catch (const Interrupted&) {
      result.interrupted = true;
      result.verdict = Verdict::inconclusive;
      result.reason = "interrupted";
    } catch (const links::LinkError&) {
      throw;
    } catch (const std::exception& e) {
      result.verdict = Verdict::error;
      result.reason = e.what();
    }
  };
  guarded([&] {
    require_extensions(t, c);
    if (std::find(c.needs.begin(), c.needs.end(), Need::write) != c.needs.end()) {
      prepare_writing(t);
      if (!t.shared().refuses_writes.empty()) {
        throw CaseEnd(Verdict::unsupported, t.shared().refuses_writes);
      }
    }
    c.run(t);
  });
  const bool ended = t.target_ended();
  t.set_uninterruptible(true);
  t.undoing(true);
  // What goes wrong from here on is no part of what the case asked.
  const auto undone = [&](const std::function<void()>& step) {
    try {
      step();
    } catch (const CaseEnd& end) {
      if (end.verdict != Verdict::skip) {  // what could not be done need not be undone
        result.put_back_trouble = end.reason;
      }
    }
  };
  if (!ended) {
    undone([&] { t.run_undo(); });
    undone([&] { t.reset_sessions(); });
    result.ended_putting_back = t.target_ended();
  }
  t.set_uninterruptible(false);
  result.findings = t.take_findings();
  result.frames_omitted = t.frames().omitted();
  result.frames = t.frames().take();
  name_frames(result);
  settle(result);
  result.duration_ms = static_cast<double>(t.now_ns() - start_ns) / links::kNsPerMs;
  return result;
}

// A reply, or what could be one but for its tag.
static std::optional<Bytes> readable(const Exchange& x) {
  if (x.answered()) {
    return x.reply;
  }
  for (const Bytes& stray : x.strays) {
    if (observer::is_aoe(stray) && observer::is_reply(stray) &&
        std::equal(stray.begin(), stray.begin() + 6, x.request.begin() + 6)) {
      return stray;
    }
  }
  return std::nullopt;
}

std::vector<Found> discover(Context& t, uint16_t shelf, uint8_t slot) {
  std::vector<Found> found;
  constexpr int attempts = 3;
  constexpr size_t targets_max = 1024;
  Frame query = observer::config_request(observer::ccmd::read);
  query.dst(observer::kBroadcastMac).set(F::shelf, shelf).set(F::slot, slot);
  for (int i = 0; i < attempts && found.empty(); ++i) {
    const Bytes asked = t.a().send(query);
    for (const auto& f : t.a().collect(targets_max, t.scaled(200 * links::kNsPerMs))) {
      // Its tag or its command may be wrong: which of the two is a case's question.
      if (get(f.bytes, F::command) != observer::command::config &&
          get(f.bytes, F::tag) != get(asked, F::tag)) {
        continue;
      }
      Found one{};
      std::copy_n(f.bytes.begin() + 6, 6, one.mac.begin());
      one.shelf = static_cast<uint16_t>(*get(f.bytes, F::shelf));
      one.slot = static_cast<uint8_t>(*get(f.bytes, F::slot));
      const bool known = std::any_of(found.begin(), found.end(), [&](const Found& o) {
        return o.shelf == one.shelf && o.slot == one.slot && o.mac == one.mac;
      });
      if (!known) {
        found.push_back(one);
      }
    }
  }
  return found;
}

std::optional<std::string> learn_target(Context& t) {
  TargetFacts& facts = t.facts();
  t.begin_case({}, Level::must);
  try {
    t.measure_rtt();
    const Exchange config = t.a().ask(observer::config_request(observer::ccmd::read));
    const auto reply = readable(config);
    if (!reply || reply->size() < observer::at::cfg_string) {
      return "it does not answer a config query";
    }
    facts.aoe_version = *get(*reply, F::cfg_version);
    facts.buffer_count = *get(*reply, F::cfg_buffer_count);
    facts.firmware = *get(*reply, F::cfg_firmware);
    facts.sector_count = *get(*reply, F::cfg_sector_count);
    const Exchange id = t.a().ask(observer::identify_request());
    const auto id_reply = readable(id);
    if (id_reply && id_reply->size() >= observer::at::ata_data + observer::kSectorBytes) {
      const auto from = id_reply->begin() + observer::at::ata_data;
      facts.identify.assign(from, from + observer::kSectorBytes);
      facts.sectors = observer::identify_sectors(facts.identify);
      facts.serial = observer::identify_string(facts.identify, 10, 19);
      facts.revision = observer::identify_string(facts.identify, 23, 26);
      facts.model = observer::identify_string(facts.identify, 27, 46);
    }
    // Which byte order, and which names. An initiator of its own asks, and resets itself.
    Initiator& asker = t.initiator(9);
    const std::vector<std::string> names = {
        "tag_inc_le", "tag_inc_be", "tag_random", "coalesced_read", "coalesced_write_reply",
        "crc8x4"};
    facts.extensions = false;
    facts.active_extensions.clear();
    for (const Order order : {Order::little, Order::big}) {
      const Exchange x = asker.ask_once(observer::extension_request({"reset"}, order));
      if (!x.answered() || x.is_error() || !observer::ext_table(*x.reply, order)) {
        if (x.answered() && x.is_error()) {
          break;  // it knows no such command: the other order would tell nothing
        }
        continue;
      }
      facts.extensions = true;
      facts.ext_order = order;
      facts.active_extensions.push_back("reset");
      break;
    }
    if (facts.extensions) {
      for (const std::string& name : names) {
        const Exchange x = asker.ask(observer::extension_request({name}, facts.ext_order));
        const auto table =
            x.answered() ? observer::ext_table(*x.reply, facts.ext_order) : std::nullopt;
        if (table && !table->strings.empty() && table->strings[0] != name) {
          facts.active_extensions.push_back(name);
        }
      }
      facts.active_extensions.push_back("congestion");  // asking would cost half a second
      asker.ask(observer::extension_request({"reset"}, facts.ext_order));
    }
  } catch (const CaseEnd& end) {
    return end.reason;
  }
  t.take_findings();
  return std::nullopt;
}

PathMtu measure_path_mtu(Context& t) {
  constexpr size_t ethernet_header = 14;
  constexpr unsigned attempts = 4;
  PathMtu path;
  path.interface = t.link().mtu();
  t.begin_case({}, Level::must);
  const auto arrives = [&](const Frame& frame) {
    for (unsigned i = 0; i < attempts; ++i) {
      const Bytes request = t.a().send(frame);
      const auto reply =
          t.a().await_tag(static_cast<uint32_t>(*get(request, F::tag)), t.patience_ns());
      t.ledger().settle(request, attempts);
      if (reply) {
        return true;
      }
    }
    return false;
  };
  // The largest between a value that is known to work and one that is not.
  const auto largest = [](size_t works, size_t fails, const std::function<bool(size_t)>& test) {
    while (fails - works > 1) {
      const size_t middle = works + (fails - works) / 2;
      (test(middle) ? works : fails) = middle;
    }
    return works;
  };
  const auto out = [&](size_t mtu) {
    Frame frame = observer::config_request(observer::ccmd::read);
    frame.grow(mtu + ethernet_header);
    return arrives(frame);
  };
  constexpr size_t least = observer::kMinFrameBytes - ethernet_header;
  // Where not even the least is answered under its tag, nothing is measured.
  path.out =
      out(path.interface) || !out(least) ? path.interface : largest(least, path.interface, out);
  if (path.out < path.interface && !t.barrier()) {
    path.out = path.interface;  // it does not answer at all any more: nothing was measured
  }
  const auto in = [&](size_t sectors) {
    return arrives(observer::read_request(0, static_cast<uint8_t>(sectors)));
  };
  const size_t claimed = t.sectors_max();
  if (claimed > 0 && in(1)) {
    path.sectors = claimed == 1 || in(claimed) ? claimed : largest(1, claimed, in);
    path.in =
        path.sectors == claimed ? path.interface : observer::at::ata_data - ethernet_header + path.sectors * observer::kSectorBytes;
  }
  return path;
}

void learn_disk(Context& t) {
  t.begin_case({}, Level::must);
  try {
    t.shared().keeps_lba48 = t.scratch().count > 0 && reads_all_of_lba48(t);
  } catch (const CaseEnd&) {
    t.shared().keeps_lba48 = false;
  }
  t.take_findings();
}

}  // namespace conformance
