"""The unit for aoe-target: systemd finds it sound, and what it forbids is nothing that the target does."""

import os
import re
import signal

import pytest

from aoe_layers import AoeConfig
from conftest import PROJECT
from dialogue import Initiator
from programs import Program, run, wait_until

UNIT = PROJECT / "packaging" / "systemd" / "aoe-target@.service"


def settings(name):
    return [line.split("=", 1)[1] for line in UNIT.read_text().splitlines() if line.startswith(name + "=")]


def calls_of(group):
    """The system calls of one of systemd's groups, those of the groups inside it included."""
    done = run(["systemd-analyze", "syscall-filter", group])
    assert done.returncode == 0, done
    found = set()
    for line in done.stdout.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            found |= calls_of(word)
        elif word and not word.startswith("#"):
            found.add(word)
    return found


def allowed_calls():
    allowed = set()
    for line in settings("SystemCallFilter"):
        take_out = line.startswith("~")
        for word in line.lstrip("~").split():
            calls = calls_of(word) if word.startswith("@") else {word}
            allowed = allowed - calls if take_out else allowed | calls
    return allowed


def test_systemd_finds_the_unit_sound(tmp_path, aoe_target):
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/bin/aoe-target", str(aoe_target)))
    done = run(["systemd-analyze", "verify", "--man=no", unit])
    assert (done.returncode, done.stderr.strip()) == (0, ""), done


def test_the_unit_gives_one_capability_and_takes_all_else():
    assert settings("CapabilityBoundingSet") == settings("AmbientCapabilities") == ["CAP_NET_RAW"]
    assert settings("NoNewPrivileges") == ["yes"] and settings("ProtectSystem") == ["strict"]
    assert settings("User") == ["aoe-target"]
    sysusers = (PROJECT / "packaging" / "systemd" / "aoe-target.conf").read_text()
    assert re.search(r"^u aoe-target ", sysusers, re.MULTILINE)


@pytest.mark.timeout(120)
def test_the_filter_allows_every_call_that_the_target_makes(aoe_target, link, tmp_path):
    """A life from start to end under strace, with state, reads, writes and a flush."""
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(1 << 20))
    config = tmp_path / "one.toml"
    state = tmp_path / "state"
    state.mkdir()
    config.write_text(
        f'[[export]]\nfile = "{image}"\ninterface = ["{link.target_end}"]\nshelf = 1\nslot = 1\nstate-dir = "{state}"\n'
    )
    trace = tmp_path / "trace"
    with Program(["strace", "-f", "-o", trace, aoe_target, "--config", config]) as program:
        wait_until(lambda: "ready:" in program.errors() or not program.alive, what="ready under strace")
        assert program.alive, program.said()
        host = Initiator(link.host(), link.target_mac, 1, 1, link)
        host.config(AoeConfig.FORCE, b"kept")
        host.write(8, bytes(512))
        assert host.read(8, 1) == bytes(512)
        (child,) = {int(line.split()[0]) for line in trace.read_text().splitlines()[:1]}
        os.kill(child, signal.SIGTERM)
        assert program.wait() == 0, program.said()
    made = set(re.findall(r"^\d+ +(\w+)\(", trace.read_text(), re.MULTILINE))
    assert {"socket", "io_setup", "epoll_wait"} & made, "strace saw it work"
    # It calls setgroups only with CAP_SETGID, which this test may have and the unit does not give.
    assert made - allowed_calls() - {"setgroups"} == set()
    families = set(re.findall(r" socket\((AF_\w+)", trace.read_text()))
    assert families <= set(settings("RestrictAddressFamilies")[0].split()), families
