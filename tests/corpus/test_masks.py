import numpy as np
import pytest

from corpus.masks import pack_mask, unpack_mask
from settings.errors import BadArtifact


@pytest.mark.parametrize("shape", [(512, 512), (464, 400), (5, 7)])
def test_a_mask_comes_back(shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(0).random(shape) < 0.3
    assert (unpack_mask(pack_mask(mask), *shape) == mask).all()


def test_a_compact_mask_is_small() -> None:
    mask = np.zeros((512, 512), np.bool_)
    mask[200:260, 100:190] = True
    assert len(pack_mask(mask)) < 300


@pytest.mark.parametrize("content", [b"", b"no zlib", pack_mask(np.ones((4, 4), np.bool_))])
def test_what_is_no_mask_is_refused(content: bytes) -> None:
    with pytest.raises(BadArtifact, match="a mask "):
        unpack_mask(content, 512, 512)
