"""Where things are by default: the nearest project table, and the order in which the store's URL is decided."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from launcher.errors import UsageError
from launcher.queues import open_store
from launcher.settings import Settings, data_folder, load_settings, store_url


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "pyproject.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_the_nearest_pyproject_upwards_that_has_the_table_counts(tmp_path: Path) -> None:
    write(tmp_path, "[tool.launcher]\nconfig_dir = 'far'\n")
    write(tmp_path / "a", "[tool.launcher]\nconfig_dir = 'near'\nconfig_name = 'main'\nstore = 'sqlite:///s.db'\n")
    write(tmp_path / "a/b", "[tool.other]\nx = 1\n")
    (tmp_path / "a/b/c").mkdir()
    assert load_settings(tmp_path / "a/b/c") == Settings(tmp_path / "a", "near", "main", store="sqlite:///s.db")
    assert load_settings(tmp_path) == Settings(tmp_path, "far")


def test_without_a_table_the_folder_itself_is_the_root(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert load_settings(tmp_path / "a") == Settings(tmp_path / "a")


def test_an_empty_table_ends_the_search(tmp_path: Path) -> None:
    write(tmp_path, "[tool.launcher]\nconfig_dir = 'far'\n")
    write(tmp_path / "a", "[tool.launcher]\n")
    assert load_settings(tmp_path / "a") == Settings(tmp_path / "a")


def test_the_current_folder_is_where_the_search_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "[tool.launcher]\nconfig_name = 'c'\n")
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    assert load_settings() == Settings(tmp_path, config_name="c")


def test_paths_may_begin_at_the_users_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write(tmp_path / "a", "[tool.launcher]\nstore = 'sqlite:///~/data/s.db'\nconfig_dir = '~/conf'\n")
    settings = load_settings(tmp_path / "a")
    assert settings.config_dir == f"{tmp_path}/home/conf"
    assert data_folder(store_url(None, settings)) == tmp_path / "home/data"
    with closing(open_store(store_url(None, settings))):
        assert (tmp_path / "home/data/s.db").is_file()


def test_all_wrong_keys_are_told_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, "[tool.launcher]\nconfig_dri = 'c'\nstore = 3\nconfig_name = ['x']\n")
    with pytest.raises(UsageError) as error:
        load_settings(tmp_path)
    assert str(error.value).splitlines() == [
        f"{file}: tool.launcher.config_dri is unknown; did you mean 'config_dir'? "
        "known: base_image, config_dir, config_name, resolvers, store",
        f"{file}: tool.launcher.store is 3, expected a string",
        f"{file}: tool.launcher.config_name is ['x'], expected a string",
    ]


@pytest.mark.parametrize("text", ["[tool.launcher\n", "a = \n", "\ud800"])
def test_a_file_that_is_not_toml_is_told_with_its_path(tmp_path: Path, text: str) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(UsageError, match="is not TOML: ") as error:
        load_settings(tmp_path)
    assert str(error.value).startswith(f"{file} is not TOML: ")


@pytest.mark.parametrize("text", ["tool = 3\n", "[tool]\nlauncher = 3\n"])
def test_a_table_that_is_none_is_told(tmp_path: Path, text: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(UsageError, match="is 3, expected a table") as error:
        load_settings(tmp_path)
    assert str(error.value).startswith(f"{file}: tool")


def test_the_store_is_the_explicit_one_else_the_environments_else_the_projects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(tmp_path, store="sqlite:////abs/project.db")
    monkeypatch.setenv("LAUNCHER_STORE", "sqlite:///environment.db")
    assert store_url("sqlite:///explicit.db", settings) == "sqlite:///explicit.db"
    assert store_url(None, settings) == store_url("", settings) == "sqlite:///environment.db"
    monkeypatch.delenv("LAUNCHER_STORE")
    assert store_url(None, settings) == "sqlite:////abs/project.db"


def test_a_relative_store_is_relative_to_the_project_and_other_kinds_stay(tmp_path: Path) -> None:
    assert (
        store_url(None, Settings(tmp_path, store="sqlite:///.launcher/s.db")) == f"sqlite:///{tmp_path}/.launcher/s.db"
    )
    assert store_url(None, Settings(tmp_path, store="postgresql://h/db")) == "postgresql://h/db"


def test_without_any_setting_the_store_is_in_the_users_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    assert store_url() == f"sqlite:///{tmp_path}/data/launcher/store.db"
    assert not (tmp_path / "data").exists()


def test_the_store_of_the_current_project_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "[tool.launcher]\nstore = 'sqlite:///s.db'\n")
    monkeypatch.chdir(tmp_path)
    assert store_url() == f"sqlite:///{tmp_path}/s.db"
