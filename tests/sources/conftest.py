"""A repository, and a place for checkouts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sources.repositories import repository


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return repository(tmp_path / "repo")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"
