// Two passes over the table: the first changes the session, the second writes the case of the
// names, so that a feature which a later string took back does not look active.
#include "target/engine/negotiation.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <string_view>

#include "target/wire/extension_table.h"

namespace target::engine {

namespace {

enum class Feature : std::uint8_t {
  reset,
  tag_inc_le,
  tag_inc_be,
  tag_random,
  coalesced_read,
  coalesced_write_reply,
  congestion,
  crc8x4,
};

struct FeatureName {
  std::string_view name;
  Feature feature;
};

constexpr std::array<FeatureName, 8> kFeatureNames{{
    {"reset", Feature::reset},
    {"tag_inc_le", Feature::tag_inc_le},
    {"tag_inc_be", Feature::tag_inc_be},
    {"tag_random", Feature::tag_random},
    {"coalesced_read", Feature::coalesced_read},
    {"coalesced_write_reply", Feature::coalesced_write_reply},
    {"congestion", Feature::congestion},
    {"crc8x4", Feature::crc8x4},
}};

// Independent of any locale.
char to_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
char to_upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
}

std::optional<Feature> feature_named(std::string_view text) {
  for (const FeatureName& known : kFeatureNames) {
    if (std::equal(text.begin(), text.end(), known.name.begin(), known.name.end(),
                   [](char a, char b) { return to_lower(a) == b; })) {
      return known.feature;
    }
  }
  return std::nullopt;
}

std::optional<std::uint64_t> parse_decimal(std::string_view text) {
  constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
  if (text.empty()) {
    return std::nullopt;
  }
  std::uint64_t value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') {
      return std::nullopt;
    }
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (value > (kMax - digit) / 10) {
      return std::nullopt;
    }
    value = value * 10 + digit;
  }
  return value;
}

// A feature as it is named in a table, with its argument if it takes one.
struct Named {
  Feature feature{};
  std::size_t offset = 0;
  std::size_t length = 0;
  std::optional<std::uint64_t> congestion_id;
};

class NamedFeatures {
 public:
  explicit NamedFeatures(std::span<const std::byte> table) : strings_(table) {}

  std::optional<Named> next() {
    while (const auto item = strings_.next()) {
      const auto feature = feature_named(item->text);
      if (!feature) {
        continue;
      }
      Named named{*feature, item->offset, item->text.size(), std::nullopt};
      if (*feature == Feature::congestion) {
        // The string after it is its argument, even if it happens to be a name.
        const auto argument = strings_.next();
        named.congestion_id = argument ? parse_decimal(argument->text) : std::nullopt;
      }
      return named;
    }
    return std::nullopt;
  }

 private:
  wire::ExtensionStrings strings_;
};

struct Context {
  SessionTable& sessions;
  std::uint16_t port;
  const wire::MacAddress& initiator;
  PauseBudget& budget;
  Nanoseconds now;
};

void apply_reset(const Context& context, Negotiated& result) {
  if (Session* session = context.sessions.find(context.port, context.initiator)) {
    context.sessions.reset(*session);
    result.reset = true;
  }
}

void apply_congestion(const Context& context, Session& session, std::uint64_t id,
                      Negotiated& result) {
  if (session.congestion_id == id) {
    return;
  }
  // One request pauses at most once, whatever it names.
  const bool granted = result.pause || context.budget.try_start(context.now);
  session.congestion_id = id;
  session.congestion_refused = !granted;
  result.congestion_id = id;
  (granted ? result.pause : result.pause_refused) = true;
}

void set_tag_mode(const Context& context, Session& session, TagMode mode) {
  session.features.tag_mode = mode;
  // Named again, too: an initiator that restarted begins anew.
  context.sessions.restart_window(session);
}

void apply(const Context& context, const Named& named, Negotiated& result) {
  if (named.feature == Feature::reset) {
    apply_reset(context, result);
    return;
  }
  if (named.feature == Feature::congestion && !named.congestion_id) {
    return;
  }
  Session* session = context.sessions.open(context.port, context.initiator);
  if (session == nullptr) {
    result.table_full = true;
    return;
  }
  switch (named.feature) {
    case Feature::tag_inc_le:
      return set_tag_mode(context, *session, TagMode::increment_le);
    case Feature::tag_inc_be:
      return set_tag_mode(context, *session, TagMode::increment_be);
    case Feature::tag_random:
      return set_tag_mode(context, *session, TagMode::random);
    case Feature::coalesced_read:
      session->features.coalesced_read = true;
      return;
    case Feature::coalesced_write_reply:
      session->features.coalesced_write_reply = true;
      return;
    case Feature::crc8x4:
      session->features.crc8x4 = true;
      return;
    case Feature::congestion:
      return apply_congestion(context, *session, *named.congestion_id, result);
    case Feature::reset:
      return;
  }
}

bool is_active(const Named& named, const Session* session) {
  if (named.feature == Feature::reset) {
    return true;
  }
  if (session == nullptr) {
    return false;
  }
  switch (named.feature) {
    case Feature::tag_inc_le:
      return session->features.tag_mode == TagMode::increment_le;
    case Feature::tag_inc_be:
      return session->features.tag_mode == TagMode::increment_be;
    case Feature::tag_random:
      return session->features.tag_mode == TagMode::random;
    case Feature::coalesced_read:
      return session->features.coalesced_read;
    case Feature::coalesced_write_reply:
      return session->features.coalesced_write_reply;
    case Feature::crc8x4:
      return session->features.crc8x4;
    case Feature::congestion:
      return named.congestion_id && session->congestion_id == named.congestion_id &&
             !session->congestion_refused;
    case Feature::reset:
      return true;
  }
  return false;
}

void write_case(std::span<std::byte> name, bool upper) {
  for (std::byte& byte : name) {
    const char c = static_cast<char>(byte);
    byte = static_cast<std::byte>(upper ? to_upper(c) : to_lower(c));
  }
}

}  // namespace

Negotiated negotiate(std::span<std::byte> table, SessionTable& sessions, std::uint16_t port,
                     const wire::MacAddress& initiator, PauseBudget& budget, Nanoseconds now) {
  const Context context{sessions, port, initiator, budget, now};
  Negotiated result;
  NamedFeatures first_pass(table);
  while (const auto named = first_pass.next()) {
    apply(context, *named, result);
  }
  const Session* session = sessions.find(port, initiator);
  NamedFeatures second_pass(table);
  while (const auto named = second_pass.next()) {
    write_case(table.subspan(named->offset, named->length), is_active(*named, session));
  }
  return result;
}

void refuse_all(std::span<std::byte> table) {
  NamedFeatures names(table);
  while (const auto named = names.next()) {
    write_case(table.subspan(named->offset, named->length), is_active(*named, nullptr));
  }
}

}  // namespace target::engine
