from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
import torch

from benchmarks import realism_probe as probes


@pytest.fixture(autouse=True)
def short_and_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Threads slow pictures of this size down."""
    monkeypatch.setattr(probes, "EPOCHS", 20)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pictures(count: int, wavelength: float, seed: int) -> npt.NDArray[np.uint8]:
    """Grey noise; waves in the upper left quarter where `wavelength` is given."""
    rng = np.random.default_rng(seed)
    found = rng.normal(120, 20, (count, 32, 32))
    if wavelength:
        found[:, :16, :16] += 60 * np.sin(2 * np.pi * np.arange(16) / wavelength)
    return found.clip(0, 255).astype(np.uint8)


def test_folds_keep_patients_together() -> None:
    patients = [f"p{i % 11}" for i in range(70)]
    fold = probes.folds(patients, 0)
    by_patient = {name: {int(f) for f, other in zip(fold, patients, strict=True) if other == name} for name in patients}
    assert all(len(own) == 1 for own in by_patient.values())
    assert sorted(np.bincount([own.pop() for own in by_patient.values()])) == [5, 6]


def test_the_cnn_finds_a_tell_and_shows_where_it_is() -> None:
    shown = np.concatenate([pictures(64, 6, 0), pictures(64, 0, 1)])
    drawn = np.arange(128) < 64
    found = probes.probe(shown, drawn, [f"p{i // 4}" for i in range(128)], 0)
    assert found.auc > 0.95
    height, width = found.maps.shape[1:]
    evidence = found.maps[drawn].mean(axis=0) - found.maps[~drawn].mean(axis=0)
    assert evidence[: height // 2, : width // 2].mean() > evidence[height // 2 :, width // 2 :].mean()
    assert found.answers == pytest.approx(found.maps.mean(axis=(1, 2)))


def test_the_cnn_finds_nothing_where_nothing_is() -> None:
    shown = np.concatenate([pictures(48, 0, 2), pictures(48, 0, 3)])
    found = probes.probe(shown, np.arange(96) < 48, [f"p{i // 2}" for i in range(96)], 0)
    assert 0.3 < found.auc < 0.7


def test_the_linear_probe_reads_figures_and_stands_gaps() -> None:
    rng = np.random.default_rng(4)
    drawn = np.arange(120) < 60
    patients = [f"p{i // 3}" for i in range(120)]
    figures = rng.standard_normal((120, 3))
    assert 0.25 < probes.linear(figures, drawn, patients, 0) < 0.75
    figures[:, 1] += 3 * drawn
    figures[::7, 2] = np.nan
    assert probes.linear(figures, drawn, patients, 0) > 0.9


def test_overlays_are_blue_for_phantom_and_red_for_real() -> None:
    picture = np.full((64, 64), 100, np.uint8)
    places = np.zeros((8, 8))
    places[:, :3], places[:, 5:] = 2, -2
    shown = probes.overlay(picture, places, 2).astype(int)
    assert (shown[:, :16, 2] > shown[:, :16, 0]).all() and (shown[:, 48:, 0] > shown[:, 48:, 2]).all()
    assert shown[:, 31:33] == pytest.approx(100, abs=40)
