// Family config: command 1, query config. Cases that change the string need `config`; the string is
// put back.

#include <fmt/format.h>

#include "conformance/cases/registry.h"

namespace conformance {

using codec::config_request;
using codec::set;
namespace ccmd = codec::ccmd;

void register_config(Registry& r) {
  r.add(deviants::spoils(
      "config-set-overwrites", "a set replaces a string that is there already",
      [](const Bytes& request, deviants::ModelTarget&, const deviants::Forward& f) {
        Bytes changed = request;
        if (codec::get(request, F::command) == codec::command::config &&
            codec::get(request, F::cfg_ccmd) == ccmd::set) {
          set(changed, F::cfg_ccmd, ccmd::force_set);
        }
        return f(changed);
      }));
  r.add({
      .id = "config.set.refuses-when-present",
      .title = "A set with another string present is refused with error 4 and changes nothing",
      .clauses = {"CFG-SET"},
      .needs = {Need::config},
      .fails_on = {"config-set-overwrites"},
      .run =
          [](Context& t) {
            t.expect_no_error(t.a().ask(config_request(ccmd::force_set, "first")));
            t.expect_error(t.a().ask(config_request(ccmd::set, "second")),
                           codec::aoe_error::config_present);
            t.expect_config_string(t.a().ask(config_request(ccmd::read)), "first");
          },
  });

  r.add(deviants::spoils(
      "config-test-answers-all", "answers a test whatever its string",
      [](const Bytes& request, deviants::ModelTarget&, const deviants::Forward& f) {
        Bytes changed = request;
        if (codec::get(request, F::command) == codec::command::config &&
            codec::get(request, F::cfg_ccmd) == ccmd::test) {
          set(changed, F::cfg_ccmd, ccmd::read);
        }
        return f(changed);
      }));
  r.add({
      .id = "config.test.silent-when-different",
      .title = "A test with another string is not answered",
      .clauses = {"CFG-TEST"},
      .needs = {Need::config},
      .fails_on = {"config-test-answers-all"},
      .run =
          [](Context& t) {
            t.expect_no_error(t.a().ask(config_request(ccmd::force_set, "exactly this")));
            t.expect_silence(t.a(), config_request(ccmd::test, "exactly that"));
            t.expect_silence(t.a(), config_request(ccmd::test, "exactly"));
            t.expect_silence(t.a(), config_request(ccmd::test, "exactly this and more"));
          },
  });

  r.add(deviants::edits_reply("buffer-count-zero", "advertises a buffer count of 0",
                              [](const Bytes&, Bytes& reply) {
                                if (codec::get(reply, F::command) == codec::command::config) {
                                  set(reply, F::cfg_buffer_count, 0);
                                }
                              }));
  r.add({
      .id = "config.buffer-count.at-least-two",
      .title = "The buffer count is at least 2: the Linux driver is unusable below",
      .clauses = {"CFG-BUFFERS"},
      .level = Level::interop,
      .fails_on = {"buffer-count-zero"},
      .run =
          [](Context& t) {
            const Exchange x = t.a().ask(config_request(ccmd::read));
            t.expect_answer(x);
            t.expect(x.field(F::cfg_buffer_count) >= 2, x, "a buffer count of at least 2",
                     fmt::format("{}", x.field(F::cfg_buffer_count)), {F::cfg_buffer_count});
          },
  });
}

}  // namespace conformance
