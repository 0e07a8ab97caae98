"""What stands around a target that aoe-conformance judges: who answers for it and from where, what the path carries,
what the program is that it starts, and what of all that a reader is told. Real interfaces, real targets.
"""

import json
import pathlib

import pytest

import net
import wire
from programs import AoeTarget, Program
from test_conformance_cli import EVERYTHING, disk, reference, suite, wrong  # noqa: F401  (fixtures)

ONE_SCREEN = 40


# -- a target that speaks, and not as it should


def test_replies_without_the_response_flag_are_told_and_not_absence(suite, link, wrong):
    wrong("no-response-flag")
    done = suite.run(link, "--case", "header.*")
    assert done.returncode == 1, done
    case = suite.reports().cases["run.target-answers"]
    assert case["verdict"] == "fail"
    assert case["findings"][0]["clause"] == "HDR-RESPONSE"
    assert [frame["role"] for frame in case["findings"][0]["frames"]] == ["request", "stray"]


def test_a_frame_of_zeros_is_seen_and_is_no_silence(suite, link, wrong):
    wrong("zeros")
    suite.run(link, "--case", "header.*", "--allow", "unknown")
    cases = suite.reports().cases
    for name in ("header.reply.is-a-frame-by-unknown-command", "header.command.unknown-middle"):
        assert cases[name]["verdict"] in ("fail", "warn"), cases[name]
        assert "zeros" in cases[name]["reason"]
    assert cases["header.reply.is-a-frame-by-read"]["verdict"] == "pass"


# -- replies that come twice


def test_a_target_that_answers_twice_is_convicted_where_its_port_is_seen(suite, link, wrong):
    wrong("twice")
    words = ["--case", "header.tag.*", "--case", "config.read.*"]
    done = suite.run(link, *words, "--target-interface", link.target_end)
    assert done.returncode == 1, done
    case = suite.reports().cases["run.answered-once"]
    assert (case["verdict"], case["findings"][0]["clause"]) == ("fail", "HDR-ONCE")
    assert {frame["role"] for frame in case["findings"][0]["frames"]} == {"request", "reply"}


def test_without_sight_of_the_port_it_is_one_remark(suite, link, wrong):
    wrong("twice")
    suite.run(link, "--case", "header.tag.*", "--case", "config.read.*")
    cases = suite.reports().cases
    assert cases["run.answered-once"]["verdict"] == "info"
    assert sum("came twice" in case["reason"] for case in cases.values()) == 1
    assert not [name for name, case in cases.items() if case["verdict"] in ("fail", "warn", "error")]


def test_a_link_that_doubles_every_reply_is_not_the_target_s_fault(pytestconfig, namespace, tmp_path):
    (twice,) = [one for one in wire.WIRES if one.special == "twice"]
    build = pathlib.Path(pytestconfig.option.build)
    report, running = wire.judge(twice, build, tmp_path, cases=["header.tag.*", "config.read.*"], image_bytes=64 << 20)
    assert report["link"]["repeated"] > 20, running.said()
    seen = wire.counted(report)
    assert (seen["bad"], seen["inconclusive"]) == ([], 0), running.said()
    assert "run.answered-once" not in {case["id"] for case in report["cases"]}


# -- what the path carries


@pytest.mark.parametrize("mtu", [9000], indirect=True)
def test_unequal_mtus_are_told_once(suite, link, reference):
    net.ip(f"link set {link.target_end} mtu 1500")
    probed = suite("probe", "mtu", "--interface", link.host_end, "--json")
    assert probed.returncode == 1, probed
    told = json.loads(probed.stdout)
    assert told["interface"] == 9000
    assert 1500 <= told["towards_target"] <= 1504  # veth leaves room for a VLAN tag
    done = suite.run(link, "--case", "config.*", "--case", "ata.read.*", "--allow", EVERYTHING)
    assert done.stdout.count("the path carries 150") == 1, done.stdout
    seen = suite.reports().verdicts()
    assert seen["fail"] + seen["warn"] + seen["error"] == 0, done.stdout


def test_equal_mtus_are_well(suite, link, reference):
    probed = suite("probe", "mtu", "--link", f"af_packet:{link.host_end}")
    assert probed.returncode == 0, probed
    assert "carries what both sides claim" in probed.stdout


@pytest.mark.parametrize("mtu", [576], indirect=True)
def test_the_least_mtu_accuses_nobody(suite, link, reference):
    done = suite.run(link, "--case", "config.*", "--case", "ata.*", "--case", "mask.*", "--allow", EVERYTHING, seconds=240)
    seen = suite.reports().verdicts()
    assert seen["fail"] + seen["warn"] + seen["error"] + seen["inconclusive"] == 0, done.stdout
    assert seen["pass"] > 150


def test_the_loopback_interface_will_do(suite, disk, namespace, project, tmp_path):
    baseline = project / "conformance" / "known" / "vblade-25.toml"
    with Program(["vblade", 1, 1, "lo", disk]):
        done = suite("run", "--interface", "lo", "--shelf", 1, "--slot", 1, "--case", "config.*", "--case", "ata.*",
                     "--allow", EVERYTHING, "--baseline", baseline, seconds=240)  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]


# -- who is there


@pytest.fixture
def segment(namespace):
    made = net.Segment(4)
    yield made
    made.close()


