import io

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from audit.parameters import Probe
from audit.probe import CONDITIONS, jpeg, probe, spoilt

PARAMETERS = Probe(train_photos=90, seeds=3, inverse_penalty=0.1, blur=3, noise_sd=13, jpeg_quality=75)


def clusters(n: int, apart: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = np.eye(3, 8) * apart
    return (centres[labels] + random.normal(size=(n, 8))).astype(np.float32), labels


def test_it_is_scikit_learns_on_scaled_features() -> None:
    """Weights of mean 1 but not equal: so near to the plain fit, on data where a fit is far from chance."""
    (x, y), (t, truth) = clusters(300, 2, 0), clusters(300, 2, 1)
    plain = make_pipeline(StandardScaler(), LogisticRegression(C=0.1)).fit(x, y).score(t, truth)
    hits = probe(x, y, {"clean": t}, truth, PARAMETERS, seed=0)["clean"]
    assert hits.shape == (3, 300) and 0.6 < plain < 0.95
    assert hits.mean() == pytest.approx(plain, abs=0.03)
    assert not np.array_equal(hits[0], hits[1])  # seeds weigh the train photos otherwise
    assert np.array_equal(hits, probe(x, y, {"clean": t}, truth, PARAMETERS, seed=0)["clean"])


def test_permuted_labels_leave_chance() -> None:
    (x, y), (t, truth) = clusters(300, 6, 0), clusters(300, 6, 1)
    assert probe(x, y, {"clean": t}, truth, PARAMETERS, 0)["clean"].mean() > 0.97
    assert abs(probe(x, y, {"clean": t}, truth, PARAMETERS, 0, permute=True)["clean"].mean() - 1 / 3) < 0.2


def test_a_constant_feature_does_no_harm() -> None:
    (x, y), (t, truth) = clusters(90, 6, 0), clusters(30, 6, 1)
    x[:, 7], t[:, 7] = 5, 900
    assert probe(x, y, {"clean": t}, truth, PARAMETERS, 0)["clean"].mean() > 0.9


def test_tests_are_spoilt_each_in_its_way() -> None:
    images = np.random.default_rng(0).integers(60, 190, (2, 48, 48, 3), dtype=np.uint8)
    found = spoilt(images, PARAMETERS, 0)
    assert list(found) == list(CONDITIONS) and found["clean"] is images
    assert found["blur"].std() < images.std() / 3
    assert abs((found["noise"].astype(float) - images).std() - 13) < 1
    file = io.BytesIO()
    Image.fromarray(images[1]).save(file, "JPEG", quality=75)
    assert np.array_equal(jpeg(images, 75)[1], np.asarray(Image.open(file)))
