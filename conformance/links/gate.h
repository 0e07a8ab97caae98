#pragma once
// What a frame may do to a target, by the commands that are known to be harmless: everything else,
// known or not, needs a permission. Fail-closed: a command that somebody adds later, or that a
// vendor has, is nobody's to try unasked. Reads the frame only; it knows no target and no case.

#include <string_view>

#include "conformance/observer/bytes.h"

namespace conformance::links {

// The word of --allow that this frame needs; empty for what changes nothing on any sensible target:
//   ATA        identify, reads, flushes, check power           all others: "write"
//   config     read, test, prefix test                          all others: "config"
//   mask       read                                             all others: "lockout"
//   reserve    read                                             all others: "lockout"
//   0x23       negotiation of extensions
//   any other command                                           "unknown"
// What is no AoE frame, or ends before the byte that would say so, asks nothing of anybody.
std::string_view permission_for(observer::BytesView frame);

}  // namespace conformance::links
