#pragma once
// What came in a reply's place: a frame of the target's that follows a question and is no reply to
// it. Says which clause it breaks, and how. Holds no state and gives no verdict.

#include "conformance/cases/evidence.h"

namespace conformance {

struct NoReply {
  std::string clause;  // of clauses.tsv
  std::string what;    // one line
  std::string expected;
  std::string got;
  observer::Marks marks;  // in the frame
};
NoReply why_no_reply(observer::BytesView request, observer::BytesView frame);

// Of zeros from its first byte to its last, addresses included: nobody's, and no frame at all.
bool is_of_zeros(observer::BytesView frame);

}  // namespace conformance
