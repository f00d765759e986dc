"""What a grid may say beyond Hydra's grammar: zips, blocks, rules, samples, orders, strictness, verification."""

from __future__ import annotations

from pathlib import Path

import pytest

from launcher.compose import Block, Grid, Point, Repository, Selection
from launcher.compose.composer import Composer
from launcher.compose.rules import Rule
from launcher.errors import ComposeError

FILES = {
    "config.yaml": "defaults: [model: svm, _self_]\nseed: 0\nlr: 0.1\nbatch: 8\nname: ${model.name}-${seed}\n",
    "model/svm.yaml": "name: svm\nkernel: rbf\n",
    "model/mlp.yaml": "name: mlp\ndepth: 2\nout: ${hydra:runtime.output_dir}\n",
}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    for name, content in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return Repository(tmp_path)


def grid(repository: Repository, *blocks: Block, **options: object) -> Grid:
    return Grid.of_blocks(repository, "config", blocks, multirun=True, **options)


def strings(points: Grid) -> list[str]:
    made = [" ".join(point.overrides) for point in points]
    if not points.removed:
        assert made == [" ".join(combination) for combination in points.combinations()]
    return made


# -- zips and blocks -----------------------------------------------------------------------------------------------


def test_zipped_keys_advance_together_where_the_first_of_them_stands(repository: Repository) -> None:
    zipped = grid(repository, Block(("lr=0.1,1", "model=svm,mlp", "batch=8,16", "seed=range(2)"), (("batch", "lr"),)))
    assert len(zipped) == 8
    assert strings(zipped) == [
        f"lr={lr} batch={batch} model={model} seed={seed}"
        for lr, batch in (("0.1", 8), ("1", 16)) for model in ("svm", "mlp") for seed in (0, 1)
    ]  # fmt: skip
    assert [(point.config["lr"], point.config["batch"]) for point in zipped][::4] == [(0.1, 8), (1, 16)]


@pytest.mark.parametrize(
    ("zips", "told"),
    [
        ([("lr", "seed")], "zip needs axes of one length: lr has 2, seed has 3"),
        ([("lr", "bach")], "zip of lr, bach: no axis 'bach'; did you mean 'batch'? known: batch, lr, seed"),
        ([("lr", "batch"), ("batch",)], "zip of batch: 'batch' is zipped twice"),
        ([("lr", "lr")], "zip of lr, lr: 'lr' is zipped twice"),
    ],
)
def test_a_zip_that_cannot_be_is_told(repository: Repository, zips: list[tuple[str, ...]], told: str) -> None:
    with pytest.raises(ComposeError) as error:
        grid(repository, Block(("lr=0.1,1", "batch=8,16", "seed=range(3)"), tuple(zips)))
    assert str(error.value) == told


def test_blocks_are_a_union_in_order(repository: Repository) -> None:
    union = grid(repository, Block(("model=svm", "lr=1,2")), Block(("model=mlp", "model.depth=range(3)")))
    assert len(union) == 5
    assert strings(union) == [
        "model=svm lr=1", "model=svm lr=2",
        "model=mlp model.depth=0", "model=mlp model.depth=1", "model=mlp model.depth=2",
    ]  # fmt: skip
    assert [point.config["model"].get("depth") for point in union] == [None, None, 0, 1, 2]


# -- rules ---------------------------------------------------------------------------------------------------------


def test_rules_see_the_composed_config_and_count_what_they_drop(repository: Repository) -> None:
    rules = (Rule.parse("exclude", "name == 'mlp-1'"), Rule.parse("require", "lr < 1 or model.name == 'svm'"))
    ruled = grid(repository, Block(("model=svm,mlp", "lr=0.1,1", "seed=0,1"), rules=rules))
    assert len(ruled) == 8
    assert strings(ruled) == [
        "model=svm lr=0.1 seed=0", "model=svm lr=0.1 seed=1", "model=svm lr=1 seed=0", "model=svm lr=1 seed=1",
        "model=mlp lr=0.1 seed=0",
    ]  # fmt: skip
    assert ruled.removed == {"exclude \"name == 'mlp-1'\"": 2, "require \"lr < 1 or model.name == 'svm'\"": 1}


