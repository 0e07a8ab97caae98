// What stood on a target before a run changed it, in a file.

#include "conformance/runner/undo_file.h"

#include <fmt/format.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "conformance/output/output_file.h"
#include "conformance/runner/selection.h"

namespace conformance {

namespace fs = std::filesystem;
using nlohmann::json;
using nlohmann::ordered_json;
using observer::BytesView;

namespace {

constexpr const char* kFormat = "aoe-conformance-undo-1";
constexpr const char* kSuffix = ".undo";

std::string plain_hex(BytesView bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const uint8_t byte : bytes) {
    constexpr const char* digits = "0123456789abcdef";
    out += digits[byte >> 4U];
    out += digits[byte & 0xfU];
  }
  return out;
}

int digit(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

Bytes from_hex(const std::string& text) {
  Bytes out;
  out.reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = digit(text[i]);
    const int low = i + 1 < text.size() ? digit(text[i + 1]) : -1;
    if (high < 0 || low < 0) {
      throw std::invalid_argument("not hexadecimal");
    }
    out.push_back(static_cast<uint8_t>(high * 16 + low));
  }
  return out;
}

Mac mac_of(const json& value) {
  const auto mac = observer::mac_from_string(value.get<std::string>());
  if (!mac) {
    throw std::invalid_argument("not an address");
  }
  return *mac;
}

ordered_json list_of(const std::optional<std::vector<Mac>>& macs) {
  if (!macs) {
    return nullptr;
  }
  ordered_json out = ordered_json::array();
  for (const Mac& mac : *macs) {
    out.push_back(observer::to_string(mac));
  }
  return out;
}

std::optional<std::vector<Mac>> macs_of(const json& list) {
  if (list.is_null()) {
    return std::nullopt;
  }
  std::vector<Mac> out;
  for (const json& mac : list) {
    out.push_back(mac_of(mac));
  }
  return out;
}

// FNV-1a, as a check against a file that was cut or edited; no defence against a forger.
std::string check_of(BytesView bytes) {
  uint64_t hash = 0xcbf29ce484222325ULL;
  for (const uint8_t byte : bytes) {
    hash = (hash ^ byte) * 0x100000001b3ULL;
  }
  return fmt::format("{:016x}", hash);
}

std::optional<std::string> content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return std::nullopt;
  }
  return std::string(std::istreambuf_iterator<char>(file), {});
}

}  // namespace

bool UndoRecord::is_of(const TargetFacts& target) const {
  return shelf == target.shelf && slot == target.slot && serial == target.serial &&
         sectors == target.sectors;
}

std::string UndoRecord::name() const {
  return fmt::format("{}.{} at {} (serial {}, {} sectors)", shelf, slot, observer::to_string(mac),
                     observer::quoted(serial), sectors);
}

std::string to_text(const UndoRecord& r) {
  ordered_json j;
  j["format"] = kFormat;
  j["target"] = {{"address", observer::to_string(r.mac)},
                 {"shelf", r.shelf},
                 {"slot", r.slot},
                 {"sectors", r.sectors},
                 {"serial", plain_hex(observer::bytes_of(r.serial))},
                 {"model", plain_hex(observer::bytes_of(r.model))}};
  j["link"] = r.link;
  j["began_ns"] = r.began_ns;
  j["config"] = r.config ? ordered_json(plain_hex(*r.config)) : ordered_json(nullptr);
  j["mask"] = list_of(r.mask);
  j["reserve"] = list_of(r.reserved);
  j["scratch"] = {
      {"lba", r.scratch_lba}, {"data", plain_hex(r.scratch)}, {"check", check_of(r.scratch)}};
  std::string out = j.dump() + "\n";
  for (const Mac& mac : r.listed) {
    out += ordered_json{{"listed", observer::to_string(mac)}}.dump() + "\n";
  }
  return out;
}

UndoRecord undo_record_from(const std::string& text, const std::string& path) {
  const auto damaged = [&](const std::string& what) {
    return UsageError(
        fmt::format("the undo file {} is {}: nothing can be put back from it", path, what));
  };
  const size_t first_end = text.find('\n');
  if (first_end == std::string::npos) {
    throw damaged(text.empty() ? "empty" : "cut off");
  }
  UndoRecord r;
  try {
    const json j = json::parse(text.substr(0, first_end));
    if (j.at("format") != kFormat) {
      throw damaged(fmt::format("of another format ({}; this program knows {})",
                                j.at("format").dump(), kFormat));
    }
    const json& target = j.at("target");
    r.mac = mac_of(target.at("address"));
    r.shelf = target.at("shelf");
    r.slot = target.at("slot");
    r.sectors = target.at("sectors");
    const auto text_of = [&](const char* key) {
      const Bytes bytes = from_hex(target.at(key));
      return std::string(bytes.begin(), bytes.end());
    };
    r.serial = text_of("serial");
    r.model = text_of("model");
    r.link = j.at("link");
    r.began_ns = j.at("began_ns");
    if (!j.at("config").is_null()) {
      r.config = from_hex(j.at("config"));
    }
    r.mask = macs_of(j.at("mask"));
    r.reserved = macs_of(j.at("reserve"));
    const json& scratch = j.at("scratch");
    r.scratch_lba = scratch.at("lba");
    r.scratch = from_hex(scratch.at("data"));
    if (check_of(r.scratch) != scratch.at("check") ||
        r.scratch.size() % observer::kSectorBytes != 0) {
      throw std::invalid_argument("sectors that are not what was saved");
    }
    for (size_t at = first_end + 1; at < text.size();) {
      const size_t end = text.find('\n', at);
      if (end == std::string::npos) {
        break;  // the run was killed while it wrote this: it had not sent the frame
      }
      r.listed.insert(mac_of(json::parse(text.substr(at, end - at)).at("listed")));
      at = end + 1;
    }
  } catch (const json::exception&) {
    throw damaged("damaged");
  } catch (const std::invalid_argument& e) {
    throw damaged(fmt::format("damaged ({})", e.what()));
  }
  return r;
}

