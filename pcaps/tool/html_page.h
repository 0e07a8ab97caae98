// One self-contained page of what `info` counts and what the judge says: the template is
// page/info.html, this fills in the numbers. It counts nothing itself.
#pragma once

#include <string>

#include "conformance/observer/judge.h"
#include "pcaps/tool/statistics.h"

namespace pcaps {

std::string html_page(const std::string& title, const Statistics& statistics, const Judge& judge);

}  // namespace pcaps
