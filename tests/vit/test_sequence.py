from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from settings.errors import BadParameter
from tests.backbones import made
from tests.vit.heads import CONTEXT, VIT, maps, shape, task
from vit.head import Head, build_head, predict_logits
from vit.inputs import Inputs
from vit.sequence import SequenceHead, Slots, arrange, chunks, cut, series_rows


def head(encoder: str = "linear") -> SequenceHead:
    """With weights as large as training may make them, so that neighbours and distances count."""
    torch.manual_seed(0)
    source = {"cnn": "a", "channels": 5, "grid": [2, 2]}
    built = build_head([source], shape(encoder=encoder, context=CONTEXT), VIT, 6).eval()
    assert isinstance(built, SequenceHead)
    for weight in (w for name, w in built.named_parameters() if w.ndim == 2 and not name.startswith("slices")):
        torch.nn.init.normal_(weight, std=0.5)
    return built


def answer(network: SequenceHead, slices: Tensor, position: list[list[float]], present: list[list[bool]]) -> Tensor:
    """Logits of the slices, which fill the present places in order."""
    there = torch.tensor(present)
    slots = Slots(torch.nonzero(there.flatten())[:, 0], torch.tensor(position), there)
    with torch.no_grad():
        found: Tensor = network(slices, *slots)
    return found