UndoFile::UndoFile(const std::string& path, const std::string& folder)
    : path_(path), folder_(folder) {
  try {
    if (path_.empty()) {
      std::error_code error;
      fs::create_directories(folder_, error);
      if (error) {
        throw UsageError(
            fmt::format("cannot make {} for undo files: {}; --undo-file FILE says "
                        "where to keep what is to be put back",
                        folder_, error.message()));
      }
      output::try_destinations({folder_ + "/trial" + kSuffix});
    } else if (!fs::exists(path_)) {
      output::try_destinations({path_});
    } else if (!fs::is_regular_file(path_)) {
      throw UsageError(fmt::format("--undo-file {}: it is no file that could be kept", path_));
    }
  } catch (const output::OutputError& e) {
    throw UsageError(fmt::format("undo file: {}; --undo-file FILE names another", e.what()));
  }
}

std::string UndoFile::usual_folder() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && state[0] == '/') {
    return std::string(state) + "/aoe-conformance";
  }
  const char* home = std::getenv("HOME");
  if (home == nullptr || home[0] != '/') {
    const passwd* user = ::getpwuid(::geteuid());
    home = user == nullptr ? nullptr : user->pw_dir;
  }
  return home == nullptr || home[0] != '/' ? std::string()
                                           : std::string(home) + "/.local/state/aoe-conformance";
}

std::string UndoFile::path_of(const Mac& mac, uint16_t shelf, uint8_t slot) const {
  if (!path_.empty()) {
    return path_;
  }
  return fmt::format("{}/e{}.{}-{}{}", folder_, shelf, slot, plain_hex(mac), kSuffix);
}

std::optional<UndoRecord> UndoFile::pending(const TargetFacts& target) const {
  if (!path_.empty()) {
    const auto content = content_of(path_);
    return content ? std::optional(undo_record_from(*content, path_)) : std::nullopt;
  }
  // By its disk, too: it may have come back with another address.
  std::vector<std::string> unreadable;
  std::optional<UndoRecord> found;
  for (UndoRecord& record : all(unreadable)) {
    if (record.is_of(target) ||
        (record.mac == target.mac && record.shelf == target.shelf && record.slot == target.slot)) {
      found = std::move(record);
    }
  }
  const std::string own = path_of(target.mac, target.shelf, target.slot);
  if (!found && std::find(unreadable.begin(), unreadable.end(), own) != unreadable.end()) {
    const auto content = content_of(own);
    undo_record_from(content.value_or(std::string()), own);  // says what is wrong with it
  }
  return found;
}

std::vector<UndoRecord> UndoFile::all(std::vector<std::string>& unreadable) const {
  std::vector<std::string> paths;
  if (!path_.empty()) {
    paths.push_back(path_);
  } else {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(folder_, error)) {
      if (entry.path().extension() == kSuffix) {
        paths.push_back(entry.path());
      }
    }
    std::sort(paths.begin(), paths.end());
  }
  std::vector<UndoRecord> out;
  for (const std::string& path : paths) {
    const auto content = content_of(path);
    if (!content && !path_.empty()) {
      continue;  // nobody has left anything
    }
    try {
      out.push_back(undo_record_from(content.value_or(std::string()), path));
    } catch (const UsageError&) {
      unreadable.push_back(path);
    }
  }
  return out;
}

void UndoFile::keep(const UndoRecord& record) {
  const std::string path = path_of(record.mac, record.shelf, record.slot);
  output::write_file(path, to_text(record), {}, output::Care::secret);
  kept_ = path;
  if (on_change) {
    on_change(kept_);
  }
}

void UndoFile::list(const Mac& mac) {
  if (kept_.empty()) {
    return;
  }
  std::ofstream file(kept_, std::ios::app);
  file << ordered_json{{"listed", observer::to_string(mac)}}.dump() << std::endl;
}

void UndoFile::discard() {
  if (!kept_.empty()) {
    std::error_code error;
    fs::remove(kept_, error);
    kept_.clear();
    if (on_change) {
      on_change(kept_);
    }
  }
}

void UndoFile::discard_earlier(const UndoRecord& record) {
  std::error_code error;
  fs::remove(path_of(record.mac, record.shelf, record.slot), error);
}

}  // namespace conformance
