"""What a user asks for by a name that is none for them: the answer is the same whatever other teams have."""

from __future__ import annotations

import html
from collections import Counter

import pytest

from launcher.item import ItemFilter, Sweep
from tests.web.conftest import Site, spec

PATHS = ("/items/{}", "/live/items/{}", "/logs/{}", "/download/{}", "/do/cancel/items/{}")


@pytest.fixture
def secret(site: Site, keys: dict[str, str]) -> list[str]:
    """The IDs of another team's items; whoever looks is viewer of a team without any."""
    site.store.push(Sweep("secret"), [spec(number, queue="gpu") for number in range(60)])
    site.login(keys["eve"])
    return [item.id for item in site.store.items(ItemFilter())]


@pytest.mark.parametrize("path", PATHS)
def test_no_beginning_of_an_id_tells_of_another_teams(path: str, site: Site, secret: list[str]) -> None:
    [(shared, _)] = Counter(item_id[0] for item_id in secret).most_common(1)
    for name in (shared, secret[0][:-1], secret[0], "zzzzzz", "\N{SNOWMAN}"):
        response = site.get(path.format(name))
        told = html.unescape(response.text)
        assert response.status_code == 404, name
        assert f"{name!r} is no item's ID" in told
        assert site.store.url not in told
        assert [item_id for item_id in secret if item_id in told and item_id != name] == []


def test_the_beginning_of_an_own_id_is_enough(site: Site, keys: dict[str, str]) -> None:
    site.store.push(Sweep("open"), [spec(0)])
    [item] = site.store.items(ItemFilter())
    site.login(keys["eve"])
    assert item.id in site.page(f"/items/{item.id[:-1]}")
