"""Query config: what the target tells of itself, and the string that others leave in it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.packet import Raw

import aoe_layers as aoe
from aoe_layers import AoE, AoeConfig

STRING_MAX = 1024


@pytest.mark.parametrize("mtu", [1500, 9000], indirect=True)
def test_it_tells_what_it_can(start, link):
    start("--buffer-count", 37)
    asking = start.initiator()
    config = asking.config()[AoeConfig]
    assert config.buffers == 37
    assert config.sectors == (link.mtu + 14 - 36) // 512
    assert (config.aoe_version, config.ccmd, config.length, config.string) == (1, 0, 0, b"")


def test_set_works_once(initiator):
    reply = initiator.config(AoeConfig.SET, b"first")
    assert reply[AoE].error == 0 and reply[AoeConfig].string == b"first"
    reply = initiator.config(AoeConfig.SET, b"second")
    assert reply[AoE].error == 4 and reply[AoeConfig].string == b"first"
    assert initiator.config_string() == b"first"


def test_force_set_works_always_and_can_empty_it(initiator):
    for string in (b"long " * 200, b"short", b"", b"\0\xff binary \0"):
        reply = initiator.config(AoeConfig.FORCE, string)
        assert reply[AoE].error == 0 and reply[AoeConfig].string == string
        assert initiator.config_string() == string
    initiator.config(AoeConfig.FORCE, b"")
    assert initiator.config(AoeConfig.SET, b"after")[AoE].error == 0


MATCHES = [
    (AoeConfig.TEST, b"name", True),
    (AoeConfig.TEST, b"nam", False),
    (AoeConfig.TEST, b"names", False),
    (AoeConfig.TEST, b"", False),
    (AoeConfig.PREFIX, b"name", True),
    (AoeConfig.PREFIX, b"n", True),
    (AoeConfig.PREFIX, b"", True),
    (AoeConfig.PREFIX, b"names", False),
    (AoeConfig.PREFIX, b"ame", False),
]


def test_test_and_prefix_answer_only_when_they_match(start, initiator):
    barrier = start.initiator("02:00:00:00:ba:21")
    initiator.config(AoeConfig.FORCE, b"name")
    for ccmd, string, matches in MATCHES:
        message = AoeConfig(aoe_version=1, ccmd=ccmd, string=string)
        frame = initiator.frame(message, aoe.CMD_CONFIG)
        if matches:
            assert initiator.ask_frame(frame)[AoeConfig].string == b"name"
        else:
            initiator.host.expect_silence(frame, barrier.host)
    assert initiator.config_string() == b"name"


def test_unknown_sub_commands_get_error_2(initiator):
    initiator.config(AoeConfig.FORCE, b"kept")
    for ccmd in range(5, 16):
        initiator.refused(
            AoeConfig(aoe_version=1, ccmd=ccmd, string=b"x"), aoe.CMD_CONFIG, error=2
        )
    assert initiator.config_string() == b"kept"


def test_the_longest_string_fits_and_one_more_does_not(initiator):
    longest = bytes(range(256)) * 4
    assert len(longest) == STRING_MAX
    initiator.config(AoeConfig.FORCE, longest)
    assert initiator.config_string() == longest
    initiator.refused(
        AoeConfig(aoe_version=1, ccmd=AoeConfig.FORCE, string=b"y" * (STRING_MAX + 1)), aoe.CMD_CONFIG, error=2
    )
    assert initiator.config_string() == longest


@pytest.mark.parametrize("ccmd", [AoeConfig.SET, AoeConfig.FORCE])
def test_a_length_beyond_the_frame_is_not_believed(start, initiator, ccmd):
    # Another host's bytes were in the receive buffer just before: they must not become the string.
    start.initiator("02:00:00:00:00:66").write(0, b"S" * 1024)
    message = AoeConfig(aoe_version=1, ccmd=ccmd, length=600)
    reply = initiator.ask(message / Raw(b"abc"), aoe.CMD_CONFIG)
    assert reply[AoE].error == 2
    assert initiator.config_string() == b""


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.sampled_from([0, 3, 4]), st.binary(max_size=40)), min_size=1, max_size=12
    )
)
def test_any_sequence_of_sets_equals_the_model(shared_initiator, steps):
    shared_initiator.config(AoeConfig.FORCE, b"")
    held = b""
    for ccmd, string in steps:
        reply = shared_initiator.config(ccmd, string)
        if ccmd == AoeConfig.FORCE or ccmd == AoeConfig.SET and held in (b"", string):
            held, error = string, 0
        else:
            error = 0 if ccmd == AoeConfig.READ else 4
        # A set to the string that is there already: sensible targets differ.
        same = ccmd == AoeConfig.SET and string == held
        assert reply[AoE].error == error or same and reply[AoE].error in (0, 4)
        assert reply[AoeConfig].string == held
