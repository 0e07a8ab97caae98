"""The promises of aoe-conformance's command line: exit codes, reports that real parsers accept and that agree with
each other, selection, safety of somebody's disk, and targets that are silent, die or answer rubbish.

What its cases judge is tested elsewhere; here a case is a name.
"""

import collections
import json
import re
import signal
import sys

import jsonschema
import junitparser
import pytest
from scapy.layers.l2 import Ether
from tap.parser import Parser

import aoe_layers as aoe
import wrong_target
from conftest import PROJECT
from programs import AoeTarget, Program, Vblade, run, wait_until
from test_layers import frames_of

EVERYTHING = "write,config,lockout,stress,unknown"
VERDICTS = ["pass", "fail", "warn", "info", "unsupported", "skip", "inconclusive", "error"]
# Families that are quick and still send everything there is: the whole suite is for `lab conformance`.
SOME = ["--case", "header.*", "--case", "config.*", "--case", "ata.*"]
IMAGE_BYTES = 4 << 20


class Reports:
    """The four reports of one run, read by other people's parsers and checked against each other."""

    def __init__(self, folder):
        self.json = json.loads((folder / "report.json").read_text())
        schema = json.loads((PROJECT / "docs" / "report.schema.json").read_text())
        jsonschema.validate(self.json, schema)  # checks the schema too
        self.cases = {case["id"]: case for case in self.json["cases"]}
        assert len(self.cases) == len(self.json["cases"]), "ids are unique"
        self.text = (folder / "report.txt").read_text()
        self._summary()
        self._junit(junitparser.JUnitXml.fromfile(str(folder / "report.xml")))
        self._tap(folder / "report.tap")

    def verdicts(self):
        return collections.Counter(case["verdict"] for case in self.cases.values())

    def _summary(self):
        counted = self.verdicts()
        for verdict in VERDICTS:
            assert self.json["summary"][verdict] == counted[verdict], verdict
        assert self.json["summary"]["total"] == len(self.cases)
        assert set(counted) <= set(VERDICTS)
        for case in self.cases.values():
            assert case["verdict"] == "pass" or case["reason"], f"{case['id']}: every verdict but pass says why"

    def _junit(self, xml):
        kinds = {}
        for suite in xml:
            for case in suite:
                results = case.result if isinstance(case.result, list) else [case.result]
                kinds[case.name] = [type(result).__name__ for result in results if result is not None]
                assert case.classname
        assert set(kinds) == set(self.cases)
        for name, kind in kinds.items():
            verdict = self.cases[name]["verdict"]
            if self.cases[name]["known"] and verdict in ("fail", "error", "inconclusive"):
                assert kind == ["Skipped"], f"{name}: what a baseline knows turns nothing red"
            elif verdict == "fail":
                assert kind == ["Failure"], name
            elif verdict in ("error", "inconclusive"):
                assert kind == ["Error"], f"{name}: a failure is not an error"
            elif verdict in ("skip", "unsupported"):
                assert kind == ["Skipped"], f"{name}: a skip is not a pass"
            else:
                assert kind == [], name
        counted = collections.Counter(case["verdict"] for case in self.cases.values() if not case["known"])
        assert xml.tests == len(self.cases)
        assert xml.failures == counted["fail"]
        assert xml.errors == counted["error"] + counted["inconclusive"]

    def _tap(self, path):
        lines = list(Parser().parse_file(str(path)))
        (plan,) = [line for line in lines if line.category == "plan"]
        tests = [line for line in lines if line.category == "test"]
        assert plan.expected_tests == len(tests) == len(self.cases)
        assert path.read_text().startswith("TAP version 14\n")
        for line in tests:
            name = line.description.lstrip("- ").split(" #")[0].strip()
            verdict = self.cases[name]["verdict"]
            red = verdict in ("fail", "error", "inconclusive")
            assert bool(line.todo) == bool(self.cases[name]["known"] and red), name
            assert line.ok == (not red), name
            assert bool(line.skip) == (verdict in ("skip", "unsupported")), name


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "judged.img"
    path.write_bytes(bytes(i * 7 & 0xFF for i in range(4096)) * (IMAGE_BYTES // 4096))
    return path


@pytest.fixture
def suite(aoe_conformance, tmp_path):
    """suite("run", ...) -> CompletedProcess; .reports() of the last run with reports."""

    class Suite:
        folder = tmp_path / "reports"

        def __call__(self, *words, seconds=60, **options):
            return run([aoe_conformance, *words], seconds=seconds, **options)

        def run(self, link, *words, **options):
            place = ["--interface", link.host_end, "--shelf", 1, "--slot", 1]
            return self("run", *place, "--report-dir", self.folder, *words, **options)

        def start(self, link, *words):
            place = ["--interface", link.host_end, "--shelf", 1, "--slot", 1]
            return Program([aoe_conformance, "run", *place, "--report-dir", self.folder, *words])

        def reports(self):
            return Reports(self.folder)

    return Suite()


@pytest.fixture
def wrong(link, disk):
    """wrong(mode) -> a running wrong_target.py on the link."""
    started = []

    def start_wrong(mode):
        program = Program([sys.executable, wrong_target.__file__, link.target_end, 1, 1, disk, mode])
        started.append(program)
        wait_until(lambda: "ready" in program.output() or not program.alive, what="wrong_target")
        assert program.alive, program.said()
        return program

    yield start_wrong
    for program in started:
        program.close()


@pytest.fixture
def reference(aoe_target, link, disk):
    options = ["--interface", link.target_end, "--shelf", 1, "--slot", 1, disk]
    with AoeTarget(aoe_target, *options) as target:
        yield target


def one_clear_line(done):
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done
    return lines[0]


# -- without a target

ID = re.compile(r"^[a-z0-9_]+(\.[a-z0-9_-]+)+$")


def ids(text):
    return [line.split()[0] for line in text.splitlines() if line.strip()]


def test_list_names_every_case_once_by_a_stable_id(suite):
    done = suite("list")
    assert done.returncode == 0 and done.stderr == ""
    names = ids(done.stdout)
    assert len(names) == len(set(names)) >= 150
    for name in names:
        assert ID.match(name), name
        assert not re.search(r"\.\d+$", name), f"{name}: an id is a name, not a position"
    assert "config.set.refuses-when-present" in names


def test_show_clauses_and_plan_need_no_target(suite):
    shown = suite("show", "config.set.refuses-when-present")
    assert shown.returncode == 0
    for told in ("MUST", "error 4", "config"):
        assert told in shown.stdout
    clauses = suite("clauses")
    assert clauses.returncode == 0
    assert re.search(r"\b0 without a case; \d+ cases, 0 without a clause", clauses.stdout)
    plan = suite("run", "--plan")
    assert plan.returncode == 0
    lines = [line.split()[:2] for line in plan.stdout.splitlines() if re.match(r"(run|skip) ", line)]
    assert sorted(name.rstrip(":") for _, name in lines) == sorted(ids(suite("list").stdout))
    assert {word for word, _ in lines} == {"run", "skip"}


def test_selection_and_exclusion(suite, tmp_path):
    everything = ids(suite("list").stdout)
    assert ids(suite("list", "--case", "config.set.*").stdout) == [n for n in everything if n.startswith("config.set.")]
    assert ids(suite("list", "--family", "header").stdout) == [n for n in everything if n.startswith("header.")]
    without = ids(suite("list", "--case", "config.*", "--exclude", "config.set.*").stdout)
    assert without == [n for n in everything if n.startswith("config.") and not n.startswith("config.set.")]
    must, interop = (ids(suite("list", "--level", level).stdout) for level in ("MUST", "INTEROP"))
    assert must and interop and not set(must) & set(interop)
    names = tmp_path / "names"
    names.write_text("header.tag.returned-by-read\nconfig.set.refuses-when-present\n")
    assert set(ids(suite("list", "--cases-from", names).stdout)) == set(names.read_text().split())


@pytest.mark.parametrize("command", [["list"], ["run", "--plan"], ["run", "--model"]])
@pytest.mark.parametrize(
    "selection",
    [
        ["--case", "no.such.case"],
        ["--case", "header.*", "--case", "nothing.*"],
        ["--family", "no-family"],
        ["--level", "PERHAPS"],
        ["--clause", "NO-CLAUSE"],
        ["--exclude", "no.such.case"],
        ["--case", "header.*", "--exclude", "header.*"],
        ["--cases-from", "/nonexistent/names"],
    ],
)
def test_what_matches_nothing_is_an_error(suite, command, selection):
    done = suite(*command, *selection)
    assert done.returncode == 2, done
    assert done.stderr.strip(), "and says what it was"
    assert done.stdout == ""


def test_a_file_of_names_with_an_unknown_one_is_an_error(suite, tmp_path):
    names = tmp_path / "names"
    names.write_text("header.tag.returned-by-read\nno.such.case\n")
    done = suite("list", "--cases-from", names)
    assert done.returncode == 2
    assert "no.such.case" in one_clear_line(done)


USAGE = [
    [],
    ["no-such-command"],
    ["show", "no.such.case"],
    ["run"],
    ["run", "--model", "--no-such-option"],
    ["run", "--model", "--allow", "everything"],
    ["run", "--model", "--allow", "write", "--scratch", "12"],
    ["run", "--model", "--time-scale", "fast"],
    ["run", "--model", "--fail-on", "sometimes"],
    ["run", "--model", "--shelf", "65535", "--slot", "1"],
    ["run", "--model", "--baseline", "/nonexistent/known.toml"],
    ["run", "--model", "--deviant", "no-such-deviant"],
]


@pytest.mark.parametrize("words", USAGE, ids=" ".join)
def test_wrong_usage_is_exit_code_2_and_a_message(suite, words):
    done = suite(*words)
    assert done.returncode == 2, done
    assert done.stderr.strip()


def test_an_interface_that_is_not_there_is_told(suite, namespace):
    done = suite("run", "--interface", "nonesuch0")
    assert done.returncode not in (0, 1, 3, 4, 77) and done.returncode > 0
    assert "nonesuch0" in one_clear_line(done)


# -- exit codes and reports


def test_a_good_target_is_exit_code_0_and_its_disk_is_only_read(suite, link, disk, reference):
    before = disk.read_bytes()
    done = suite.run(link, *SOME)
    reports = suite.reports()
    assert done.returncode == 0, done.stdout
    verdicts = reports.verdicts()
    assert verdicts["pass"] > 50
    assert verdicts["fail"] == verdicts["error"] == verdicts["inconclusive"] == 0
    assert verdicts["skip"] > 10, "what would write was left out"
    for case in reports.cases.values():
        if case["verdict"] == "skip":
            assert re.search("needs --(allow|target-command)", case["reason"]), case["id"]
    assert reports.json["complete"] and reports.json["exit_code"] == 0
    facts = reports.json["target"]
    assert (facts["shelf"], facts["slot"], facts["mac"]) == (1, 1, link.target_mac)
    assert (facts["sectors"], facts["buffer_count"]) == (IMAGE_BYTES // 512, 64)
    assert disk.read_bytes() == before
    assert "\x1b" not in done.stdout, "colour on a terminal only"
    assert reference.alive


def test_what_is_allowed_to_write_puts_everything_back(suite, link, disk, reference):
    asking = link.host("02:00:00:00:00:77")
    force = asking.frame(aoe.AoeConfig(aoe_version=1, ccmd=aoe.AoeConfig.FORCE, string=b"mine"))
    assert asking.ask(force)[aoe.AoeConfig].string == b"mine"
    before = disk.read_bytes()
    done = suite.run(link, *SOME, "--allow", EVERYTHING, "--scratch", "4096:1024")
    reports = suite.reports()
    assert done.returncode == 0, done.stdout
    assert reports.cases["run.target-left-as-found"]["verdict"] == "pass"
    assert disk.read_bytes() == before
    read = asking.ask(asking.frame(aoe.AoeConfig(aoe_version=1)))
    assert read[aoe.AoeConfig].string == b"mine"


def test_a_scratch_area_outside_the_disk_is_an_error(suite, link, disk, reference):
    done = suite.run(link, "--case", "ata.write.*", "--allow", "write", "--scratch", "999999:8")
    assert done.returncode == 2
    assert "999999" in done.stderr


def test_nobody_there_is_exit_code_3_and_no_pass(suite, link):
    done = suite.run(link, *SOME, "--allow", EVERYTHING)
    assert done.returncode == 3, done
    reports = suite.reports()
    assert reports.verdicts()["pass"] == 0
    assert not reports.json["complete"]
    assert link.host_end in done.stderr + done.stdout


def test_a_silent_target_is_exit_code_3_and_no_pass(suite, link, wrong):
    wrong("silent")
    done = suite.run(link, *SOME)
    assert done.returncode == 3
    assert suite.reports().verdicts()["pass"] == 0


# What a target does wrong, and a case that must be failed for it.
CAUGHT = {
    "writes-twice": "ata.write.lands-where-it-should",
    "wrong-sector": "ata.read.sectors-in-order",
    "no-idnf": "ata.read.one-past-end",
    "ignores-force": "config.force.replaces",
    "wrong-tag": "header.tag.returned-by-read",
    "stale-padding": "extensions.reply.carries-nothing-else",
}


@pytest.mark.parametrize("mode", CAUGHT)
def test_a_broken_must_is_exit_code_1(suite, link, wrong, mode):
    wrong(mode)
    family = CAUGHT[mode].split(".")[0]
    done = suite.run(link, "--family", family, "--allow", EVERYTHING)
    reports = suite.reports()
    assert done.returncode == 1, done.stdout
    failed = [name for name, case in reports.cases.items() if case["verdict"] == "fail"]
    assert CAUGHT[mode] in failed
    for name in failed:
        assert name in done.stdout, "each failure is told on the screen"
    assert "aoe-conformance run" in reports.cases[failed[0]]["repeat"]


def test_the_command_that_repeats_a_failure_repeats_it(suite, link, wrong, aoe_conformance):
    import shlex

    wrong("no-idnf")
    suite.run(link, "--case", "ata.read.*")
    case = suite.reports().cases["ata.read.one-past-end"]
    assert case["verdict"] == "fail"
    words = shlex.split(case["repeat"])
    assert words[0].endswith("aoe-conformance")
    again = suite(*words[1:])
    assert again.returncode == 1
    assert "ata.read.one-past-end" in again.stdout


@pytest.mark.parametrize("mode", ["rubbish", "all-rubbish"])
def test_a_target_that_answers_rubbish_is_judged_to_the_end(suite, link, wrong, mode):
    wrong(mode)
    done = suite.run(link, *SOME, "--allow", EVERYTHING)
    assert done.returncode in (1, 3, 4), f"no signal, no error of ours: {done}"
    reports = suite.reports()
    assert reports.verdicts()["error"] == 0
    assert reports.verdicts()["fail"] > 0 or done.returncode != 1


@pytest.mark.parametrize("mode", ["dies", "dies-early"])
def test_a_target_that_dies_is_named_with_what_killed_it(suite, link, wrong, mode):
    target = wrong(mode)
    done = suite.run(link, *SOME, "--allow", EVERYTHING)
    assert target.wait() == 1
    assert done.returncode == 4, done.stdout
    reports = suite.reports()
    assert not reports.json["complete"]
    (killed,) = [name for name, case in reports.cases.items() if "died in this case" in case["reason"]]
    assert killed in reports.json["trouble"]
    ran = list(reports.cases).index(killed)
    after = [case for case in list(reports.cases.values())[ran + 1 :] if case["verdict"] != "skip"]
    assert after and all(case["verdict"] == "inconclusive" for case in after), "what did not run is listed as such"
    assert all("did not run" in case["reason"] or "could be put back" in case["reason"] for case in after)
    if mode == "dies":
        # Whichever case it was that wrote beyond the end first: the frame shown is that write.
        assert re.search(r"ata\.command +0x3[04]", reports.text[reports.text.index("died in") :]), reports.text[:6000]
    # The frame that killed it, decoded.
    assert re.search(r"eth\.dst|tag", reports.text[reports.text.index("died in") :])


def test_a_target_killed_from_outside_leaves_complete_reports(suite, link, reference):
    with suite.start(link, *SOME, "--allow", EVERYTHING) as running:
        host = link.host("02:00:00:00:00:88")
        # Once the suite has begun to ask, the target is gone in the middle of something.
        wait_until(lambda: asked_much(reference), what="the suite asks")
        reference.kill(signal.SIGKILL)
        code = running.wait(60)
        host.close()
    assert code in (3, 4), running
    reports = suite.reports()
    assert not reports.json["complete"]
    assert reports.verdicts()["inconclusive"] > 10
    assert len(reports.cases) > 100


def asked_much(target):
    from test_target_process import counters_after, find

    return find(counters_after(target), "frames_in") > 40


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_complete_reports_and_a_target_as_found(suite, link, disk, reference, number):
    before = disk.read_bytes()
    with suite.start(link, "--allow", EVERYTHING) as running:
        wait_until(lambda: asked_much(reference), what="the suite asks")
        running.kill(number)
        code = running.wait(60)
    assert code != 0, "an interrupted run is no pass"
    reports = suite.reports()
    assert not reports.json["complete"]
    assert disk.read_bytes() == before
    assert reference.alive


def test_everything_skipped_is_exit_code_77(suite, link, reference):
    done = suite.run(link, "--case", "config.set.*")
    assert done.returncode == 77, done
    assert suite.reports().cases["config.set.refuses-when-present"]["verdict"] == "skip"


def test_fail_on_makes_further_verdicts_red(suite, link, reference):
    words = ["--case", "header.tag.returned-by-read", "--case", "config.set.refuses-when-present"]
    assert suite.run(link, *words).returncode == 0
    assert suite.run(link, *words, "--fail-on", "skip").returncode == 1


def test_a_target_without_extensions_is_unsupported_and_that_is_no_pass(suite, link, disk):
    with Vblade(link, disk):
        done = suite.run(link, "--family", "extensions", "--family", "tags", "--allow", EVERYTHING)
    reports = suite.reports()
    assert done.returncode == 0, done.stdout
    judged = [case for name, case in reports.cases.items() if name.split(".")[0] in ("extensions", "tags")]
    assert {case["verdict"] for case in judged} <= {"unsupported", "skip"}
    assert sum(case["verdict"] == "unsupported" for case in judged) > 20


def test_the_baseline_of_vblade_is_met(suite, link, disk, project):
    baseline = project / "conformance" / "known" / "vblade-25.toml"
    # The families in which nothing locks it out for good: `lab conformance --against vblade` does the rest.
    with Vblade(link, disk):
        done = suite.run(link, *SOME, "--allow", EVERYTHING, "--baseline", baseline)
    assert done.returncode == 0, done.stdout[-3000:]
    known = [case["id"] for case in suite.reports().cases.values() if case["known"]]
    assert known, "vblade has deviations, and they are listed"


def test_a_baseline_that_does_not_fit_is_red_either_way(suite, link, wrong, tmp_path):
    wrong("no-idnf")
    words = ["--case", "ata.read.one-past-end", "--case", "ata.read.first-sector"]
    empty = tmp_path / "empty.toml"
    empty.write_text("known = []\n")
    assert suite.run(link, *words, "--baseline", empty).returncode == 1, "a failure that is not listed"


# -- captures


def test_a_capture_for_every_case(suite, link, reference, tmp_path):
    folder = tmp_path / "captures"
    done = suite.run(link, "--case", "header.tag.*", "--allow", "unknown", "--capture", folder)
    assert done.returncode == 0, done
    ran = [name for name, case in suite.reports().cases.items() if name.startswith("header.tag.")]
    files = {path.name: path for path in folder.glob("*.pcap")}
    for name in ran:
        (path,) = [files[file] for file in files if name in file]
        frames = [Ether(raw) for raw in frames_of(path)]
        assert any(frame[aoe.AoE].is_reply for frame in frames)
        assert any(not frame[aoe.AoE].is_reply for frame in frames)
    assert len(ran) >= 6
    for path in list(files.values())[:2]:
        shown = run(["tshark", "-n", "-r", path, "-Y", "_ws.malformed"])
        assert (shown.returncode, shown.stdout) == (0, ""), path.name


# -- the suite starts the target itself


def test_it_starts_and_ends_a_target_of_its_own(suite, link, disk, aoe_target, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    command = f"{aoe_target} --interface {{iface}} --shelf {{shelf}} --slot {{slot}} --state-dir {state} {{image}}"
    done = suite.run(
        link, "--case", "config.*", "--allow", EVERYTHING,
        "--target-command", command, "--target-interface", link.target_end, "--target-image", disk,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    host = link.host("02:00:00:00:00:88")
    assert host.try_ask(host.frame(aoe.AoeConfig(aoe_version=1)), 0.1) is None, "and ended it"


def test_two_targets_and_none_named_is_an_error(suite, link, aoe_target, disk, tmp_path):
    other = tmp_path / "other.img"
    other.write_bytes(bytes(1 << 20))
    both = ["--interface", link.target_end]
    with AoeTarget(aoe_target, *both, "--shelf", 1, "--slot", 1, disk):
        done = suite("run", "--interface", link.host_end, "--case", "header.tag.*")
        assert done.returncode == 0, "the only one is found by itself"
        with AoeTarget(aoe_target, *both, "--shelf", 2, "--slot", 7, other):
            done = suite("run", "--interface", link.host_end, "--case", "header.tag.*")
    assert done.returncode == 2
    for shelf, slot in ((1, 1), (2, 7)):
        assert f"--shelf {shelf} --slot {slot}" in done.stderr
