"""aoe-target as a program: options, state that survives, signals, counters, privileges, and its frames in the
eyes of tcpdump, tshark and the aoetools."""

import json
import os
import pwd
import re
import signal
import socket

import pytest

import aoe_layers as aoe
import net
from aoe_layers import AoE, AoeConfig, AoeReserve, MaskDirective
from conftest import sector_of
from net import Link
from programs import Program, run, wait_until
from test_layers import frames_of

A, B = "02:00:00:00:00:0a", "02:00:00:00:00:0b"


# -- state


def test_state_survives_an_orderly_restart_and_kill_9(start, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    asking = start.initiator(A)
    first = start("--state-dir", state)
    asking.config(AoeConfig.FORCE, b"kept \0 string")
    asking.mask((MaskDirective.ADD, A), (MaskDirective.ADD, B))
    assert first.end() == 0, first.said()

    second = start("--state-dir", state)
    assert asking.config_string() == b"kept \0 string"
    assert sorted(asking.mask_list()) == [A, B]
    asking.reserve(AoeReserve.SET, [A])
    asking.config(AoeConfig.FORCE, b"answered, so kept")
    second.kill(signal.SIGKILL)
    second.wait()

    start("--state-dir", state)
    assert asking.config_string() == b"answered, so kept"
    assert sorted(asking.mask_list()) == [A, B]
    assert asking.reserve_list() == [A]
    assert start.initiator(B).ata(aoe.READ_EXT, count=1)[AoE].error == 6


def test_without_a_state_directory_nothing_is_kept(start):
    asking = start.initiator()
    first = start()
    asking.config(AoeConfig.FORCE, b"gone tomorrow")
    assert first.end() == 0
    start()
    assert asking.config_string() == b""


def test_kill_9_in_a_stream_of_changes_leaves_an_old_or_a_new_state(start, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    asking = start.initiator(A)
    for turn in range(6):
        target = start("--state-dir", state)
        answered = b""
        for number in range(5 + 3 * turn):
            answered = b"%d.%d " % (turn, number) * (1 + number % 60)
            asking.config(AoeConfig.FORCE, answered)
        unanswered = b"%d.last " % turn * 100
        message = AoeConfig(aoe_version=1, ccmd=AoeConfig.FORCE, string=unanswered)
        asking.host.send(asking.frame(message, aoe.CMD_CONFIG))
        target.kill(signal.SIGKILL)
        target.wait()
        asking.host.drain()
        after = start("--state-dir", state)
        assert asking.config_string() in (answered, unanswered)
        assert after.end() == 0


# -- ending


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_end_finishes_what_is_acknowledged(start, number):
    target = start()
    asking = start.initiator()
    expected = {}
    for lba in range(0, 120, 2):
        asking.write(lba, b"%c" % (lba & 0xFF) * 1024)
        expected[lba] = b"%c" % (lba & 0xFF) * 1024
    assert target.end(number) == 0, target.said()
    data = start.image.read_bytes()
    for lba, block in expected.items():
        assert data[lba * 512 : lba * 512 + 1024] == block


def test_a_signal_in_a_burst_ends_it_and_loses_nothing_that_was_answered(start):
    target = start()
    asking = start.initiator()
    frames = {}
    for lba in range(60):
        frame = asking.ata_frame(aoe.WRITE_EXT, lba=lba, count=1, data=b"%c" % (0x40 + lba) * 512)
        frames[frame[AoE].tag] = lba
        asking.host.send(frame)
    assert target.end() == 0, target.said()
    answered = [frames[aoe.Ether(raw)[AoE].tag] for raw in asking.host.drain(0.05)]
    data = start.image.read_bytes()
    for lba in answered:
        assert data[lba * 512 : (lba + 1) * 512] == b"%c" % (0x40 + lba) * 512


# -- counters


def counters_after(target, number=signal.SIGUSR1):
    before = len(target.output()) + len(target.errors())
    target.kill(number)

    def printed():
        text = target.output() + target.errors()
        return len(text) > before and [line for line in text.splitlines() if line.startswith("{")]

    return json.loads(wait_until(printed, what="counters on SIGUSR1")[-1])


def find(tree, name):
    """The number of that name, anywhere in the JSON."""
    if isinstance(tree, dict):
        if isinstance(tree.get(name), int):
            return tree[name]
        tree = list(tree.values())
    if isinstance(tree, list):
        for branch in tree:
            found = find(branch, name)
            if found is not None:
                return found
    return None


def test_sigusr1_prints_counters_as_json_and_they_count(start):
    target = start()
    asking = start.initiator()
    before = counters_after(target)
    for _ in range(3):
        asking.read(0, 2)
    asking.write(9, b"c" * 512)
    asking.ata(aoe.FLUSH)
    asking.ata(aoe.READ_EXT, lba=2**40, count=1)
    asking.ask(aoe.AoeMask(mcmd=9), aoe.CMD_MASK)
    after = counters_after(target)
    grown = {
        name: find(after, name) - find(before, name)
        for name in ("reads", "writes", "flushes", "sectors_read", "sectors_written", "errors_answered", "ata_errors_answered")
    }
    assert grown == {
        "reads": 3, "writes": 1, "flushes": 1, "sectors_read": 6, "sectors_written": 1,
        "errors_answered": 1, "ata_errors_answered": 1,
    }  # fmt: skip


def ask_control(path, question, as_json=True):
    with socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(10)
        asked.connect(str(path))
        asked.sendall(question.encode() + b"\n")
        answer = b""
        while not answer.endswith(b"\n"):
            piece = asked.recv(65536)
            assert piece, f"closed after {answer!r}"
            answer += piece
    return json.loads(answer) if as_json else answer.decode()


def test_the_control_socket_answers_in_json(start, tmp_path):
    path = tmp_path / "control"
    target = start("--control", path)
    start.initiator().read(0)
    assert find(ask_control(path, "counters"), "reads") == 1
    assert "e1.1" in json.dumps(ask_control(path, "exports"))
    assert "unknown question" in ask_control(path, "no such question", as_json=False)
    assert target.end() == 0
    assert not path.exists(), "the socket goes with the program"


# -- several exports


def test_several_exports_from_one_file(start, link, tmp_path):
    second_link = Link()
    try:
        other = tmp_path / "other.img"
        other.write_bytes(b"o" * 512 * 64)
        config = tmp_path / "exports.toml"
        config.write_text(
            f"""
            [[export]]
            file = "{start.image}"
            interface = ["{link.target_end}"]
            shelf = 1
            slot = 1

            [[export]]
            file = "{other}"
            interface = ["{link.target_end}", "{second_link.target_end}"]
            shelf = 2
            slot = 0
            read-only = true
            buffer-count = 9
            """
        )
        start.run("--config", config)
        first, second = start.initiator(), start.initiator(shelf=2, slot=0)
        assert first.read(3) == sector_of(3)
        assert second.read(3) == b"o" * 512
        assert second.config()[AoeConfig].buffers == 9
        assert start.initiator(shelf=2, slot=0, link=second_link).read(0) == b"o" * 512
        # A broadcast is answered by each of them, and a change to one is none to the other.
        host = link.host("02:00:00:00:00:77")
        frame = host.frame(AoeConfig(aoe_version=1), tag=0x5555)
        host.send(frame)
        answers = []
        while len(answers) < 2:
            raw = host.receive(5)
            assert raw, "two exports, two answers"
            answers.append((aoe.Ether(raw)[AoE].shelf, aoe.Ether(raw)[AoE].slot))
        assert sorted(answers) == [(1, 1), (2, 0)]
        first.config(AoeConfig.FORCE, b"mine")
        assert second.config_string() == b""
    finally:
        second_link.close()


# -- bad input: one clear line, non-zero exit


def bad(tmp_path, link, image):
    toml = tmp_path / "bad.toml"
    toml.write_text(f'[[export]]\nfile = "{image}"\ninterface = ["{link.target_end}"]\nshelf = 1\nslot = 1\nshelv = 2\n')
    odd = tmp_path / "odd.img"
    odd.write_bytes(b"x" * 100)
    end = link.target_end
    good = ["--interface", end, "--shelf", 1, "--slot", 1]
    return {
        "no file": (["--interface", end, "--shelf", 1, "--slot", 1], "file"),
        "no such file": ([*good, tmp_path / "absent.img"], "absent.img"),
        "a directory": ([*good, tmp_path], str(tmp_path)),
        "less than a sector": ([*good, odd], "odd.img"),
        "no such interface": (["--interface", "nonesuch0", "--shelf", 1, "--slot", 1, image], "nonesuch0"),
        "no interface": (["--shelf", 1, "--slot", 1, image], "interface"),
        "broadcast shelf": (["--interface", end, "--shelf", 65535, "--slot", 1, image], "65535"),
        "broadcast slot": (["--interface", end, "--shelf", 1, "--slot", 255, image], "255"),
        "shelf is a word": (["--interface", end, "--shelf", "one", "--slot", 1, image], "one"),
        "buffer count": ([*good, "--buffer-count", 0, image], "buffer-count"),
        "bad MAC": ([*good, "--allow", "02:00:00:00:00", image], "02:00:00:00:00"),
        "unknown option": ([*good, "--no-such-option", image], "no-such-option"),
        "no state directory": ([*good, "--state-dir", tmp_path / "absent", image], "absent"),
        "unknown key": (["--config", toml], "shelv"),
        "no TOML file": (["--config", tmp_path / "absent.toml"], "absent.toml"),
    }


@pytest.mark.parametrize("check", [False, True])
def test_bad_input_is_refused_with_one_clear_line(aoe_target, link, image, tmp_path, check):
    before = image.read_bytes()
    for name, (words, told) in bad(tmp_path, link, image).items():
        done = run([aoe_target, *(["--check"] if check else []), *words])
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        assert done.returncode not in (0, -6, -11), f"{name}: {done}"
        assert len(lines) == 1, f"{name}: {done.stderr}"
        assert told in lines[0], f"{name}: {lines[0]}"
        assert done.stdout == "", name
    assert image.read_bytes() == before


def test_check_validates_and_exits(aoe_target, link, image):
    host = link.host()
    good = ["--interface", link.target_end, "--shelf", 1, "--slot", 1, image]
    done = run([aoe_target, "--check", *good])
    assert done.returncode == 0, done
    assert host.drain(0.05) == [] and host.broadcasts == [], "a check sends nothing"


def test_two_targets_do_not_share_an_image_for_writing(start, aoe_target, link):
    start()
    done = run([aoe_target, "--interface", link.target_end, "--shelf", 1, "--slot", 2, start.image])
    assert done.returncode != 0
    assert str(start.image) in done.stderr


# -- privileges and the filter


def status_of(pid, field):
    text = open(f"/proc/{pid}/status").read()
    return re.search(rf"^{field}:\s*(\S+)", text, re.MULTILINE).group(1)


CAP_NET_RAW = 1 << 13


def test_cap_net_raw_alone_is_enough(start):
    only = ["setpriv", "--bounding-set", "-all,+net_raw", "--inh-caps", "-all", "--no-new-privs"]
    target = start(prefix=only)
    assert int(status_of(target.pid, "CapBnd"), 16) == CAP_NET_RAW
    asking = start.initiator()
    asking.write(4, b"p" * 512)
    assert asking.read(4) == b"p" * 512


def test_after_its_start_it_holds_no_more_than_cap_net_raw(start):
    target = start()
    threads = os.listdir(f"/proc/{target.pid}/task")
    assert len(threads) > 1
    for thread in threads:  # each has its own
        for field in ("CapEff", "CapPrm", "CapInh"):
            assert int(status_of(thread, field), 16) & ~CAP_NET_RAW == 0, field


def test_as_root_it_becomes_the_user_that_it_was_told(start, link, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    account = pwd.getpwnam("nobody")
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, account.pw_uid, account.pw_gid)
    for folder in (tmp_path, *tmp_path.parents):
        if str(folder).startswith("/mnt/"):
            folder.chmod(0o755)
    control = tmp_path / "control"
    target = start("--user", "nobody", "--state-dir", state, "--control", control)
    for thread in os.listdir(f"/proc/{target.pid}/task"):
        text = open(f"/proc/{thread}/status").read()
        assert re.search(r"^Uid:\s*(.*)", text, re.MULTILINE).group(1).split() == [str(account.pw_uid)] * 4
        assert re.search(r"^Gid:\s*(.*)", text, re.MULTILINE).group(1).split() == [str(account.pw_gid)] * 4
        assert re.search(r"^Groups:[ \t]*(.*)$", text, re.MULTILINE).group(1) == ""
        for field in ("CapEff", "CapPrm"):
            assert int(status_of(thread, field), 16) == CAP_NET_RAW
        for field in ("CapInh", "CapBnd", "CapAmb"):
            assert int(status_of(thread, field), 16) & ~CAP_NET_RAW == 0
        assert status_of(thread, "NoNewPrivs") == "1"
    assert control.stat().st_uid == account.pw_uid
    # What it still has to do: serve, save, and open its sockets again.
    asking = start.initiator()
    asking.config(AoeConfig.FORCE, b"kept by nobody")
    assert next(state.glob("*.state")).stat().st_uid == account.pw_uid
    net.ip(
        f"link del {link.host_end}",
        f"link add {link.target_end} type veth peer name {link.host_end}",
        f"link set {link.target_end} up",
        f"link set {link.host_end} up",
    )
    wait_until(lambda: find(ask_control(control, "counters"), "reopened") == 1, what="the interface came back")
    link.target_mac = net.mac_of(link.target_end)
    again = start.initiator()
    assert again.config_string() == b"kept by nobody"
    assert again.read(5) == sector_of(5)


def test_a_user_that_does_not_exist_is_refused_and_check_says_what_remains(aoe_target, link, image):
    words = ["--interface", link.target_end, "--shelf", 1, "--slot", 1, "--check", image]
    done = run([aoe_target, "--user", "no-such-user", *words])
    assert done.returncode == 2
    assert "user no-such-user does not exist" in done.stderr
    done = run([aoe_target, "--user", "nobody", *words])
    if os.geteuid() == 0:
        assert "runs as user nobody with CAP_NET_RAW and no other privilege" in done.stdout
    else:
        assert "only root can become another user" in done.stderr


def test_frames_of_others_do_not_even_wake_it(start):
    target = start()
    asking = start.initiator()
    asking.read(0)
    before = counters_after(target)
    for _ in range(50):
        asking.host.send(asking.frame(AoeConfig(), aoe.CMD_CONFIG, shelf=77))
        asking.host.send(asking.frame(AoeConfig(), aoe.CMD_CONFIG, flags=8))
    other = bytes(asking.frame(AoeConfig(), aoe.CMD_CONFIG))
    asking.host.send(other[:12] + b"\x08\x00" + other[14:])
    asking.read(0)
    after = counters_after(target)
    assert find(after, "frames_in") - find(before, "frames_in") == 1


# -- other people's eyes


class Capture(Program):
    """tcpdump on an interface; .finish() gives the file once everything sent before is in it."""

    def __init__(self, interface, path):
        self.path = path
        super().__init__(["tcpdump", "-i", interface, "-w", path, "-U", "--immediate-mode", "-s", 0])
        wait_until(lambda: "listening on" in self.errors(), what="tcpdump listens")

    def finish(self, sent):
        wait_until(lambda: self.path.stat().st_size > 24 and sent in frames_of(self.path), what="the capture")
        assert self.end() == 0
        return self.path


def say_everything(asking):
    """One of everything that can be asked."""
    asking.config(AoeConfig.FORCE, b"string")
    asking.config(AoeConfig.SET, b"refused")
    asking.config(AoeConfig.FORCE, b"")
    asking.read(0, 2)
    asking.read(0, 1, aoe.READ)
    asking.write(8, b"w" * 1024)
    asking.identify()
    for command in (aoe.FLUSH, aoe.FLUSH_EXT, aoe.CHECK_POWER, 0x99):
        asking.ata(command)
    asking.ata(aoe.READ_EXT, lba=2**40, count=1)
    asking.ata(aoe.READ_EXT, lba=0, count=255)
    asking.mask((MaskDirective.ADD, asking.mac), (MaskDirective.ADD, B))
    asking.mask((MaskDirective.DELETE, asking.mac), (MaskDirective.DELETE, B))
    asking.mask((9, B))
    asking.reserve(AoeReserve.SET, [asking.mac, B])
    asking.reserve(AoeReserve.SET, [])
    asking.ask(aoe.AoeReserve(rcmd=9), aoe.CMD_RESERVE)
    asking.extend(b"reset", b"unknown")
    asking.ask(aoe.Raw(bytes(36)), 0x99)
    asking.ask(AoeConfig(), aoe.CMD_CONFIG, version=3)


def test_tcpdump_and_tshark_decode_every_reply_without_complaint(start, link, tmp_path):
    with Capture(link.host_end, tmp_path / "all.pcap") as capture:
        start()
        asking = start.initiator(A)
        say_everything(asking)
        last = bytes(asking.config())
        path = capture.finish(last)
    printed = run(["tcpdump", "-nn", "-vvv", "-r", path])
    assert printed.returncode == 0
    assert printed.stdout.count("AoE length") >= 40
    complaints = [line for line in printed.stdout.splitlines() if re.search(r"\[\||truncated|invalid", line)]
    # tcpdump holds the padding of a short Reserve/Release message, which no real wire can do without,
    # for an error of the message: it complains about each of these, and about nothing else.
    padded = [
        frame
        for frame in map(aoe.Ether, frames_of(path))
        if frame.haslayer(AoeReserve) and frame[AoE].is_reply and not frame[AoE].is_error and aoe.padding_of(frame)
    ]
    assert len(padded) >= 2
    assert [line for line in complaints if "Reserve/Release" not in line] == []
    assert len(complaints) <= len(padded) + 1, "the one error reply to reserve is echoed whole"
    shown = run(["tshark", "-n", "-r", path, "-Y", "_ws.malformed || _ws.short || _ws.expert"])
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout == ""
    # Each reply is matched to its request by tshark's own reading of tags.
    unmatched = run(["tshark", "-n", "-r", path, "-Y", "aoe.response == 1 && aoe.cmd == 0 && !aoe.response_to"])
    assert unmatched.stdout == ""


def test_aoecfg_and_aoeping_talk_to_it(start, link):
    # The aoetools drop every answer of less than 60 bytes, which a veth pair does not pad: that they hear
    # ours at all is because it pads its replies itself. They wait for ever for what they do not hear.
    start(shelf=4, slot=2)
    there = [4, 2, link.host_end]
    found = run(["aoeping", "-s", 5, "-v", "-I", *there], seconds=15)
    assert found.returncode == 0, found
    assert f"found e4.2 with mac {link.target_mac.replace(':', '')}" in found.stdout
    assert "aoe-target" in found.stdout, "the model that identify tells"

    def aoecfg(*words):
        done = run(["aoecfg", "-t", 1, *words, *there], seconds=15)
        assert done.returncode == 0, done
        return done.stdout + done.stderr

    assert "cellar" in aoecfg("-c", "set", "-s", "cellar")
    assert "cellar" in aoecfg()
    refused = aoecfg("-c", "set", "-s", "attic")
    assert "badcfg" in refused and "attic" not in refused, "its word for error 4"
    assert "cellar" in aoecfg("-c", "prefix", "-s", "cel")
    assert "cellar" not in aoecfg("-c", "test", "-s", "cel"), "no match, no answer"
    assert "attic" in aoecfg("-c", "fset", "-s", "attic")
    assert start.initiator(shelf=4, slot=2).config_string() == b"attic"
