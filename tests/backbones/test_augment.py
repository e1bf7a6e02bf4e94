import torch
from torch.nn import functional

from backbones.augment import random_views, to_input


def test_input_is_timms_normalisation() -> None:
    images = torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8).expand(1, 4, 4, 3)
    expected = (torch.tensor([0, 128, 255]) / 255 - 0.5) / 0.5
    torch.testing.assert_close(to_input(images, 4)[0, :, 0, 0], expected)


def test_resizing_is_antialiased() -> None:
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    x = images.permute(0, 3, 1, 2) / 127.5 - 1
    expected = functional.interpolate(x, (8, 8), mode="bilinear", antialias=True, align_corners=False)
    torch.testing.assert_close(to_input(images, 8), expected)


def test_without_freedom_a_view_is_the_image_or_its_mirror() -> None:
    torch.manual_seed(0)
    images = torch.randint(0, 256, (16, 12, 12, 3), dtype=torch.uint8)
    plain, views = to_input(images, 12), random_views(images, 12, flip=True)
    same = [torch.allclose(view, image, atol=1e-5) for view, image in zip(views, plain, strict=True)]
    mirrored = [torch.allclose(view, image.flip(-1), atol=1e-5) for view, image in zip(views, plain, strict=True)]
    assert all(a or b for a, b in zip(same, mirrored, strict=True)) and any(same) and any(mirrored)


def test_each_image_has_its_own_view_and_crops_stay_inside() -> None:
    torch.manual_seed(0)
    ramp = torch.arange(64, dtype=torch.uint8).view(1, 1, 64, 1).expand(8, 64, 64, 3)
    views = random_views(ramp, 16, area=(0.25, 0.25))
    assert views.shape == (8, 3, 16, 16)
    spread = (views.amax((1, 2, 3)) - views.amin((1, 2, 3))) * 127.5
    assert torch.all(spread > 25) and torch.all(spread < 33)  # half of the ramp's 64 levels
    assert len({round(float(v), 3) for v in views.mean((1, 2, 3))}) > 4


def test_images_of_one_number_are_seen_alike() -> None:
    images, of = torch.randint(0, 256, (5, 12, 12, 3), dtype=torch.uint8), torch.tensor([0, 0, 1, 1, 2])
    images[1], images[3:] = images[0], images[2]
    torch.manual_seed(0)
    views = random_views(images, 12, rotate=30, shift=0.1, flip=True, of=of)
    assert torch.equal(views[0], views[1]) and torch.equal(views[2], views[3]) and not torch.equal(views[3], views[4])
    torch.manual_seed(0)
    torch.testing.assert_close(random_views(images[[0, 2, 4]], 12, rotate=30, shift=0.1, flip=True), views[[0, 2, 4]])
