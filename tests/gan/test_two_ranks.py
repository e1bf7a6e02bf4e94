import hashlib
from pathlib import Path

import torch

from corpus.images import Images
from gan.generate import generate
from tests.gan.made import GENERATE, machine, make_corpora
from tests.training.ranks import run_two_ranks

RANKS = """
import sys
from pathlib import Path
import torch
from gan.generate import generate
from gan.train import make_translator, train_translator
from tests.gan.made import GENERATE, make_run, make_sources, machine, parameters
from gan import train as room
root = Path(sys.argv[1])
accelerator, decisions = machine()
chosen = parameters()
rows, original = [], room.Feed.read
def read(self, images_seen):
    rows.extend(self.photo_order.rows(images_seen).tolist())
    return original(self, images_seen)
room.Feed.read = read
tasks, make = [], room.make_translator
def kept(*arguments):
    tasks.append(make(*arguments))
    return tasks[0]
room.make_translator = kept
work, out, translated = (root / name for name in ("work", "out", "translated"))
if accelerator.is_main_process:
    for folder in (work, out, translated):
        folder.mkdir()
accelerator.wait_for_everyone()
train_translator(make_sources(root, chosen), chosen, make_run(work, chosen), out, accelerator, decisions)
generate(out, root / "artifacts/photos", GENERATE, work, translated, accelerator, decisions)
torch.save({"state": tasks[0].state(), "rows": rows}, root / f"end-{accelerator.process_index}.pt")
accelerator.end_training()
"""


def flat(value: object) -> list[torch.Tensor]:
    if isinstance(value, dict):
        return [t for key in value for t in flat(value[key])]
    if isinstance(value, list):
        return [t for part in value for t in flat(part)]
    return [value] if isinstance(value, torch.Tensor) else []


def test_two_ranks_agree_see_every_image_once_and_one_writes(tmp_path: Path) -> None:
    make_corpora(tmp_path)
    run_two_ranks(RANKS, tmp_path)
    ends = [torch.load(tmp_path / f"end-{rank}.pt", weights_only=True) for rank in range(2)]
    states = [flat(end["state"]) for end in ends]
    assert len(states[0]) > 100 and all(torch.equal(a, b) for a, b in zip(*states, strict=True))
    # 24 images over two ranks: two passes over the 10 train photos and four more, no row twice in a pass.
    seen = [row for pair in zip(ends[0]["rows"], ends[1]["rows"], strict=True) for row in pair]
    assert len(seen) == 24 and sorted(seen[:10]) == sorted(seen[10:20]) == list(range(10))
    state = tmp_path / "work/state-000000000024"
    assert sorted(p.name for p in state.iterdir()) == ["decisions.json", "rank-0.pt", "rank-1.pt", "shared.pt"]
    pools = [torch.load(state / f"rank-{rank}.pt", weights_only=True)["ct"]["images"] for rank in range(2)]
    assert not torch.equal(*pools), "each rank keeps its own pool"
    assert len(list((tmp_path / "out").glob("samples-*.png"))) == 3
    # One process writes the same corpus, byte for byte.
    for name in ("alone", "shards"):
        (tmp_path / name).mkdir()
    generate(
        tmp_path / "out", tmp_path / "artifacts/photos", GENERATE, tmp_path / "shards", tmp_path / "alone", *machine()
    )
    hashes = [
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / name).iterdir()}
        for name in ("translated", "alone")
    ]
    assert hashes[0] == hashes[1] and len(Images(tmp_path / "alone", "hu")) == 14