def of(port, *words):
    return ["run", "--interface", port, "--shelf", 1, "--slot", 1, "--case", "header.tag.*", *words]


def test_two_machines_for_one_address_are_named_and_one_is_chosen(suite, segment, aoe_target, disk, tmp_path):
    here, one, other, _ = segment.ports
    second = tmp_path / "second"
    second.write_bytes(bytes(1 << 20))
    words = ["--shelf", 1, "--slot", 1]
    with AoeTarget(aoe_target, "--interface", one, *words, "--serial", "FIRST", disk):
        with AoeTarget(aoe_target, "--interface", other, *words, "--serial", "SECOND", second):
            refused = suite(*of(here))
            assert refused.returncode == 2, refused
            for told in ("FIRST", "SECOND", net.mac_of(one), net.mac_of(other), "--target-mac"):
                assert told in refused.stderr, refused
            mac = net.mac_of(other)
            chosen = suite(*of(here, "--target-mac", mac, "--report-json", tmp_path / "report.json"))
            report = json.loads((tmp_path / "report.json").read_text())
            assert chosen.returncode == 0, chosen
            assert (report["target"]["mac"], report["target"]["serial"]) == (mac, "SECOND")
            assert "another machine" in report["notes"][0]


def test_one_machine_with_two_ports_is_judged_and_told(suite, segment, aoe_target, disk):
    here, one, other, _ = segment.ports
    with AoeTarget(aoe_target, "--interface", one, "--interface", other, "--shelf", 1, "--slot", 1, disk):
        done = suite(*of(here))
        assert done.returncode == 0, done
        assert done.stdout.count("another port of the same machine") == 1, done.stdout
        assert suite(*of(here, "--target-mac", net.mac_of(other))).returncode == 0
        nobody = suite(*of(here, "--target-mac", "02:00:00:00:00:01"))
        assert nobody.returncode == 3, nobody


def test_of_several_interfaces_the_one_with_the_target_is_taken(suite, link, segment, reference):
    nowhere = segment.ports[0]
    done = suite("run", "-i", nowhere, "-i", link.host_end, "--shelf", 1, "--slot", 1, "--case", "header.tag.*")
    assert done.returncode == 0, done
    assert f"answers behind {link.host_end} only" in done.stdout
    assert suite("run", "-i", nowhere, "-i", segment.ports[1], "--case", "header.tag.*").returncode == 3


# -- the program that is started


@pytest.mark.parametrize(
    "command, told",
    [
        ("aoe-tagret {iface} {image}", "exit code 127"),
        ("sh -c 'echo no such disk >&2; exit 3'", "no such disk"),
        ("sh -c 'setsid {target} --interface {iface} --shelf {shelf} --slot {slot} {image} &'", "foreground"),
    ],
    ids=["mistyped", "dies", "background"],
)
def test_a_command_that_is_no_target_is_wrong_usage(suite, link, disk, aoe_target, command, told):
    words = ["--target-command", command.replace("{target}", str(aoe_target)), "--target-image", disk]
    done = suite.run(link, "--target-interface", link.target_end, *words, "--case", "header.*")
    assert done.returncode == 2, done
    assert "--target-command" in done.stderr and told in done.stderr, done
    assert len(done.stderr.splitlines()) < 10


def test_an_absent_target_is_one_screen(suite, link):
    done = suite.run(link, "--allow", EVERYTHING)
    assert done.returncode == 3, done
    assert len(done.stdout.splitlines()) < ONE_SCREEN, done.stdout


def test_an_export_that_takes_no_writes_has_one_reason(suite, link, disk, aoe_target):
    with AoeTarget(aoe_target, "--read-only", "--interface", link.target_end, "--shelf", 1, "--slot", 1, disk):
        done = suite.run(link, "--case", "ata.*", "--allow", EVERYTHING)
    assert done.returncode == 0, done.stdout[-3000:]
    unsupported = [case for case in suite.reports().cases.values() if case["verdict"] == "unsupported"]
    reasons = {case["reason"] for case in unsupported if "takes no writes" in case["reason"]}
    assert len(reasons) == 1 and len(unsupported) > 15


# -- initiators other than Linux


def test_a_profile_makes_its_needs_count(suite):
    words = ["run", "--link", "model:identify-claims-no-lba", "--case", "profile.*"]
    assert suite(*words).returncode == 0
    assert suite(*words, "--profile", "ipxe,winaoe").returncode == 0
    failed = suite(*words, "--profile", "plan9")
    assert failed.returncode == 1 and "profile.plan9.lba-bit" in failed.stdout
    assert suite(*words, "--profile", "beos").returncode == 2


def test_real_targets_serve_every_profile(suite, link, reference):
    done = suite.run(link, "--case", "profile.*", "--profile", "ipxe,plan9,winaoe")
    assert done.returncode == 0, done.stdout


# -- names of links


@pytest.mark.parametrize("link_name", ["eth0", "udp:eth0", "unix:", "af_packet:", "af_packet:nowhere"])
def test_a_link_that_is_none_is_wrong_usage(suite, namespace, link_name):
    done = suite("run", "--link", link_name)
    assert done.returncode == 2 and len(done.stderr.splitlines()) <= 2, done
