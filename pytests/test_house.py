"""The rules of the house, as tests: who may include whom, what stands where, how it is formatted, and that nothing
in it speaks of the machine that it was written on. docs/architecture.md says why."""

import os
import re
import subprocess

import pytest

from conftest import PROJECT
from programs import run

ROOMS = [
    "target/wire", "target/engine", "target/cache", "target/shell", "target/linux", "conformance/output", "conformance", "sim", "pcaps",
]  # fmt: skip
# Who may include whose headers, beside its own and the system's.
MAY_INCLUDE = {
    "target/wire": [],
    "target/engine": ["target/wire"],
    "target/cache": ["target/shell", "target/engine", "target/wire"],
    "target/shell": ["target/engine", "target/wire"],
    "target/linux": ["target/cache", "target/shell", "target/engine", "target/wire", "conformance/output"],
    "target": ["target/linux", "target/cache", "target/shell", "target/engine", "target/wire", "conformance/output"],
    "conformance/output": [],
    "conformance": ["conformance/output"],
    "sim": ["target/cache", "target/shell", "target/engine", "target/wire", "conformance", "conformance/output"],
    "pcaps": ["conformance", "conformance/output"],
}
# What a room that does no input and output must not even name.
PURE = ["target/wire", "target/engine", "target/cache", "target/shell"]
IMPURE = re.compile(
    r"^(chrono|thread|mutex|atomic|future|condition_variable|random|iostream|fstream|sstream|ostream|istream"
    r"|filesystem|cstdio|ctime|csignal|stdio\.h|time\.h|signal\.h|unistd\.h|fcntl\.h|poll\.h|errno\.h|cerrno"
    r"|(sys|net|netinet|linux|arpa)/.*|libaio\.h|pcap.*|spdlog/.*|fmt/.*|toml.*|CLI/.*|nlohmann/.*)$"
)
TOP_LEVEL = {
    "CMakeLists.txt", "CMakePresets.json", "README.md", "LICENSE", "docs", "lab", "target", "sim", "conformance",
    "pcaps", "packaging", "pytests",
}  # fmt: skip


def tracked(pattern="*"):
    """Files that belong to the project: those git knows, or without git everything but what is built."""
    listed = subprocess.run(
        ["git", "-C", PROJECT, "ls-files", "-z"], capture_output=True, timeout=30, check=False
    )
    if listed.returncode == 0 and listed.stdout:
        names = [name.decode() for name in listed.stdout.split(b"\0") if name]
        paths = [PROJECT / name for name in names]
    else:
        paths = [
            path
            for path in PROJECT.rglob("*")
            if path.is_file() and not re.match(r"(\.git|build[^/]*|\.cache)/", str(path.relative_to(PROJECT)))
            and "__pycache__" not in path.parts
        ]  # fmt: skip
    return [path for path in sorted(paths) if path.is_file() and path.match(pattern)]


def sources():
    return tracked("*.cc") + tracked("*.h")


def name_of(path):
    return str(path.relative_to(PROJECT))


def room_of(name):
    return next((room for room in ROOMS if name.startswith(room + "/")), name.split("/")[0])


