"""The harness itself, against a program that nobody here wrote: Debian's vblade."""

import signal

import pytest

import aoe_layers as aoe
from net import NoAnswer
from programs import Program, Vblade, run


@pytest.mark.parametrize("mtu", [1500, 9000], indirect=True)
def test_vblade_answers_over_the_pair(link, image):
    host = link.host()
    with Vblade(link, image, shelf=7, slot=3):
        reply = host.ask(host.frame(aoe.AoeConfig()))
        assert reply.src == link.target_mac
        assert (reply[aoe.AoE].shelf, reply[aoe.AoE].slot) == (7, 3)
        assert reply[aoe.AoeConfig].sectors == (mtu_of(link) - 36 + 14) // 512
        read = aoe.AoeAta(count=2, cmdstat=aoe.READ, lba=5)
        reply = host.ask(host.frame(read, shelf=7, slot=3, cmd=0))
        assert reply[aoe.AoeData].load == image.read_bytes()[5 * 512 : 7 * 512]
        with pytest.raises(NoAnswer):
            host.ask(host.frame(read, shelf=8, slot=3, cmd=0), seconds=0.05)


def mtu_of(link):
    return link.mtu


def test_each_host_hears_its_own_replies_only(link, image):
    first, second = link.host("02:00:00:00:00:01"), link.host("02:00:00:00:00:02")
    with Vblade(link, image):
        second.ask(second.frame(aoe.AoeConfig()))
        first.ask(first.frame(aoe.AoeConfig()))
        assert first.drain() == [] and second.drain() == []
        request = first.frame(aoe.AoeConfig())
        with pytest.raises(AssertionError, match="must be met with silence"):
            first.expect_silence(request, barrier=second)


def test_a_program_that_ends_early_is_told_with_its_words(link, tmp_path):
    with pytest.raises(AssertionError, match="ended before it was ready"):
        Vblade(link, tmp_path / "no-such-file")


def test_programs_end_with_their_block():
    with Program(["sleep", 1000]) as program:
        assert program.alive
    assert program.process.returncode == -signal.SIGKILL
    with Program(["sleep", 1000]) as program:
        assert program.end() == -signal.SIGTERM


def test_interfaces_are_in_a_namespace_of_our_own(link):
    shown = run(["ip", "-o", "link"]).stdout
    assert link.host_end in shown
    assert {line.split()[1].split("@")[0].rstrip(":") for line in shown.splitlines()} == {
        "lo",
        link.host_end,
        link.target_end,
    }


SKIPPER = """
import pytest
def test_passes(): pass
@pytest.mark.skip(reason="because")
def test_is_left_out(): pass
"""


@pytest.mark.parametrize("options, code", [((), 77), (("--allow-skips",), 0)])
def test_a_skip_is_not_a_pass(project, tmp_path, options, code):
    inner = tmp_path / "test_inner.py"
    inner.write_text(SKIPPER)
    command = ["/usr/bin/python3", "-m", "pytest", "-q", "-c", project / "pytests/pytest.ini"]
    command += ["-p", "conftest", *options, inner]
    done = run(command, env={"PYTHONPATH": str(project / "pytests"), "PATH": "/usr/bin:/usr/sbin:/bin:/sbin", "PYTHONDONTWRITEBYTECODE": "1"})
    assert done.returncode == code, done.stdout + done.stderr
    assert "test_is_left_out: because" in done.stdout.replace("Skipped: ", "")
