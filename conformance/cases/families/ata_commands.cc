// Family ata, everything that is not a transfer: identify (what it must say and what others
// conclude from it), flush, check power, and the whole table of commands that a target does not
// have. The last are dangerous on a disk that takes them seriously, so they need `write` and aim at
// scratch.

#include <fmt/format.h>

#include <cctype>
#include <set>

#include "conformance/cases/sectors.h"

namespace conformance {

using observer::ata_request;
using observer::identify_request;
using observer::identify_word;
using observer::kSectorBytes;
using observer::load_le;
using observer::read_request;
using observer::set;
using observer::store_le;
namespace at = observer::at;
namespace ata = observer::ata;
namespace aoe_error = observer::aoe_error;

namespace {

constexpr uint64_t kLba28Max = 0x0fffffff;
constexpr uint16_t kLba48Bit = 1U << 10;

Bytes identify(Context& c, Initiator& from) {
  const Exchange x = from.ask(identify_request());
  c.expect_good_ata(x);
  Bytes data = x.data();
  c.expect(data.size() == kSectorBytes, x, "512 bytes of identify data",
           fmt::format("{}", data.size()));
  return data;
}

// Changes the 512 bytes of identify in a reply.
Deviant identifies(std::string name, std::string story,
                   std::function<void(std::span<uint8_t>)> edit) {
  return edits_reply(std::move(name), std::move(story),
                     [edit = std::move(edit)](const Bytes& q, Bytes& reply) {
                       if (is_ata_request(q) && ata_code(q) == ata::identify &&
                           reply.size() >= at::ata_data + kSectorBytes) {
                         edit(std::span<uint8_t>(reply).subspan(at::ata_data, kSectorBytes));
                       }
                     });
}

struct Text {
  const char* name;
  size_t first_word;
  size_t last_word;
};
constexpr Text kTexts[] = {
    {"serial number", 10, 19}, {"firmware revision", 23, 26}, {"model", 27, 46}};

// As it stands, padding included, with the bytes of every word put right.
std::string raw_text(BytesView data, const Text& t) {
  std::string out;
  for (size_t w = t.first_word; w <= t.last_word; ++w) {
    out += static_cast<char>(data[2 * w + 1]);
    out += static_cast<char>(data[2 * w]);
  }
  return out;
}

void register_identify(Registry& r) {
  r.add(edits_reply("ata-identify-cut", "sends half of the identify data",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_ata_request(q) && ata_code(q) == ata::identify) {
                        reply.resize(at::ata_data + kSectorBytes / 2);
                      }
                    }));
  r.add(identifies(
      "ata-identify-unstable", "leaves a word of identify to chance",
      [n = std::make_shared<uint8_t>(0)](std::span<uint8_t> d) { d[size_t{2} * 130] = ++*n; }));
  r.add({.id = "ata.identify.same-for-everybody",
         .title = "Identify brings 512 bytes, the same each time and for each host",
         .clauses = {"ATA-IDENTIFY"},
         .fails_on = {"ata-identify-cut", "ata-identify-unstable"},
         .run = [](Context& c) {
           const Bytes first = identify(c, c.a());
           for (Initiator* who : {&c.b(), &c.a()}) {
             const Bytes again = identify(c, *who);
             for (size_t w = 0; w < kSectorBytes / 2; ++w) {
               c.expect(
                   identify_word(first, w) == identify_word(again, w),
                   fmt::format("word {} of identify is {:#06x} again", w, identify_word(first, w)),
                   fmt::format("{:#06x}", identify_word(again, w)));
             }
           }
         }});

