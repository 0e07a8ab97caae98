// Draws a configuration from a seed.
#include "sim/swarm.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace sim {
namespace {

// library is aoede with conformance/initiator in the place of the simulator's own initiators,
// cached is aoede with the target's cache between shell and disk.
enum class Profile : std::uint8_t { plain, aoede, hostile, corrupt, library, cached };

constexpr std::array<std::pair<std::string_view, Profile>, 6> kProfiles{{
    {"plain", Profile::plain},
    {"aoede", Profile::aoede},
    {"hostile", Profile::hostile},
    {"corrupt", Profile::corrupt},
    {"library", Profile::library},
    {"cached", Profile::cached},
}};

constexpr std::uint64_t kRare = 3'000;
constexpr std::uint64_t kHeavy = 80'000;

Profile profile_of(std::string_view name) {
  std::string known;
  for (const auto& [word, profile] : kProfiles) {
    if (word == name) {
      return profile;
    }
    known += fmt::format("{}{}", known.empty() ? "" : ", ", word);
  }
  throw ScheduleError(fmt::format("\"{}\" is no profile; known: {}", name, known));
}

// A stream for each kind, as in faults.cc: a new kind leaves the rates of the others alone.
std::uint64_t rate(std::uint64_t seed, std::string_view kind) {
  Stream stream(seed, kind, 0);
  switch (stream.below(3)) {
    case 0:
      return 0;
    case 1:
      return kRare;
    default:
      return stream.between(kRare, kHeavy);
  }
}

Nanoseconds span(Stream& stream, Nanoseconds shortest, std::uint64_t doublings) {
  return shortest << stream.below(doublings);
}
Nanoseconds span(std::uint64_t seed, std::string_view kind, Nanoseconds shortest,
                 std::uint64_t doublings) {
  Stream stream(seed, kind, 0);
  return span(stream, shortest, doublings);
}

Swarm draw_swarm(std::uint64_t seed, Profile profile) {
  Swarm swarm;
  swarm.seed = seed;
  swarm.drop = rate(seed, "rate.drop");
  swarm.burst = rate(seed, "rate.burst") / 16;
  swarm.outage = Stream(seed, "rate.outage", 0).below(4) == 0 ? kRare * 4 : 0;
  swarm.delay = rate(seed, "rate.delay");
  swarm.duplicate = rate(seed, "rate.duplicate");
  swarm.hold = rate(seed, "rate.hold");
  swarm.truncate = rate(seed, "rate.truncate") / 4;
  swarm.pad = rate(seed, "rate.pad") / 4;
  swarm.bad_fcs = rate(seed, "rate.bad-fcs") / 4;
  swarm.full = rate(seed, "rate.full") / 4;
  swarm.delay_max = span(seed, "rate.delay-max", kMillisecond / 2, 12);
  swarm.duplicate_max = span(seed, "rate.duplicate-max", kMillisecond / 2, 12);
  swarm.disk_delay = rate(seed, "rate.disk-delay") * 4;
  swarm.disk_delay_max = span(seed, "rate.disk-delay-max", kMillisecond / 4, 10);
  swarm.disk_error = rate(seed, "rate.disk-error") / 2;
  swarm.disk_hang = Stream(seed, "rate.disk-hang", 0).below(6) == 0 ? kRare : 0;
  swarm.flip = profile == Profile::corrupt ? kRare + rate(seed, "rate.flip") / 2 : 0;
  swarm.heal_at = 4 * kSecond;
  return swarm;
}

// Most frames are of the two sizes that people use; some of any size, and some at which a number of
// sectors, with or without its check bytes, just fits or just does not.
std::int64_t draw_mtu(Stream& stream) {
  constexpr std::int64_t kAtaBytes = 22;
  constexpr std::int64_t kLeast = 1'042;
  switch (stream.below(10)) {
    case 0:
    case 1:
      return 9'000;
    case 2:
      return static_cast<std::int64_t>(stream.between(kLeast, 9'000));
    case 3: {
      constexpr std::array<std::int64_t, 5> kEdges{-1, 0, 3, 4, 5};
      const auto sectors = static_cast<std::int64_t>(stream.between(2, 17));
      return std::clamp<std::int64_t>(
          kAtaBytes + 512 * sectors + kEdges[stream.below(kEdges.size())], kLeast, 9'000);
    }
    default:
      return 1'500;
  }
}

// A stream for each setting: a new one leaves the others alone.
void draw_settings(Settings& settings, std::uint64_t seed) {
  const auto of = [&](std::string_view name) { return Stream(seed, name, 0); };
  const auto one_in = [&](std::string_view name, std::uint64_t times) {
    return of(name).below(times) == 0;
  };
  settings.sectors = std::int64_t{16} << of("set.sectors").below(4);
  Stream mtu = of("set.mtu");
  settings.mtu = draw_mtu(mtu);
  settings.pad_to_60 = one_in("set.pad", 4) ? 0 : 1;
  Stream buffers = of("set.buffers");
  // At least two, as aoe-target takes it: with a single slot what is repeated in step never gets
  // through.
  settings.buffer_count = buffers.below(8) == 0 ? static_cast<std::int64_t>(buffers.between(2, 3))
                                                : std::int64_t{4} << buffers.below(5);
  settings.wake_ns = one_in("set.wake", 4) ? 300'000 : 2'000;
  settings.queue_bytes = one_in("set.queue", 4) ? 10'000 : 65'536;
  settings.volatile_write_cache = one_in("set.cache", 3) ? 1 : 0;
  // As an image on the page cache; else as one opened with O_DSYNC.
  settings.synced_in_groups = settings.volatile_write_cache == 0 && one_in("set.groups", 2) ? 1 : 0;
  settings.reset_on_config_write = one_in("set.reset-on", 3) ? 1 : 0;
  settings.persist = one_in("set.persist", 3) ? 1 : 0;
  settings.read_only = one_in("set.read-only", 24) ? 1 : 0;
  settings.frozen = one_in("set.frozen", 24)
                        ? static_cast<std::int64_t>(of("set.frozen-which").between(1, 7))
                        : 0;
  settings.extensions = one_in("set.extensions", 24) ? 0 : 1;
  settings.behind_window_perform = one_in("set.behind", 4) ? 1 : 0;
  settings.initiators_max = one_in("set.sessions", 4)
                                ? static_cast<std::int64_t>(of("set.sessions-few").between(1, 2))
                                : 64;
  constexpr std::array<std::int64_t, 4> kOperations{1, 96, 96, 512};
  settings.operations_max = kOperations[of("set.operations").below(kOperations.size())];
  settings.target_clock_ppm = static_cast<std::int64_t>(of("set.ppm").below(401)) - 200;
  settings.target_clock_offset_ns =
      static_cast<std::int64_t>(of("set.offset").below(1'000)) * kSecond;
  settings.tie = static_cast<std::int64_t>(of("set.tie").next() >> 33U);
}

// As a direct image: no groups. So few pages, operations and so little patience that their edges
// are met.
void draw_cache(Settings& settings, std::uint64_t seed) {
  const auto of = [&](std::string_view name) { return Stream(seed, name, 0); };
  settings.volatile_write_cache = of("set.cache-behind").below(3) == 0 ? 0 : 1;
  settings.synced_in_groups = 0;
  settings.cache_pages = std::int64_t{2} << of("set.cache-pages").below(5);
  settings.read_ahead_sectors = std::int64_t{8} << of("set.cache-ahead").below(4);
  settings.write_behind_ns = (kMillisecond / 4) << of("set.cache-delay").below(8);
  settings.cache_flights =
      of("set.cache-flights").below(3) == 0 ? std::int64_t{1} << of("set.cache-few").below(3) : 512;
}

void draw_host_events(Schedule& schedule, std::uint64_t seed) {
  Stream stream(seed, "hosts", 0);
  const auto moment = [&] {
    return static_cast<Nanoseconds>(1 + stream.below(20'000)) * 100 * kMicrosecond;
  };
  if (stream.below(3) == 0) {
    for (std::uint64_t crashes = stream.between(1, 3); crashes > 0; --crashes) {
      const Nanoseconds at = moment();
      schedule.host_events.push_back(
          {at, HostEventKind::crash, kTargetHost,
           stream.below(4) == 0 ? 0 : static_cast<std::int64_t>(stream.below(1'000'000))});
      schedule.host_events.push_back(
          {at + static_cast<Nanoseconds>(1 + stream.below(200)) * kMillisecond,
           HostEventKind::restart, kTargetHost, 0});
    }
  }
  if (stream.below(3) == 0) {
    const auto host = static_cast<std::uint32_t>(stream.below(schedule.initiators.size() + 1));
    const Nanoseconds at = moment();
    constexpr std::array kCuts{HostEventKind::partition_both, HostEventKind::partition_in,
                               HostEventKind::partition_out};
    schedule.host_events.push_back({at, kCuts[stream.below(kCuts.size())], host, 0});
    schedule.host_events.push_back(
        {at + static_cast<Nanoseconds>(1 + stream.below(500)) * kMillisecond, HostEventKind::heal,
         host, 0});
  }
  if (stream.below(8) == 0) {
    const Nanoseconds at = moment();
    schedule.host_events.push_back({at, HostEventKind::mtu, kTargetHost, 600});
    schedule.host_events.push_back({at + 100 * kMillisecond, HostEventKind::heal, kTargetHost, 0});
  }
  // A target that is down at the end is started once more.
  schedule.host_events.push_back({3 * kSecond, HostEventKind::restart, kTargetHost, 0});
  std::stable_sort(schedule.host_events.begin(), schedule.host_events.end(),
                   [](const HostEvent& a, const HostEvent& b) { return a.at < b.at; });
}

Op draw_op(Stream& stream, const InitiatorSpec& spec, std::uint64_t hot, std::uint64_t sectors) {
  Op op;
  const std::uint64_t area = stream.below(4) == 0 ? sectors : hot;
  const auto most = static_cast<std::uint64_t>(spec.frame_sectors) * 2;
  op.sectors = static_cast<std::uint32_t>(stream.between(1, std::min(most, area)));
  op.lba = stream.below(area - op.sectors + 1);
  const std::uint64_t dice = stream.below(100);
  if (dice < 50) {
    op.kind = OpKind::write;
  } else if (dice < 78) {
    op.kind = OpKind::read;
  } else if (dice < 82) {
    op = {OpKind::flush, 0, 0, 0};
  } else if (dice < 84) {
    op = {OpKind::identify, 0, 0, 0};
  } else if (dice < 92) {
    op = {OpKind::wait, 0, 0,
          static_cast<std::int64_t>(1 + stream.below(stream.below(4) == 0 ? 400 : 20)) *
              kMillisecond};
  } else if (spec.kind == InitiatorKind::linux_) {
    op = dice < 96 ? Op{OpKind::config, 0, 0, 0}
                   : Op{OpKind::set_config, 0, 0, static_cast<std::int64_t>(stream.below(10))};
  } else if (dice < 96) {
    op.kind = OpKind::coalesced;
    op.sectors = static_cast<std::uint32_t>(
        stream.between(1, static_cast<std::uint64_t>(spec.frame_sectors)));
    op.sectors = std::min(op.sectors, static_cast<std::uint32_t>(hot));
    op.amount = static_cast<std::int64_t>(stream.below(4) == 0 ? stream.below(120)
                                                               : stream.below(hot / op.sectors));
    op.lba = 0;
  } else if (dice < 98) {
    constexpr std::array kJumps{1, 100, 32'766, 32'767, 32'768, 40'000, 1'000'000};
    op = {OpKind::skip, 0, 0, kJumps[stream.below(kJumps.size())]};
  } else if (dice < 99) {
    op = {OpKind::congestion, 0, static_cast<std::uint32_t>(stream.between(2, 40)),
          static_cast<std::int64_t>(stream.below(1000))};
  } else {
    op = {OpKind::negotiate, 0, 0, 0};
  }
  return op;
}

// Operations that came later, each by a stream of its own, in the place of what stood there.
void draw_more(Op& op, std::uint64_t seed, std::uint32_t initiator, std::uint64_t number,
               bool with_lists) {
  const std::uint64_t id = (std::uint64_t{initiator} << 32U) | number;
  Stream config(seed, "op.config", id);
  if (config.per_million(20'000)) {
    op = config.below(2) == 0
             ? Op{OpKind::config, 0, 0, 0}
             : Op{OpKind::set_config, 0, 0, static_cast<std::int64_t>(config.below(10))};
  }
  Stream lists(seed, "op.lists", id);
  if (with_lists && lists.per_million(80'000)) {
    op = {OpKind::lists, 0, 0, static_cast<std::int64_t>(lists.below(1'000'000'000))};
  }
}

InitiatorSpec draw_initiator(std::uint64_t seed, std::uint32_t number, InitiatorKind kind,
                             Profile profile, const Settings& settings, bool with_lists) {
  Stream stream(seed, "initiator", number);
  InitiatorSpec spec;
  spec.name = std::string(1, static_cast<char>('a' + number));
  spec.kind = kind;
  if (kind == InitiatorKind::aoede && profile != Profile::plain) {
    constexpr std::array kModes{TagMode::increment_be, TagMode::increment_be, TagMode::increment_le,
                                TagMode::random};
    spec.tags = kModes[number == 0 ? stream.below(3) : stream.below(4)];
    spec.crc = stream.below(3) == 0 ? 1 : 0;
    if (profile == Profile::corrupt) {
      spec.crc = 1;
    }
    spec.joins = Stream(seed, "initiator.joins", number).below(3) == 0 ? 1 : 0;
    spec.big_endian = Stream(seed, "initiator.big-endian", number).below(4) == 0 ? 1 : 0;
  }
  spec.window = std::int64_t{1} << stream.below(4);
  spec.rto_ns = span(stream, 2 * kMillisecond, 6);
  spec.retries = stream.below(4) == 0 ? static_cast<std::int64_t>(stream.between(2, 6)) : 0;
  constexpr std::array<std::int64_t, 4> kTagStarts{1, 0xfffffff0, 0x7ffffff0, 0xffff8000};
  spec.tag_start = kTagStarts[stream.below(kTagStarts.size())];
  spec.tag_seed = static_cast<std::int64_t>(stream.below(1'000'000));
  const std::int64_t most = (settings.mtu - 22) / 512;
  spec.frame_sectors = std::min<std::int64_t>(
      static_cast<std::int64_t>(1 + stream.below(static_cast<std::uint64_t>(most))),
      settings.sectors / 2);
  spec.overlap = stream.below(3) == 0 ? 1 : 0;
  spec.clock_ppm = static_cast<std::int64_t>(stream.below(401)) - 200;
  const std::uint64_t hot = 8;
  const std::uint64_t ops = stream.between(10, 80);
  const bool probes = kind == InitiatorKind::aoede && Stream(seed, "probes", 0).below(12) == 0;
  for (std::uint64_t i = 0; i < ops; ++i) {
    if (kind == InitiatorKind::hostile) {
      spec.ops.push_back(
          stream.below(4) == 0
              ? Op{OpKind::wait, 0, 0,
                   static_cast<std::int64_t>(1 + stream.below(20)) * kMillisecond}
              : Op{OpKind::garbage, 0, 0, static_cast<std::int64_t>(stream.below(1'000'000'000))});
    } else {
      spec.ops.push_back(draw_op(stream, spec, hot, static_cast<std::uint64_t>(settings.sectors)));
      const std::uint64_t id = (std::uint64_t{number} << 32U) | i;
      draw_more(spec.ops.back(), seed, number, i, with_lists);
      if (probes && Stream(seed, "op.probe", id).per_million(150'000)) {
        spec.ops.back() = {OpKind::congestion, 0, 2, static_cast<std::int64_t>(i)};
      }
      if (Stream(seed, "op.read-only-for-long", id).per_million(4'000)) {
        // A reader's tags go half around the circle, and then it writes. By then no copy of a write
        // from before is on its way: it would look new to any serial arithmetic.
        constexpr Nanoseconds kAllGone = 20 * kSecond;
        constexpr std::int64_t kThird = 0x50000000;
        spec.ops.insert(spec.ops.end(),
                        {Op{OpKind::write, 0, 1, 0}, Op{OpKind::skip, 0, 0, kThird},
                         Op{OpKind::wait, 0, 0, kAllGone}, Op{OpKind::read, 0, 1, 0},
                         Op{OpKind::skip, 0, 0, kThird}, Op{OpKind::write, 0, 1, 0}});
        continue;
      }
      if (spec.ops.back().kind == OpKind::skip) {
        // The edges of the window are where a write comes right before and right after.
        spec.ops.insert(spec.ops.end() - 1, Op{OpKind::write, 0, 1, 0});
        spec.ops.push_back(Op{OpKind::write, 0, 1, 0});
      }
    }
  }
  return spec;
}

}  // namespace

std::vector<std::string_view> profiles() {
  std::vector<std::string_view> names;
  names.reserve(kProfiles.size());
  for (const auto& [word, profile] : kProfiles) {
    names.push_back(word);
  }
  return names;
}

RandomRun make_random(std::uint64_t seed, std::string_view profile_name) {
  const Profile profile = profile_of(profile_name);
  RandomRun run;
  run.schedule.seed = seed;
  run.schedule.profile = std::string(profile_name);
  draw_settings(run.schedule.settings, seed);
  if (profile == Profile::hostile) {
    // Whose place in a full table a stranger took is more than the reference can follow yet.
    run.schedule.settings.initiators_max = 64;
  }
  if (profile == Profile::cached) {
    draw_cache(run.schedule.settings, seed);
  }
  run.swarm = draw_swarm(seed, profile);
  // A corrupted list may lock everybody out, and whoever could undo it.
  const bool with_lists = profile != Profile::corrupt && Stream(seed, "lists", 0).below(4) == 0;
  Stream stream(seed, "hosts-count", 0);
  const auto hosts = static_cast<std::uint32_t>(stream.between(1, 3));
  for (std::uint32_t i = 0; i < hosts; ++i) {
    InitiatorKind kind = InitiatorKind::aoede;
    if (i > 0 || profile == Profile::plain) {
      kind = stream.below(3) == 0 ? InitiatorKind::linux_ : InitiatorKind::aoede;
    }
    run.schedule.initiators.push_back(
        draw_initiator(seed, i, kind, profile, run.schedule.settings, with_lists));
  }
  if (profile == Profile::hostile) {
    run.schedule.initiators.push_back(
        draw_initiator(seed, hosts, InitiatorKind::hostile, profile, run.schedule.settings, false));
  }
  if (profile == Profile::library) {
    for (InitiatorSpec& spec : run.schedule.initiators) {
      spec.kind = spec.kind == InitiatorKind::aoede ? InitiatorKind::library : spec.kind;
    }
  }
  draw_host_events(run.schedule, seed);
  if (with_lists) {
    // An operator clears what is left of masks and reservations, when no copy is on its way.
    run.schedule.host_events.push_back({8 * kSecond, HostEventKind::clear, kTargetHost, 0});
  }
  return run;
}

void set_tags(Schedule& schedule, TagMode tags) {
  for (InitiatorSpec& spec : schedule.initiators) {
    if (spec.kind == InitiatorKind::aoede) {
      spec.tags = tags;
    }
  }
}

}  // namespace sim
