// Family header: what every frame has to begin with, whatever its command. Reads only.

#include <fmt/format.h>

#include "conformance/cases/registry.h"

namespace conformance {

using codec::config_request;
using codec::identify_request;
using codec::read_request;
using codec::set;

void register_header(Registry& r) {
  r.add(deviants::edits_reply(
      "reply-tag-swapped", "returns the tag with its bytes in reverse order",
      [](const Bytes&, Bytes& reply) {
        set(reply, F::tag, __builtin_bswap32(static_cast<uint32_t>(*codec::get(reply, F::tag))));
      }));
  r.add({
      .id = "header.tag.returned",
      .title = "The reply carries the request's tag, whatever its value",
      .clauses = {"HDR-TAG"},
      .fails_on = {"reply-tag-swapped"},
      .run =
          [](Context& t) {
            for (const uint32_t tag :
                 {0x01020304U, 0U, 1U, 0x7fffffffU, 0x80000000U, 0xffffffffU}) {
              const Exchange x = t.a().ask(config_request(codec::ccmd::read).set(F::tag, tag));
              t.expect_field(x, F::tag, tag);
            }
          },
  });

  r.add(deviants::edits_request("answers-replies", "takes a frame with R set for a request",
                                [](Bytes& request) {
                                  if (codec::is_aoe(request)) {
                                    set(request, F::flag_response, 0);
                                  }
                                }));
  r.add({
      .id = "header.flag-r.not-a-request",
      .title = "A frame with R set is not a request and is not answered",
      .clauses = {"HDR-R"},
      .fails_on = {"answers-replies"},
      .run =
          [](Context& t) {
            t.expect_silence(t.a(), config_request(codec::ccmd::read).set(F::flag_response, 1));
            t.expect_silence(t.a(), identify_request().set(F::flag_response, 1));
          },
  });
}

}  // namespace conformance
