#pragma once
// Pages of HTML that stand alone: template, style and script (conformance/report/assets, built in)
// around a JSON document. Nothing in them asks a network. Knows nothing of what the document says.

#include <string>

namespace conformance::report {

// One run; `json` is what to_json gives.
std::string run_page(const std::string& json);
// Several runs side by side; `json` is what matrix_json gives.
std::string matrix_page(const std::string& json);

}  // namespace conformance::report
