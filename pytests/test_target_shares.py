"""What the network may take from others, and what an operator may forbid: saves, extensions, replies, state, addresses.
Real processes on a real link; what the engine decides by itself is in target/engine/*_test.cc."""

import time

import pytest

import aoe_layers as aoe
from aoe_layers import AoeConfig, AoeMask
from programs import Program, run, wait_until
from test_target_process import ask_control, find


def ctl(aoe_target, control, *words):
    return run([aoe_target, "ctl", control, *words])


# -- saves


def test_a_flood_of_changes_costs_nobody_elses_reads(start, tmp_path):
    """1,000 force-sets a second; another host reads meanwhile, and each of its reads is answered at once."""
    state, control = tmp_path / "state", tmp_path / "control"
    state.mkdir()
    start("--state-dir", state, "--control", control)
    flooding, asking = start.initiator("02:00:00:00:00:71"), start.initiator("02:00:00:00:00:72")
    frames = [
        bytes(flooding.frame(AoeConfig(ccmd=AoeConfig.FORCE, string=b"x%d" % i), aoe.CMD_CONFIG)) for i in range(2)
    ]
    longest, sent = 0.0, 0
    until = time.monotonic() + 2
    while time.monotonic() < until:
        for _ in range(10):
            flooding.host.send(frames[sent % 2])
            sent += 1
        began = time.monotonic()
        asking.read(sent % 1000)
        longest = max(longest, time.monotonic() - began)
    counters = ask_control(control, "counters")
    saves = find(counters, "saves")
    assert sent > 1000
    assert 2 <= saves <= 2 * 100 + 2, "a save begins no sooner than 10 ms after the last one"
    assert find(counters, "changes_dropped") > sent / 2
    assert find(counters, "ring_drops") == 0
    assert longest < 0.5, f"a read took {longest:.3f} s"


# -- lockout, and the way back


def test_an_operator_gets_back_in_after_a_lockout(start, tmp_path, aoe_target):
    state, control = tmp_path / "state", tmp_path / "control"
    state.mkdir()
    options = ("--state-dir", state, "--control", control)
    target = start(*options)
    asking = start.initiator()
    asking.mask((1, "00:00:00:00:00:00"))
    assert not asking.host.try_ask(asking.ata_frame(aoe.READ_EXT, lba=0, count=1), 0.2), "everybody is shut out"
    assert target.end() == 0
    target = start(*options)
    assert not asking.host.try_ask(asking.ata_frame(aoe.READ_EXT, lba=0, count=1), 0.2), "after a restart too"
    shown = ctl(aoe_target, control, "show")
    assert "mask     00:00:00:00:00:00" in shown.stdout, shown.stdout
    done = ctl(aoe_target, control, "clear", "mask")
    assert (done.returncode, done.stdout) == (0, "e1.1: mask cleared\n"), done.stderr
    asking.read(0)
    assert target.end() == 0
    start(*options)
    asking.read(0)


def test_what_is_frozen_is_refused(start, tmp_path, aoe_target):
    control = tmp_path / "control"
    start("--freeze", "mask,reserve", "--control", control)
    asking = start.initiator()
    refused = asking.host.ask(asking.frame(AoeMask(mcmd=AoeMask.EDIT), aoe.CMD_MASK))
    assert refused
    edit = asking.host.ask(_mask_add(asking, "00:00:00:00:00:00"))
    assert bytes(edit)[14] & 4 and bytes(edit)[15] == 3
    asking.config(AoeConfig.FORCE, b"is not frozen")
    assert find(ask_control(control, "counters"), "changes_frozen") == 1
    assert "frozen   mask, reserve" in ctl(aoe_target, control, "show").stdout


def _mask_add(asking, mac):
    frame = bytearray(bytes(asking.frame(AoeMask(mcmd=1), aoe.CMD_MASK))[:24])
    frame += bytes([0, 1, 0, 1]) + bytes([0, 1]) + bytes.fromhex(mac.replace(":", ""))
    return bytes(frame).ljust(60, b"\0")


def test_ctl_tells_sessions_and_counters(start, tmp_path, aoe_target):
    control = tmp_path / "control"
    start("--control", control)
    asking = start.initiator("02:00:00:00:00:77")
    asking.extend(b"tag_inc_be", b"coalesced_read")
    sessions = ctl(aoe_target, control, "sessions").stdout
    assert "02:00:00:00:00:77" in sessions and "tag_inc_be, coalesced_read" in sessions
    assert "e1.1.engine.sessions 1\n" in ctl(aoe_target, control, "counters").stdout
    raw = ctl(aoe_target, control, "sessions", "e1.1", "--json").stdout
    assert raw.count("\n") == 1 and '"wrote":false' in raw


@pytest.mark.parametrize(
    "words, said",
    [
        (["clear", "everything"], "cannot be cleared"),
        (["show", "e9.9"], "e9.9 is not exported here: e1.1"),
        (["hello"], "unknown question"),
    ],
)
def test_ctl_says_what_is_wrong(start, tmp_path, aoe_target, words, said):
    control = tmp_path / "control"
    start("--control", control)
    done = ctl(aoe_target, control, *words)
    assert done.returncode == 1 and said in done.stderr


def test_ctl_without_a_target(tmp_path, aoe_target):
    done = ctl(aoe_target, tmp_path / "nobody", "show")
    assert done.returncode == 2 and "is aoe-target running" in done.stderr


# -- extensions, replies


def test_extensions_for_those_who_are_named(start):
    named = "02:00:00:00:00:73"
    start("--extensions-for", named)
    assert start.initiator(named).extend(b"tag_inc_be") == [b"TAG_INC_BE"]
    assert start.initiator("02:00:00:00:00:74").extend(b"tag_inc_be") == [b"tag_inc_be"]


def test_a_reply_budget_bounds_what_a_source_is_sent(start, tmp_path):
    control = tmp_path / "control"
    start("--reply-budget", "64K", "--control", control)
    greedy, modest = start.initiator("02:00:00:00:00:75"), start.initiator("02:00:00:00:00:76")
    for lba in range(300):
        greedy.host.send(greedy.ata_frame(aoe.READ_EXT, lba=lba, count=2))
        time.sleep(0.002)
    modest.read(7)
    counters = ask_control(control, "counters")
    sent_bytes = 1060 * len(greedy.host.drain())
    assert sent_bytes <= (64 << 10) * 3, "a burst of 64 KiB and the bytes of the time that it took"
    assert find(counters, "reply_budget_drops") >= 100


# -- an address that somebody else serves


def test_another_target_of_the_same_address_is_noticed_at_the_start_and_later(start, aoe_target, link, tmp_path):
    first = start()
    other_image = tmp_path / "other.img"
    other_image.write_bytes(bytes(1 << 20))
    words = [aoe_target, "--interface", link.host_end, "--shelf", 1, "--slot", 1]
    refused = run([*words, "--exclusive", other_image])
    assert refused.returncode == 2, refused.stderr
    assert "e1.1 is served on" in refused.stderr and "already" in refused.stderr
    assert first.alive
    with Program([*words, other_image]) as second:
        wait_until(lambda: "serves this address as well" in second.errors(), what="noticed at the start")
        wait_until(lambda: "serves this address as well" in first.errors(), what="noticed later")
        assert second.end() == 0


def test_exclusive_starts_where_nobody_else_is(start):
    start("--exclusive")
    start.initiator().read(0)
