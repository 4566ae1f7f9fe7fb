"""Names in backtraces, as rustc, Clang and GCC wrote them; and that no name costs much or breaks the parser."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mixkit.vm.demangle import demangled
from mixkit.vm.demangle_rust import RustName

NAMES = {
    # Rust, the old scheme
    "_ZN4core9panicking5panic17h5f9e7f04b716cae8E": "core::panicking::panic",
    "_ZN42_$LT$$RF$T$u20$as$u20$core..fmt..Debug$GT$3fmt17h5f9e7f04b716cae8E": "<&T as core::fmt::Debug>::fmt",
    "_ZN1a22Gr$uf6$$udf$e$LT$_$GT$3add17hca0f236285331a42E": "a::Größe<_>::add",
    "_ZN3foo3bar17h0123456789abcdefE.llvm.4F0A": "foo::bar",
    # Rust, v0
    "_RNvCs6xxl1lAjzDf_1a4main": "a::main",
    "_RNCNCNCNvNtCsjrHSEGnQ3l9_3std2rt19lang_start_internal00s_0B9_": (
        "std::rt::lang_start_internal::{closure}::{closure}::{closure}"
    ),
    "_RNvMs_Cs6xxl1lAjzDf_1aINtB4_u9Gre_6ka8iKj7_E3addB4_": "<a::Größe<…>>::add",
    "_RNvXs1g_NtCsgEmfK2I1SDS_4core3fmtRDNtB6_5DebugEL_Bx_3fmtB8_": (
        "<&dyn core::fmt::Debug as core::fmt::Debug>::fmt"
    ),
    "_RNSNvYNCNvCs6xxl1lAjzDf_1a4main0INtNtNtCsgEmfK2I1SDS_4core3ops8function6FnOnceThEE9call_once6vtableB8_": (
        "<a::main::{closure} as core::ops::function::FnOnce<…>>::call_once::{vtable}"
    ),
    # C++
    "_Z3foov": "foo",
    "_Z3fooIiEvT_": "foo<…>",
    "_ZN3net6Socket4readEPcm": "net::Socket::read",
    "_ZNK3net6SocketcvbEv": "net::Socket::operator (cast)",
    "_ZN3net6SocketC2ERKS0_": "net::Socket::Socket",
    "_ZN3net6SocketD0Ev": "net::Socket::~Socket",
    "_ZNSt6vectorIiSaIiEE9push_backEOi": "std::vector<…>::push_back",
    "_ZNSt6vectorIiSaIiEEC1Ev": "std::vector<…>::vector",
    "_ZN12_GLOBAL__N_14helpEv": "(anonymous)::help",
    "_ZZ4mainENKUlvE_clEv": "main::{lambda}::operator()",
    "_ZStlsISt11char_traitsIcEERSt13basic_ostreamIcT_ES5_PKc": "std::operator<<<…>",
    "_ZnwRKSt9nothrow_t": "operator new",
    "_ZN1AplERKS_": "A::operator+",
    "_ZdlPv": "operator delete",
}


@pytest.mark.parametrize(("mangled", "plain"), NAMES.items())
def test_names_are_said_as_they_were_written(mangled: str, plain: str) -> None:
    assert demangled(mangled) == plain


NO_NAMES = [
    *(
        "main",
        "main.main",
        "~lib/array/Array#__get",
        "_Z",
        "_R",
        "_ZN",
        "_ZN3fo",
        "_ZTV3foo",
        "_RNvC",
        "_RNvB_1a",
    ),
    *("_ZN1a1b$ufffffff$17h0123456789abcdefE", "_RTB_B_E", "_Z3foo" + "v" * 3_000),
    *(
        f"{start}{letter * 1_000}"
        for start in ("_Z", "_Z1f", "_Z1fI", "_ZN1f", "_R", "_RM")
        for letter in "NLJPITSBXAF"
    ),
]


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_stays_as_it_is(name: str) -> None:
    assert demangled(name) in (name, "f")


@given(st.sampled_from(sorted(NAMES)), st.integers(0, 1 << 32))
def test_damaged_names_break_nothing(name: str, seed: int) -> None:
    rng = random.Random(seed)
    letters = list(name)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(2, len(letters))
        letters[at : at + rng.randint(0, 2)] = rng.choices(
            "NEISTB_0123456789LJPFAMDKRXYCsup$", k=rng.randint(0, 3)
        )
    assert isinstance(demangled("".join(letters)), str)


def base62(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    if number == 0:
        return "_"
    high, low = divmod(number - 1, 62)
    return f"{digits[high] if high else ''}{digits[low]}_"


@pytest.mark.parametrize(("tuples", "understood"), [(3, True), (30, False)])
def test_references_that_double_each_other_end(tuples: int, understood: bool) -> None:
    """Each tuple names the one before it twice: with thirty of them, a text of a billion types."""
    mangled, place = "YTTuuE", 2
    for _ in range(tuples):
        back, place = base62(place), len(mangled)
        mangled += f"TB{back}B{back}E"
    mangled += "EC1a"
    if understood:
        assert RustName(mangled).text().count("()") == 2 + 4 + 8 + 16
    else:
        with pytest.raises(ValueError, match="nested too deeply"):
            RustName(mangled).text()
    assert (demangled(f"_R{mangled}") != f"_R{mangled}") == understood
