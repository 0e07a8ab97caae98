// The page of `info --html`: who talked, and outstanding requests, latency and retransmissions
// against time, in one file that asks the network for nothing. It must never compute what
// Statistics does not already know.
#pragma once

#include <string>

#include "pcaps/tool/statistics.h"

namespace pcaps {

std::string html_page(const std::string& title, const Statistics& statistics,
                      const Tracker& tracker);
std::string html_escaped(std::string_view text);

}  // namespace pcaps
