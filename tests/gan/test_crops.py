import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from gan import crops
from gan.crops import Views
from gan.losses import adversarial
from gan.networks import Discriminator, Generator
from tests.gan.made import disc, images


def one_view(zoom: float = 1, angle: float = 0, centre: tuple[float, float] = (0, 0), mirror: float = 1) -> Views:
    return Views(torch.tensor([zoom]), torch.tensor([angle]), torch.tensor([centre]), torch.tensor([mirror]))


def heads(count: int, side: int = 96) -> Tensor:
    """Discs of tissue (0.4) in air (-1), off the middle."""
    head = torch.from_numpy(disc(side, 0.6, (0.2, -0.1)))
    return torch.where(head, 0.4, -1.0)[None, None].repeat(count, 1, 1, 1)


def test_luminance_is_rec_601() -> None:
    photos = torch.tensor([[[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]]], dtype=torch.uint8)
    found = (crops.luminance(photos) + 1) / 2
    assert found.flatten().tolist() == pytest.approx([0.299, 0.587, 0.114, 1.0], abs=1e-6)
    assert found.shape == (1, 1, 2, 2)


def test_the_whole_view_is_the_image() -> None:
    x = images(1, 16)
    assert torch.allclose(crops.cut(x, one_view(), 16, 1), x, atol=1e-5)
    assert torch.allclose(crops.cut(x, one_view(mirror=-1), 16, 1), x.flip(3), atol=1e-5)
    turned = crops.cut(x, one_view(angle=math.pi / 2), 16, 1)
    assert torch.allclose(turned, torch.rot90(x, 1, (2, 3)), atol=1e-4)


def test_zoom_and_centre_cut_a_quarter() -> None:
    x = images(1, 16)
    assert torch.allclose(crops.cut(x, one_view(2, centre=(0.5, -0.5)), 8, 1), x[..., :8, 8:], atol=1e-5)


def test_shrinking_averages() -> None:
    x = images(1, 32)
    samples = crops.oversampling(32, 16, 1.0)
    assert samples == 2
    assert torch.allclose(crops.cut(x, one_view(), 16, samples), functional.avg_pool2d(x, 2), atol=1e-5)


def test_crops_are_inside_the_head() -> None:
    torch.manual_seed(0)
    x = heads(64)
    views, share = crops.tissue_views(x, 0.6, (1, 3), 180, True)
    assert (share >= 0.6).all()
    cut = crops.cut(x, views, 32, 1)
    true = (cut > -0.3).float().mean((1, 2, 3))
    assert (true > 0.5).all() and float((true >= 0.58).float().mean()) > 0.9
    assert views.zoom.min() >= 1 and views.zoom.max() <= 3 and views.zoom.std() > 0.2
    assert set(views.mirror.tolist()) == {-1.0, 1.0} and views.angle.abs().max() > 2


def test_without_tissue_the_best_there_is_is_taken() -> None:
    torch.manual_seed(0)
    speck = torch.full((4, 1, 96, 96), -1.0)
    speck[..., 44:52, 44:52] = 0.5
    views, share = crops.tissue_views(speck, 0.6, (1, 2), 0, False)
    assert (share < 0.6).all() and (share > 0).all()
    assert set(views.mirror.tolist()) == {1.0}


def test_views_are_a_function_of_the_seed() -> None:
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(crops.random_views(5, (1, 3), 30, True, torch.device("cpu")))
    assert torch.equal(drawn[0].zoom, drawn[1].zoom) and not torch.equal(drawn[0].zoom, drawn[2].zoom)
    assert (drawn[0].angle.abs() <= math.radians(30)).all()
    assert (drawn[0].centre.abs() <= (1 - 1 / drawn[0].zoom)[:, None]).all()


def test_a_blank_image_has_gradients_of_ordinary_size_once_it_is_dithered() -> None:
    torch.manual_seed(0)
    generator, judge = Generator(8, 6), Discriminator(8, 16)
    blank = torch.full((1, 1, 64, 64), -1.0)
    noisy = crops.dithered(blank)
    assert 0 < float((noisy - blank).abs().max()) <= 1 / 255
    largest = []
    for image in (blank, noisy):
        generator.zero_grad()
        adversarial(judge(generator(image))).backward()  # type: ignore[no-untyped-call]
        largest.append(
            max(float(weight.grad.abs().max()) for weight in generator.parameters() if weight.grad is not None)
        )
    assert largest[0] > 1e9 and largest[1] < 100
