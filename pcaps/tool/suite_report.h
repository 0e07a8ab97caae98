// The judge's findings in the conformance suite's forms: TAP, JUnit XML, JSON. One case a rule, so
// that a report also says what was looked for and found in order, and what was not there to be
// looked at. A library of its own, for the suite's reports bring the whole suite with them.
#pragma once

#include <string>
#include <vector>

#include "pcaps/tool/judge_report.h"

namespace pcaps {

std::vector<std::string> suite_formats();
std::string suite_report(const JudgeReport& from, const std::string& format);

}  // namespace pcaps
