from pathlib import Path

import numpy as np
from PIL import Image

from corpus.images import Images
from evaluation.cases import Case
from evaluation.falls import Falls
from evaluation.plots_overlays import AGAINST, FOR, TILE, outlined, overlays, shaded
from tests.evaluation.made import HU_SIDE, LABELS, make_split

GREY = np.full((TILE, TILE, 3), 0.5)


def test_places_are_shaded_by_their_sign_and_the_deepest_is_framed() -> None:
    fall = np.zeros((3, 2), np.float32)
    fall[0, 1], fall[2, 0] = 2.0, -1.0
    found = shaded(GREY, fall)
    cell = TILE // 3, TILE // 2
    inside, opposite, none = found[cell[0] // 2, -cell[1] // 2], found[-cell[0] // 2, cell[1] // 2], found[TILE // 2, 5]
    assert inside[0] > inside[2] and opposite[2] > opposite[0], "orange for, blue against"
    assert (none == 0.5).all()
    assert np.abs(inside - 0.5).sum() > np.abs(opposite - 0.5).sum(), "by its share of the deepest"
    frame = [int(FOR[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    assert np.allclose(found[0, cell[1] :], frame) and np.allclose(found[: cell[0], -1], frame)
    assert FOR != AGAINST


def test_a_mask_is_outlined_from_outside() -> None:
    mask = np.zeros((2 * TILE, 2 * TILE), bool)
    mask[40:80, 60:120] = True
    changed = (outlined(GREY, mask) != GREY).any(axis=2)
    assert not changed[20:40, 30:60].any() and changed[19, 30:60].all() and changed[20:40, 60].all()


def test_the_picture(tmp_path: Path) -> None:
    make_split(tmp_path)
    images = Images(tmp_path / f"artifacts/ct/hu-{HU_SIDE}", "hu")
    ids = images.column("id")[:2]
    cases = [Case("any", "positive, highest answer", ids[0]), Case("subdural", "negative, highest answer", ids[1])]
    falls = Falls(ids, np.random.default_rng(0).normal(size=(2, len(LABELS), 3, 3)).astype(np.float32))
    answers = {("any", ids[0]): 0.9, ("subdural", ids[1]): 0.2}
    overlays(tmp_path / "a.png", cases, falls, answers, {}, images, LABELS, 60)
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 2 * image.height, "two labels, four cases of two pictures"
