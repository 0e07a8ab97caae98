#include "conformance/observer/judge.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <fstream>
#include <functional>
#include <map>
#include <set>

#include "conformance/observer/test_frames.h"

namespace conformance::observer::testing_frames {
namespace {

enum class Claim { none, complete };

struct Verdicts {
  std::map<Rule, std::uint64_t> counts;
  std::map<Rule, Verdict> worst;
  JudgeCounters counters;
  std::string first;  // the first finding's text
};

Verdicts judge(const std::function<void(Scene&)>& play, Claim claim = Claim::none) {
  Scene scene;
  if (claim == Claim::complete) {
    scene.tracker().claim_complete();
  }
  Judge judge(scene.tracker(), 3);
  scene.tracker().add_observer(&judge);
  play(scene);
  scene.finish();
  Verdicts out;
  out.counters = judge.counters();
  for (const FindingGroup& group : judge.groups()) {
    out.counts[group.rule] += group.count;
    Verdict& worst = out.worst.try_emplace(group.rule, group.verdict).first->second;
    worst = std::max(worst, group.verdict);
    if (out.first.empty()) {
      out.first = group.examples.front().text;
    }
  }
  return out;
}

void negotiate(Scene& s, std::uint64_t who, const std::string& names, const std::string& told) {
  s.add(table(request(who, kCommandExtensions, 0x7000), names))
      .add(table(reply(who, kCommandExtensions, 0x7000), told));
}

// What breaks each rule, and nothing but that rule.
struct Provocation {
  Rule rule;
  std::function<void(Scene&)> play;
  std::vector<Rule> also = {};  // what cannot but be broken with it
};

const std::vector<Provocation>& provocations() {
  static const std::vector<Provocation> all{
      {Rule::request_runt,
       [](Scene& s) {
         Bytes b = request(kAlice, kCommandAta, 1);
         b.resize(20);
         s.add(b);
       }},
      {Rule::request_version,
       [](Scene& s) {
         Bytes b = read_request(kAlice, 1, 0);
         b[14] = 0x20;
         s.add(b);
       }},
      {Rule::request_reserved_bits,
       [](Scene& s) {
         Bytes b = read_request(kAlice, 1, 0);
         b[14] = 0x11;
         s.add(b);
       }},
      {Rule::request_error_field,
       [](Scene& s) {
         Bytes b = read_request(kAlice, 1, 0);
         b[15] = 3;
         s.add(b);
       }},
      {Rule::request_ata_short,
       [](Scene& s) {
         Bytes b = read_request(kAlice, 1, 0);
         b.resize(30);
         s.add(b);
       }},
      {Rule::request_write_short,
       [](Scene& s) {
         Bytes b = write_request(kAlice, 1, 0, 'a');
         b[26] = 2;
         s.add(b);
       }},
      {Rule::request_write_flag,
       [](Scene& s) {
         Bytes b = write_request(kAlice, 1, 0, 'a');
         b[24] = 0x40;
         s.add(b);
       }},
      {Rule::request_ata_reserved,
       [](Scene& s) {
         Bytes b = read_request(kAlice, 1, 0);
         b[35] = 1;
         s.add(b);
       }},
      {Rule::request_sector_limit,
       [](Scene& s) {
         s.add(config(request(kAlice, kCommandConfig, 1), 0, ""))
             .add(config(reply(kAlice, kCommandConfig, 1), 0, ""))
             .add(read_request(kAlice, 2, 0, 3));
       }},
      {Rule::request_outstanding_limit,
       [](Scene& s) {
         s.add(config(request(kAlice, kCommandConfig, 1), 0, ""))
             .add(config(reply(kAlice, kCommandConfig, 1), 0, "", 2));
         for (std::uint32_t tag = 2; tag < 5; ++tag) {
           s.add(read_request(kAlice, tag, tag));
         }
       }},
      {Rule::request_tag_reused,
       [](Scene& s) { s.add(read_request(kAlice, 1, 0)).add(read_request(kAlice, 1, 9)); }},
      {Rule::request_padding,
       [](Scene& s) {
         Bytes b = read_request(kAlice, 1, 0);
         b.resize(60);
         b[50] = 0x42;
         s.add(b);
       }},
      {Rule::request_config_length,
       [](Scene& s) {
         Bytes b = config(request(kAlice, kCommandConfig, 1), 3, "abc");
         b[31] = 200;
         s.add(b);
       }},
      {Rule::request_config_command,
       [](Scene& s) { s.add(config(request(kAlice, kCommandConfig, 1), 9, "")); }},
      {Rule::request_table_malformed,
       [](Scene& s) {
         Bytes b = table(request(kAlice, kCommandExtensions, 1), "reset");
         b[24] = 3;
         s.add(b);
       }},
      {Rule::request_upper_case,
       [](Scene& s) { s.add(table(request(kAlice, kCommandExtensions, 1), "TAG_INC_LE")); }},
      {Rule::request_tag_promise,
       [](Scene& s) {
         negotiate(s, kAlice, "tag_inc_be", "TAG_INC_BE");
         s.add(write_request(kAlice, 10, 0, 'a')).add(write_request(kAlice, 12, 1, 'a'));
       }},
      {Rule::request_coalesced_cut,
       [](Scene& s) {
         negotiate(s, kAlice, "coalesced_read", "COALESCED_READ");
         Bytes b = read_request(kAlice, 1, 0);
         b.push_back(2);
         b.resize(b.size() + 5);
         s.add(b);
       }},
      {Rule::reply_unasked, [](Scene& s) { s.add(write_reply(kAlice, 1, 0)); }},
      {Rule::reply_duplicate,
       [](Scene& s) {
         s.add(read_request(kAlice, 1, 0))
             .add(read_reply(kAlice, 1, 0, 'a'))
             .add(read_reply(kAlice, 1, 0, 'a'));
       }},
      {Rule::reply_command,
       [](Scene& s) {
         s.add(read_request(kAlice, 1, 0)).add(config(reply(kAlice, kCommandConfig, 1), 0, ""));
       }},
      {Rule::reply_version,
       [](Scene& s) {
         Bytes b = read_reply(kAlice, 1, 0, 'a');
         b[14] = 0x08;
         s.add(read_request(kAlice, 1, 0)).add(b);
       }},
      {Rule::reply_reserved_bits,
       [](Scene& s) {
         Bytes b = read_reply(kAlice, 1, 0, 'a');
         b[14] = 0x1A;
         s.add(read_request(kAlice, 1, 0)).add(b);
       }},
      {Rule::reply_error_flag,
       [](Scene& s) {
         Bytes b = read_reply(kAlice, 1, 0, 'a');
         b[15] = 2;
         s.add(read_request(kAlice, 1, 0)).add(b);
       }},
      {Rule::reply_error_code,
       [](Scene& s) {
         s.add(read_request(kAlice, 1, 0)).add(error(write_reply(kAlice, 1, 0), 77));
       }},
      {Rule::reply_address,
       [](Scene& s) {
         Bytes asked = config(request(kAlice, kCommandConfig, 1), 0, "");
         put_be(asked, 16, kBroadcastShelf, 2);
         asked[18] = kBroadcastSlot;
         Bytes told = config(reply(kAlice, kCommandConfig, 1), 0, "");
         put_be(told, 16, kBroadcastShelf, 2);
         told[18] = kBroadcastSlot;
         s.add(asked).add(told);
       }},
      {Rule::reply_source,
       [](Scene& s) {
         Bytes b = read_reply(kAlice, 1, 0, 'a');
         b[6] = 0x03;
         s.add(read_request(kAlice, 1, 0)).add(b);
       }},
      {Rule::reply_two_sources,
       [](Scene& s) {
         Bytes b = read_reply(kAlice, 2, 0, 'a');
         b[11] = 0x77;
         s.add(read_request(kAlice, 1, 0))
             .add(read_reply(kAlice, 1, 0, 'a'))
             .add(read_request(kAlice, 2, 0))
             .add(b);
       }},
      {Rule::reply_short,
       [](Scene& s) {
         s.add(read_request(kAlice, 1, 0, 2)).add(read_reply(kAlice, 1, 0, 'a', 1));
       }},
      {Rule::reply_padding,
       [](Scene& s) {
         Bytes b = write_reply(kAlice, 1, 0);
         b.resize(60);
         b[40] = 'x';
         s.add(write_request(kAlice, 1, 0, 'a')).add(b);
       }},
      {Rule::reply_ata_status,
       [](Scene& s) {
         Bytes b = write_reply(kAlice, 1, 0);
         b[27] = 0;
         s.add(write_request(kAlice, 1, 0, 'a')).add(b);
       }},
      {Rule::reply_past_end,
       [](Scene& s) {
         s.add(ata(request(kAlice, kCommandAta, 1), 0, 0, 1, kAtaIdentify, 0))
             .add(identify_reply(kAlice, 1, 100))
             .add(read_request(kAlice, 2, 100))
             .add(read_reply(kAlice, 2, 100, 'a'));
       }},
      {Rule::reply_identify,
       [](Scene& s) {
         Bytes b = identify_reply(kAlice, 1, 100);
         b[kAtaDataOffset + 120] = 99;
         s.add(ata(request(kAlice, kCommandAta, 1), 0, 0, 1, kAtaIdentify, 0)).add(b);
       }},
      {Rule::reply_buffer_count,
       [](Scene& s) {
         s.add(config(request(kAlice, kCommandConfig, 1), 0, ""))
             .add(config(reply(kAlice, kCommandConfig, 1), 0, "", 1));
       }},
      {Rule::reply_config_length,
       [](Scene& s) {
         Bytes b = config(reply(kAlice, kCommandConfig, 1), 0, "abc");
         b[31] = 200;
         s.add(config(request(kAlice, kCommandConfig, 1), 0, "")).add(b);
       }},
      {Rule::reply_config_string,
       [](Scene& s) {
         s.add(config(request(kAlice, kCommandConfig, 1), 4, "abc"))
             .add(config(reply(kAlice, kCommandConfig, 1), 4, "abc"))
             .add(config(request(kAlice, kCommandConfig, 2), 0, ""))
             .add(config(reply(kAlice, kCommandConfig, 2), 0, "abd"));
       }},
      {Rule::reply_config_test,
       [](Scene& s) {
         s.add(config(request(kAlice, kCommandConfig, 1), 4, "abc"))
             .add(config(reply(kAlice, kCommandConfig, 1), 4, "abc"))
             .add(config(request(kAlice, kCommandConfig, 2), 1, "ab"))
             .add(config(reply(kAlice, kCommandConfig, 2), 1, "abc"));
       }},
      {Rule::reply_config_set,
       [](Scene& s) {
         s.add(config(request(kAlice, kCommandConfig, 1), 4, "abc"))
             .add(config(reply(kAlice, kCommandConfig, 1), 4, "abc"))
             .add(config(request(kAlice, kCommandConfig, 2), 3, "xyz"))
             .add(config(reply(kAlice, kCommandConfig, 2), 3, "xyz"));
       }},
      {Rule::reply_config_force,
       [](Scene& s) {
         s.add(config(request(kAlice, kCommandConfig, 1), 4, "abc"))
             .add(error(config(reply(kAlice, kCommandConfig, 1), 4, "old"), 4));
       }},
      {Rule::reply_config_unknown,
       [](Scene& s) {
         Bytes asked = config(request(kAlice, kCommandConfig, 1), 9, "");
         s.add(asked).add(config(reply(kAlice, kCommandConfig, 1), 9, ""));
       },
       {Rule::request_config_command}},
      {Rule::reply_masked_out,
       [](Scene& s) {
         s.add(mask(request(kAlice, kCommandMask, 1), 1, {{1, kAlice}}))
             .add(mask(reply(kAlice, kCommandMask, 1), 1, {{0, kAlice}}))
             .add(read_request(kBob, 2, 0))
             .add(read_reply(kBob, 2, 0, 'a'));
       }},
      {Rule::reply_mask_list,
       [](Scene& s) {
         s.add(mask(request(kAlice, kCommandMask, 1), 0, {}))
             .add(mask(reply(kAlice, kCommandMask, 1), 0, {}))
             .add(mask(request(kAlice, kCommandMask, 2), 1, {{1, kAlice}}))
             .add(mask(reply(kAlice, kCommandMask, 2), 1, {{0, kAlice}, {0, kBob}}));
       }},
      {Rule::reply_mask_command,
       [](Scene& s) {
         s.add(mask(request(kAlice, kCommandMask, 1), 7, {}))
             .add(mask(reply(kAlice, kCommandMask, 1), 7, {}));
       },
       {Rule::request_mask_command}},
      {Rule::reply_reserved_out,
       [](Scene& s) {
         s.add(reserve(request(kAlice, kCommandReserve, 1), 1, {kAlice}))
             .add(reserve(reply(kAlice, kCommandReserve, 1), 1, {kAlice}))
             .add(read_request(kBob, 2, 0))
             .add(read_reply(kBob, 2, 0, 'a'));
       }},
      {Rule::reply_reserve_refused,
       [](Scene& s) {
         s.add(reserve(request(kAlice, kCommandReserve, 1), 1, {kAlice}))
             .add(reserve(reply(kAlice, kCommandReserve, 1), 1, {kAlice}))
             .add(read_request(kAlice, 2, 0))
             .add(error(ata(reply(kAlice, kCommandAta, 2), 0x40, 0, 0, 0, 0), 6));
       }},
      {Rule::reply_reserve_list,
       [](Scene& s) {
         s.add(reserve(request(kAlice, kCommandReserve, 1), 2, {kAlice}))
             .add(reserve(reply(kAlice, kCommandReserve, 1), 2, {kBob}));
       }},
      {Rule::reply_table_malformed,
       [](Scene& s) {
         Bytes b = table(reply(kAlice, kCommandExtensions, 1), "reset");
         b[24] = 2;
         s.add(table(request(kAlice, kCommandExtensions, 1), "reset")).add(b);
       }},
      {Rule::reply_table_changed,
       [](Scene& s) {
         s.add(table(request(kAlice, kCommandExtensions, 1), "nonsense"))
             .add(table(reply(kAlice, kCommandExtensions, 1), "NONSENSE"));
       }},
      {Rule::reply_table_answered,
       [](Scene& s) {
         Bytes b = table(request(kAlice, kCommandExtensions, 1), "reset");
         b[24] = 3;
         s.add(b).add(table(reply(kAlice, kCommandExtensions, 1), "RESET"));
       },
       {Rule::request_table_malformed}},
      {Rule::reply_unknown_command,
       [](Scene& s) { s.add(request(kAlice, 0x77, 1)).add(reply(kAlice, 0x77, 1)); }},
      {Rule::data_old,
       [](Scene& s) {
         s.add(read_request(kAlice, 1, 5))
             .add(read_reply(kAlice, 1, 5, 'a'))
             .add(write_request(kAlice, 2, 5, 'b'))
             .add(write_reply(kAlice, 2, 5))
             .add(read_request(kAlice, 3, 5))
             .add(read_reply(kAlice, 3, 5, 'a'));
       }},
      {Rule::data_foreign,
       [](Scene& s) {
         s.add(read_request(kAlice, 1, 5))
             .add(read_reply(kAlice, 1, 5, 'a'))
             .add(read_request(kAlice, 3, 5))
             .add(read_reply(kAlice, 3, 5, 'z'));
       }},
      {Rule::stale_executed,
       [](Scene& s) {
         negotiate(s, kAlice, "tag_inc_be", "TAG_INC_BE");
         s.add(write_request(kAlice, 1, 5, 'a'))
             .add(write_reply(kAlice, 1, 5))
             .add(write_request(kAlice, 2, 5, 'b'))
             .add(write_reply(kAlice, 2, 5))
             .add(write_request(kAlice, 1, 5, 'a'))
             .add(write_reply(kAlice, 1, 5))
             .add(read_request(kAlice, 3, 5))
             .add(read_reply(kAlice, 3, 5, 'a'));
       }},
      {Rule::stale_executed_plain,
       [](Scene& s) {
         s.add(write_request(kAlice, 1, 5, 'a'))
             .add(write_reply(kAlice, 1, 5))
             .add(write_request(kAlice, 2, 5, 'b'))
             .add(write_reply(kAlice, 2, 5))
             .add(write_request(kAlice, 1, 5, 'a'))
             .add(write_reply(kAlice, 1, 5))
             .add(read_request(kAlice, 3, 5))
             .add(read_reply(kAlice, 3, 5, 'a'));
       }},
      {Rule::stale_refused,
       [](Scene& s) {
         negotiate(s, kAlice, "tag_inc_be", "TAG_INC_BE");
         s.add(write_request(kAlice, 1, 5, 'a'))
             .add(write_reply(kAlice, 1, 5))
             .add(write_request(kAlice, 2, 5, 'b'))
             .add(write_reply(kAlice, 2, 5))
             .add(write_request(kAlice, 1, 5, 'a'))
             .add(write_reply(kAlice, 1, 5))
             .add(read_request(kAlice, 3, 5))
             .add(read_reply(kAlice, 3, 5, 'b'));
       }},
      {Rule::request_mask_command,
       [](Scene& s) { s.add(mask(request(kAlice, kCommandMask, 1), 7, {})); }},
      {Rule::request_reserve_command,
       [](Scene& s) { s.add(reserve(request(kAlice, kCommandReserve, 1), 7, {})); }},
      {Rule::reply_to_reply,
       [](Scene& s) {
         s.add(read_request(kAlice, 1, 0)).add(read_reply(kAlice, 1, 0, 'a'));
         Bytes b = read_request(kAlice, 2, 0);
         b[14] = 0x18;
         s.add(b).add(read_reply(kAlice, 2, 0, 'a'));
       }},
      {Rule::reply_destination,
       [](Scene& s) {
         s.add(read_request(kAlice, 1, 0)).add(read_reply(kBroadcastAddress, 1, 0, 'a'));
       }},
      {Rule::reply_unknown_version,
       [](Scene& s) {
         Bytes b = read_request(kAlice, 1, 0);
         b[14] = 0x20;
         s.add(b).add(read_reply(kAlice, 1, 0, 'a'));
       },
       {Rule::request_version}},
      {Rule::reply_other_address,
       [](Scene& s) {
         s.add(config(request(kAlice, kCommandConfig, 1), 0, ""))
             .add(config(reply(kAlice, kCommandConfig, 1), 0, ""));
         Bytes b = read_request(kAlice, 2, 0);
         b[18] = 7;
         s.add(b).add(read_reply(kAlice, 2, 0, 'a'));
       }},
      {Rule::reply_to_short,
       [](Scene& s) {
         Bytes b = read_request(kAlice, 1, 0);
         b.resize(30);
         s.add(b).add(read_reply(kAlice, 1, 0, 'a'));
       },
       {Rule::request_ata_short}},
      {Rule::reply_ata_error,
       [](Scene& s) {
         Bytes b = write_reply(kAlice, 1, 0);
         b[27] = kStatusDrdy | kStatusErr;
         s.add(write_request(kAlice, 1, 0, 'a')).add(b);
       }},
      {Rule::reply_lba,
       [](Scene& s) { s.add(read_request(kAlice, 1, 5)).add(read_reply(kAlice, 1, 6, 'a')); }},
      {Rule::reply_coalesced_lba,
       [](Scene& s) {
         negotiate(s, kAlice, "coalesced_read", "COALESCED_READ");
         s.add(read_request(kAlice, 1, 5)).add(read_reply(kAlice, 1, 6, 'a'));
       }},
      {Rule::reply_undefined_command,
       [](Scene& s) {
         s.add(ata(request(kAlice, kCommandAta, 1), 0, 0, 0, 0xB7, 0))
             .add(ata(reply(kAlice, kCommandAta, 1), 0, 0, 0, kStatusDrdy, 0));
       }},
      {Rule::reply_write_short,
       [](Scene& s) {
         Bytes b = write_request(kAlice, 1, 0, 'a');
         b[26] = 2;
         s.add(b).add(write_reply(kAlice, 1, 0));
       },
       {Rule::request_write_short}},
      {Rule::reply_limit_served,
       [](Scene& s) {
         s.add(config(request(kAlice, kCommandConfig, 1), 0, ""))
             .add(config(reply(kAlice, kCommandConfig, 1), 0, ""))
             .add(read_request(kAlice, 2, 0, 3))
             .add(read_reply(kAlice, 2, 0, 'a', 3));
       },
       {Rule::request_sector_limit}},
      {Rule::reply_limit_refused,
       [](Scene& s) {
         s.add(config(request(kAlice, kCommandConfig, 1), 0, ""))
             .add(config(reply(kAlice, kCommandConfig, 1), 0, ""))
             .add(ata(request(kAlice, kCommandAta, 2), 0, 0, 1, kAtaIdentify, 0))
             .add(identify_reply(kAlice, 2, 100))
             .add(read_request(kAlice, 3, 0, 2))
             .add(error(ata(reply(kAlice, kCommandAta, 3), 0x40, 0, 0, 0, 0), 2));
       }},
      {Rule::reply_range_refused,
       [](Scene& s) {
         s.add(ata(request(kAlice, kCommandAta, 2), 0, 0, 1, kAtaIdentify, 0))
             .add(identify_reply(kAlice, 2, 100))
             .add(read_request(kAlice, 3, 99))
             .add(ata(reply(kAlice, kCommandAta, 3), 0x40, kAtaErrorIdnf, 1,
                      kStatusDrdy | kStatusErr, 99));
       }},
      {Rule::reply_crc,
       [](Scene& s) {
         negotiate(s, kAlice, "crc8x4", "CRC8X4");
         s.add(read_request(kAlice, 1, 0)).add(read_reply(kAlice, 1, 0, 'a'));
       }},
      {Rule::reply_crc_bad,
       [](Scene& s) {
         negotiate(s, kAlice, "crc8x4", "CRC8X4");
         Bytes b = write_request(kAlice, 1, 0, 'a');
         b.insert(b.end(), {1, 2, 3, 4});
         s.add(b).add(write_reply(kAlice, 1, 0));
       }},
      {Rule::reply_config_long,
       [](Scene& s) {
         s.add(config(request(kAlice, kCommandConfig, 1), 4, std::string(1025, 'x')))
             .add(config(reply(kAlice, kCommandConfig, 1), 4, ""));
       },
       {Rule::request_config_length}},
      {Rule::reply_config_ccmd,
       [](Scene& s) {
         s.add(config(request(kAlice, kCommandConfig, 1), 0, ""))
             .add(config(reply(kAlice, kCommandConfig, 1), 3, ""));
       }},
      {Rule::reply_config_version,
       [](Scene& s) {
         Bytes b = config(reply(kAlice, kCommandConfig, 1), 0, "");
         b[29] = 0x20;
         s.add(config(request(kAlice, kCommandConfig, 1), 0, "")).add(b);
       }},
      {Rule::reply_mask_bad,
       [](Scene& s) {
         s.add(mask(request(kAlice, kCommandMask, 1), 1, {{7, kAlice}}))
             .add(mask(reply(kAlice, kCommandMask, 1), 1, {}));
       }},
      {Rule::reply_mask_twice,
       [](Scene& s) {
         s.add(mask(request(kAlice, kCommandMask, 1), 1, {{1, kAlice}}))
             .add(mask(reply(kAlice, kCommandMask, 1), 1, {{0, kAlice}, {0, kAlice}}));
       }},
      {Rule::reply_reserve_set,
       [](Scene& s) {
         s.add(reserve(request(kAlice, kCommandReserve, 1), 1, {kAlice}))
             .add(reserve(reply(kAlice, kCommandReserve, 1), 1, {kAlice}))
             .add(reserve(request(kBob, kCommandReserve, 2), 1, {kBob}))
             .add(reserve(reply(kBob, kCommandReserve, 2), 1, {kBob}));
       }},
      {Rule::reply_reserve_force,
       [](Scene& s) {
         s.add(reserve(request(kAlice, kCommandReserve, 1), 2, {kAlice}))
             .add(error(reserve(reply(kAlice, kCommandReserve, 1), 2, {}), 6));
       }},
      {Rule::reply_reserve_command,
       [](Scene& s) {
         s.add(reserve(request(kAlice, kCommandReserve, 1), 7, {}))
             .add(reserve(reply(kAlice, kCommandReserve, 1), 7, {}));
       },
       {Rule::request_reserve_command}},
      {Rule::reply_table_order,
       [](Scene& s) {
         Bytes b = table(reply(kAlice, kCommandExtensions, 1), "RESET");
         std::swap(b[24], b[25]);
         s.add(table(request(kAlice, kCommandExtensions, 1), "reset")).add(b);
       }},
      {Rule::reply_table_case,
       [](Scene& s) {
         s.add(table(request(kAlice, kCommandExtensions, 1), "crc8x4"))
             .add(table(reply(kAlice, kCommandExtensions, 1), "Crc8x4"));
       }},
      {Rule::reply_reset,
       [](Scene& s) {
         s.add(table(request(kAlice, kCommandExtensions, 1), "reset"))
             .add(table(reply(kAlice, kCommandExtensions, 1), "reset"));
       }},
      {Rule::congestion_pause,
       [](Scene& s) {
         s.add(table(request(kAlice, kCommandExtensions, 1), "congestion,41"))
             .add(table(reply(kAlice, kCommandExtensions, 1), "CONGESTION,41"));
       }},
      {Rule::congestion_twice,
       [](Scene& s) {
         s.add(table(request(kAlice, kCommandExtensions, 1), "congestion,41"))
             .wait(500 * kStepNs)
             .add(table(reply(kAlice, kCommandExtensions, 1), "CONGESTION,41"))
             .add(table(request(kAlice, kCommandExtensions, 2), "congestion,41"))
             .wait(500 * kStepNs)
             .add(table(reply(kAlice, kCommandExtensions, 2), "CONGESTION,41"));
       }},
      {Rule::data_refused,
       [](Scene& s) {
         s.add(read_request(kAlice, 1, 5))
             .add(read_reply(kAlice, 1, 5, 'a'))
             .add(write_request(kBob, 2, 5, 'b'))
             .add(error(write_reply(kBob, 2, 5), 6))
             .add(read_request(kAlice, 3, 5))
             .add(read_reply(kAlice, 3, 5, 'b'));
       }},
      {Rule::reply_coalesced_order,
       [](Scene& s) {
         negotiate(s, kAlice, "coalesced_read", "COALESCED_READ");
         Bytes b = read_request(kAlice, 1, 5);
         b.push_back(1);
         b.resize(b.size() + 16, 0);
         put_be(b, 37, 2, 4);
         b[52] = 1;
         b.resize(60, 0);
         s.add(b).add(read_reply(kAlice, 2, 0, 'a')).add(read_reply(kAlice, 1, 5, 'a'));
       }},
      {Rule::reply_identify_same,
       [](Scene& s) {
         Bytes b = identify_reply(kBob, 2, 100);
         b[kAtaDataOffset + 20] = 'x';
         s.add(ata(request(kAlice, kCommandAta, 1), 0, 0, 1, kAtaIdentify, 0))
             .add(identify_reply(kAlice, 1, 100))
             .add(ata(request(kBob, kCommandAta, 2), 0, 0, 1, kAtaIdentify, 0))
             .add(b);
       }},
      {Rule::reply_reserve_open,
       [](Scene& s) {
         s.add(config(request(kAlice, kCommandConfig, 1), 0, ""))
             .add(error(config(reply(kAlice, kCommandConfig, 1), 0, ""), 6));
       }},
      {Rule::stale_count,
       [](Scene& s) {
         negotiate(s, kAlice, "tag_inc_be", "TAG_INC_BE");
         Bytes b = write_reply(kAlice, 1, 5);
         b[26] = 1;
         s.add(write_request(kAlice, 1, 5, 'a'))
             .add(write_reply(kAlice, 1, 5))
             .add(write_request(kAlice, 1, 5, 'a'))
             .add(b);
       }},
  };
  return all;
}

class EachRule : public testing::TestWithParam<std::size_t> {};

TEST_P(EachRule, IsBrokenByWhatBreaksItAndByNothingElse) {
  const Provocation& provocation = provocations()[GetParam()];
  const Verdicts verdicts = judge(provocation.play, Claim::complete);
  std::set<std::string> names;
  for (const auto& [rule, count] : verdicts.counts) {
    names.insert(facts_of(rule).name);
  }
  std::set<std::string> expected{facts_of(provocation.rule).name};
  for (const Rule rule : provocation.also) {
    expected.insert(facts_of(rule).name);
  }
  EXPECT_EQ(names, expected) << verdicts.first;
  EXPECT_EQ(verdicts.worst.at(provocation.rule), facts_of(provocation.rule).verdict)
      << "in a complete capture it is as grave as its clause";
}

INSTANTIATE_TEST_SUITE_P(Judge, EachRule, testing::Range<std::size_t>(0, provocations().size()),
                         [](const testing::TestParamInfo<std::size_t>& param) {
                           std::string name = facts_of(provocations()[param.param].rule).name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(Rules, EachCanBeBroken) {
  std::set<Rule> provoked;
  for (const Provocation& provocation : provocations()) {
    provoked.insert(provocation.rule);
  }
  for (const RuleFacts& facts : all_rules()) {
    EXPECT_TRUE(provoked.count(facts.rule)) << facts.name << " has no provocation";
  }
  EXPECT_EQ(provocations().size(), all_rules().size());
}

TEST(Rules, SpeakOfClausesOfTheSuite) {
  std::ifstream file(CLAUSES_TSV);
  ASSERT_TRUE(file) << CLAUSES_TSV;
  std::set<std::string> ids;
  for (std::string line; std::getline(file, line);) {
    ids.insert(line.substr(0, line.find('\t')));
  }
  for (const RuleFacts& facts : all_rules()) {
    EXPECT_TRUE(ids.count(facts.clause)) << facts.name << " names " << facts.clause;
  }
}

TEST(Judge, SaysNothingOfARunThatIsInOrder) {
  const Verdicts verdicts = judge([](Scene& s) {
    s.add(config(request(kAlice, kCommandConfig, 1), 0, ""))
        .add(config(reply(kAlice, kCommandConfig, 1), 0, "abc"))
        .add(write_request(kAlice, 2, 5, 'a'))
        .add(write_reply(kAlice, 2, 5))
        .add(read_request(kAlice, 3, 5))
        .add(read_reply(kAlice, 3, 5, 'a'));
  });
  EXPECT_TRUE(verdicts.counts.empty()) << verdicts.first;
  EXPECT_EQ(verdicts.counters.sectors_checked, 1U);
}

TEST(Judge, ComparesATableThatFillsAJumboFrameAndSaysNothingOfALongerOne) {
  for (const std::size_t names : {100U, 740U, 2000U}) {
    for (const bool changed : {false, true}) {
      std::string asked;
      for (std::size_t i = 0; i < names; ++i) {
        asked += fmt::format("unknown{:04}", i) + std::string(1, '\0');
      }
      asked += "reset";
      std::string told = asked;
      told.replace(told.size() - 5, 5, changed ? "RESEX" : "RESET");
      const Verdicts verdicts = judge([&](Scene& s) {
        s.add(table(request(kAlice, kCommandExtensions, 1), asked))
            .add(table(reply(kAlice, kCommandExtensions, 1), told));
      });
      EXPECT_EQ(verdicts.counts.empty(), !changed || names == 2000) << names << " " << changed;
    }
  }
}

// A refused write was asked twice and answered once when its tag carried a good write: the second
// answer is the refused one's, or the good one's, and nobody can tell.
TEST(Judge, DoesNotTakeTheLateAnswerToACopyForARefusalOfWhatCameUnderItsTag) {
  for (const int copies : {1, 2}) {
    const Verdicts verdicts = judge(
        [copies](Scene& s) {
          s.add(config(request(kAlice, kCommandConfig, 1), 0, ""))
              .add(config(reply(kAlice, kCommandConfig, 1), 0, "", 16, 2))
              .add(ata(request(kAlice, kCommandAta, 2), 0, 0, 1, kAtaIdentify, 0))
              .add(identify_reply(kAlice, 2, 100));
          Bytes lies = write_request(kAlice, 7, 5, 'a');
          lies[26] = 2;  // sectors; it carries one
          Bytes refusal = reply(kAlice, kCommandAta, 7);
          refusal[14] |= 4;
          refusal[15] = 2;
          refusal.resize(60);
          for (int i = 0; i < copies; ++i) {
            s.add(lies);
          }
          s.add(refusal).add(write_request(kAlice, 7, 5, 'b')).add(refusal);
          s.add(write_reply(kAlice, 7, 5));
        },
        Claim::complete);
    ASSERT_EQ(verdicts.counts.count(Rule::reply_limit_refused), 1U) << verdicts.first;
    EXPECT_EQ(verdicts.worst.at(Rule::reply_limit_refused),
              copies == 1 ? Verdict::fail : Verdict::info)
        << copies << ": " << verdicts.first;
  }
}

// Where flag and command disagree, no data is as good an answer as the data.
TEST(Judge, LetsAReadThatSaysItWritesBringNothing) {
  for (const bool says_write : {false, true}) {
    const Verdicts verdicts = judge(
        [says_write](Scene& s) {
          Bytes asked = read_request(kAlice, 1, 0);
          asked[24] |= says_write ? kAtaWriteFlag : 0;
          s.add(asked).add(write_reply(kAlice, 1, 0));
        },
        Claim::complete);
    ASSERT_EQ(verdicts.counts.count(Rule::reply_short), 1U) << verdicts.first;
    EXPECT_EQ(verdicts.worst.at(Rule::reply_short), says_write ? Verdict::info : Verdict::fail);
  }
}

TEST(Judge, AcceptsEitherValueWhileAWriteIsInFlight) {
  for (const char seen : {'a', 'b'}) {
    const Verdicts verdicts = judge([seen](Scene& s) {
      s.add(write_request(kAlice, 1, 5, 'a'))
          .add(write_reply(kAlice, 1, 5))
          .add(read_request(kBob, 2, 5))
          .add(write_request(kAlice, 3, 5, 'b'))
          .add(write_reply(kAlice, 3, 5))
          .add(read_reply(kBob, 2, 5, seen));
    });
    EXPECT_TRUE(verdicts.counts.empty()) << seen << ": " << verdicts.first;
  }
}

TEST(Judge, DoesNotAccuseWhenAWriteMayHaveBeenLost) {
  for (const char seen : {'a', 'b'}) {
    const Verdicts verdicts = judge([seen](Scene& s) {
      s.add(write_request(kAlice, 1, 5, 'a'))
          .add(write_reply(kAlice, 1, 5))
          .add(write_request(kAlice, 2, 5, 'b'))  // no reply
          .add(read_request(kAlice, 3, 5))
          .add(read_reply(kAlice, 3, 5, seen));
    });
    EXPECT_TRUE(verdicts.counts.empty()) << seen << ": " << verdicts.first;
  }
}

TEST(Judge, DoesNotTakeARefusedWriteForDone) {
  const Verdicts verdicts = judge([](Scene& s) {
    Bytes refused = write_reply(kAlice, 2, 5);
    refused[27] = kStatusDrdy | kStatusErr;
    refused[25] = 0x10;
    s.add(write_request(kAlice, 1, 5, 'a'))
        .add(write_reply(kAlice, 1, 5))
        .add(write_request(kAlice, 2, 5, 'b'))
        .add(refused)
        .add(read_request(kAlice, 3, 5))
        .add(read_reply(kAlice, 3, 5, 'a'));
  });
  EXPECT_TRUE(verdicts.counts.empty()) << verdicts.first;
}

TEST(Judge, TakesASecondReplyForTheRequestThatItFits) {
  const Verdicts verdicts = judge([](Scene& s) {
    s.add(write_request(kAlice, 1, 5, 'a'))  // dropped as a duplicate: never answered
        .wait(kGiveUpNs)
        .add(write_request(kAlice, 1, 6, 'b'))
        .add(write_reply(kAlice, 1, 6))
        .add(write_request(kAlice, 1, 6, 'b'))
        .add(write_reply(kAlice, 1, 6));
  });
  EXPECT_TRUE(verdicts.counts.empty()) << verdicts.first;
}

// The same tag for a write that was never answered and a read that was, twice: both answers are the
// read's. And for a whole write and a copy of it that was cut on its way, with a snaplen that hides
// where.
TEST(Judge, TellsRequestsOfOneTagApartByWhatTheAnswerBrings) {
  for (const std::uint8_t other : {kAtaWriteExt, kAtaIdentify}) {
    Scene scene;
    Judge judge(scene.tracker(), 3);
    scene.tracker().add_observer(&judge);
    scene.add(other == kAtaWriteExt ? write_request(kAlice, 1, 5, 'w')
                                    : write_request(kAlice, 1, 0, 'w'));
    if (other == kAtaWriteExt) {
      scene.add(read_request(kAlice, 1, 5)).add(read_reply(kAlice, 1, 5, 'a'));
      scene.add(read_reply(kAlice, 1, 5, 'a'));
    } else {
      scene.add(ata(request(kAlice, kCommandAta, 1), 0, 0, 1, kAtaIdentify, 0));
      scene.add(write_reply(kAlice, 1, 0)).add(identify_reply(kAlice, 1, 4096));
    }
    scene.finish();
    for (const FindingGroup& group : judge.groups()) {
      EXPECT_TRUE(facts_of(group.rule).side != Side::target || group.verdict == Verdict::info)
          << group.examples.front().text;
    }
  }
  for (const std::size_t snaplen : {60U, 200U, 2000U}) {
    Scene scene;
    Judge judge(scene.tracker(), 3);
    scene.tracker().add_observer(&judge);
    const auto snapped = [&](Bytes b) {
      const auto wire = static_cast<std::uint32_t>(b.size());
      b.resize(std::min(b.size(), snaplen));
      scene.add(b, wire);
    };
    Bytes cut = write_request(kAlice, 1, 5, 'w');
    cut.resize(300);
    snapped(cut);
    snapped(error(ata(reply(kAlice, kCommandAta, 1), 0x41, 0, 0, 0, 5), 2));
    snapped(write_request(kAlice, 1, 5, 'w'));
    snapped(write_reply(kAlice, 1, 5));
    scene.finish();
    for (const FindingGroup& group : judge.groups()) {
      EXPECT_NE(facts_of(group.rule).side, Side::target)
          << snaplen << ": " << group.examples.front().text;
    }
  }
}

TEST(Judge, AcceptsPaddingThatIsTheSendersOwn) {
  const Verdicts verdicts = judge([](Scene& s) {
    Bytes told = write_reply(kAlice, 1, 5);
    told.resize(60, 'a');
    s.add(write_request(kAlice, 1, 5, 'a')).add(told);
  });
  EXPECT_TRUE(verdicts.counts.empty()) << verdicts.first;
}

TEST(Judge, DoesNotHoldATagPromiseAgainstARetransmission) {
  const Verdicts verdicts = judge([](Scene& s) {
    negotiate(s, kAlice, "reset,tag_inc_le", "RESET,TAG_INC_LE");
    s.add(write_request(kAlice, 0xFFFF'FFFF, 0, 'a'))
        .add(write_request(kAlice, 0xFFFF'FFFF, 0, 'a'))
        .add(write_request(kAlice, 0x0000'0000, 1, 'a'))   // 0 follows 0xFFFFFFFF
        .add(write_request(kAlice, 0x0100'0000, 2, 'a'));  // 1, little-endian
  });
  EXPECT_TRUE(verdicts.counts.empty()) << verdicts.first;
}

TEST(Judge, KnowsTheLastOfSeveralIdsInOneTable) {
  const Verdicts verdicts = judge([](Scene& s) {
    s.add(table(request(kAlice, kCommandExtensions, 1), "congestion,41,congestion,42"))
        .wait(500 * kStepNs)
        .add(table(reply(kAlice, kCommandExtensions, 1), "CONGESTION,41,CONGESTION,42"))
        .add(table(request(kAlice, kCommandExtensions, 2), "congestion,42"))
        .add(table(reply(kAlice, kCommandExtensions, 2), "CONGESTION,42"));
  });
  EXPECT_TRUE(verdicts.counts.empty()) << verdicts.first;
}

TEST(Judge, DoesNotJudgeAReplyByARequestThatItDoesNotAnswer) {
  // A capture that lost frames: tag 1 was used again, for other data, out of its sight.
  const Verdicts verdicts = judge([](Scene& s) {
    s.add(table(request(kAlice, kCommandExtensions, 1), "congestion,41"))
        .wait(500 * kStepNs)
        .add(table(reply(kAlice, kCommandExtensions, 1), "CONGESTION,41"))
        .add(table(reply(kAlice, kCommandExtensions, 1), "CONGESTION,42"));
  });
  EXPECT_EQ(verdicts.counts.size(), 1U);
  EXPECT_EQ(verdicts.counts.count(Rule::reply_duplicate), 1U);
}

TEST(Judge, ServesAReservedTargetsIdentifyToAll) {
  const Verdicts verdicts = judge([](Scene& s) {
    s.add(reserve(request(kAlice, kCommandReserve, 1), 1, {kAlice}))
        .add(reserve(reply(kAlice, kCommandReserve, 1), 1, {kAlice}))
        .add(ata(request(kBob, kCommandAta, 2), 0, 0, 1, kAtaIdentify, 0))
        .add(identify_reply(kBob, 2, 100));
  });
  EXPECT_TRUE(verdicts.counts.empty()) << verdicts.first;
}

TEST(Judge, KeepsAFewExamplesAndCountsTheRest) {
  Scene scene;
  Judge judge(scene.tracker(), 3);
  scene.tracker().add_observer(&judge);
  for (std::uint32_t tag = 0; tag < 50; ++tag) {
    Bytes b = read_request(kAlice, tag, tag);
    b[35] = 1;
    scene.add(b);
  }
  scene.finish();
  ASSERT_EQ(judge.groups().size(), 1U);
  EXPECT_EQ(judge.groups()[0].count, 50U);
  EXPECT_EQ(judge.groups()[0].examples.size(), 3U);
}

}  // namespace
}  // namespace conformance::observer::testing_frames
