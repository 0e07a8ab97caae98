// What the judge does not know, it does not say: for each kind of uncertainty a capture that lacks
// the frame that would decide, and its twin that holds it, each with other hosts, tags, LBAs, VLANs
// and places in the capture.
#include <gmock/gmock.h>

#include <functional>
#include <string>
#include <vector>

#include "conformance/observer/decode.h"
#include "conformance/observer/judge.h"
#include "conformance/observer/test_frames.h"

namespace conformance::observer::testing_frames {
namespace {

struct Step {
  Bytes frame;
  Nanoseconds wait_ns = 0;        // before it
  std::uint32_t wire_length = 0;  // 0: as long as it is
};
using Play = std::vector<Step>;

Play& operator<<(Play& play, Bytes frame) {
  play.push_back({std::move(frame), 0, 0});
  return play;
}

Play steps(std::initializer_list<Bytes> frames) {
  Play play;
  for (const Bytes& frame : frames) {
    play << frame;
  }
  return play;
}

Play operator+(Play a, const Play& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

constexpr std::uint32_t kIdentifyTag = 0x72;  // its LBA means nothing, and is left alone

struct Variation {
  const char* name;
  std::uint64_t host_shift;
  std::uint32_t tag_shift;
  std::uint64_t lba_shift;
  std::vector<std::uint16_t> vlans;  // outermost first
  std::uint32_t before;              // other requests that the capture begins with
  bool fcs;
};

const std::vector<Variation>& variations() {
  static const std::vector<Variation> all{
      {"AsItIs", 0, 0, 0, {}, 0, false},
      {"OtherHostTagsAndLbas", 0x40, 0x0123'4500, 0x1000, {}, 0, false},
      {"InAVlanLaterInTheCapture", 0, 0x7000, 77, {7}, 40, false},
      {"InTwoVlansAtTheLimitOfATag", 0x3300, 0xFFFF'FFF0, 3, {100, 20}, 5, false},
      {"WithFrameChecks", 0, 0x10, 900, {}, 3, true},
  };
  return all;
}

std::uint32_t crc32_slowly(const Bytes& bytes) {
  std::uint32_t crc = 0xFFFF'FFFF;
  for (const std::uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc & 1) != 0 ? crc >> 1 ^ 0xEDB8'8320 : crc >> 1;
    }
  }
  return ~crc;
}

Bytes varied(Bytes b, const Variation& v) {
  for (const std::size_t at : {0, 6}) {
    const std::uint64_t mac = load_be(b, at, 6);
    if (mac == kAlice || mac == kBob) {
      put_mac(b, at, mac + v.host_shift);
    }
  }
  if (b.size() >= kAoeHeaderEnd) {
    const auto tag = static_cast<std::uint32_t>(load_be(b, 20, 4));
    const bool announces = tag == 0 && b[19] == kCommandConfig;
    put_be(b, 20, announces ? 0 : static_cast<std::uint32_t>(tag + v.tag_shift), 4);
    if (b[19] == kCommandAta && b.size() >= kAtaDataOffset && tag != kIdentifyTag) {
      store_le(b, 28, 6, load_le(b, 28, 6) + v.lba_shift);
      const bool listed = b.size() == kMinimumFrameBytes && b[27] == kAtaReadExt && b[36] == 1;
      if (listed) {
        put_be(b, 37, static_cast<std::uint32_t>(load_be(b, 37, 4) + v.tag_shift), 4);
        store_le(b, 41, 6, load_le(b, 41, 6) + v.lba_shift);
      }
      if (b.size() == kAtaDataOffset + kSectorBytes + kCrc8x4Bytes) {
        const auto crc = crc8x4(BytesView(b).subspan(kAoeHeaderEnd, b.size() - 28));
        std::copy(crc.begin(), crc.end(), b.end() - 4);
      }
    }
  }
  if (v.fcs) {
    b.resize(std::max<std::size_t>(b.size(), kMinimumFrameBytes), 0);
  }
  Bytes tags;
  for (const std::uint16_t vlan : v.vlans) {
    const Bytes one{0x81, 0x00, static_cast<std::uint8_t>(vlan >> 8),
                    static_cast<std::uint8_t>(vlan)};
    tags.insert(tags.end(), one.begin(), one.end());
  }
  b.insert(b.begin() + 12, tags.begin(), tags.end());
  if (v.fcs) {
    const std::uint32_t crc = crc32_slowly(b);
    for (int i = 0; i < 4; ++i) {
      b.push_back(static_cast<std::uint8_t>(crc >> (8 * i)));
    }
  }
  return b;
}

struct Told {
  Verdict worst = Verdict::info;
  bool anything = false;
  std::string texts;
};

Told tell(const Play& play, const Variation& v, bool complete) {
  Scene scene;
  if (complete) {
    scene.tracker().claim_complete();
  }
  Judge judge(scene.tracker(), 9);
  scene.tracker().add_observer(&judge);
  for (std::uint32_t i = 0; i < v.before; ++i) {
    const std::uint32_t tag = 0x5500'0000 + i;
    scene.add(varied(read_request(kBob + 1, tag, 50'000 + i), v));
    scene.add(varied(read_reply(kBob + 1, tag, 50'000 + i, 'q'), v));
  }
  for (const Step& step : play) {
    scene.wait(step.wait_ns);
    const Bytes frame = varied(step.frame, v);
    scene.add(frame, step.wire_length == 0
                         ? 0
                         : step.wire_length +
                               static_cast<std::uint32_t>(frame.size() - step.frame.size()));
  }
  scene.finish();
  Told told;
  for (const FindingGroup& group : judge.groups()) {
    told.worst = told.anything ? std::max(told.worst, group.verdict) : group.verdict;
    told.anything = true;
    told.texts += std::string(verdict_text(group.verdict)) + " " + facts_of(group.rule).name +
                  ": " + group.examples.front().text + "\n";
  }
  return told;
}

enum class Say { nothing, info, warn, fail };

struct Pair {
  const char* name;
  Play lacking;  // the frame that would decide was not seen
  Say lacking_says;
  Play twin;  // it was
  Say twin_says;
  bool twin_complete;  // what decides is the claim that nothing is missing
};

Bytes ata_error_reply(std::uint64_t to, std::uint32_t tag, std::uint64_t lba,
                      std::uint8_t error_register) {
  return ata(reply(to, kCommandAta, tag), 0x41, error_register, 1, kStatusDrdy | kStatusErr, lba);
}
Bytes with_crc(Bytes b) {
  const auto crc = crc8x4(BytesView(b).subspan(kAoeHeaderEnd));
  b.insert(b.end(), crc.begin(), crc.end());
  return b;
}
Bytes with_tail(Bytes b, std::uint32_t tag, std::uint64_t lba) {
  b.push_back(1);
  b.resize(b.size() + 16, 0);
  put_be(b, 37, tag, 4);
  store_le(b, 41, 6, lba);
  b[52] = 1;
  b.resize(std::max<std::size_t>(b.size(), kMinimumFrameBytes), 0);
  return b;
}
Bytes to_all(Bytes b) {
  put_be(b, 16, kBroadcastShelf, 2);
  b[18] = kBroadcastSlot;
  put_mac(b, 0, kBroadcastAddress);
  return b;
}
Bytes from_slot(Bytes b, std::uint8_t slot) {
  b[18] = slot;
  return b;
}
// An answer whose question was not seen.
Play lost_some() {
  return steps({read_reply(kBob, 0x66, 900, 'z')});
}
Bytes announcement() {
  return config(reply(kBroadcastAddress, kCommandConfig, 0), 0, "");
}
Play learnt(const std::string& names, const std::string& told, std::uint32_t tag = 0x7000) {
  return steps({table(request(kAlice, kCommandExtensions, tag), names),
                table(reply(kAlice, kCommandExtensions, tag), told)});
}
Play identified() {
  return steps({config(request(kAlice, kCommandConfig, 0x71), 0, ""),
                config(reply(kAlice, kCommandConfig, 0x71), 0, ""),
                ata(request(kAlice, kCommandAta, kIdentifyTag), 0, 0, 1, kAtaIdentify, 0),
                identify_reply(kAlice, kIdentifyTag, 1'000'000)});
}
Play wrote(std::uint32_t tag, std::uint64_t lba, char data) {
  return steps({write_request(kAlice, tag, lba, data), write_reply(kAlice, tag, lba)});
}
Play reads(std::uint32_t tag, std::uint64_t lba, char data, std::uint64_t who = kAlice) {
  return steps({read_request(who, tag, lba), read_reply(who, tag, lba, data)});
}
Play string_set(std::uint32_t tag, const std::string& text) {
  return steps({config(request(kAlice, kCommandConfig, tag), 4, text),
                config(reply(kAlice, kCommandConfig, tag), 4, text)});
}
Play string_read(std::uint32_t tag, const std::string& text) {
  return steps({config(request(kBob, kCommandConfig, tag), 0, ""),
                config(reply(kBob, kCommandConfig, tag), 0, text)});
}
Play masked() {
  return steps({mask(request(kAlice, kCommandMask, 0x60), 1, {{1, 0x77}}),
                mask(reply(kAlice, kCommandMask, 0x60), 1, {{0, 0x77}})});
}
Play late_copy() {
  return wrote(1, 5, 'a') + wrote(2, 5, 'b') + wrote(1, 5, 'a') + reads(3, 5, 'a');
}
Play probe(std::uint32_t tag, const std::string& id, Nanoseconds pause) {
  Play play = steps({table(request(kAlice, kCommandExtensions, tag), "congestion," + id),
                     table(reply(kAlice, kCommandExtensions, tag), "CONGESTION," + id)});
  play[1].wait_ns = pause;
  return play;
}
Play cut_write(std::uint32_t tag, std::uint64_t lba) {
  Play play = wrote(tag, lba, 'z');
  play[0].frame.resize(60);
  play[0].wire_length = 548;
  return play;
}

const std::vector<Pair>& pairs() {
  const auto tail_reply = [](std::uint32_t tag, std::uint64_t lba) {
    return read_reply(kAlice, tag, lba, 'c');
  };
  static const std::vector<Pair> all{
      // Requests and replies that have no partner.
      {"ReplyWithoutRequest", wrote(1, 5, 'a') + steps({write_reply(kAlice, 9, 6)}), Say::info,
       wrote(1, 5, 'a') + steps({write_reply(kAlice, 9, 6)}), Say::fail, true},
      {"SecondReply", reads(1, 5, 'a') + steps({read_reply(kAlice, 1, 5, 'a')}), Say::info,
       reads(1, 5, 'a') + steps({read_reply(kAlice, 1, 5, 'a')}), Say::fail, true},
      {"ReplyOfAnotherSlot",
       steps({read_request(kAlice, 1, 5), from_slot(read_reply(kAlice, 1, 5, 'a'), 9)}), Say::info,
       steps({read_request(kAlice, 1, 5), from_slot(read_reply(kAlice, 1, 5, 'a'), 9)}), Say::fail,
       true},
      {"TagInUseAgain", steps({read_request(kAlice, 1, 5), read_request(kAlice, 1, 9)}), Say::info,
       steps({read_request(kAlice, 1, 5), read_request(kAlice, 1, 9)}), Say::warn, true},
      // Negotiated before the capture, or not.
      {"CrcNegotiatedUnseen",
       steps({read_request(kAlice, 1, 5), with_crc(read_reply(kAlice, 1, 5, 'a'))}), Say::info,
       learnt("reset", "RESET") +
           steps({read_request(kAlice, 1, 5), with_crc(read_reply(kAlice, 1, 5, 'a'))}),
       Say::fail, false},
      {"CrcNegotiationUnanswered",
       steps({table(request(kAlice, kCommandExtensions, 0x70), "crc8x4")}) + reads(1, 5, 'a'),
       Say::nothing, learnt("crc8x4", "CRC8X4") + reads(1, 5, 'a'), Say::fail, false},
      {"ReadsListedUnderAnUnseenNegotiation",
       steps({with_tail(read_request(kAlice, 1, 5), 2, 9), read_reply(kAlice, 1, 5, 'c'),
              tail_reply(2, 9)}),
       Say::info,
       learnt("reset", "RESET") + steps({with_tail(read_request(kAlice, 1, 5), 2, 9),
                                         read_reply(kAlice, 1, 5, 'c'), tail_reply(2, 9)}),
       Say::fail, true},
      {"FeatureUndoneByAConfigCommand",
       learnt("crc8x4", "CRC8X4") +
           steps({config(request(kAlice, kCommandConfig, 0x90), 0, ""),
                  config(reply(kAlice, kCommandConfig, 0x90), 0, "")}) +
           reads(1, 5, 'a'),
       Say::nothing, learnt("crc8x4", "CRC8X4") + reads(1, 5, 'a'), Say::fail, false},
      {"FeatureUndoneByARestart",
       learnt("crc8x4", "CRC8X4") + steps({announcement()}) + reads(1, 5, 'a'), Say::nothing,
       learnt("crc8x4", "CRC8X4") + reads(1, 5, 'a'), Say::fail, false},
      // Promised tags.
      {"GapInPromisedTags",
       learnt("tag_inc_be", "TAG_INC_BE") + wrote(1, 5, 'a') + wrote(3, 6, 'a'), Say::info,
       learnt("tag_inc_be", "TAG_INC_BE") + wrote(1, 5, 'a') + wrote(3, 6, 'a'), Say::warn, true},
      {"PromiseAfterANewNegotiation",
       learnt("tag_inc_be", "TAG_INC_BE") + wrote(1, 5, 'a') +
           learnt("tag_inc_be", "TAG_INC_BE", 0x7001) + wrote(9, 6, 'a'),
       Say::nothing, learnt("tag_inc_be", "TAG_INC_BE") + wrote(1, 5, 'a') + wrote(9, 6, 'a'),
       Say::warn, true},
      // The window.
      {"CopyThatTheWindowShouldStop", learnt("tag_inc_be", "TAG_INC_BE") + late_copy(), Say::warn,
       learnt("tag_inc_be", "TAG_INC_BE") + late_copy(), Say::fail, true},
      {"WindowPerhapsEmptiedByAConfigRead",
       learnt("tag_inc_be", "TAG_INC_BE") + wrote(1, 5, 'a') + wrote(2, 5, 'b') +
           steps({config(request(kAlice, kCommandConfig, 0x90), 0, ""),
                  config(reply(kAlice, kCommandConfig, 0x90), 0, "")}) +
           wrote(1, 5, 'a') + reads(3, 5, 'a'),
       Say::info, learnt("tag_inc_be", "TAG_INC_BE") + late_copy(), Say::fail, true},
      {"WindowEmptiedByRenegotiation",
       learnt("tag_inc_be", "TAG_INC_BE") + wrote(1, 5, 'a') + wrote(2, 5, 'b') +
           learnt("tag_inc_be", "TAG_INC_BE", 0x7001) + wrote(1, 5, 'a') + reads(3, 5, 'a'),
       Say::info, learnt("tag_inc_be", "TAG_INC_BE") + late_copy(), Say::fail, true},
      {"WindowEmptiedByARestart",
       learnt("tag_inc_be", "TAG_INC_BE") + wrote(1, 5, 'a') + wrote(2, 5, 'b') +
           steps({announcement()}) + wrote(1, 5, 'a') + reads(3, 5, 'a'),
       Say::info, learnt("tag_inc_be", "TAG_INC_BE") + late_copy(), Say::fail, true},
      {"CopyBehindTheWindow",
       learnt("tag_inc_be", "TAG_INC_BE") + wrote(1, 5, 'a') + wrote(40'001, 5, 'b') +
           wrote(1, 5, 'a') + reads(40'002, 5, 'a'),
       Say::info, learnt("tag_inc_be", "TAG_INC_BE") + late_copy(), Say::fail, true},
      {"CopyInPlainAoe", late_copy(), Say::warn, late_copy(), Say::warn, true},
      // Data.
      {"OldDataAfterAnAnsweredWrite", reads(1, 5, 'a') + wrote(2, 5, 'b') + reads(3, 5, 'a'),
       Say::warn, reads(1, 5, 'a') + wrote(2, 5, 'b') + reads(3, 5, 'a'), Say::fail, true},
      {"DataThatNobodyWrote", wrote(2, 5, 'b') + reads(3, 5, 'q'), Say::warn,
       wrote(2, 5, 'b') + reads(3, 5, 'q'), Say::fail, true},
      {"WriteWithoutAReply",
       reads(1, 5, 'a') + steps({write_request(kAlice, 2, 5, 'b')}) + reads(3, 5, 'a'),
       Say::nothing, reads(1, 5, 'a') + wrote(2, 5, 'b') + reads(3, 5, 'a'), Say::fail, true},
      {"ReplyOfAWriteThatWasNotSeen",
       wrote(1, 5, 'a') + steps({write_reply(kAlice, 8, 5)}) + reads(3, 5, 'q'), Say::info,
       wrote(1, 5, 'a') + reads(3, 5, 'q'), Say::fail, true},
      {"WritesInFlightTogether",
       steps({write_request(kAlice, 1, 5, 'a'), write_request(kBob, 2, 5, 'b'),
              write_reply(kAlice, 1, 5), write_reply(kBob, 2, 5)}) +
           reads(3, 5, 'a'),
       Say::nothing, wrote(1, 5, 'a') + wrote(2, 5, 'b') + reads(3, 5, 'a'), Say::fail, true},
      {"WriteThatFailedInPart",
       wrote(1, 5, 'a') +
           steps({write_request(kAlice, 2, 5, 'b'), ata_error_reply(kAlice, 2, 5, kAtaErrorUnc)}) +
           reads(3, 5, 'b'),
       Say::nothing,
       wrote(1, 5, 'a') +
           steps({write_request(kAlice, 2, 5, 'b'), ata_error_reply(kAlice, 2, 5, kAtaErrorAbrt)}) +
           reads(3, 5, 'b'),
       Say::fail, true},
      {"BroadcastWrite",
       wrote(1, 5, 'a') + steps({to_all(write_request(kAlice, 2, 5, 'b'))}) + reads(3, 5, 'b'),
       Say::nothing, wrote(1, 5, 'a') + reads(3, 5, 'b'), Say::fail, true},
      {"WriteCutByASnaplen", wrote(1, 5, 'a') + cut_write(2, 5) + reads(3, 5, 'q'), Say::nothing,
       wrote(1, 5, 'a') + wrote(2, 5, 'b') + reads(3, 5, 'q'), Say::fail, true},
      {"RepetitionUnderAnotherTagComesLate",
       steps({write_request(kAlice, 1, 5, 'a'), write_request(kAlice, 2, 5, 'a'),
              write_reply(kAlice, 2, 5)}) +
           wrote(3, 5, 'b') + reads(4, 5, 'a'),
       Say::warn,
       steps({write_request(kAlice, 1, 5, 'a'), write_request(kAlice, 2, 5, 'a'),
              write_reply(kAlice, 2, 5), write_reply(kAlice, 1, 5)}) +
           wrote(3, 5, 'b') + reads(4, 5, 'a'),
       Say::fail, true},
      {"CopyBehindTheTapShowsAsASecondReply",
       wrote(1, 5, 'a') + wrote(2, 5, 'b') + steps({write_reply(kAlice, 1, 5)}) + reads(3, 5, 'a'),
       Say::warn, wrote(1, 5, 'a') + wrote(2, 5, 'b') + reads(3, 5, 'a'), Say::fail, true},
      // What a host out of sight may have changed.
      {"StringChangedByNobody", string_set(1, "abc") + string_read(2, "xyz"), Say::warn,
       string_set(1, "abc") + string_read(2, "xyz"), Say::fail, true},
      {"StringSetWithoutAReply",
       string_set(1, "abc") + steps({config(request(kBob, kCommandConfig, 9), 4, "xyz")}) +
           string_read(2, "xyz"),
       Say::nothing, string_set(1, "abc") + string_read(2, "xyz"), Say::fail, true},
      {"StringSetByABroadcast",
       string_set(1, "abc") + steps({to_all(config(request(kBob, kCommandConfig, 9), 4, "xyz"))}) +
           string_read(2, "abc") + string_read(3, "xyz"),
       Say::nothing, string_set(1, "abc") + string_read(2, "xyz"), Say::fail, true},
      {"StringLostInARestart", string_set(1, "abc") + steps({announcement()}) + string_read(2, ""),
       Say::nothing, string_set(1, "abc") + string_read(2, ""), Say::fail, true},
      {"MaskEmptiedByARestart", masked() + steps({announcement()}) + reads(2, 5, 'a', kBob),
       Say::nothing, masked() + reads(2, 5, 'a', kBob), Say::fail, true},
      {"MaskEditedByNobody", masked() + reads(2, 5, 'a', kBob), Say::warn,
       masked() + reads(2, 5, 'a', kBob), Say::fail, true},
      {"MaskEditWithoutAReply",
       masked() + steps({mask(request(kAlice, kCommandMask, 0x61), 1, {{2, 0x77}})}) +
           reads(2, 5, 'a', kBob),
       Say::nothing, masked() + reads(2, 5, 'a', kBob), Say::fail, true},
      {"ReservationOfAnUnseenHost",
       steps({reserve(request(kAlice, kCommandReserve, 1), 1, {0x77}),
              reserve(reply(kAlice, kCommandReserve, 1), 1, {0x77})}) +
           reads(2, 5, 'a', kBob),
       Say::warn,
       steps({reserve(request(kAlice, kCommandReserve, 1), 1, {0x77}),
              reserve(reply(kAlice, kCommandReserve, 1), 1, {0x77})}) +
           reads(2, 5, 'a', kBob),
       Say::fail, true},
      // Limits and capacity of another time.
      {"OfferedCountRefused",
       identified() + steps({read_request(kAlice, 3, 0, 2),
                             error(ata(reply(kAlice, kCommandAta, 3), 0x40, 0, 0, 0, 0), 2)}),
       Say::info,
       identified() + steps({read_request(kAlice, 3, 0, 2),
                             error(ata(reply(kAlice, kCommandAta, 3), 0x40, 0, 0, 0, 0), 2)}),
       Say::fail, true},
      {"ValidRangeRefused",
       identified() +
           steps({read_request(kAlice, 3, 9), ata_error_reply(kAlice, 3, 9, kAtaErrorIdnf)}),
       Say::info,
       identified() +
           steps({read_request(kAlice, 3, 9), ata_error_reply(kAlice, 3, 9, kAtaErrorIdnf)}),
       Say::fail, true},
      // A capture that shows that it lost frames may have lost the one that explains.
      {"CheckMissing", learnt("crc8x4", "CRC8X4") + lost_some() + reads(1, 5, 'a'), Say::info,
       learnt("crc8x4", "CRC8X4") + reads(1, 5, 'a'), Say::fail, false},
      {"CheckThatWasNotNegotiated",
       learnt("crc8x4", "crc8x4") + lost_some() +
           steps({read_request(kAlice, 1, 5), with_crc(read_reply(kAlice, 1, 5, 'a'))}),
       Say::info,
       learnt("crc8x4", "crc8x4") +
           steps({read_request(kAlice, 1, 5), with_crc(read_reply(kAlice, 1, 5, 'a'))}),
       Say::fail, false},
      {"AnswerWithAnotherCommand",
       lost_some() +
           steps({read_request(kAlice, 1, 5), config(reply(kAlice, kCommandConfig, 1), 0, "")}),
       Say::info,
       steps({read_request(kAlice, 1, 5), config(reply(kAlice, kCommandConfig, 1), 0, "")}),
       Say::fail, false},
      {"ReadThatBringsNothing",
       lost_some() + steps({read_request(kAlice, 1, 5),
                            ata(reply(kAlice, kCommandAta, 1), 0x40, 0, 0, kStatusDrdy, 5)}),
       Say::info,
       steps({read_request(kAlice, 1, 5),
              ata(reply(kAlice, kCommandAta, 1), 0x40, 0, 0, kStatusDrdy, 5)}),
       Say::fail, false},
      {"AnotherLba",
       lost_some() + steps({read_request(kAlice, 1, 5), read_reply(kAlice, 1, 6, 'a')}), Say::info,
       steps({read_request(kAlice, 1, 5), read_reply(kAlice, 1, 6, 'a')}), Say::warn, false},
      {"TableThatChanged", lost_some() + learnt("tag_inc_be", "RESET,TAG_INC_BE"), Say::info,
       learnt("tag_inc_be", "RESET,TAG_INC_BE"), Say::fail, false},
      // Pauses.
      {"ProbeOfAnIdPerhapsSeenBefore", probe(1, "41", 0), Say::info, probe(1, "41", 0), Say::fail,
       true},
      {"PauseForAnIdThatHadOne", probe(1, "41", 500 * kStepNs) + probe(2, "41", 600 * kStepNs),
       Say::info, probe(1, "41", 500 * kStepNs) + probe(2, "41", 600 * kStepNs), Say::fail, true},
  };
  return all;
}

class Uncertain : public testing::TestWithParam<std::tuple<std::size_t, std::size_t>> {};

std::string said(const Told& told) {
  return told.anything ? verdict_text(told.worst) : "nothing";
}
const char* text_of(Say say) {
  return say == Say::nothing ? "nothing"
         : say == Say::info  ? "info"
         : say == Say::warn  ? "warn"
                             : "fail";
}

TEST_P(Uncertain, IsSaidToBeSoAndDecidedByItsTwin) {
  const Pair& pair = pairs()[std::get<0>(GetParam())];
  const Variation& v = variations()[std::get<1>(GetParam())];
  const Told lacking = tell(pair.lacking, v, false);
  EXPECT_EQ(said(lacking), text_of(pair.lacking_says)) << lacking.texts;
  const Told twin = tell(pair.twin, v, pair.twin_complete);
  EXPECT_EQ(said(twin), text_of(pair.twin_says)) << twin.texts;
}

INSTANTIATE_TEST_SUITE_P(
    Judge, Uncertain,
    testing::Combine(testing::Range<std::size_t>(0, pairs().size()),
                     testing::Range<std::size_t>(0, variations().size())),
    [](const testing::TestParamInfo<std::tuple<std::size_t, std::size_t>>& param) {
      return std::string(pairs()[std::get<0>(param.param)].name) + "_" +
             variations()[std::get<1>(param.param)].name;
    });

}  // namespace
}  // namespace conformance::observer::testing_frames
