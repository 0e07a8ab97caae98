"""What a user does wrong costs a line, not an hour: what was wrong, with what, what to do; exit code 2; nothing written,
nothing started. And what `--help`, `--version`, manual pages and completion say is one and the same."""

import json
import os
import pty
import re
import shutil
import subprocess

import pytest

from conftest import PROJECT
from programs import run

PROGRAMS = ["aoe-conformance", "aoe-target", "aoe-sim", "aoe-pcap", "aoe-initiator"]


@pytest.fixture(scope="module")
def program(build):
    def call(line, *more):
        name, *words = line.split() if isinstance(line, str) else line
        if not (build / "bin" / name).exists():
            pytest.skip(f"not built: {name}")
        return run([build / "bin" / name, *words, *more])

    return call


def refused(done, *told):
    assert done.returncode == 2, done
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    for text in told:
        assert text in lines[0], lines[0]


def test_all_programs_tell_one_version(program):
    said = [program([name, "--version"]).stdout.split(maxsplit=1) for name in PROGRAMS]
    assert [words[0] for words in said] == PROGRAMS
    assert len({words[1] for words in said}) == 1
    assert re.match(r"\d+\.\d+\.\d+( \(commit [0-9a-f]+(-dirty)?\))?$", said[0][1].strip())


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_unknown_option_is_called_that(program, name):
    words = {"aoe-conformance": ["run"], "aoe-sim": ["run", "--seed", "1"], "aoe-pcap": ["info", "x"], "aoe-target": [], "aoe-initiator": ["info"]}
    refused(program([name, *words[name], "--bogus"]), "unknown option", "--bogus", "--help")


@pytest.mark.parametrize(
    "line, told",
    [
        ("aoe-conformance run", "--interface, --socket and --model"),
        ("aoe-conformance run --model --scratch -5:10", "-5:10"),
        ("aoe-conformance run --model --scratch 5", "LBA:COUNT"),
        ("aoe-conformance run --model --scratch 99999999999999999999:4", "99999999999999999999:4"),
        ("aoe-conformance run --model --time-scale nan", "nan"),
        ("aoe-conformance run --model --repeat 0", "--repeat"),
        ("aoe-conformance run --model --time-limit -1", "--time-limit"),
        ("aoe-conformance run --model --reason x", "--write-baseline"),
        ("aoe-conformance run --model --report-json DIR", "folder"),
        ("aoe-conformance run --model --report-dir FILE", "no directory"),
        ("aoe-conformance run --model --bundle DIR", "directory"),
        ("aoe-conformance run --model --baseline DIR", "directory"),
        ("aoe-conformance run --model --cases-from DIR", "directory"),
        ("aoe-conformance run --model --retry-failed DIR", "directory"),
        ("aoe-conformance run --settings DIR", "directory"),
        ("aoe-conformance diff DIR DIR", "directory"),
        ("aoe-sim search --seeds 10..5", "no seed"),
        ("aoe-sim search --seeds 5..5", "no seed"),
        ("aoe-sim run --seed -1", "-1"),
        ("aoe-sim run --seed 99999999999999999999", "99999999999999999999"),
        ("aoe-sim hunt --seeds 0", "--seeds"),
        ("aoe-sim replay DIR", "directory"),
        ("aoe-target --check --shelf 99999999999999999999999 --slot 1 FILE", "99999999999999999999999 is out of range"),
        ("aoe-pcap info DIR", "directory"),
    ],
)
def test_what_makes_no_sense_is_refused_as_it_was_typed(program, tmp_path, line, told):
    file = tmp_path / "file"
    file.write_text("x")
    folder = tmp_path / "folder"
    folder.mkdir()
    done = program(line.replace("DIR", str(folder)).replace("FILE", str(file)))
    refused(done)
    assert told.lower() in done.stderr.lower(), done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"], "nothing was written"


@pytest.mark.parametrize("option", ["--state-dir", "--control"])
def test_an_empty_path_is_no_path(program, tmp_path, option):
    image = tmp_path / "image"
    image.write_bytes(bytes(512))
    words = ["--check", "--interface", "lo", "--shelf", "1", "--slot", "1", image]
    refused(program(["aoe-target", option, "", *words]), option, "empty")


def test_the_faults_of_a_seed_that_never_heals_are_told_in_words(program):
    for seed in range(12):
        said = program(f"aoe-sim run --seed {seed} --profile hostile").stdout
        assert "9223372036854775807" not in said
    assert "heal" in said


