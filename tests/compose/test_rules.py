"""Rules: what they keep, what they are refused for, and that no text whatever is run as code."""

from __future__ import annotations

from contextlib import suppress
from enum import Enum
from pathlib import PurePath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.compose.rules import LONGEST, Rule
from launcher.errors import ComposeError, UsageError

CONFIG: dict[str, Any] = {
    "lr": 0.1, "seed": 3, "debug": False, "none": None, "tags": ["a", "b"],
    "model": {"name": "svm", "max-iter": 5, "kernel": {"name": "rbf"}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("lr == 0.1", True),
        ("lr > 0.1", False),
        ("0 < lr <= 0.1 < seed", True),
        ("0 < seed < 3", False),
        ("model.name == 'svm' and lr < 1", True),
        ("model.name == 'mlp' or model.kernel.name == 'rbf'", True),
        ("not debug", True),
        ("not (debug or seed == 3)", False),
        ("model.name in ['svm', 'mlp']", True),
        ("model.name not in ('svm', 'mlp')", False),
        ("'kernel' in model and model.kernel.name != 'rbf'", False),
        ("'depth' in model and model.depth > 3", False),
        ("none is null", True),
        ("debug is not True and debug is false", True),
        ("(none or seed) == 3 and (seed and lr) == 0.1 and (debug or none) is null", True),
        ("(none and none.x) == null", True),
        ("tags or debug", True),
        ("none == null and debug == false and true", True),
        ("model['max-iter'] == 5", True),
        ("tags[0] == 'a' and tags[1] == 'b'", True),
        ("not " * 400 + "debug", False),
        ("'a' in tags", True),
        ("seed == -3", False),
        ("-1 < seed", True),
        ("  lr == 0.1 ", True),
    ],
)
def test_a_rule_drops_or_keeps_a_point(text: str, holds: bool) -> None:
    assert Rule.parse("exclude", text).keeps(CONFIG, ()) is not holds
    assert Rule.parse("require", text).keeps(CONFIG, ()) is holds