def includes(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if found:
            yield number, found.group(1), found.group(2)


def is_test(path):
    """Tests and what only tests are built from: what no aoe_library or aoe_program names."""
    if "_test." in path.name or path.name.startswith("test_"):
        return True
    cmake = path.with_name("CMakeLists.txt")
    if not cmake.exists():
        return False
    products = " ".join(re.findall(r"aoe_(?:library|program)\((.*?)\)", cmake.read_text(), re.DOTALL))
    sibling = path.with_suffix(".cc")
    return sibling.exists() and sibling.name not in products.split()


def test_there_is_something_to_look_at():
    rooms = {room_of(name_of(path)) for path in sources()}
    assert {"target/wire", "target/engine", "target/shell", "target/linux", "conformance"} <= rooms


def test_includes_keep_the_link_rule():
    broken = []
    for path in sources():
        name = name_of(path)
        room = room_of(name)
        for number, _, header in includes(path):
            other = room_of(header)
            if header.split("/")[0] not in ("target", "conformance", "sim", "pcaps", "pytests"):
                continue
            if other != room and other not in MAY_INCLUDE[room]:
                broken.append(f"{name}:{number}: {room} may not include {header}")
    assert broken == []


def test_own_headers_are_included_from_the_root_of_the_project():
    broken = []
    written = " ".join(path.read_text() for path in tracked("CMakeLists.txt") + tracked("*.cmake"))
    generated = set(re.findall(r"(?i)generated\}?/([\w/]+\.h)", written))
    generated |= set(re.findall(r"BINARY_DIR\}/([\w/]+\.inc)", written))
    for path in sources():
        for number, bracket, header in includes(path):
            if bracket == '"' and not (PROJECT / header).exists() and header not in generated:
                broken.append(f"{name_of(path)}:{number}: no {header} below the project's root")
    assert broken == []


def test_pure_rooms_do_no_input_and_output():
    broken = []
    for path in sources():
        name = name_of(path)
        if room_of(name) not in PURE or is_test(path):
            continue
        for number, _, header in includes(path):
            if IMPURE.match(header):
                broken.append(f"{name}:{number}: <{header}>")
    assert broken == []


# The engine's calls that move it on. One loop makes them; the engine's own unit tests do by hand.
ENGINES_CALLS = re.compile(r"engine\w*(?:\(\))?(?:\.|->)(on_frame|on_disk_done|on_timer|clear_outbox)\(")


def test_only_the_shell_calls_the_engine():
    callers = set()
    for path in sources():
        name = name_of(path)
        if name.startswith(("target/", "sim/")) and ENGINES_CALLS.search(path.read_text()):
            callers.add(name)
    by_hand = {"engine_test.cc", "engine_property_test.cc", "replies_test.cc", "hand_cranked.h"}
    assert callers == {"target/shell/shell.cc"} | {f"target/engine/{name}" for name in by_hand}


# In a room that has both: the initiator's library, and what drives it on real interfaces.
PURE_FILES = [
    f"conformance/initiator/{stem}{suffix}"
    for stem in ("initiator", "round_trip", "discovery", "congestion", "stamps")
    for suffix in (".h", ".cc")
]


def test_the_initiators_library_is_pure():
    broken = []
    for name in PURE_FILES:
        for number, _, header in includes(PROJECT / name):
            # Words are made with fmt there; nothing is printed.
            if IMPURE.match(header) and not header.startswith("fmt/"):
                broken.append(f"{name}:{number}: <{header}>")
            if header.startswith("conformance/links/"):
                broken.append(f"{name}:{number}: {header}")
    assert broken == []


def test_headers_have_a_guard_and_say_what_they_own():
    broken = []
    for path in tracked("*.h"):
        lines = path.read_text().splitlines()
        if "#pragma once" not in lines[:40]:
            broken.append(f"{name_of(path)}: no #pragma once")
        opening = [line for line in lines[:3] if line and line != "#pragma once"]
        if not opening or not opening[0].startswith("//"):
            broken.append(f"{name_of(path)}: does not open with a paragraph that says what it owns")
    assert broken == []


def test_every_engine_and_wire_file_has_a_test_beside_it():
    missing = []
    for path in sources():
        name = name_of(path)
        if room_of(name) in PURE and path.suffix == ".cc" and not is_test(path):
            if not path.with_name(path.stem + "_test.cc").exists():
                missing.append(name)
    assert missing == []


@pytest.mark.timeout(300)
def test_clang_format_is_clean():
    paths = [str(path) for path in sources()]
    done = run(["clang-format-14", "--dry-run", "-Werror", *paths], seconds=280, cwd=PROJECT)
    wrong = sorted({line.split(":")[0] for line in done.stderr.splitlines() if "[-Wclang-format" in line})
    assert done.returncode == 0, f"run clang-format-14 -i on: {[os.path.relpath(p, PROJECT) for p in wrong]}"


def test_nothing_else_stands_at_the_top():
    names = {name_of(path).split("/")[0] for path in tracked()}
    assert {name for name in names if not name.startswith(".")} - TOP_LEVEL == set()
    built = re.compile(r"build.*|__pycache__|\..*")
    found = {path.name for path in PROJECT.iterdir()}
    assert {name for name in found if not built.fullmatch(name)} - TOP_LEVEL == set()


# A folder of somebody's machine. What Debian has on every machine is none.
SOMEBODYS = re.compile(r"(?<![\w/.}\])])/(home|root|work|Users|tmp/w)/\w")


def test_no_path_of_somebodys_machine():
    broken = []
    for path in tracked():
        if path.suffix in (".pcap", ".img", ".png") or path == PROJECT / "pytests" / "test_house.py":
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if SOMEBODYS.search(line):
                broken.append(f"{name_of(path)}:{number}: {line.strip()[:100]}")
    assert broken == []


def test_scripts_are_clean_for_shellcheck():
    scripts = []
    for path in tracked():
        with path.open("rb") as file:
            first = file.readline()
        if re.match(rb"#!.*\b(ba|da)?sh\b", first):
            scripts.append(str(path))
    assert scripts
    done = run(["shellcheck", *scripts], seconds=60)
    assert done.returncode == 0, done.stdout


def test_scripts_can_be_run():
    for path in tracked():
        with path.open("rb") as file:
            if file.read(2) == b"#!":
                assert os.access(path, os.X_OK), name_of(path)


def test_every_package_group_is_known():
    groups = {line.split()[0] for line in (PROJECT / ".packages").read_text().splitlines() if line and line[0] != "#"}
    assert groups == {"build", "test", "peers", "lint", "package", "unpack"}


# A feature is a row of the observer's table, and whoever watches or speaks the protocol knows it by that row.
FEATURE_KNOWN_BY = {
    "clause": "conformance/clauses.tsv", "case": "conformance/cases/families/*.cc",
    "model": "conformance/deviants/model_target.cc", "simulator": "sim/**/*.cc", "Lua": "pcaps/wireshark/aoe_ext.lua",
    "Scapy": "pytests/*.py",
}  # fmt: skip
FEATURE_EXEMPT = {
    ("tag_inc_le", "Lua"): "shown as any string of the table; it changes no other frame's form",
    ("tag_inc_be", "Lua"): "shown as any string of the table; it changes no other frame's form",
    ("tag_random", "Lua"): "shown as any string of the table; it changes no other frame's form",
    ("crc8x4", "Lua"): "shown as any string of the table; the four bytes stand behind the data that Wireshark decodes",
}


def test_every_feature_is_known_everywhere_or_exempt_with_a_reason():
    table = (PROJECT / "conformance/observer/extension_table.cc").read_text()
    rows = re.findall(r'\{kFeature\w+, "(\w+)", (?:true|false)\}', table)
    assert len(rows) == 8
    wrong = []
    for name in rows:
        for who, pattern in FEATURE_KNOWN_BY.items():
            text = " ".join(path.read_text() for path in PROJECT.glob(pattern)).lower()
            known = re.search(rf"\b{name}\b", text) is not None
            if known == ((name, who) in FEATURE_EXEMPT):
                wrong.append(f"{name}: {who} {'knows it, and is exempt' if known else 'does not know it'}")
    assert wrong == []