def test_list_obeys_the_selection_and_knows_the_deviants(program):
    table = program("aoe-conformance list --markdown --case header.tag.*").stdout
    ids = re.findall(r"^\| `(\S+)`", table, re.MULTILINE)
    assert ids and all(name.startswith("header.tag.") for name in ids)
    assert table.splitlines()[-1] == f"{len(ids)} cases."
    deviants = program("aoe-conformance list --deviants").stdout
    assert re.search(r"^config-set-overwrites +\S", deviants, re.MULTILINE)


# -- options of run that need no network


def test_settings_come_from_a_file_and_the_command_line_comes_first(program, tmp_path):
    settings = tmp_path / "aoe-conformance.toml"
    report = tmp_path / "report.json"
    settings.write_text(f'model = true\ncase = ["header.tag.*"]\nallow = ["config"]\nmtu = 1500\nreport-json = "{report}"\n')
    assert program("aoe-conformance run --settings", settings).returncode == 0
    told = json.loads(report.read_text())
    assert told["port"] == {"name": "model", "mtu": 1500}
    assert {case["id"].split(".")[0] for case in told["cases"]} == {"header", "run"}
    assert program("aoe-conformance run --mtu 9000 --case config.* --settings", settings).returncode == 0
    told = json.loads(report.read_text())
    assert told["port"]["mtu"] == 9000
    assert {case["id"].split(".")[0] for case in told["cases"]} == {"config", "run"}
    for line, where in (("modell = true", ":1: modell"), ("\nmtu = true", ":2: mtu"), ("x = [", ":1"), ("model = 3", ":1: model")):
        settings.write_text(line + "\n")
        refused(program("aoe-conformance run --settings", settings), f"{settings}{where}")


def test_what_flickers_is_named(program, tmp_path):
    report = tmp_path / "report.json"
    done = program("aoe-conformance run --model --allow unknown --case header.tag.* --repeat 3 --report-json", report)
    assert done.returncode == 0 and "not the same" not in done.stdout
    cases = json.loads(report.read_text())["cases"]
    assert all(case["repetitions"] == ["pass"] * 3 for case in cases if not case["id"].startswith("run."))
    assert len(cases) == len({case["id"] for case in cases})


def test_a_time_limit_names_what_did_not_run(program, tmp_path):
    report = tmp_path / "report.json"
    done = program("aoe-conformance run --model --time-limit 0.05 --report-json", report)
    assert done.returncode == 4 and "time limit of 0.05 s" in done.stdout
    cases = json.loads(report.read_text())["cases"]
    late = [case["id"] for case in cases if "did not run: the time limit" in case["reason"]]
    assert late and cases[-1]["verdict"] == "pass", "and the target is left as it was found"


def test_a_dry_run_counts_and_sends_nothing(program):
    reading = program("aoe-conformance run --dry-run --interface nothing0")
    assert reading.returncode == 0
    assert "changed: nothing" in reading.stdout and "ATA writes" not in reading.stdout
    writing = program("aoe-conformance run --dry-run --interface nothing0 --allow write,config --scratch 64:8")
    assert "ATA writes" in writing.stdout and "sectors 64 to 71: written to" in writing.stdout


