"""A Hydra app that trains a scikit-learn model on handwritten digits and reports how well it reads them. `make run`
sweeps it; by hand: `python -m launcher.examples.digits model=mlp seed=1`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import numpy as np
from omegaconf import DictConfig
from sklearn.base import ClassifierMixin
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import launcher

CONF = Path(__file__).resolve().parents[2] / "conf"


@dataclass(frozen=True, slots=True)
class Part:
    """Images, shape (n, 64), and which digit each shows, shape (n,)."""

    images: np.ndarray[Any, Any]
    digits: np.ndarray[Any, Any]


def split(data: DictConfig, seed: int) -> tuple[Part, Part, Part]:
    """Training, validation and test part, disjoint, with the digits equally frequent in each."""
    images, digits = load_digits(return_X_y=True)
    rest, test, rest_digits, test_digits = train_test_split(
        images, digits, test_size=data.test_fraction, stratify=digits, random_state=seed
    )
    share = data.validation_fraction / (1 - data.test_fraction)
    train, validation, train_digits, validation_digits = train_test_split(
        rest, rest_digits, test_size=share, stratify=rest_digits, random_state=seed
    )
    return Part(train, train_digits), Part(validation, validation_digits), Part(test, test_digits)


def build(model: DictConfig, optim: DictConfig, seed: int) -> ClassifierMixin:
    """The classifier that the config describes; features are scaled by what the training part shows."""
    match model.name:
        case "logreg":
            classifier = LogisticRegression(
                C=1 / model.regularization, max_iter=optim.max_iterations, tol=optim.tolerance, random_state=seed
            )
        case "svm":
            classifier = SVC(C=1 / model.regularization, kernel=model.kernel, gamma=model.gamma, random_state=seed)
        case "mlp":
            classifier = MLPClassifier(
                hidden_layer_sizes=tuple(model.hidden), activation=model.activation, alpha=model.regularization,
                learning_rate_init=optim.learning_rate, max_iter=optim.max_iterations, tol=optim.tolerance,
                random_state=seed,
            )  # fmt: skip
        case other:
            raise ValueError(f"model.name is {other!r}, expected logreg, svm or mlp")
    return make_pipeline(StandardScaler(), classifier)


@hydra.main(version_base=None, config_path=str(CONF), config_name="config")
def main(config: DictConfig) -> float:
    """Train, report, and return the accuracy on the validation part."""
    train, validation, test = split(config.data, config.seed)
    model = build(config.model, config.optim, config.seed)
    began = time.perf_counter()
    model.fit(train.images, train.digits)
    fit_seconds = time.perf_counter() - began
    accuracy = float(model.score(validation.images, validation.digits))
    test_accuracy = float(model.score(test.images, test.digits))
    launcher.report(accuracy=accuracy, test_accuracy=test_accuracy, fit_seconds=round(fit_seconds, 3))
    print(f"{config.name}: accuracy {accuracy:.4f} (validation), {test_accuracy:.4f} (test), {fit_seconds:.2f} s")  # noqa: T201
    return accuracy


if __name__ == "__main__":
    main()
