"""The fixtures `mixkit_kernel`, `mixkit_state`, `mixkit_call` and `mixkit_cli` come with mixkit."""

from __future__ import annotations

import json

import pytest

from mixkit import Kernel
from mixkit.errors import FFIError, GrantError, LimitExceeded, ProfileError
from mixkit.grants import Grants
from mixkit.limits import Limits
from mixkit.value import error, ok


def test_says_hello(mixkit_call):
    assert mixkit_call("$greeting_hello", "Ada") == ok("Hello, Ada!")
    assert mixkit_call("$greeting_wait", "Ada", 0.01) == ok("Hello, Ada!")


def test_an_empty_name_is_an_error_for_the_agent(mixkit_call):
    empty = error("whom shall I greet? The name is empty")
    assert mixkit_call("$greeting_hello", " ") == empty


def test_a_wrong_argument_is_named(mixkit_call):
    with pytest.raises(FFIError, match="name"):
        mixkit_call("$greeting_hello", 7)


def test_an_agent_without_the_grant_cannot_call_it(mixkit_call):
    with pytest.raises(GrantError):
        mixkit_call("$greeting_hello", "Ada", grants=Grants(["$core_*"]))


def test_waiting_ends_at_the_deadline(mixkit_call):
    with pytest.raises(LimitExceeded, match="wall_time"):
        mixkit_call("$greeting_wait", "Ada", 60.0, limits=Limits(wall_time=0.1))


def test_runs_do_not_see_each_other_s_guests(mixkit_call):
    mixkit_call("$greeting_hello", "Ada")
    assert mixkit_call("$greeting_guests") == []


def test_a_run_remembers_its_guests(mixkit_state):
    from mix_greeting.ffis import guests, hello

    hello(mixkit_state, "Ada")
    hello(mixkit_state, "Grace")
    assert guests(mixkit_state) == ["Ada", "Grace"]


def test_a_run_greets_only_so_many(mixkit_state):
    from mix_greeting.ffis import hello
    from mix_greeting.guests import Guests

    mixkit_state.get(Guests).most = 1
    hello(mixkit_state, "Ada")
    with pytest.raises(FFIError, match="at most 1"):
        hello(mixkit_state, "Grace")


def test_an_unknown_setting_is_refused(mixkit_profile):
    with pytest.raises(ProfileError, match="greting"):
        Kernel(mixkit_profile, overrides={"settings.greeting.greting": "Ahoy"})


def test_the_command(mixkit_cli, mixkit_profile):
    done = mixkit_cli("-p", mixkit_profile, "greet", "Ada", "--json")
    assert json.loads(done.stdout) == {"greeting": "Hello, Ada!"}


def test_the_doctor(mixkit_cli, mixkit_profile):
    done = mixkit_cli("-p", mixkit_profile, "doctor", "--json")
    found = {check["name"]: check["level"] for check in json.loads(done.stdout)}
    assert found["greeting: words"] == "ok"
    bad = mixkit_cli("-p", mixkit_profile, "--set", "settings.greeting.greeting=\x07", "doctor")
    assert bad.returncode == 1
