// Every rule that a capture alone can show broken: its name, the clause of the suite it stands for,
// how grave it is when it is proven, and which side it speaks of. Numbers and words only; the
// checking is the judge's.
#pragma once

#include <cstdint>
#include <span>

namespace conformance::observer {

enum class Verdict : std::uint8_t { info, warn, fail };
enum class Side : std::uint8_t { initiator, target };

// What a capture must hold before a rule says anything: else it was not looked for, which is no
// pass.
enum class Needs : std::uint8_t {
  anything,
  reply,
  ata,
  read,
  write,
  identify,
  config,
  mask,
  reserve,
  extensions,
  tag_inc,
  coalesced,
  write_copy,
  congestion,
  crc,
  count,
};

enum class Rule : std::uint8_t {
  // Requests.
  request_runt,
  request_version,
  request_reserved_bits,
  request_error_field,
  request_ata_short,
  request_write_short,
  request_write_flag,
  request_ata_reserved,
  request_sector_limit,
  request_outstanding_limit,
  request_tag_reused,
  request_padding,
  request_config_length,
  request_config_command,
  request_mask_command,
  request_reserve_command,
  request_table_malformed,
  request_upper_case,
  request_tag_promise,
  request_coalesced_cut,
  // Replies.
  reply_unasked,
  reply_to_reply,
  reply_destination,
  reply_duplicate,
  reply_command,
  reply_version,
  reply_unknown_version,
  reply_reserved_bits,
  reply_error_flag,
  reply_error_code,
  reply_address,
  reply_other_address,
  reply_source,
  reply_two_sources,
  reply_short,
  reply_to_short,
  reply_padding,
  reply_ata_status,
  reply_ata_error,
  reply_lba,
  reply_coalesced_lba,
  reply_coalesced_order,
  reply_undefined_command,
  reply_write_short,
  reply_limit_served,
  reply_limit_refused,
  reply_range_refused,
  reply_past_end,
  reply_identify,
  reply_identify_same,
  reply_crc,
  reply_crc_bad,
  reply_buffer_count,
  reply_config_length,
  reply_config_long,
  reply_config_ccmd,
  reply_config_version,
  reply_config_string,
  reply_config_test,
  reply_config_set,
  reply_config_force,
  reply_config_unknown,
  reply_masked_out,
  reply_mask_list,
  reply_mask_command,
  reply_mask_bad,
  reply_mask_twice,
  reply_reserved_out,
  reply_reserve_refused,
  reply_reserve_list,
  reply_reserve_set,
  reply_reserve_force,
  reply_reserve_command,
  reply_reserve_open,
  reply_table_malformed,
  reply_table_changed,
  reply_table_order,
  reply_table_case,
  reply_reset,
  reply_table_answered,
  congestion_pause,
  congestion_twice,
  reply_unknown_command,
  // Data.
  data_old,
  data_foreign,
  data_refused,
  stale_executed,
  stale_executed_plain,
  stale_refused,
  stale_count,
  count,
};

// How sure a finding is. What is uncertain never becomes a fail.
enum class Certainty : std::uint8_t {
  proven,   // the frames at hand show it: the rule's verdict
  suspect,  // only a frame or a host that the tap did not see could explain it: at most a warning,
            // unless the capture is claimed to be complete
  uncertain,  // it depends on what the tap may not have seen: a remark that says what would decide
              // it, unless the capture is claimed to be complete
  hazard,     // a danger that plain AoE cannot prevent: a warning that names it
  doubtful,   // nobody can tell, complete or not: a remark
};

struct RuleFacts {
  Rule rule;
  const char* name;    // for --ignore, and in every report
  const char* clause;  // of conformance/clauses.tsv
  Verdict verdict;
  Side side;
  Needs needs;
  const char* text;  // what should be
};

const RuleFacts& facts_of(Rule rule);
std::span<const RuleFacts> all_rules();
const char* verdict_text(Verdict verdict);
const char* side_text(Side side);

}  // namespace conformance::observer
