"""The pages as Starlette's client gets them: what they show, how they sort and filter, what they do."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from launcher.item import ItemFilter, QueueInfo, RunState, Sweep
from launcher.outcome import Failed, Finished
from launcher.paths import RunPaths
from launcher.spec import LaunchSpec
from tests.conftest import Result
from tests.web.conftest import Site, fill, spec, states


def runs_of(html: str) -> list[str]:
    """The IDs in the table of runs, in its order."""
    return re.findall(r'id="run-\d+" href="/items/([^"]+)"', html)


def test_an_empty_store_says_how_to_begin(site: Site) -> None:
    html = site.page("/")
    assert "launcher add" in html
    assert "launcher agent" in html
    assert ">default</h3>" in html


def test_the_overview_counts_a_sweep_by_state(site: Site) -> None:
    fill(site.store, site.folder)
    html = site.page("/")
    assert 'aria-label="2 pending, 8 finished, 2 failed"' in html
    assert 'href="/sweeps/digits"' in html


def test_what_was_added_a_moment_ago_is_there(site: Site) -> None:
    site.page("/")
    site.store.push(Sweep("new"), [spec(0)])
    assert "1 pending" in site.page("/sweeps/new")
    site.store.create_queue(QueueInfo("other", "local-process"))
    site.store.push(Sweep("newer"), [spec(1, queue="other")])
    [item] = site.store.items(ItemFilter(sweep="newer"))
    assert "newer" in site.page(f"/items/{item.id}")


def test_sweeps_are_paged_and_found_by_name(site: Site) -> None:
    for number in range(30):
        site.store.push(Sweep(f"sweep-{number:02}"), [spec(number)])
    first, second = site.page("/"), site.page("/?page=2")
    assert "sweep-29" in first
    assert "sweep-04" not in first
    assert "sweep-04" in second
    assert "sweep-29" not in second
    found = site.page("/?find=SWEEP-07")
    assert "sweep-07" in found
    assert "sweep-08" not in found


@pytest.mark.parametrize("name", ["a/b c", "50 %", "x?y=1#z", "ümläut", "a//b", "<b>"])
def test_any_name_of_a_sweep_has_an_address(site: Site, name: str) -> None:
    site.store.push(Sweep(name), [spec(0)])
    [address] = re.findall(r'href="(/sweeps/[^"]+)"', site.page("/"))
    assert "Nothing is swept" in site.page(address)


def test_the_table_sorts_by_the_metric_of_the_sweep_at_first(site: Site) -> None:
    ids = fill(site.store, site.folder)
    assert runs_of(site.page("/sweeps/digits"))[:3] == [ids[9], ids[8], ids[7]]
    assert runs_of(site.page("/sweeps/digits?sort=accuracy&order=asc"))[:3] == [ids[1], ids[2], ids[3]]
    assert runs_of(site.page("/sweeps/digits?sort=loss&order=asc"))[:1] == [ids[9]]


@pytest.mark.parametrize(
    ("query", "options"),
    [
        ("", []),
        ("?sort=accuracy&order=desc", ["--highest", "accuracy"]),
        ("?sort=accuracy&order=asc", ["--lowest", "accuracy"]),
        ("?sort=loss&order=asc", ["--lowest", "loss"]),
        ("?sort=loss&order=desc&where=model!%3Dmlp", ["--highest", "loss", "--where", "model!=mlp"]),
    ],
)
def test_the_table_ranks_runs_as_the_command_does(
    site: Site, cli: Callable[..., Result], query: str, options: list[str]
) -> None:
    fill(site.store, site.folder)
    told: list[dict[str, Any]] = [
        {"accuracy": "NaN", "loss": 3}, {"accuracy": 0.5, "loss": "NaN"}, {"accuracy": "-Infinity", "loss": "Infinity"},
        {"accuracy": 0.25}, {"accuracy": "Infinity", "loss": 1}, {}, {"accuracy": "none", "loss": 0},
    ]  # fmt: skip
    site.store.push(Sweep("digits"), [spec(6 * number) for number in range(2, 9)])
    leases = site.store.pop("agent", ["default"], 9)
    site.store.ack((lease, {}, "/nowhere") for lease in leases)
    failed, *others = leases
    endings = [(failed, Failed("run", "exit code 1", 1, result={"accuracy": 9, "loss": -9}))]
    site.store.finish([*endings, *((lease, Finished(each)) for lease, each in zip(others, told, strict=False))])
    ranked = json.loads(cli("results", "digits", "--store", site.store.url, "--json", *options).out)
    assert runs_of(site.page(f"/sweeps/digits{query}")) == [row["id"] for row in ranked]


def test_the_table_filters_by_conditions_and_state(site: Site) -> None:
    ids = fill(site.store, site.folder)
    assert set(runs_of(site.page("/sweeps/digits?where=model%3Dsvm,+lr%3D1"))) == {ids[0], ids[6]}
    assert set(runs_of(site.page("/sweeps/digits?state=failed"))) == {ids[0], ids[5]}
    assert "No run is like that" in site.page("/sweeps/digits?where=accuracy%3E9")


def test_a_cell_of_lists_and_texts_with_commas_leads_to_its_runs(site: Site) -> None:
    layers, texts = ["[1,2]", "[1,[2,3]]", "{a:1,b:2}", "choice(1,2)"], ["'a, b;c'", r"a\,b", '"it\'s, [so"', "it's"]
    points = [(f"model.layers={x}", f"text={y}", f"seed={seed}") for x in layers for y in texts for seed in (0, 1)]
    specs = [LaunchSpec({"overrides": {"args": list(point)}}, point=point) for point in points]
    site.store.push(Sweep("lists"), specs)
    cells = re.findall(r'<a href="(\?[^"#]*where=[^"#]+)', site.page("/sweeps/lists?gx=model.layers&gy=text"))
    assert len(cells) == 16
    found = [runs_of(site.page(f"/sweeps/lists{html.unescape(cell)}")) for cell in cells]
    assert [len(runs) for runs in found] == [2] * 16
    assert len({run for runs in found for run in runs}) == 32


@pytest.mark.parametrize("where", ["nonsense", "colour=red", "=", "accuracy>>"])
def test_a_bad_condition_is_told_on_the_page(site: Site, where: str) -> None:
    fill(site.store, site.folder)
    assert 'class="trouble"' in site.get("/sweeps/digits", params={"where": where}).text


@pytest.mark.parametrize(
    "query",
    [
        "page=0",
        "page=-1",
        "page=99999999999999999",
        "page=²",
        "sort=nothing",
        "gx=seed&gy=seed",
        "color=nothing",
        "gx=nothing",
        "order=up",
        "state=odd",
    ],
)
def test_odd_parameters_do_no_harm(site: Site, query: str) -> None:
    fill(site.store, site.folder)
    assert runs_of(site.page(f"/sweeps/digits?{query}"))


@pytest.mark.parametrize("query", ["", "?gy=lr", "?gx=lr&gy=lr", "?gx=nothing&gy=lr"])
def test_a_single_key_goes_across(site: Site, query: str) -> None:
    specs = [LaunchSpec({"overrides": {"args": [f"lr={lr}"]}}, point=(f"lr={lr}",)) for lr in (1, 2)]
    site.store.push(Sweep("line"), specs)
    assert re.search(r'<th scope="col">1</th><th scope="col">2</th>', site.page(f"/sweeps/line{query}"))


def test_the_grid_shows_states_or_means(site: Site) -> None:
    fill(site.store, site.folder)
    states = site.page("/sweeps/digits?color=state&gx=lr&gy=model")
    assert re.search(r"<th scope=\"col\">0.01</th>", states)
    assert "1 finished, 1 failed" in states
    means = site.page("/sweeps/digits?color=accuracy&gx=model&gy=lr")
    assert 'class="m8"' in means
    assert "the stronger, the better" in means
    assert "the stronger, the higher" in site.page("/sweeps/digits?color=loss")  # nobody said that it is better


def test_failures_are_folded(site: Site) -> None:
    fill(site.store, site.folder)
    html = site.page("/sweeps/digits")
    assert "ValueError (train.py:9 in fit)" in html
    assert "launcher retry digits --cause" in html
    assert '<span class="a2">step</span> of' in html


def test_the_command_that_retries_a_cause_is_one_for_a_shell(site: Site) -> None:
    fill(site.store, site.folder, name="a b; $x")
    assert "launcher retry 'a b; $x' --cause" in html.unescape(site.page("/sweeps/a b; $x"))


def test_an_item_tells_its_story_and_its_config_beside_the_common_one(site: Site) -> None:
    ids = fill(site.store, site.folder)
    html = site.page(f"/items/{ids[0]}")
    assert "leased by agent" in html
    assert "bad lr 0.5" in html
    assert "python train.py" in html
    rows = {
        re.sub(r"<[^>]+>|\s+", "", path): "differs" in row
        for row, path in re.findall(r"<tr( class=differs)?>\s*<th scope=\"row\">(.*?)</th>", html, re.DOTALL)
    }
    assert rows["differs:model.name"]
    assert rows["shared.depth"] is False
    assert '<span class="a2">step</span>' in html


def test_an_item_shows_all_that_it_reported(site: Site) -> None:
    site.store.push(Sweep("digits"), [spec(0)])
    [lease] = site.store.pop("agent", ["default"], 1)
    site.store.ack([(lease, {}, "/nowhere")])
    long = '<i>"' + "x" * 300 + "</i>"
    site.store.finish([(lease, Finished({"text": long, **{f"metric{number}": number * 1.5 for number in range(30)}}))])
    page = site.page(f"/items/{lease.item.id}")
    shown = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page))
    assert [shown[f"metric{number}"] for number in range(30)] == [f"{number * 1.5:.4g}" for number in range(30)]
    assert html.unescape(page).count(f'title="{long}"') == 2
    assert long not in page
    assert "x" * 200 + "…" not in page
    assert f'title="{long}"' in html.unescape(site.page("/sweeps/digits"))


def test_a_beginning_of_an_id_is_enough(site: Site) -> None:
    [only] = fill(site.store, site.folder, count=1, waiting=1)
    assert only in site.page(f"/items/{only[:5]}")


@pytest.mark.parametrize(
    "path",
    [
        "/sweeps/nothing",
        "/items/nothing",
        "/logs/nothing",
        "/download/nothing",
        "/do/cancel/items/nothing",
        "/do/explode/sweeps/digits",
        "/do/cancel/queues/default",
        "/assets/nothing.js",
        "/assets/../pages.py",
        "/assets/%2e%2e/pages.py",
        "/plots/nothing",
        "/live/sweeps/nothing",
        "/live/items/nothing",
    ],
)
def test_what_is_not_there_is_told(site: Site, path: str) -> None:
    fill(site.store, site.folder)
    response = site.get(path)
    assert response.status_code in (404, 200 if path.startswith("/plots") else 404)
    assert "Traceback" not in response.text


def test_what_runs_without_folder_has_no_log(site: Site) -> None:
    ids = fill(site.store, site.folder)
    assert site.get(f"/logs/{ids[-1]}").status_code == 404
    assert "<pre" in site.page(f"/items/{ids[-1]}")


def test_a_log_of_gigabytes_is_read_at_any_offset(site: Site) -> None:
    ids = fill(site.store, site.folder)
    size = 3 << 30
    with RunPaths.of(site.folder, ids[0], 1).log.open("r+b") as log:
        log.truncate(size)  # a hole: it takes no disk
        log.seek(size - 10)
        log.write(b"\nthe end.\n")
    assert "bytes 2,000,000,000 to" in site.page(f"/logs/{ids[0]}?at=2000000000")
    for beyond in (size, size + 1, 10**17, 10**18 - 1, 10**18, 10**30):
        assert f"of {size:,}" in site.page(f"/logs/{ids[0]}?at={beyond}")


# -- actions ----------------------------------------------------------------------------------------------------------


def test_a_sweep_is_cancelled_and_retried_after_a_question(site: Site) -> None:
    fill(site.store, site.folder)
    question = site.page("/do/cancel/sweeps/digits")
    assert "Cancel sweep digits?" in question
    assert states(site.store)["pending"] == 2
    done = site.act("/do/cancel/sweeps/digits")
    assert done.status_code == 303
    assert "2 runs cancelled" in site.page(done.headers["location"])
    assert states(site.store) == {"finished": 8, "failed": 2, "cancelled": 2}
    site.act("/do/retry/sweeps/digits")
    assert states(site.store) == {"finished": 8, "pending": 4}


def test_an_item_gets_another_priority_is_paused_and_resumed(site: Site) -> None:
    waiting = fill(site.store, site.folder)[-1]
    assert site.act(f"/do/priority/items/{waiting}", priority="critical").status_code == 303
    assert site.store.item(waiting).priority == 0
    assert site.act(f"/do/priority/items/{waiting}", priority="enormous").status_code == 400
    site.act(f"/do/pause/items/{waiting}")
    assert site.store.item(waiting).hold == "paused"
    site.act(f"/do/resume/items/{waiting}")
    assert site.store.item(waiting).hold is None
    site.act(f"/do/cancel/items/{waiting}")
    assert site.store.item(waiting).state is RunState.CANCELLED


def test_a_queue_is_paused_and_resumed(site: Site) -> None:
    assert "The queue is paused" in site.page(site.act("/do/pause/queues/default").headers["location"])
    assert [queue.paused for queue in site.store.queues()] == [True]
    site.act("/do/resume/queues/default")
    assert [queue.paused for queue in site.store.queues()] == [False]


def test_the_story_names_who_did_it(site: Site) -> None:
    waiting = fill(site.store, site.folder)[-1]
    site.act(f"/do/cancel/items/{waiting}")
    assert "cancelled by home" in site.page(f"/items/{waiting}")


# -- plots ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["", "line", "heatmap", "parallel", "timeline", "curves"])
def test_plots_hold_their_specification_in_a_sandbox(site: Site, kind: str) -> None:
    pytest.importorskip("vl_convert", reason="no extra plot: launcher[plot] is not installed")
    fill(site.store, site.folder)
    response = site.get("/plots/digits", params={"kind": kind} if kind else {})
    assert response.status_code == 200
    assert "sandbox allow-scripts" in response.headers["content-security-policy"]
    assert "allow-same-origin" not in response.headers["content-security-policy"]
    assert ("vega-lite" in response.text) == (kind != "curves")  # no run reported a series


def test_a_plot_of_an_unknown_kind_says_what_there_is(site: Site) -> None:
    pytest.importorskip("vl_convert", reason="no extra plot: launcher[plot] is not installed")
    fill(site.store, site.folder)
    assert "expected one of line" in site.get("/plots/digits?kind=pie").text
