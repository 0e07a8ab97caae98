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
    {Rule::request_config_length, "request-config-length", "CFG-LENGTH", Verdict::warn,
     Side::initiator, Needs::config,
     "A config string has at most 1,024 bytes, all of them in the frame"},
    {Rule::request_config_command, "request-config-command", "CFG-BAD-CCMD", Verdict::warn,
     Side::initiator, Needs::config, "CCmd is one of 0 to 4"},
    {Rule::request_table_malformed, "request-table-malformed", "EXT-MALFORMED", Verdict::warn,
     Side::initiator, Needs::extensions, "An extension table ends in two NULs inside the frame"},
    {Rule::request_upper_case, "request-upper-case", "EXT-CASE", Verdict::warn, Side::initiator,
     Needs::extensions, "Features are asked for in lower case"},
    {Rule::request_tag_promise, "request-tag-promise", "TAG-SERIAL", Verdict::warn, Side::initiator,
     Needs::tag_inc, "Under tag_inc each new request carries the next tag"},
    {Rule::request_coalesced_cut, "request-coalesced-cut", "COAL-FRAME", Verdict::warn,
     Side::initiator, Needs::coalesced, "The further reads of a coalesced read fit their frame"},
    {Rule::reply_unasked, "reply-unasked", "HDR-TAG", Verdict::info, Side::target, Needs::reply,
     "A reply carries the tag of a request"},
    {Rule::reply_duplicate, "reply-duplicate", "HDR-DESTINATION", Verdict::warn, Side::target,
     Needs::reply, "A request has one reply"},
    {Rule::reply_command, "reply-command", "HDR-COMMAND", Verdict::fail, Side::target, Needs::reply,
     "A reply carries the command of its request"},
    {Rule::reply_version, "reply-version", "HDR-VERSION", Verdict::fail, Side::target, Needs::reply,
     "A reply carries version 1"},
    {Rule::reply_reserved_bits, "reply-reserved-bits", "HDR-RESERVED", Verdict::warn, Side::target,
     Needs::reply, "Reserved header bits are sent as zero"},
    {Rule::reply_error_flag, "reply-error-flag", "HDR-E", Verdict::fail, Side::target, Needs::reply,
     "E is set if and only if the error code is not zero"},
    {Rule::reply_error_code, "reply-error-code", "HDR-E", Verdict::warn, Side::target, Needs::reply,
     "The error code is one of 1 to 6"},
    {Rule::reply_address, "reply-address", "HDR-OWN-ADDRESS", Verdict::fail, Side::target,
     Needs::reply, "A reply carries the target's own shelf and slot"},
    {Rule::reply_source, "reply-source", "HDR-SOURCE", Verdict::fail, Side::target, Needs::reply,
     "A reply comes from an address of the target's"},
    {Rule::reply_two_sources, "reply-two-sources", "HDR-SOURCE", Verdict::info, Side::target,
     Needs::reply, "One machine answers for a shelf and slot"},
    {Rule::reply_short, "reply-short", "HDR-COMPLETE", Verdict::fail, Side::target, Needs::ata,
     "A reply holds everything that its request asked for"},
    {Rule::reply_padding, "reply-padding", "LEAK-PADDING", Verdict::fail, Side::target,
     Needs::reply, "What stands in the padding is zero or the sender's own"},
    {Rule::reply_ata_status, "reply-ata-status", "ATA-STATUS", Verdict::warn, Side::target,
     Needs::ata, "The status says DRDY when good, and an error has a reason"},
    {Rule::reply_past_end, "reply-past-end", "ATA-RANGE", Verdict::fail, Side::target,
     Needs::identify, "A range past the end is refused"},
    {Rule::reply_identify, "reply-identify", "ATA-CAPACITY", Verdict::fail, Side::target,
     Needs::identify, "The two capacities of identify agree"},
    {Rule::reply_buffer_count, "reply-buffer-count", "CFG-BUFFERS", Verdict::warn, Side::target,
     Needs::config, "The buffer count is at least 2"},
    {Rule::reply_config_length, "reply-config-length", "CFG-LENGTH-FRAME", Verdict::fail,
     Side::target, Needs::config,
     "A config string has at most 1,024 bytes, all of them in the frame"},
    {Rule::reply_config_string, "reply-config-string", "CFG-READ", Verdict::warn, Side::target,
     Needs::config, "The reply carries the config string"},
    {Rule::reply_config_test, "reply-config-test", "CFG-TEST", Verdict::fail, Side::target,
     Needs::config, "A test is answered only when its string matches"},
    {Rule::reply_config_set, "reply-config-set", "CFG-SET", Verdict::fail, Side::target,
     Needs::config, "Set stores the string only when none is there"},
    {Rule::reply_config_force, "reply-config-force", "CFG-FORCE", Verdict::fail, Side::target,
     Needs::config, "Force set always stores the string"},
    {Rule::reply_config_unknown, "reply-config-unknown", "CFG-BAD-CCMD", Verdict::warn,
     Side::target, Needs::config, "An unknown CCmd gets error 2"},
    {Rule::reply_masked_out, "reply-masked-out", "MASK-LOCK", Verdict::fail, Side::target,
     Needs::mask, "A source that is not on the mask list is met with silence"},
    {Rule::reply_mask_list, "reply-mask-list", "MASK-REPLY", Verdict::fail, Side::target,
     Needs::mask, "The reply carries the mask list as it is then"},
    {Rule::reply_mask_command, "reply-mask-command", "MASK-COMMAND", Verdict::warn, Side::target,
     Needs::mask, "An unknown MCmd gets error 2"},
    {Rule::reply_reserved_out, "reply-reserved-out", "RES-ATA", Verdict::fail, Side::target,
     Needs::reserve, "While the list is not empty others get error 6"},
    {Rule::reply_reserve_refused, "reply-reserve-refused", "RES-ATA", Verdict::fail, Side::target,
     Needs::reserve, "Who is on the reserve list is served"},
    {Rule::reply_reserve_list, "reply-reserve-list", "RES-READ", Verdict::fail, Side::target,
     Needs::reserve, "The reply carries the reserve list"},
    {Rule::reply_table_malformed, "reply-table-malformed", "EXT-TABLE", Verdict::fail, Side::target,
     Needs::extensions, "The reply's table is well-formed"},
    {Rule::reply_table_changed, "reply-table-changed", "EXT-TABLE", Verdict::fail, Side::target,
     Needs::extensions, "The reply is the same table, but for the case of known features"},
    {Rule::reply_table_answered, "reply-table-answered", "EXT-MALFORMED", Verdict::warn,
     Side::target, Needs::extensions, "A malformed table gets no answer"},
    {Rule::reply_unknown_command, "reply-unknown-command", "HDR-BAD-COMMAND", Verdict::fail,
     Side::target, Needs::reply, "An unknown command gets error 1"},
    {Rule::data_old, "data-old", "ATA-VISIBLE", Verdict::fail, Side::target, Needs::read,
     "A read brings what was last written and answered"},
    {Rule::data_foreign, "data-foreign", "ATA-READ", Verdict::warn, Side::target, Needs::read,
     "A read brings what was last seen there"},
    {Rule::stale_executed, "stale-executed", "TAG-DUP", Verdict::fail, Side::target,
     Needs::write_copy, "A write whose tag is remembered is not performed again"},
    {Rule::stale_executed_plain, "stale-executed-plain", "TAG-PLAIN", Verdict::info, Side::target,
     Needs::write_copy, "In plain AoE nothing stops a late copy of a write"},
    {Rule::stale_refused, "stale-refused", "TAG-DUP", Verdict::info, Side::target,
     Needs::write_copy, "A write whose tag is remembered is not performed again"},
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
