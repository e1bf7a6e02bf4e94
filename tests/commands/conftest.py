"""What the tests of `predict` and `submission` share, since it takes long to make."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ct.phantom import make
from tests.commands.untouched import untouched
from tests.ct.phantoms import NONE, phantom_parameters
from tests.vit.foreign import SLICES, make_artifacts


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Phantoms of two patients in one folder, and variants that were trained on them; no command may touch these."""
    root = tmp_path_factory.mktemp("trained")
    for name in ("phantom", "masks"):
        (root / name).mkdir()
    make(phantom_parameters(patients=2, slices=SLICES, oddities=NONE), root / "phantom", 1, root / "masks")
    make_artifacts(root / "phantom", root / "artifacts", ["series", "mean"])
    with untouched(root / "artifacts"):
        yield root
