// What a run would send, change and save.

#include "conformance/dry_run.h"

#include <fmt/format.h>

#include <map>

#include "conformance/control/model_control.h"

namespace conformance {

namespace {

using observer::BytesView;
using observer::F;
using observer::get;

std::string kind_of(BytesView frame) {
  if (!observer::is_aoe(frame) || observer::is_reply(frame)) {
    return "frames that are no requests, or cut short";
  }
  const uint64_t command = get(frame, F::command).value_or(0);
  const auto code = [&](F id) { return get(frame, id).value_or(0); };
  switch (command) {
    case observer::command::ata: {
      const auto ata = static_cast<uint8_t>(code(F::ata_command));
      return observer::is_ata_write(ata)  ? "ATA writes"
             : observer::is_ata_read(ata) ? "ATA reads"
                                          : "other ATA commands";
    }
    case observer::command::config:
      return code(F::cfg_ccmd) >= observer::ccmd::set ? "sets of the config string"
                                                      : "config queries";
    case observer::command::mask:
      return code(F::mask_mcmd) == observer::mcmd::read   ? "reads of the mask list"
             : code(F::mask_mcmd) == observer::mcmd::edit ? "edits of the mask list"
                                                          : "other commands";
    case observer::command::reserve:
      return code(F::reserve_rcmd) == observer::rcmd::read        ? "reads of the reserve list"
             : code(F::reserve_rcmd) <= observer::rcmd::force_set ? "sets of the reserve list"
                                                                  : "other commands";
    case observer::command::extension:
      return "extension tables";
    default:
      return "other commands";
  }
}

// The model behind a link that counts.
class CountingLink : public links::Link {
 public:
  explicit CountingLink(deviants::ModelLink& model) : model_(model) {}
  void send(BytesView frame) override {
    ++kinds[kind_of(frame)];
    model_.send(frame);
  }
  std::optional<links::ReceivedFrame> receive(int64_t deadline_ns) override {
    return model_.receive(deadline_ns);
  }
  int64_t now_ns() override { return model_.now_ns(); }
  observer::Mac mac() const override { return model_.mac(); }
  size_t mtu() const override { return model_.mtu(); }
  std::string name() const override { return model_.name(); }

  std::map<std::string, uint64_t> kinds;

 private:
  deviants::ModelLink& model_;
};

}  // namespace

std::string dry_run(RunConfig config, size_t mtu, bool restarts) {
  deviants::ModelConfig model_config;
  model_config.mtu = mtu;
  deviants::ModelLink model(model_config);
  CountingLink link(model);
  control::ModelControl control(model);
  config.shelf.reset();
  config.slot.reset();
  config.capture_dir.clear();
  const std::optional<Scratch> scratch = config.scratch;
  config.scratch.reset();  // the model's disk is not the target's
  config.target = restarts ? &control : &control::nobody();
  const report::Report report = run_suite(link, config);
  const auto n = report.counts();
  const size_t skipped = n.at(Verdict::skip);
  std::string out =
      fmt::format("nothing is sent. {} of {} cases would run; by the built-in model they send:\n",
                  config.cases.size() - skipped, config.cases.size());
  for (const auto& [kind, count] : link.kinds) {
    out += fmt::format("  {:>8}  {}\n", count, kind);
  }
  out += fmt::format(
      "in all {} frames\n\nsaved before the first case: config string, mask list, reserve list",
      report.frames_sent);
  const bool writes = config.allowed.count("write") != 0;
  const std::string sectors =
      scratch ? fmt::format("sectors {} to {}", scratch->lba, scratch->lba + scratch->count - 1)
              : std::string("the sectors of the default scratch range (see --scratch)");
  out += writes ? ", " + sectors + "\n" : std::string("\n");
  std::string changes;
  const auto add = [&](const std::string& what) { changes += "  " + what + "\n"; };
  if (writes) {
    add(sectors + ": written to, and put back");
  }
  if (config.allowed.count("config") != 0) {
    add("the config string: set, and put back");
  }
  if (config.allowed.count("lockout") != 0) {
    add("mask and reserve lists: others may be locked out for moments; put back");
  }
  if (control.starts() > 0) {
    add(fmt::format("the target itself: ended and started again {} times", control.starts()));
  }
  return out + (changes.empty() ? "changed: nothing\n" : "changed meanwhile:\n" + changes);
}

}  // namespace conformance
