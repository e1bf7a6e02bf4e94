import numpy as np
import pytest
import torch

from corpus.windows import Window, apply_window, beyond_range, dequantise, hu_range, parse_windows, quantise, to_windows
from settings.errors import BadParameter

BURDUJA = {"brain": [40, 80], "subdural": [80, 200], "soft-tissue": [40, 380]}


def test_window_values_by_hand() -> None:
    brain = Window(40, 80)  # 0…80 HU
    assert apply_window(np.array([-1000.0, 0, 20, 40, 80, 3000]), brain).tolist() == [0, 0, 0.25, 0.5, 1, 1]


def test_array_and_tensor_agree_and_the_tensor_has_a_gradient() -> None:
    hu = torch.linspace(-200, 300, 101, requires_grad=True)
    out = apply_window(hu, Window(80, 200))
    np.testing.assert_allclose(out.detach().numpy(), apply_window(hu.detach().numpy(), Window(80, 200)), rtol=1e-6)
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert hu.grad is not None and hu.grad[50] == pytest.approx(1 / 200)


def test_the_one_channel_form_spans_the_union_or_what_fits_about_the_narrowest() -> None:
    assert hu_range(parse_windows(BURDUJA)) == (-150, 230) and not beyond_range(parse_windows(BURDUJA))
    bone = parse_windows({"subdural": [80, 200], "brain": [40, 80], "bone": [600, 2800]})
    assert hu_range(bone) == (40 - 255, 40 + 255)
    assert beyond_range(bone).startswith("one channel holds -215 to 295 HU of the windows' -800 to 2000;")
    assert hu_range(parse_windows({"brain": [40, 80], "a": [80, 160], "high": [800, 400]})) == (0, 295)


def test_quantisation_is_within_half_a_level() -> None:
    hu = np.linspace(-150, 230, 1000)
    back = dequantise(quantise(hu, -150, 230).astype(np.float64), -150, 230)
    assert np.abs(back - hu).max() <= 380 / 255 / 2 + 1e-3
    assert quantise(np.array([-3024.0, 3000.0]), -150, 230).tolist() == [0, 255]


def test_windows_of_the_one_channel_form_equal_the_direct_ones_within_its_step() -> None:
    windows = parse_windows(BURDUJA)
    hu = np.random.default_rng(0).uniform(-200, 300, (2, 5, 5, 1))
    via = to_windows(quantise(hu, -150, 230), windows, -150, 230).astype(float)
    for channel, window in enumerate(windows):
        direct = apply_window(hu[..., 0], window) * 255
        assert np.abs(via[..., channel] - direct).max() <= (380 / 255 / 2) * 255 / window.width + 1


@pytest.mark.parametrize(
    "section",
    [
        {"a": [1, 2]},
        {"a": [1], "b": [1, 2], "c": [1, 2]},
        {"a": [0, 0], "b": [1, 2], "c": [1, 2]},
        {"a": [0, float("inf")], "b": [1, 2], "c": [1, 2]},
    ],
)
def test_unusable_windows_are_refused(section: dict[str, list[float]]) -> None:
    with pytest.raises(BadParameter, match="windows"):
        parse_windows(section)
