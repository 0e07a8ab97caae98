// Reads rates.
#include "sim/live/profile.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <iterator>
#include <limits>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "sim/swarm.h"

namespace sim::live {
namespace {

constexpr std::uint64_t kMillion = 1'000'000;

struct Rate {
  std::string_view word;
  std::uint64_t Swarm::*rate;
  Nanoseconds Swarm::*longest;  // null: this kind has none
};
constexpr std::array kRates{
    Rate{"drop", &Swarm::drop, nullptr},
    Rate{"burst", &Swarm::burst, nullptr},
    Rate{"delay", &Swarm::delay, &Swarm::delay_max},
    Rate{"duplicate", &Swarm::duplicate, &Swarm::duplicate_max},
    Rate{"hold", &Swarm::hold, nullptr},
    Rate{"truncate", &Swarm::truncate, nullptr},
    Rate{"pad", &Swarm::pad, nullptr},
    Rate{"bad-fcs", &Swarm::bad_fcs, nullptr},
    Rate{"flip", &Swarm::flip, nullptr},
    Rate{"full", &Swarm::full, nullptr},
};

const Rate& rate_of(std::string_view word) {
  std::string known;
  for (const Rate& rate : kRates) {
    if (rate.word == word) {
      return rate;
    }
    known += fmt::format("{}{}", known.empty() ? "" : ", ", rate.word);
  }
  throw ScheduleError(fmt::format("\"{}\" is no kind of fault; known: {}", word, known));
}

void parse_line(Swarm& swarm, std::istringstream& words) {
  std::string kind;
  std::string number;
  std::string longest;
  std::string more;
  words >> kind >> number >> longest >> more;
  const Rate& rate = rate_of(kind);
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
  if (error != std::errc{} || end != number.data() + number.size() || value > kMillion) {
    throw ScheduleError(fmt::format(
        "\"{}\": how many of a million frames, a whole number up to 1000000, not \"{}\"", kind,
        number));
  }
  if (!more.empty() || (rate.longest == nullptr && !longest.empty())) {
    throw ScheduleError(fmt::format("\"{}\" is too much", more.empty() ? longest : more));
  }
  swarm.*rate.rate = value;
  if (rate.longest != nullptr) {
    const std::optional<Nanoseconds> duration = parse_duration(longest);
    if (!duration || *duration < kMicrosecond) {
      throw ScheduleError(fmt::format(
          "\"{}\": the longest, such as 20ms and at least 1us, not \"{}\"", kind, longest));
    }
    swarm.*rate.longest = *duration;
  }
}

}  // namespace

Swarm parse_rates(std::string_view text) {
  Swarm swarm;
  std::istringstream lines{std::string(text)};
  int number = 0;
  for (std::string line; std::getline(lines, line);) {
    ++number;
    const std::size_t start = line.find_first_not_of(" \t\r");
    if (start == std::string::npos || line[start] == '#') {
      continue;
    }
    std::istringstream words(line);
    try {
      parse_line(swarm, words);
    } catch (const ScheduleError& error) {
      throw ScheduleError(fmt::format("line {}: {}", number, error.what()));
    }
  }
  return swarm;
}

Swarm load_profile(const std::string& name_or_path, std::uint64_t seed) {
  Swarm swarm;
  const std::vector<std::string_view> names = profiles();
  if (std::find(names.begin(), names.end(), name_or_path) != names.end()) {
    swarm = make_random(seed, name_or_path).swarm;
  } else {
    std::ifstream file(name_or_path);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    if (!file.is_open() || file.bad()) {
      throw std::runtime_error(fmt::format("\"{}\" is no profile ({}) and no file that can be read",
                                           name_or_path, fmt::join(names, ", ")));
    }
    try {
      swarm = parse_rates(text);
    } catch (const ScheduleError& error) {
      throw std::runtime_error(fmt::format("{}: {}", name_or_path, error.what()));
    }
  }
  swarm.seed = seed;
  swarm.outage = 0;  // it strikes by the clock; here a verdict is drawn for a frame's number alone
  swarm.heal_at = std::numeric_limits<Nanoseconds>::max();
  return swarm;
}

}  // namespace sim::live
