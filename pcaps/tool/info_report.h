// What `info` says, as text and as JSON: renderings of Statistics. It counts nothing itself.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "pcaps/tool/statistics.h"

namespace pcaps {

std::string info_text(const Statistics& statistics);
nlohmann::ordered_json info_json(const Statistics& statistics);

}  // namespace pcaps
