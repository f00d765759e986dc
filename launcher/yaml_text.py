"""YAML that people write in files and options, read as OmegaConf reads configs, and YAML of ours that it reads back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from launcher.errors import UsageError

NUMERIC = re.compile(r"[-+]?[0-9_.]*(inf|nan|[0-9_.]([eE][-+]?[0-9_]+)?)", re.IGNORECASE)


def read_yaml(text: str, what: str) -> Any:
    """The value that a text stands for. `1e-3` is a number and `2024-01-01` a text, as in a config, and a key that is
    there twice is an error. Raises UsageError, which names `what` was read.

    >>> read_yaml("lr: [1e-3, 0.01]", "sweep file a.yaml")
    {'lr': [0.001, 0.01]}
    """
    import yaml
    from omegaconf._utils import get_yaml_loader

    try:
        value = yaml.load(text, Loader=get_yaml_loader())  # noqa: S506 - a SafeLoader
        json.dumps(value, default=str, skipkeys=True)  # ValueError for what an alias makes contain itself
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UsageError(f"{what} is not YAML: {error}") from error
    return value


def yaml_text(value: Mapping[str, Any]) -> str:
    """`value` as YAML in the order of its keys, for OmegaConf's reader too, which takes more texts for numbers.

    libyaml's writer is used where it is built in, for it is ten times faster.
    """
    import yaml

    return str(yaml.dump(dict(value), Dumper=_dumper(), sort_keys=False, allow_unicode=True))


@cache
def _dumper() -> Any:
    import yaml

    base = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    class Dumper(base):  # type: ignore[misc, valid-type]  # the base is chosen above
        pass

    def text(dumper: Any, value: str) -> Any:
        style = "'" if NUMERIC.fullmatch(value) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return Dumper