def test_a_bundle_holds_all_that_a_bug_report_needs(program, tmp_path):
    import tarfile

    bundle = tmp_path / "bug.tar.gz"
    settings = tmp_path / "settings.toml"
    settings.write_text("model = true\n")
    done = program("aoe-conformance run --case header.tag.* --settings", settings, "--bundle", bundle)
    assert done.returncode == 0
    with tarfile.open(bundle) as archive:
        names = {name.removeprefix("aoe-conformance/") for name in archive.getnames()}
        assert json.load(archive.extractfile("aoe-conformance/report.json"))["exit_code"] == 0
    assert {"report.json", "report.html", "report.txt", "versions.txt", "settings.toml"} <= names
    assert any(name.startswith("captures/header.tag.") for name in names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bug.tar.gz", "settings.toml"]


def test_the_command_that_repeats_a_case_is_the_one_that_runs_the_suite(program):
    words = "aoe-conformance run --model --deviant config-set-overwrites --family config"
    again = "./lab conformance --against 'my target {iface}' --"
    told = program(words + " --allow config --repeat-as", again).stdout
    assert f"  repeat:   {again} --case 'config.set.refuses-when-present'\n" in told
    plain = program(words + " --allow config").stdout
    assert "  repeat:   aoe-conformance run --model --deviant config-set-overwrites --allow config --case " in plain


def test_progress_is_one_line_on_a_terminal_and_nothing_in_a_short_log(program, build):
    assert program("aoe-conformance run --model --case header.tag.*").stderr == ""
    ours, theirs = pty.openpty()
    try:
        words = [build / "bin" / "aoe-conformance", "run", "--model", "--case", "header.tag.*"]
        subprocess.run(words, stdout=subprocess.DEVNULL, stderr=theirs, timeout=60, check=True)
        os.set_blocking(ours, False)
        seen = os.read(ours, 1 << 16).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert re.search(r"\r\x1b\[K\[1/7\] header\.tag\.", seen)
    assert "\n" not in seen and seen.endswith("\r\x1b[K"), "written over, and gone at the end"


# -- lab


def lab(*words):
    return run([PROJECT / "lab", *words])


def test_every_command_of_lab_has_help_that_does_nothing():
    commands = re.findall(r"^  ([a-z]+) ", lab("--help").stdout, re.MULTILINE)
    assert {"build", "conformance", "test", "lint", "replay", "shell", "install", "package"} <= set(commands)
    for command in commands:
        done = lab(command, "--help")
        assert done.returncode == 0 and done.stderr == "", command
        assert done.stdout.startswith(f"usage: ./lab {command}"), done.stdout


def test_a_build_folder_of_another_tree_is_called_that(tmp_path):
    tree = tmp_path / "tree"
    (tree / "build").mkdir(parents=True)
    shutil.copy(PROJECT / "lab", tree / "lab")
    (tree / ".packages").write_text("")
    (tree / "build" / "CMakeCache.txt").write_text("CMAKE_HOME_DIRECTORY:INTERNAL=/elsewhere\n")
    done = run([tree / "lab", "build"])
    assert done.returncode == 2 and "was made for /elsewhere" in done.stderr and "rm -r" in done.stderr


def test_the_manual_has_every_setting_of_a_schedule_with_its_default():
    code = (PROJECT / "sim" / "schedule.h").read_text()
    manual = (PROJECT / "docs" / "simulator.md").read_text()
    rows = [line for line in manual.splitlines() if line.startswith("| `")]
    found = re.findall(r"\bX\((\w+), ([\d']+)\)", code)
    assert len(found) > 30
    for name, value in found:
        (row,) = [row for row in rows if f"`{name}`" in row.split("|")[1]]
        assert value.replace("'", "") in re.findall(r"\d+", row.split("|")[2]), name


# -- what is installed


@pytest.fixture(scope="module")
def pages(build, program, tmp_path_factory):
    out = tmp_path_factory.mktemp("pages")
    for name in PROGRAMS:
        program([name, "--version"])
    done = run([PROJECT / "packaging" / "describe", build / "bin", out, PROJECT / "docs"], seconds=60)
    assert done.returncode == 0, done
    return out


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_manual_page_has_every_option_of_the_program(program, pages, name):
    page = (pages / "man1" / f"{name}.1").read_text().replace("\\-", "-").replace("\\fB", "").replace("\\fR", "")
    levels = [[]]
    for words in levels:
        said = program([name, *words, "--help"]).stdout
        for option in re.findall(r"^ {2}.*?(--[a-z][\w-]*)", said, re.MULTILINE):
            assert option in page, f"{words}: {option}"
        if "Subcommands:" in said:
            below = said[said.index("Subcommands:") :]
            levels += [[*words, command] for command in re.findall(r"^ {2}([a-z]+)\s", below, re.MULTILINE)]


def test_the_manual_pages_are_well_formed(pages):
    found = sorted(pages.glob("man[15]/*"))
    assert len(found) == 9
    for page in found:
        text = page.read_text()
        assert text.startswith(".TH ") and "\n.SH NAME\n" in text and len(text.splitlines()) > 10, page.name


def test_bash_completes_commands_and_options(pages):
    def completed(*words):
        script = f"""source {pages}/bash-completion/aoe-proving-ground
COMP_WORDS=({" ".join(f"'{word}'" for word in words)}); COMP_CWORD={len(words) - 1}
_{words[0].replace("-", "_")}; printf '%s\\n' "${{COMPREPLY[@]}}\""""
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.split()

    assert "run" in completed("aoe-conformance", "")
    assert completed("aoe-conformance", "run", "--write-b") == ["--write-baseline"]
    assert completed("aoe-conformance", "probe", "con") == ["congestion"]
    assert "--bursts" in completed("aoe-conformance", "probe", "congestion", "--")
    assert completed("aoe-target", "--state") == ["--state-dir"]


def test_files_for_ci_are_yaml_as_yamllint_likes_it():
    rules = "{extends: default, rules: {line-length: {max: 120}}}"
    done = run(["yamllint", "--strict", "-d", rules, *sorted((PROJECT / "packaging" / "ci").glob("*.yml"))])
    assert done.returncode == 0, done.stdout
