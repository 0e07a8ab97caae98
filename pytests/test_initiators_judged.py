"""aoe-conformance initiator: a target that misbehaves on purpose judges who asks. Our own initiator passes, one that believes
everything fails what it should."""

import json
import sys

import pytest

import careless_initiator
from programs import run

OWN = (
    "{program} write -i {{iface}} --shelf {{shelf}} --slot {{slot}} --connect-timeout 20 --give-up 20 {extensions}--lba {{lba}} {{in}} && "
    "{program} read -i {{iface}} --shelf {{shelf}} --slot {{slot}} --connect-timeout 20 --give-up 20 {extensions}--lba {{lba}} "
    "--count {{sectors}} -o {{out}}"
)


@pytest.fixture
def judged(aoe_conformance, link, tmp_path):
    def call(command, *words, seconds=200):
        report = tmp_path / "report.json"
        place = ["-i", link.target_end, "--initiator-interface", link.host_end]
        order = [aoe_conformance, "initiator", *place, "--report-json", report, "--quiet", *words]
        done = run(order + (["--initiator-command", command] if command else []), seconds=seconds)
        cases = json.loads(report.read_text())["cases"] if report.exists() else []
        return done, {case["id"]: (case["verdict"], case["reason"]) for case in cases}

    return call


@pytest.mark.timeout(250)
@pytest.mark.parametrize("extensions", ["", "--extensions tag_inc_be,coalesced_read,crc8x4 "])
def test_our_own_initiator_passes(judged, build, extensions):
    program = build / "bin" / "aoe-initiator"
    done, cases = judged(OWN.format(program=program, extensions=extensions), "--seconds", 40)
    bad = {name: told for name, told in cases.items() if told[0] not in ("pass", "unsupported")}
    # While it asks whether its session lives, one question is out beside the requests.
    bad.pop("limit.buffer-count", None)
    assert bad == {} and done.returncode == 0, done.stdout
    assert len(cases) == 18
    assert (cases["extensions.in-lower-case"][0] == "unsupported") == (extensions == "")


@pytest.mark.timeout(250)
def test_one_that_believes_everything_fails(judged):
    command = f"{sys.executable} {careless_initiator.__file__} {{iface}} {{shelf}} {{slot}} {{lba}} {{sectors}} {{in}} {{out}}"
    done, cases = judged(command)
    assert done.returncode == 1
    failed = {name for name, (verdict, _) in cases.items() if verdict == "fail"}
    assert failed >= {
        "silence.is-asked-again",
        "reply.late",
        "reply.of-an-older-read",
        "reply.under-another-tag",
        "reply.from-another-slot",
        "reply.without-the-flag",
        "data.short",
        "error.uncorrectable",
        "error.write-fails",
        "error.aoe",
        "limit.sector-count",
        "restart.in-the-middle",
        "disk.smaller",
        "requests.well-formed",
    }, cases


def test_where_nobody_asks_nothing_is_claimed(judged):
    done, cases = judged(None, "--seconds", 0.2, "--case", "reply.*")
    assert done.returncode == 4
    assert {verdict for verdict, _ in cases.values()} == {"inconclusive"}
    assert "nobody asked 7.3" in done.stdout


@pytest.mark.parametrize(
    "words, told",
    [
        ([], "--interface says where"),
        (["-i", "no-such-interface"], "no-such-interface"),
        (["-i", "lo", "--initiator-command", "x {iface}"], "--initiator-interface says which"),
        (["-i", "lo", "--case", "nothing"], "no case matches"),
    ],
)
def test_what_is_wrong_is_said(aoe_conformance, namespace, words, told):
    done = run([aoe_conformance, "initiator", *words])
    assert done.returncode == 2 and told in done.stderr and len(done.stderr.strip().splitlines()) == 1, done


def test_the_cases_are_listed(aoe_conformance):
    done = run([aoe_conformance, "initiator", "--list"])
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 17
