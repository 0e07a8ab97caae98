#include "conformance/observer/rules.h"

#include <array>
#include <cassert>
#include <cstddef>

namespace conformance::observer {

namespace {
constexpr auto kRuleCount = static_cast<std::size_t>(Rule::count);

constexpr std::array<RuleFacts, kRuleCount> kRules{{
    {Rule::request_runt, "request-runt", "HDR-SHORT", Verdict::warn, Side::initiator,
     Needs::anything, "A frame is at least as long as the header"},
    {Rule::request_version, "request-version", "HDR-BAD-VERSION", Verdict::fail, Side::initiator,
     Needs::anything, "The version is 1"},
    {Rule::request_reserved_bits, "request-reserved-bits", "HDR-RESERVED", Verdict::warn,
     Side::initiator, Needs::anything, "Reserved header bits are sent as zero"},
    {Rule::request_error_field, "request-error-field", "HDR-E", Verdict::warn, Side::initiator,
     Needs::anything, "A request carries no error"},
    {Rule::request_ata_short, "request-ata-short", "HDR-SHORT", Verdict::fail, Side::initiator,
     Needs::ata, "An ATA request holds its registers"},
    {Rule::request_write_short, "request-write-short", "ATA-SHORT", Verdict::fail, Side::initiator,
     Needs::write, "A write carries the data that its count says"},
    {Rule::request_write_flag, "request-write-flag", "ATA-W", Verdict::warn, Side::initiator,
     Needs::ata, "The W flag says whether the request carries data"},
    {Rule::request_ata_reserved, "request-ata-reserved", "ATA-FLAGS", Verdict::warn,
     Side::initiator, Needs::ata, "Reserved ATA bits and bytes are sent as zero"},
    {Rule::request_sector_limit, "request-sector-limit", "ATA-LIMIT", Verdict::warn,
     Side::initiator, Needs::ata, "No command asks for more sectors than the target offers"},
    {Rule::request_outstanding_limit, "request-outstanding-limit", "CFG-BUFFERS-HELD",
     Verdict::info, Side::initiator, Needs::anything,
     "No more requests are outstanding than the target has buffers"},
    {Rule::request_tag_reused, "request-tag-reused", "HDR-TAG", Verdict::warn, Side::initiator,
     Needs::anything, "A tag names one outstanding request"},
    {Rule::request_padding, "request-padding", "HDR-PADDING", Verdict::warn, Side::initiator,
     Needs::anything, "The padding that a sender adds is zero"},
    {Rule::request_config_length, "request-config-length", "CFG-LENGTH", Verdict::info,
     Side::initiator, Needs::config,
     "A config string has at most 1,024 bytes, all of them in the frame"},
    {Rule::request_config_command, "request-config-command", "CFG-BAD-CCMD", Verdict::warn,
     Side::initiator, Needs::config, "CCmd is one of 0 to 4"},
    {Rule::request_mask_command, "request-mask-command", "MASK-COMMAND", Verdict::warn,
     Side::initiator, Needs::mask, "MCmd is 0 or 1"},
    {Rule::request_reserve_command, "request-reserve-command", "RES-COMMAND", Verdict::warn,
     Side::initiator, Needs::reserve, "RCmd is one of 0 to 2"},
    {Rule::request_table_malformed, "request-table-malformed", "EXT-MALFORMED", Verdict::warn,
     Side::initiator, Needs::extensions, "An extension table ends in two NULs inside the frame"},
    {Rule::request_upper_case, "request-upper-case", "EXT-CASE", Verdict::warn, Side::initiator,
     Needs::extensions, "Features are asked for in lower case"},
    {Rule::request_tag_promise, "request-tag-promise", "TAG-SERIAL", Verdict::warn, Side::initiator,
     Needs::tag_inc, "Under tag_inc each new request carries the next tag"},
    {Rule::request_coalesced_cut, "request-coalesced-cut", "COAL-FRAME", Verdict::warn,
     Side::initiator, Needs::coalesced, "The further reads of a coalesced read fit their frame"},
    {Rule::reply_unasked, "reply-unasked", "HDR-TAG", Verdict::fail, Side::target, Needs::reply,
     "A reply carries the tag of a request that was made"},
    {Rule::reply_to_reply, "reply-to-reply", "HDR-R", Verdict::fail, Side::target, Needs::reply,
     "A frame with R set is no request and is met with silence"},
    {Rule::reply_destination, "reply-destination", "HDR-DESTINATION", Verdict::fail, Side::target,
     Needs::reply, "A reply goes to the address that asked"},
    {Rule::reply_duplicate, "reply-duplicate", "HDR-ALONE", Verdict::fail, Side::target,
     Needs::reply, "A request has one reply"},
    {Rule::reply_command, "reply-command", "HDR-COMMAND", Verdict::fail, Side::target, Needs::reply,
     "A reply carries the command of its request"},
    {Rule::reply_version, "reply-version", "HDR-VERSION", Verdict::fail, Side::target, Needs::reply,
     "A reply carries version 1"},
    {Rule::reply_unknown_version, "reply-unknown-version", "HDR-BAD-VERSION", Verdict::warn,
     Side::target, Needs::reply,
     "A request of an unknown version gets error 5, and nothing is done"},
    {Rule::reply_reserved_bits, "reply-reserved-bits", "HDR-RESERVED", Verdict::warn, Side::target,
     Needs::reply, "Reserved header bits are sent as zero"},
    {Rule::reply_error_flag, "reply-error-flag", "HDR-E", Verdict::fail, Side::target, Needs::reply,
     "E is set if and only if the error code is not zero"},
    {Rule::reply_error_code, "reply-error-code", "HDR-E", Verdict::warn, Side::target, Needs::reply,
     "The error code is one of 1 to 6"},
    {Rule::reply_address, "reply-address", "HDR-OWN-ADDRESS", Verdict::fail, Side::target,
     Needs::reply, "A reply carries the target's own shelf and slot"},
    {Rule::reply_other_address, "reply-other-address", "HDR-OTHERS", Verdict::fail, Side::target,
     Needs::reply, "A request for another shelf or slot is met with silence"},
    {Rule::reply_source, "reply-source", "HDR-SOURCE", Verdict::fail, Side::target, Needs::reply,
     "A reply comes from an address of the target's"},
    {Rule::reply_two_sources, "reply-two-sources", "HDR-SOURCE", Verdict::info, Side::target,
     Needs::reply, "One machine answers for a shelf and slot"},
    {Rule::reply_short, "reply-short", "HDR-COMPLETE", Verdict::fail, Side::target, Needs::ata,
     "A reply holds everything that its request asked for"},
    {Rule::reply_to_short, "reply-to-short", "HDR-SHORT", Verdict::fail, Side::target, Needs::reply,
     "A request shorter than its command's fixed argument is met with silence"},
    {Rule::reply_padding, "reply-padding", "LEAK-PADDING", Verdict::fail, Side::target,
     Needs::reply, "What stands in the padding is zero or the sender's own"},
    {Rule::reply_ata_status, "reply-ata-status", "ATA-STATUS", Verdict::fail, Side::target,
     Needs::ata,
     "A good reply has DRDY, none of BSY, DRQ, error register, and a count of 0 or the request's"},
    {Rule::reply_ata_error, "reply-ata-error", "ATA-STATUS", Verdict::warn, Side::target,
     Needs::ata, "An ATA error has a reason in the error register"},
    {Rule::reply_lba, "reply-lba", "ATA-FORM", Verdict::warn, Side::target, Needs::ata,
     "A reply repeats its request's LBA"},
    {Rule::reply_coalesced_lba, "reply-coalesced-lba", "COAL-EACH", Verdict::fail, Side::target,
     Needs::coalesced, "Each further read is answered under its own tag, with its own LBA"},
    {Rule::reply_coalesced_order, "reply-coalesced-order", "COAL-ORDER", Verdict::fail,
     Side::target, Needs::coalesced, "Further reads are answered in the order of the list"},
    {Rule::reply_undefined_command, "reply-undefined-command", "ATA-ABORT", Verdict::fail,
     Side::target, Needs::ata, "A command that ATA does not define is aborted"},
    {Rule::reply_write_short, "reply-write-short", "ATA-SHORT", Verdict::fail, Side::target,
     Needs::write, "A write that carries less data than its count says is refused"},
    {Rule::reply_limit_served, "reply-limit-served", "ATA-LIMIT", Verdict::fail, Side::target,
     Needs::ata, "More sectors than offered are refused"},
    {Rule::reply_limit_refused, "reply-limit-refused", "ATA-LIMIT", Verdict::fail, Side::target,
     Needs::ata, "As many sectors as offered are served"},
    {Rule::reply_range_refused, "reply-range-refused", "ATA-CAPACITY", Verdict::fail, Side::target,
     Needs::identify, "What lies before the last sector is no range error"},
    {Rule::reply_past_end, "reply-past-end", "ATA-RANGE", Verdict::fail, Side::target,
     Needs::identify, "A range past the end is refused"},
    {Rule::reply_identify, "reply-identify", "ATA-CAPACITY", Verdict::fail, Side::target,
     Needs::identify, "The two capacities of identify agree"},
    {Rule::reply_identify_same, "reply-identify-same", "ATA-IDENTIFY", Verdict::fail, Side::target,
     Needs::identify, "Identify is the same for everybody"},
    {Rule::reply_crc, "reply-crc", "CRC-READ", Verdict::fail, Side::target, Needs::crc,
     "Under crc8x4 the check of header and data follows the data of a read"},
    {Rule::reply_crc_bad, "reply-crc-bad", "CRC-BAD", Verdict::fail, Side::target, Needs::crc,
     "A write whose check is wrong gets no answer"},
    {Rule::reply_buffer_count, "reply-buffer-count", "CFG-BUFFERS", Verdict::warn, Side::target,
     Needs::config, "The buffer count is at least 2"},
    {Rule::reply_config_length, "reply-config-length", "CFG-LENGTH-FRAME", Verdict::fail,
     Side::target, Needs::config,
     "A config string has at most 1,024 bytes, all of them in the frame"},
    {Rule::reply_config_long, "reply-config-long", "CFG-LENGTH-MAX", Verdict::fail, Side::target,
     Needs::config,
     "More than 1,024 bytes, or than the frame holds, are neither stored nor found equal"},
    {Rule::reply_config_ccmd, "reply-config-ccmd", "CFG-CCMD", Verdict::warn, Side::target,
     Needs::config, "A config reply carries the CCmd of its request"},
    {Rule::reply_config_version, "reply-config-version", "CFG-VERSION", Verdict::fail, Side::target,
     Needs::config, "A config reply names AoE version 1 beside the CCmd"},
    {Rule::reply_config_string, "reply-config-string", "CFG-READ", Verdict::fail, Side::target,
     Needs::config, "The reply carries the config string"},
    {Rule::reply_config_test, "reply-config-test", "CFG-TEST", Verdict::fail, Side::target,
     Needs::config, "A test is answered only when its string matches"},
    {Rule::reply_config_set, "reply-config-set", "CFG-SET", Verdict::fail, Side::target,
     Needs::config, "Set stores the string only when none is there"},
    {Rule::reply_config_force, "reply-config-force", "CFG-FORCE", Verdict::fail, Side::target,
     Needs::config, "Force set always stores the string"},
    {Rule::reply_config_unknown, "reply-config-unknown", "CFG-BAD-CCMD", Verdict::fail,
     Side::target, Needs::config, "An unknown CCmd gets error 2"},
    {Rule::reply_masked_out, "reply-masked-out", "MASK-LOCK", Verdict::fail, Side::target,
     Needs::mask, "A source that is not on the mask list is met with silence"},
    {Rule::reply_mask_list, "reply-mask-list", "MASK-REPLY", Verdict::fail, Side::target,
     Needs::mask, "The reply carries the mask list as it is then"},
    {Rule::reply_mask_command, "reply-mask-command", "MASK-COMMAND", Verdict::fail, Side::target,
     Needs::mask, "An unknown MCmd gets error 2"},
    {Rule::reply_mask_bad, "reply-mask-bad", "MASK-ERROR", Verdict::fail, Side::target, Needs::mask,
     "An edit stops at a directive that cannot be applied, and its reply names it"},
    {Rule::reply_mask_twice, "reply-mask-twice", "MASK-EDIT", Verdict::warn, Side::target,
     Needs::mask, "An address stands on the list once"},
    {Rule::reply_reserved_out, "reply-reserved-out", "RES-ATA", Verdict::fail, Side::target,
     Needs::reserve, "While the list is not empty others get error 6"},
    {Rule::reply_reserve_refused, "reply-reserve-refused", "RES-ATA", Verdict::fail, Side::target,
     Needs::reserve, "Who is on the reserve list is served"},
    {Rule::reply_reserve_list, "reply-reserve-list", "RES-READ", Verdict::fail, Side::target,
     Needs::reserve, "The reply carries the reserve list"},
    {Rule::reply_reserve_set, "reply-reserve-set", "RES-SET", Verdict::fail, Side::target,
     Needs::reserve, "A set replaces the list only if it is empty or holds the sender"},
    {Rule::reply_reserve_force, "reply-reserve-force", "RES-FORCE", Verdict::fail, Side::target,
     Needs::reserve, "A force set replaces the list whoever sends it"},
    {Rule::reply_reserve_command, "reply-reserve-command", "RES-COMMAND", Verdict::fail,
     Side::target, Needs::reserve, "An unknown RCmd gets error 2"},
    {Rule::reply_reserve_open, "reply-reserve-open", "RES-OPEN", Verdict::fail, Side::target,
     Needs::reserve, "While reserved, all but ATA commands, and identify, stay open to everybody"},
    {Rule::reply_table_malformed, "reply-table-malformed", "EXT-TABLE", Verdict::fail, Side::target,
     Needs::extensions, "The reply's table is well-formed"},
    {Rule::reply_table_changed, "reply-table-changed", "EXT-TABLE", Verdict::fail, Side::target,
     Needs::extensions, "The reply is the same table, but for the case of known features"},
    {Rule::reply_table_order, "reply-table-order", "EXT-ORDER", Verdict::fail, Side::target,
     Needs::extensions,
     "The length of the table is answered in the byte order in which it was asked"},
    {Rule::reply_table_case, "reply-table-case", "EXT-CASE", Verdict::fail, Side::target,
     Needs::extensions,
     "The name of a feature comes back in upper case, in lower case, or as it was"},
    {Rule::reply_reset, "reply-reset", "EXT-RESET", Verdict::warn, Side::target, Needs::extensions,
     "`reset` is answered in upper case"},
    {Rule::reply_table_answered, "reply-table-answered", "EXT-MALFORMED", Verdict::fail,
     Side::target, Needs::extensions, "A malformed table gets no answer"},
    {Rule::congestion_pause, "congestion-pause", "CONG-PAUSE", Verdict::fail, Side::target,
     Needs::congestion, "The first probe with a new id is answered after 0.5 s"},
    {Rule::congestion_twice, "congestion-twice", "CONG-ONCE", Verdict::fail, Side::target,
     Needs::congestion, "A probe with the id of the last is answered at once"},
    {Rule::reply_unknown_command, "reply-unknown-command", "HDR-BAD-COMMAND", Verdict::warn,
     Side::target, Needs::reply, "An unknown command gets error 1"},
    {Rule::data_old, "data-old", "ATA-VISIBLE", Verdict::fail, Side::target, Needs::read,
     "A read brings what was last written and answered"},
    {Rule::data_foreign, "data-foreign", "ATA-READ", Verdict::fail, Side::target, Needs::read,
     "A read brings what was last written or seen there"},
    {Rule::data_refused, "data-refused", "ATA-WRITE", Verdict::fail, Side::target, Needs::read,
     "What was refused is not done"},
    {Rule::stale_executed, "stale-executed", "TAG-DUP", Verdict::fail, Side::target,
     Needs::write_copy, "A write whose tag is remembered is not performed again"},
    {Rule::stale_executed_plain, "stale-executed-plain", "TAG-PLAIN", Verdict::warn, Side::target,
     Needs::write_copy, "In plain AoE nothing stops a late copy of a write"},
    {Rule::stale_refused, "stale-refused", "TAG-DUP", Verdict::info, Side::target,
     Needs::write_copy, "A write whose tag is remembered is not performed again"},
    {Rule::stale_count, "stale-count", "TAG-REPLY", Verdict::fail, Side::target, Needs::write_copy,
     "The reply to a duplicate is a success with a sector count of 0"},
}};

constexpr bool in_order() {
  for (std::size_t i = 0; i < kRules.size(); ++i) {
    if (static_cast<std::size_t>(kRules[i].rule) != i) {
      return false;
    }
  }
  return true;
}
static_assert(in_order(), "facts_of() indexes the table by the enumerator");
}  // namespace

const RuleFacts& facts_of(Rule rule) {
  assert(rule < Rule::count);
  return kRules[static_cast<std::size_t>(rule)];
}

std::span<const RuleFacts> all_rules() {
  return kRules;
}

const char* verdict_text(Verdict verdict) {
  switch (verdict) {
    case Verdict::fail:
      return "fail";
    case Verdict::warn:
      return "warn";
    case Verdict::info:
      return "info";
  }
  return "?";
}

const char* side_text(Side side) {
  return side == Side::initiator ? "initiator" : "target";
}

}  // namespace conformance::observer
