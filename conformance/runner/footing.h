#pragma once
// The ground that the next case stands on: after each case it is proven that those who ask are
// served as they were before the first one, and what the case left is put right. Tells an ended
// process, a target that answers nobody, and one that shuts the suite's own addresses out apart.
// Gives no verdict on a case.

#include <set>

#include "conformance/runner/judge.h"
#include "conformance/runner/run.h"
#include "conformance/runner/target_state.h"

namespace conformance {

class Footing {
 public:
  enum class State {
    sound,
    ended,       // its process has
    silent,      // answers nobody, and did not come back
    locked_out,  // answers some of our addresses and shuts others out, whatever was tried
  };

  Footing(Context& context, TargetState& state, const RunConfig& config);

  // Who is served before the first case. Nobody else will be missed.
  void learn();
  // Puts back what the case changed and looks who is served. Notes what went wrong meanwhile in the
  // result's put_back_trouble and ended_putting_back, never in its verdict.
  State regain(const Case& c, CaseResult& result);
  State regain(CaseResult& result);  // after a restart

  // For whom lists may have been left that shut everybody out: entries are deleted unseen by
  // whoever is admitted; a link that is down is waited for. True: the prober is answered.
  bool let_in() { return put_right_unseen() || await_return(); }

  // The target, or the link, answered nobody for a while during the last regain, and does again.
  bool lapsed() const { return lapsed_; }
  // Frames that nothing came back after, when it began.
  const std::vector<Bytes>& suspects() const { return suspects_; }
  const std::string& what() const { return what_; }

 private:
  enum class Service { served, refused, silence };
  Service ask(Initiator& who, unsigned attempts = 4);
  static Service service_of(BytesView reply);
  bool has_ended() const;
  // The addresses that were served before the first case and are not now.
  std::vector<Initiator*> shut_out();
  static std::string tell(const std::vector<Initiator*>& shut_out);
  State look(CaseResult& result, bool changes, bool lists, bool everybody);
  std::vector<Initiator*> askers();
  std::vector<Mac> admitted(const std::vector<Mac>& addresses);
  bool put_right_unseen();
  bool put_right_from(const Mac& mac, const std::vector<Mac>& listed);
  bool await_return();
  void restore(CaseResult& result);

  Context& t_;
  TargetState& state_;
  const RunConfig& config_;
  Initiator witness_;
  std::set<Mac> served_;
  std::vector<Bytes> suspects_;
  bool lapsed_ = false;
  bool anybody_ = false;  // while lists were put right, somebody was served
  std::string what_;
};

}  // namespace conformance