  Deviant low = identifies("ata-identify-word-61-lost", "puts 16 bits of the capacity into word 60",
                           [](std::span<uint8_t> d) { store_le(d, 122, 2, 0); });
  low.configure = [](deviants::ModelConfig& config) { config.sectors = 200'000; };
  r.add(low);
  r.add(identifies("ata-identify-28-uncapped", "puts the low half of the capacity into words 60-61",
                   [](std::span<uint8_t> d) { store_le(d, 120, 4, load_le(d, 200, 4) + 1); }));
  r.add({.id = "ata.identify.capacity-in-28-bits",
         .title = "Words 60-61 are the capacity, at most 0x0FFFFFFF, and agree with words 100-103",
         .clauses = {"ATA-CAPACITY"},
         .fails_on = {"ata-identify-28-uncapped", "ata-identify-word-61-lost"},
         .run = [](Context& c) {
           const Bytes d = identify(c, c.a());
           const uint64_t small = load_le(d, 120, 4);
           c.expect(small <= kLba28Max, "at most 0x0FFFFFFF sectors in words 60-61",
                    fmt::format("{:#x}", small));
           if ((identify_word(d, 83) & kLba48Bit) != 0) {
             const uint64_t large = load_le(d, 200, 8);
             // Some say 0x10000000 - 1 and some 0x10000000 capped: both are 0x0FFFFFFF.
             c.expect(small == std::min(large, kLba28Max),
                      fmt::format("words 60-61 are {} as words 100-103 say {}",
                                  std::min(large, kLba28Max), large),
                      fmt::format("{}", small));
           }
         }});

  Deviant large =
      identifies("ata-identify-28-wraps", "on a large disk, puts the low 28 bits into words 60-61",
                 [](std::span<uint8_t> d) { store_le(d, 120, 4, load_le(d, 200, 8) & kLba28Max); });
  large.configure = [](deviants::ModelConfig& config) { config.sectors = kLba28Max + 4096; };
  r.add(large);
  r.add({.id = "ata.identify.capacity-of-a-large-disk",
         .title = "On a disk above 2^28 sectors words 60-61 are exactly 0x0FFFFFFF",
         .clauses = {"ATA-CAPACITY"},
         .fails_on = {"ata-identify-28-wraps"},
         .run = [](Context& c) {
           const Bytes d = identify(c, c.a());
           if (load_le(d, 200, 8) <= kLba28Max) {
             c.info(fmt::format("the disk has {} sectors: 28 bits suffice", load_le(d, 200, 8)));
             return;
           }
           c.expect(load_le(d, 120, 4) == kLba28Max, "0x0FFFFFFF in words 60-61",
                    fmt::format("{:#x}", load_le(d, 120, 4)));
         }});

  r.add(identifies("ata-identify-one-more", "claims one sector more than it has",
                   [](std::span<uint8_t> d) {
                     store_le(d, 120, 4, load_le(d, 120, 4) + 1);
                     store_le(d, 200, 8, load_le(d, 200, 8) + 1);
                   }));
  r.add(identifies("ata-identify-one-less", "claims one sector less than it has",
                   [](std::span<uint8_t> d) {
                     store_le(d, 120, 4, load_le(d, 120, 4) - 1);
                     store_le(d, 200, 8, load_le(d, 200, 8) - 1);
                   }));
  r.add({.id = "ata.identify.capacity-is-the-end",
         .title = "The last sector that identify claims can be read and the next one cannot",
         .clauses = {"ATA-CAPACITY", "ATA-RANGE"},
         .fails_on = {"ata-identify-one-more", "ata-identify-one-less"},
         .run = [](Context& c) {
           const uint64_t sectors = observer::identify_sectors(identify(c, c.a()));
           c.expect(sectors > 0, "a disk of more than 0 sectors", "0");
           c.expect_good_ata(c.a().ask(read_request(sectors - 1, 1)));
           c.expect_ata_error(c.a().ask(read_request(sectors, 1)), ata::error_idnf);
         }});

  r.add(identifies("ata-identify-no-lba48", "serves 48-bit commands and does not say so",
                   [](std::span<uint8_t> d) {
                     d[2 * 83 + 1] &= static_cast<uint8_t>(~(kLba48Bit >> 8));
                     d[2 * 86 + 1] &= static_cast<uint8_t>(~(kLba48Bit >> 8));
                   }));
  r.add(identifies(
      "ata-identify-lba48-not-enabled", "claims LBA48 in word 83 and denies it in word 86",
      [](std::span<uint8_t> d) { d[2 * 86 + 1] &= static_cast<uint8_t>(~(kLba48Bit >> 8)); }));
  r.add(
      {.id = "ata.identify.lba48-bits",
       .title = "LBA48 is claimed in words 83 and 86 alike, if and only if 48-bit reads are served",
       .clauses = {"ATA-IDENTIFY"},
       .level = Level::interop,
       .fails_on = {"ata-identify-no-lba48", "ata-identify-lba48-not-enabled"},
       .run = [](Context& c) {
         const Bytes d = identify(c, c.a());
         const bool supported = (identify_word(d, 83) & kLba48Bit) != 0;
         const bool enabled = (identify_word(d, 86) & kLba48Bit) != 0;
         const bool served = seen::good_ata(c.a().ask(read_request(0, 1)));
         c.expect(supported == enabled, "bit 10 of words 83 and 86 agree",
                  fmt::format("{:#06x} and {:#06x}", identify_word(d, 83), identify_word(d, 86)));
         c.expect(supported == served,
                  served ? "LBA48 claimed, for READ SECTORS EXT is served" : "LBA48 not claimed",
                  supported ? "claimed" : "not claimed");
       }});

  r.add(identifies("ata-identify-capacity-upper-dirty", "leaves bits above 48 in words 100-103",
                   [](std::span<uint8_t> d) { d[207] = 0x80; }));
  r.add({.id = "ata.identify.capacity-above-48-bits",
         .title = "The upper 16 bits of words 100-103 are zero: no LBA has more than 48 bits",
         .clauses = {"ATA-CAPACITY"},
         .fails_on = {"ata-identify-capacity-upper-dirty"},
         .run = [](Context& c) {
           const Bytes d = identify(c, c.a());
           c.expect(identify_word(d, 103) == 0, "word 103 is 0",
                    fmt::format("{:#06x}", identify_word(d, 103)));
         }});

  r.add(identifies("ata-identify-text-dirty",
                   "leaves bytes that are no text behind the serial number",
                   [](std::span<uint8_t> d) { d[size_t{2} * 19] = 0x01; }));
  r.add(identifies("ata-identify-text-nul-padded", "pads the model with NULs",
                   [](std::span<uint8_t> d) { std::fill(d.begin() + 88, d.begin() + 94, 0); }));
  r.add({.id = "ata.identify.texts-are-printable",
         .title = "Serial number, firmware revision and model are printable and padded with spaces",
         .clauses = {"ATA-TEXT"},
         .level = Level::should,
         .fails_on = {"ata-identify-text-dirty", "ata-identify-text-nul-padded"},
         .run = [](Context& c) {
           const Bytes d = identify(c, c.a());
           for (const Text& t : kTexts) {
             const std::string text = raw_text(d, t);
             c.expect(std::all_of(text.begin(), text.end(),
                                  [](char ch) { return ch >= 0x20 && ch < 0x7f; }),
                      fmt::format("a {} of printable characters and spaces", t.name),
                      observer::quoted(text));
           }
         }});
  r.add(identifies("ata-identify-text-straight", "does not swap the bytes of the texts",
                   [](std::span<uint8_t> d) {
                     for (const Text& t : kTexts) {
                       for (size_t w = t.first_word; w <= t.last_word; ++w) {
                         std::swap(d[2 * w], d[2 * w + 1]);
                       }
                     }
                   }));
  r.add(identifies("ata-identify-text-even-straight",
                   "does not swap the bytes of its serial number, which has an even length",
                   [](std::span<uint8_t> d) {
                     constexpr std::string_view text = "/mnt/image          ";
                     std::copy(text.begin(), text.end(), d.begin() + 20);
                   }));
  r.add({.id = "ata.identify.texts-are-swapped",
         .title = "The two bytes of every word of a text are swapped: no gap stands before the "
                  "last character",
         .clauses = {"ATA-TEXT"},
         .level = Level::should,
         .fails_on = {"ata-identify-text-straight", "ata-identify-text-even-straight"},
         .run = [](Context& c) {
           // A text of even length can be told only by its words: "m/tni/ameg" is "/mnt/image".
           static constexpr std::string_view words[] = {
               "image", "disk", "drive", "target", "mnt/", "tmp/",    "home/", "dev/",
               "var/",  "aoe",  "blade", "model",  "loop", "virtual", "linux", "serial"};
           const auto holds_a_word = [](std::string text) {
             std::transform(text.begin(), text.end(), text.begin(),
                            [](unsigned char ch) { return std::tolower(ch); });
             return std::any_of(std::begin(words), std::end(words), [&](std::string_view w) {
               return text.find(w) != std::string::npos;
             });
           };
           for (const Text& t : kTexts) {
             const std::string text = raw_text(identify(c, c.a()), t);
             std::string turned = text;
             for (size_t i = 0; i + 1 < turned.size(); i += 2) {
               std::swap(turned[i], turned[i + 1]);
             }
             c.expect(holds_a_word(text) || !holds_a_word(turned),
                      fmt::format("a {} whose words can be read", t.name),
                      fmt::format("{}, which reads {} with its bytes exchanged",
                                  observer::quoted(text), observer::quoted(turned)));
           }
           // A text of odd length that was not swapped reads as "...x y" with its last character
           // behind a space; of even length it cannot be told.
           const Bytes d = identify(c, c.a());
           for (const Text& t : kTexts) {
             std::string text = raw_text(d, t);
             text.erase(text.find_last_not_of(' ') + 1);
             const bool gap = text.size() == 1 ? false
                                               : text.size() >= 2 && text[text.size() - 2] == ' ' &&
                                                     (t.first_word != 27 || text.size() % 2 == 0);
             c.expect(!gap || t.first_word == 27,
                      fmt::format("a {} without a gap before its last character", t.name),
                      observer::quoted(text));
             c.expect(text.empty() || text.front() != ' ',
                      fmt::format("a {} that begins at the left", t.name), observer::quoted(text));
           }
         }});

  r.add(identifies("ata-identify-checksum-wrong", "claims a checksum in word 255 that is wrong",
                   [](std::span<uint8_t> d) {
                     d[510] = 0xa5;
                     d[511] = 0x11;
                   }));
  r.add({.id = "ata.identify.checksum-if-claimed",
         .title = "With the signature 0xA5 in word 255, the 512 bytes add up to zero",
         .clauses = {"ATA-IDENTIFY"},
         .fails_on = {"ata-identify-checksum-wrong"},
         .run = [](Context& c) {
           const Bytes d = identify(c, c.a());
           if (d[510] != 0xa5) {
             return;  // not claimed: nothing to keep
           }
           uint8_t sum = 0;
           for (const uint8_t b : d) {
             sum = static_cast<uint8_t>(sum + b);
           }
           c.expect(sum == 0, "a sum of 0", fmt::format("{:#04x}", sum));
         }});

  r.add(identifies("ata-identify-packet-device", "says that it is an ATAPI device",
                   [](std::span<uint8_t> d) { d[1] = 0x80; }));
  r.add(identifies("ata-identify-no-lba", "does not claim LBA in word 49",
                   [](std::span<uint8_t> d) { store_le(d, 98, 2, 0); }));
  r.add({.id = "ata.identify.is-a-disk-with-lba",
         .title = "Word 0 says ATA, and word 49 LBA",
         .clauses = {"ATA-IDENTIFY"},
         .level = Level::should,
         .fails_on = {"ata-identify-packet-device", "ata-identify-no-lba"},
         .run = [](Context& c) {
           const Bytes d = identify(c, c.a());
           c.expect((identify_word(d, 0) & 0x8000) == 0, "bit 15 of word 0 clear",
                    fmt::format("{:#06x}", identify_word(d, 0)));
           c.expect((identify_word(d, 49) & 0x0200) != 0, "bit 9 of word 49 set",
                    fmt::format("{:#06x}", identify_word(d, 49)));
         }});

  r.add(edits_reply(
      "ata-identify-count-believed", "sends as many sectors of identify as were asked for",
      [](const Bytes& q, Bytes& reply) {
        if (is_ata_request(q) && ata_code(q) == ata::identify && value_of(q, F::ata_count) > 1) {
          reply.resize(at::ata_data + 2 * kSectorBytes, 0x33);
        }
      }));
  r.add(ignores("ata-identify-count-silent", "does not answer an identify with a count of 0",
                [](const Bytes& q, const ModelTarget&) {
                  return is_ata_request(q) && ata_code(q) == ata::identify &&
                         value_of(q, F::ata_count) == 0;
                }));
  r.add({.id = "ata.identify.count-other-than-one",
         .title = "Identify with another count is refused or brings its 512 bytes, never more",
         .clauses = {"ATA-IDENTIFY", "ATA-LIMIT"},
         .fails_on = {"ata-identify-count-believed", "ata-identify-count-silent"},
         .run = [](Context& c) {
           for (const uint8_t n : {0, 2, 3, 255}) {
             const Exchange x = c.a().ask(identify_request().set(F::ata_count, n));
             c.judge(x, Outcomes()
                            .pass("error 2", seen::aoe_error(aoe_error::bad_argument))
                            .pass("ABRT", seen::ata_abort)
                            .pass("identify data",
                                  [](const Exchange& e) {
                                    return seen::good_ata(e) &&
                                           e.reply->size() <= at::ata_data + kSectorBytes;
                                  })
                            .fail("identify with a count brings more than its 512 bytes",
                                  seen::good_ata));
           }
         }});

  r.add(refuses("ata-identify-lba-matters", "refuses identify with an LBA", [](const Bytes& q) {
    return is_ata_request(q) && ata_code(q) == ata::identify &&
           (value_of(q, F::ata_lba) != 0 || value_of(q, F::ata_flag_extended) != 0 ||
            value_of(q, F::ata_feature) != 0);
  }));
  r.add({.id = "ata.identify.other-registers-ignored",
         .title = "Identify does not depend on LBA, feature register and flags",
         .clauses = {"ATA-FLAGS"},
         .level = Level::should,
         .fails_on = {"ata-identify-lba-matters"},
         .run = [](Context& c) {
           const Bytes plain = identify(c, c.a());
           for (const Frame& f : {identify_request().set(F::ata_lba, 0xffffffffffff),
                                  identify_request().set(F::ata_flag_extended, 1),
                                  identify_request().set(F::ata_feature, 0xff),
                                  identify_request().set(F::ata_flag_device, 1)}) {
             const Exchange x = c.a().ask(f);
             c.expect_good_ata(x);
             c.expect_data(x, plain);
           }
         }});
}

// What identify claims, and the command that must then be there.
struct Claim {
  size_t word;
  unsigned bit;
  uint8_t command;
  const char* name;
};
constexpr Claim kClaims[] = {
    {83, 12, ata::flush, "FLUSH CACHE"},
    {83, 13, ata::flush_ext, "FLUSH CACHE EXT"},
    {82, 3, ata::check_power, "power management (CHECK POWER MODE)"},
    {82, 0, 0xb0, "SMART"},
    {49, 8, 0xc8, "READ DMA"},
};

void register_services(Registry& r) {
  const auto aborts = [](std::string name, std::string story, uint8_t command) {
    return edits_request(std::move(name), std::move(story), [command](Bytes& q) {
      if (is_ata_request(q) && ata_code(q) == command) {
        set(q, F::ata_command, 0xff);
      }
    });
  };
  r.add(aborts("ata-flush-claimed-and-aborted", "claims FLUSH CACHE and aborts it", ata::flush));
  r.add(identifies("ata-smart-claimed", "claims SMART and has it not",
                   [](std::span<uint8_t> d) { d[size_t{2} * 82] |= 1; }));
  r.add({.id = "ata.identify.claims-are-kept",
         .title =
             "What identify claims (flush, flush ext, power management, SMART, DMA) is not aborted",
         .clauses = {"ATA-FLUSH", "ATA-IDENTIFY"},
         .fails_on = {"ata-flush-claimed-and-aborted", "ata-smart-claimed"},
         .run = [](Context& c) {
           const Bytes d = identify(c, c.a());
           for (const Claim& claim : kClaims) {
             if ((identify_word(d, claim.word) >> claim.bit & 1) == 0) {
               continue;
             }
             Frame f = ata_request(claim.command, 0, claim.command == 0xc8 ? 1 : 0);
             if (claim.command == 0xb0) {  // SMART RETURN STATUS
               f.set(F::ata_feature, 0xda).set(F::ata_lba, 0xc24f00);
             }
             const Exchange x = c.a().ask(f);
             c.expect(seen::good_ata(x), x,
                      fmt::format("{} works, for word {} bit {} claims it", claim.name, claim.word,
                                  claim.bit),
                      x.answered() ? observer::summary(*x.reply) : "silence");
           }
         }});

  const Outcomes service = Outcomes().pass("good", seen::good_ata).pass("ABRT", seen::ata_abort);
  const auto spoil_service = [](std::string name, std::string story, uint8_t a, uint8_t b) {
    return edits_reply(std::move(name), std::move(story), [a, b](const Bytes& q, Bytes& reply) {
      if (is_ata_request(q) && (ata_code(q) == a || ata_code(q) == b)) {
        set(reply, F::flag_error, 1);
        set(reply, F::error, aoe_error::bad_argument);
      }
    });
  };
  r.add(spoil_service("ata-flush-refused", "refuses a flush with AoE error 2", ata::flush,
                      ata::flush_ext));
  r.add(edits_reply(
      "ata-flush-brings-data", "answers a flush with a sector", [](const Bytes& q, Bytes& reply) {
        if (is_ata_request(q) && (ata_code(q) == ata::flush || ata_code(q) == ata::flush_ext)) {
          reply.resize(at::ata_data + kSectorBytes, 0x44);
        }
      }));
  r.add({.id = "ata.flush.good-or-aborted",
         .title = "FLUSH CACHE and FLUSH CACHE EXT end well or with ABRT, and carry no data",
         .clauses = {"ATA-FLUSH", "ATA-FORM"},
         .fails_on = {"ata-flush-refused", "ata-flush-brings-data"},
         .run = [service](Context& c) {
           for (const bool wide : {false, true}) {
             for (const uint8_t count : {0, 1}) {  // a count means nothing to a flush
               const Exchange x = c.a().ask(observer::flush_request(wide).set(F::ata_count, count));
               c.judge(x, service);
               c.expect(x.reply->size() <= observer::kMinFrameBytes, x, "no data",
                        fmt::format("{} bytes", x.reply->size()));
             }
           }
         }});
  r.add(spoil_service("ata-check-power-refused", "refuses check power with AoE error 2",
                      ata::check_power, ata::check_power));
  r.add({.id = "ata.check-power.good-or-aborted",
         .title = "CHECK POWER MODE ends well with a mode in the count register, or with ABRT",
         .clauses = {"ATA-FLUSH"},
         .fails_on = {"ata-check-power-refused"},
         .run = [service](Context& c) {
           const Exchange x = c.a().ask(ata_request(ata::check_power, 0, 0));
           c.judge(x, service);
           static constexpr uint8_t modes[] = {0x00, 0x01, 0x40, 0x41, 0x80,
                                               0x81, 0x82, 0x83, 0xff};
           if (seen::good_ata(x) && std::find(std::begin(modes), std::end(modes),
                                              x.field(F::ata_count)) == std::end(modes)) {
             c.info(fmt::format("the power mode is {:#04x}, which ATA does not define",
                                x.field(F::ata_count)));
           }
         }});
}

// Command codes that ATA-8 ACS gives a meaning, now or formerly, and that a disk behind a target
// might have. Reads, writes, identify, flush and check power are not among them.
const std::set<uint8_t>& defined_elsewhere() {
  static const std::set<uint8_t> codes = {
      0x00, 0x03, 0x06, 0x08, 0x0b, 0x10, 0x21, 0x22, 0x23, 0x25, 0x26, 0x27, 0x29, 0x2a,
      0x2b, 0x2f, 0x31, 0x32, 0x33, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d,
      0x3e, 0x3f, 0x40, 0x41, 0x42, 0x45, 0x47, 0x50, 0x51, 0x57, 0x5b, 0x5c, 0x5d, 0x5e,
      0x5f, 0x60, 0x61, 0x63, 0x64, 0x65, 0x70, 0x77, 0x78, 0x87, 0x90, 0x91, 0x92, 0x93,
      0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0xa0, 0xa1, 0xa2, 0xb0, 0xb1, 0xb4, 0xb6, 0xb7,
      0xb9, 0xba, 0xbb, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xcb, 0xcc, 0xcd, 0xce,
      0xd1, 0xda, 0xdb, 0xdc, 0xdd, 0xde, 0xdf, 0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe6, 0xe8,
      0xe9, 0xeb, 0xed, 0xee, 0xef, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf8, 0xf9};
  return codes;
}
bool of_a_target(uint8_t code) {
  return observer::is_ata_read(code) || observer::is_ata_write(code) || code == ata::identify ||
         code == ata::flush || code == ata::flush_ext || code == ata::check_power;
}

// Of the 0x10-0x1F (recalibrate) and 0x70-0x7F (seek) groups, old disks took every code.
bool old_group(uint8_t code) {
  return (code & 0xf0) == 0x10 || (code & 0xf0) == 0x70;
}

void expect_abort(Context& c, const Exchange& x) {
  c.expect_ata_error(x, ata::error_abrt);
  c.expect((x.field(F::ata_status) & ata::status_drdy) != 0, x, "status DRDY|ERR",
           fmt::format("{:#04x}", x.field(F::ata_status)), {F::ata_status});
}

void register_unsupported(Registry& r) {
  r.add(edits_request("ata-undefined-command-is-flush", "takes the command 0x6B for a flush",
                      [](Bytes& q) {
                        if (is_ata_request(q) && ata_code(q) == 0x6b) {
                          set(q, F::ata_command, ata::flush);
                        }
                      }));
  r.add(edits_reply("ata-abort-without-drdy", "aborts with DRDY clear",
                    [](const Bytes& q, Bytes& reply) {
                      if (is_ata_request(q) && reply.size() >= at::ata_data &&
                          value_of(reply, F::ata_error) == ata::error_abrt) {
                        set(reply, F::ata_status, ata::status_err);
                      }
                    }));
  r.add(refuses(
      "ata-undefined-command-aoe-error", "meets an undefined ATA command with AoE error 1",
      [](const Bytes& q) { return is_ata_request(q) && ata_code(q) == 0xfe; },
      aoe_error::bad_command));
  r.add({.id = "ata.unsupported.undefined-codes",
         .title = "Every command code that ATA leaves undefined is aborted: DRDY|ERR with ABRT",
         .clauses = {"ATA-ABORT"},
         .needs = {Need::write},
         .fails_on = {"ata-undefined-command-is-flush", "ata-abort-without-drdy",
                      "ata-undefined-command-aoe-error"},
         .run = [](Context& c) {
           const uint64_t lba = scratch_lba(c, 1);
           for (unsigned code = 0; code <= 0xff; ++code) {
             const auto k = static_cast<uint8_t>(code);
             if (!of_a_target(k) && !old_group(k) && defined_elsewhere().count(k) == 0) {
               expect_abort(c, c.a().ask(ata_request(k, lba, 1)));
             }
           }
         }});

  r.add(ignores(
      "ata-smart-silent", "does not answer SMART",
      [](const Bytes& q, const ModelTarget&) { return is_ata_request(q) && ata_code(q) == 0xb0; }));
  r.add(spoils("ata-undefined-command-df", "meets SET FEATURES with DF instead of ABRT",
               [](const Bytes& q, ModelTarget&, const Forward& f) {
                 Answers answers = f(q);
                 if (is_ata_request(q) && ata_code(q) == 0xef) {
                   set(answers[0].bytes, F::ata_status, ata::status_drdy | ata::status_df);
                   set(answers[0].bytes, F::ata_error, 0);
                 }
                 return answers;
               }));
  r.add({.id = "ata.unsupported.defined-codes",
         .title = "Commands of ATA that a target need not have (SMART, SET FEATURES, DMA, "
                  "standby...) are aborted or work",
         .clauses = {"ATA-ABORT"},
         .needs = {Need::write},
         .fails_on = {"ata-smart-silent", "ata-undefined-command-df"},
         .run = [](Context& c) {
           const uint64_t lba = scratch_lba(c, 1);
           for (const uint8_t code : defined_elsewhere()) {
             c.judge(c.a().ask(ata_request(code, lba, 1)),
                     Outcomes()
                         .pass("ABRT", seen::ata_abort)
                         .info(fmt::format("the target also has the command {:#04x}", code),
                               seen::good_ata));
           }
         }});

  r.add(spoils("ata-write-variants-written",
               "aborts WRITE VERIFY and the like after having written them",
               [](const Bytes& q, ModelTarget&, const Forward& f) {
                 if (is_ata_request(q) &&
                     (ata_code(q) == 0x3c || ata_code(q) == 0x66 || ata_code(q) == 0x33)) {
                   Bytes changed = q;
                   set(changed, F::ata_command, ata::write_ext);
                   f(changed);
                 }
                 return f(q);
               }));
  r.add({.id = "ata.unsupported.nothing-is-written",
         .title =
             "No command that is aborted writes anything, though it carries W and a sector of data",
         .clauses = {"ATA-ABORT", "ATA-W"},
         .needs = {Need::write},
         .fails_on = {"ata-write-variants-written"},
         .run = [](Context& c) {
           const uint64_t lba = scratch_lba(c, 1);
           const Bytes there = sector_pattern(300);
           put_sectors(c, c.a(), lba, there);
           const Bytes other = sector_pattern(301);
           for (unsigned code = 0; code <= 0xff; ++code) {
             const auto k = static_cast<uint8_t>(code);
             if (of_a_target(k)) {
               continue;
             }
             Frame f =
                 ata_request(k, lba, 1).set(F::ata_flag_write, 1).set(F::ata_flag_extended, 1);
             f.append(other);
             const Exchange x = c.a().ask(f);
             const Exchange now = c.b().ask(read_request(lba, 1));
             c.expect_good_ata(now);
             if (seen::good_ata(x) && now.data() != there) {
               c.info(fmt::format("the target also writes with {:#04x}", code));
               put_sectors(c, c.a(), lba, there);
               continue;
             }
             c.expect(now.data() == there, x, fmt::format("command {:#04x} writes nothing", code),
                      observer::hex(now.data(), 16));
           }
         }});

  r.add(refuses(
      "ata-abort-only-once", "stops with AoE error 3 after an aborted command with E",
      [](const Bytes& q) {
        return is_ata_request(q) && ata_code(q) == 0xff && value_of(q, F::ata_flag_extended) == 1;
      },
      aoe_error::unavailable));
  r.add({.id = "ata.unsupported.whatever-the-flags",
         .title = "An undefined command is aborted whatever its flags, count and LBA, even behind "
                  "the disk",
         .clauses = {"ATA-ABORT"},
         .needs = {Need::write},
         .fails_on = {"ata-abort-only-once"},
         .run = [](Context& c) {
           for (const uint8_t flags : {0x00, 0x01, 0x02, 0x10, 0x40, 0x41, 0x43, 0xff}) {
             for (const uint64_t lba : {uint64_t{0}, c.target().sectors, (uint64_t{1} << 48) - 1}) {
               Frame f = ata_request(0xff, lba, flags == 0 ? 0 : 1);
               f.byte(at::argument, flags);
               expect_abort(c, c.a().ask(f));
             }
           }
         }});
}

}  // namespace

void register_ata_commands(Registry& r) {
  register_identify(r);
  register_services(r);
  register_unsupported(r);
}

}  // namespace conformance