SLICES = torch.randn(3, 5, 2, 2, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("encoder", ["linear", "vit"])
def test_padding_and_where_it_lies_change_nothing(encoder: str) -> None:
    network = head(encoder)
    plain = answer(network, SLICES, [[0, 5, 10]], [[True] * 3])
    assert plain.shape == (3, 6)
    cases: tuple[tuple[list[list[float]], list[list[bool]]], ...] = (
        ([[0, 5, 10, 0, 0]], [[True, True, True, False, False]]),
        ([[99, 0, -7, 5, 10]], [[False, True, False, True, True]]),  # whatever stands at a padded place
    )
    for position, present in cases:
        torch.testing.assert_close(answer(network, SLICES, position, present), plain)


def test_series_of_a_batch_do_not_see_each_other() -> None:
    network = head()
    together = answer(network, SLICES, [[0, 5], [0, 0]], [[True, True], [True, False]])
    torch.testing.assert_close(together[:2], answer(network, SLICES[:2], [[0, 5]], [[True, True]]))
    torch.testing.assert_close(together[2:], answer(network, SLICES[2:], [[0]], [[True]]))


def test_a_missing_slice_leaves_its_gap_and_nothing_else() -> None:
    """Masked in its place or not there at all is the same; the others moved together is not."""
    network = head()
    ends = SLICES[[0, 2]]
    masked = answer(network, ends, [[0, 5, 10]], [[True, False, True]])
    torch.testing.assert_close(masked, answer(network, ends, [[0, 10]], [[True, True]]))
    assert not torch.allclose(masked, answer(network, ends, [[0, 5]], [[True, True]]), atol=1e-3)


def test_order_and_neighbours_matter_and_the_place_of_the_whole_does_not() -> None:
    network = head()
    plain = answer(network, SLICES, [[0, 5, 10]], [[True] * 3])
    torch.testing.assert_close(answer(network, SLICES, [[-80, -75, -70]], [[True] * 3]), plain)
    assert not torch.allclose(answer(network, SLICES, [[10, 5, 0]], [[True] * 3]), plain, atol=1e-3)
    swapped = answer(network, SLICES[[0, 2, 1]], [[0, 10, 5]], [[True] * 3])  # rows in another order, same places
    torch.testing.assert_close(swapped, plain[[0, 2, 1]])
    other = SLICES.clone()
    other[2] += 1
    assert not torch.allclose(answer(network, other, [[0, 5, 10]], [[True] * 3])[0], plain[0], atol=1e-4)


def test_attention_is_that_of_a_formula_by_hand() -> None:
    """One block's attention weights: softmax(q·k/√d + bias of the rounded distance), absent slices at zero."""
    network = head()
    position, present = torch.tensor([[0.0, 6.0, 31.0, 3.0]]), torch.tensor([[True, True, True, False]])
    mask = network._mask(position, present)
    assert mask.shape == (1, CONTEXT.heads, 4, 4)
    weight = network.distance.weight  # rows: -2 … 2 steps of 5 mm
    for asked, seen, steps in ((0, 1, 1), (1, 0, -1), (0, 2, 2), (2, 1, -2), (1, 1, 0)):  # 31 mm: beyond the reach of 2
        torch.testing.assert_close(mask[0, :, asked, seen], weight[steps + 2])
    assert bool(torch.isinf(mask[..., 3]).all())


def test_rows_of_series_are_ordered_cut_and_laid_out() -> None:
    series, position = ["b", "a", "b", "a", "a", "b"], np.array([5, 2, 1, 2, 0, 3], np.float32)
    rows = series_rows(series, position)
    assert [one.tolist() for one in rows] == [[4, 1, 3], [2, 5, 0]]
    assert [len(part) for part in cut([np.arange(10), np.arange(3)], 4)] == [4, 3, 3, 3]
    at, slots = arrange([rows[0], rows[1][:2]], position)
    assert at.tolist() == [4, 1, 3, 2, 5]
    assert slots.place.tolist() == [0, 1, 2, 3, 4] and slots.present.tolist() == [[True] * 3, [True, True, False]]
    assert slots.position[0].tolist() == [0, 2, 2] and slots.position[1, :2].tolist() == [1, 3]
    some = [np.arange(n) for n in (3, 2, 9, 1)]
    assert [[len(one) for one in chunk] for chunk in chunks(some, 5)] == [[3, 2], [9], [1]]


def test_predictions_see_the_whole_series_whichever_rows_are_asked_for(tmp_path: Path) -> None:
    accelerator, decisions = made.machine()
    inputs = Inputs([maps(tmp_path / "a")])
    network = head()
    everything = predict_logits(network, inputs, np.arange(36), 4, accelerator, decisions)
    some = predict_logits(network, inputs, np.array([35, 4, 4]), 100, accelerator, decisions)
    np.testing.assert_allclose(some, everything[[35, 4, 4]], atol=1e-5)
    x = inputs.on_device(inputs.read(np.arange(3, 6)), accelerator.device, decisions)
    expected = answer(network, x[0], [[0, 5, 10]], [[True] * 3])  # patient p0001's series, as `made` lays it out
    np.testing.assert_allclose(everything[3:6], expected.numpy(), atol=1e-5)


def test_whole_series_are_trained_on_and_only_those_of_the_head_half(tmp_path: Path) -> None:
    """Slices without a label are context: read, but no part of the loss."""
    trained, _ = task(tmp_path / "data", tmp_path / "work", made.machine(), context=CONTEXT)
    assert sorted(row for part in trained.series for row in part.tolist()) == list(range(12, 24))  # type: ignore[attr-defined]
    assert {len(part) for part in trained.series} == {1, 2}  # type: ignore[attr-defined] # 3 slices in parts of at most 2
    trained.labels[13] = np.nan  # type: ignore[attr-defined]
    maps_, slots, labels = trained.read(0)
    assert len(maps_[0]) == len(labels) == int(slots[2].sum()) and slots[2].shape[0] == 2
    loss = trained.loss((maps_, slots, labels))
    labels[0] = torch.nan
    assert bool(torch.isfinite(loss)) and not torch.equal(trained.loss((maps_, slots, labels)), loss)


def test_the_slices_of_a_series_are_seen_in_one_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained, _ = task(tmp_path / "data", tmp_path / "work", made.machine(), context=CONTEXT)
    drawn: list[list[int]] = []
    see = trained.inputs.on_device

    def watched(*given: Any) -> list[Tensor]:
        drawn.append(given[4].tolist())
        return see(*given)

    monkeypatch.setattr(trained.inputs, "on_device", watched)
    for images in range(0, 24, 4):
        batch = trained.read(images)
        trained.loss(batch)
        lengths = batch[1][2].sum(1).tolist()
        assert drawn[-1] == [number for number, length in enumerate(lengths) for _ in range(length)]
    assert any(len(one) < 4 for one in drawn), "also with a padded place"


def test_a_batch_that_holds_no_series_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadParameter, match=r"context\.length: 0 series of 9 slices fit into a batch of 4"):
        long = CONTEXT.model_copy(update={"length": 9})
        task(tmp_path / "data", tmp_path / "work", made.machine(), context=long)


def test_the_slice_head_gives_up_its_classifier() -> None:
    network = head("vit")
    assert isinstance(network.slices, Head) and isinstance(network.slices.classify, torch.nn.Identity)
    assert set(network.undecayed) == {"distance.weight", "slices.encoder.position", "slices.encoder.token"}
    assert set(network.undecayed) <= dict(network.named_parameters()).keys()
    network.train()
    network(SLICES, torch.arange(3), torch.tensor([[0.0, 5, 10]]), torch.ones(1, 3, dtype=torch.bool)).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_it_runs_in_bf16() -> None:
    network = head()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = answer(network, SLICES, [[0, 5, 10, 0]], [[True, True, True, False]])
    torch.testing.assert_close(found.float(), answer(network, SLICES, [[0, 5, 10]], [[True] * 3]), atol=0.1, rtol=0.1)
