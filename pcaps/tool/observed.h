// Makes the words of the observer (frame, tracker, judge) words of this room too: what reads a
// capture is thin over conformance/observer, and speaks its language.
#pragma once

#include "conformance/observer/tracker.h"

namespace pcaps {
using namespace conformance::observer;  // NOLINT(google-build-using-namespace)
}  // namespace pcaps
