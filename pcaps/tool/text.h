// How numbers, spans of time and instants are written for people: one way in every report.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "pcaps/tool/observed.h"

namespace pcaps {

// "1.25 ms"
std::string duration_text(Nanoseconds value_ns);
// "2026-11-22 10:13:42.380234 UTC"; nine digits when the capture has nanoseconds.
std::string time_text(Nanoseconds since_epoch_ns);
// "2026-11-22T10:13:42.380234Z", for machines.
std::string time_iso(Nanoseconds since_epoch_ns);
// "1,234,567"
std::string count_text(std::uint64_t value);
// "13.8 %"; "0 %" only for nothing at all.
std::string share_text(std::uint64_t part, std::uint64_t whole);

}  // namespace pcaps
