import pytest
import torch

from gan.watch import diversity, figures
from tests.gan.made import images


def test_diversity_by_hand() -> None:
    assert float(diversity(torch.stack([torch.full((1, 32, 32), v) for v in (0.0, 0.5, 1.0)]))) == pytest.approx(4 / 6)
    assert float(diversity(images(1, 32).repeat(4, 1, 1, 1))) == pytest.approx(0)


def test_figures_tell_collapse_identity_and_saturation() -> None:
    photos, cts = images(6, 32, 1), images(6, 32, 2)
    found = figures(photos, photos, photos, cts, (-150, 230))
    assert found["change"] == found["cycle"] == 0 and found["diversity"] == pytest.approx(1, rel=0.2)
    blob = torch.full_like(photos, 1.0)
    found = figures(photos, blob, photos, cts, (-150, 230))
    assert found["diversity"] == 0 and found["saturated"] == 1 and found["hu_mean"] == pytest.approx(230)