def test_rules_that_leave_nothing_are_told(repository: Repository) -> None:
    rule = Rule.parse("exclude", "seed >= 0")
    with pytest.raises(ComposeError, match=r"^no point is left of 3; removed: exclude 'seed >= 0' 3$"):
        list(grid(repository, Block(("seed=range(3)",), rules=(rule,))))


def test_a_rule_about_a_key_that_a_point_has_not_names_the_point(repository: Repository) -> None:
    points = iter(grid(repository, Block(("model=mlp,svm",), rules=(Rule.parse("exclude", "model.depth > 5"),))))
    assert next(points).overrides == ("model=mlp",)
    with pytest.raises(ComposeError, match=r"^point model=svm: exclude 'model.depth > 5': no key 'model.depth'"):
        next(points)


# -- samples and orders --------------------------------------------------------------------------------------------


def test_a_sample_is_some_of_the_points_in_their_order(repository: Repository) -> None:
    blocks = (Block(("seed=range(50)", "lr=1,2")), Block(("model=mlp",)))
    everything = strings(grid(repository, *blocks))
    sampled = grid(repository, *blocks, selection=Selection(sample=20, seed=4))
    chosen = strings(sampled)
    assert len(sampled) == len(chosen) == 20
    assert chosen == [string for string in everything if string in chosen]
    assert chosen != strings(grid(repository, *blocks, selection=Selection(sample=20, seed=5)))
    assert strings(grid(repository, *blocks, selection=Selection(sample=1000))) == everything


def test_a_shuffle_has_every_point_in_the_same_order_each_time(repository: Repository) -> None:
    blocks = (Block(("seed=range(10)", "model=svm,mlp")), Block(("lr=3",)))
    shuffled = strings(grid(repository, *blocks, selection=Selection(shuffle=True)))
    assert sorted(shuffled) == sorted(strings(grid(repository, *blocks)))
    assert shuffled != strings(grid(repository, *blocks))
    assert shuffled == strings(grid(repository, *blocks, selection=Selection(shuffle=True)))


def test_hydras_shuffle_is_the_same_each_time(repository: Repository) -> None:
    first, second = (strings(grid(repository, Block(("seed=shuffle(range(20))",)))) for _ in range(2))
    assert first == second
    assert first != sorted(first)


def test_a_sample_of_an_enormous_grid_is_drawn_at_once(repository: Repository) -> None:
    sampled = grid(repository, Block(("seed=range(1000000000)", "lr=1,2,3")), selection=Selection(sample=3))
    assert len(strings(sampled)) == 3


# -- strictness and verification -----------------------------------------------------------------------------------


def test_strict_refuses_what_only_the_app_can_resolve(repository: Repository) -> None:
    points = iter(grid(repository, Block(("model=svm,mlp",)), strict=True))
    assert next(points).overrides == ("model=svm",)
    with pytest.raises(ComposeError, match=r"(?s)^point model=mlp has leaves .*\n  model.out\n.*--resolvers MODULE$"):
        next(points)


def test_verification_passes_for_equal_points(repository: Repository) -> None:
    assert len(list(grid(repository, Block(("model=svm,mlp", "seed=range(5)")), verify=10))) == 10


def test_verification_finds_a_single_wrong_leaf(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    compose = Composer.compose

    def wrong(self: Composer, combination: object) -> object:
        config, *rest = compose(self, combination)  # type: ignore[arg-type]
        return ({**config, "name": f"{config['name']}!"} if config["seed"] == 3 else config), *rest

    monkeypatch.setattr(Composer, "compose", wrong)
    points: list[Point] = []
    with pytest.raises(
        ComposeError, match=r"^point seed=3 differs from what Hydra composes, in name \('svm-3!', Hydra"
    ):
        points.extend(grid(repository, Block(("seed=range(5)",)), verify=99))
    assert not any(point.config["seed"] == 3 for point in points)