@pytest.mark.parametrize(
    "text",
    [
        "", "lr >", "lr = 1", "f(x)", "__import__('os').system('true')", "lr.__class__()", "lr + 1 > 2",
        "[a for a in tags]", "lambda: 1", "f'{lr}'", "(lr := 2)", "{1: 2}", "{1}", "b'x' == lr", "1j == lr",
        "x if y else z", "... == lr",
        "-model.name == 1", "~seed == 1", "tags[0:1] == 'a'", "*lr", "lr; seed", "a\nb", "\0", "tags[seed] == 1",
        "await lr", "(" * 500 + "lr" + ")" * 500, "lr == 1 and " * 400 + "lr", "tags[-1] == 'b'",
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(UsageError, match=r"(?s)^exclude .* is no condition: .*; expected dotted keys, numbers"):
        Rule.parse("exclude", text)


@given(st.text(max_size=40) | st.text(alphabet="lrsedt.[]()'\"=<>! andornti01_:,+-", max_size=LONGEST + 5))
def test_no_text_makes_anything_but_a_rule_or_a_usage_error(text: str) -> None:
    try:
        rule = Rule.parse("require", text)
    except UsageError:
        return
    with suppress(ComposeError):
        assert rule.keeps(CONFIG, ()) in {True, False}


def test_a_key_that_is_not_there_is_told_with_the_nearest_and_how_to_ask() -> None:
    with pytest.raises(ComposeError) as error:
        Rule.parse("exclude", "model.nam == 'svm'").keeps(CONFIG, ())
    assert str(error.value) == (
        "exclude \"model.nam == 'svm'\": no key 'model.nam' (did you mean 'name'? known: kernel, max-iter, name); "
        "where a key may be absent, ask for it first: 'nam' in model and …"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("kernel.name == 'rbf'", "no key 'kernel.name' at the root; did you mean model.kernel.name?"),
        ("name == 'rbf'", "no key 'name' at the root; did you mean model.name or model.kernel.name?"),
        ("'lambda' == lambda_", "no key 'lambda_' (known: debug, lr, model, none, seed, tags); a condition needs the"),
        ("sed == 3", "no key 'sed' (did you mean 'seed'? known: debug, lr, model, none, seed, tags); a condition"),
        (
            "'lr' in config",
            "no key 'config' at the root; the config as a whole has no name, its keys are named alone, known: debug",
        ),
        ("cfg.model.name == 'svm'", "the config as a whole has no name, its keys are named alone, as model.name"),
        ("model == 'svm'", "model is a mapping and no value; name a key of it: model.name, model['max-iter'], model.k"),
        ("'svm' != model", "model is a mapping and no value; name a key of it: model.name"),
        ("model.kernel in ['rbf']", "model.kernel is a mapping and no value; name a key of it: model.kernel.name"),
        ("model.kernl.name == 'rbf'", "ask for it first: 'kernl' in model and …"),
    ],
)
def test_a_key_that_is_not_meant_is_told_with_the_one_that_may_be(text: str, told: str) -> None:
    with pytest.raises(ComposeError) as error:
        Rule.parse("exclude", text).keeps(CONFIG, ())
    assert told in str(error.value)


class Opt(Enum):
    SGD = 1
    ADAM = 2


def test_what_json_has_not_is_compared_as_the_run_config_says_it() -> None:
    config = {"opt": Opt.ADAM, "root": PurePath("/data")}
    assert Rule.parse("require", "opt == 'ADAM' and opt in ['ADAM', 'SGD']").keeps(config, ())
    assert not Rule.parse("exclude", "root == '/data'").keeps(config, ())


@pytest.mark.parametrize("text", ["'kernel' in model", "model != null", "null is not model", "model == model"])
def test_a_mapping_may_be_asked_for_its_keys_and_whether_it_is_there(text: str) -> None:
    assert Rule.parse("require", text).keeps(CONFIG, ())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("model.name is 'svm'", "'is' is for null, true and false only; write model.name == 'svm'; expected"),
        ("null is not lr is not 0.1", "'is not' is for null, true and false only; write lr != 0.1; expected"),
        ("loss.lambda > 1", "'lambda' is a word of Python's; write loss['lambda']; expected"),
        ("lr > 1 or a.b.in.c == 2", "'in' is a word of Python's; write a.b['in']; expected"),
    ],
)
def test_what_python_reads_otherwise_is_told_how_to_be_written(text: str, told: str) -> None:
    with pytest.raises(UsageError) as error:
        Rule.parse("exclude", text)
    assert told in str(error.value)
    assert Rule.parse("require", "loss['lambda'] > 1").keeps({"loss": {"lambda": 2}}, ())


def test_values_that_have_no_order_are_told() -> None:
    with pytest.raises(ComposeError, match=r"exclude 'lr < model.name': '<' not supported between"):
        Rule.parse("exclude", "lr < model.name").keeps(CONFIG, ())


@pytest.mark.parametrize("deferred", ["model.name", "model", "model.name.x"])
def test_a_leaf_that_only_the_app_can_resolve_cannot_be_judged(deferred: str) -> None:
    rule = Rule.parse("exclude", "seed > 5 or model.name == 'svm'")
    with pytest.raises(ComposeError, match=r"reads model.name, which only the running app can resolve"):
        rule.keeps(CONFIG, (deferred,))
    assert rule.keeps(CONFIG, ("model.kernel", "models")) is False


def test_a_mapping_that_is_compared_is_told_though_only_the_app_can_resolve_a_leaf_of_it() -> None:
    with pytest.raises(ComposeError, match=r"model is a mapping and no value; name a key of it: model.name, "):
        Rule.parse("exclude", "model == 'svm'").keeps(CONFIG, ("model.name",))
