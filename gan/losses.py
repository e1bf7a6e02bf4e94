"""Objectives of the translator. Equations are those of Zhu et al., CycleGAN (arXiv 1703.10593)."""

import torch
from torch import Tensor
from torch.nn import functional


def adversarial(answers: Tensor) -> Tensor:
    """What a generator minimises of eq. 1 in its least-squares form: E[(D(G(x)) - 1)²] (section 4).

    Mao et al., LSGAN (arXiv 1611.04076), eq. 9 with b = c = 1, a = 0.
    """
    return (answers - 1).square().mean()


def discrimination(real: Tensor, fake: Tensor) -> Tensor:
    """What a discriminator minimises: ½ (E[(D(y) - 1)²] + E[D(G(x))²]).

    Section 4, with the half that slows D down relative to G (section 7.1).
    """
    return 0.5 * ((real - 1).square().mean() + fake.square().mean())


def distance(images: Tensor, originals: Tensor) -> Tensor:
    """Mean absolute difference: the norm of the cycle loss (eq. 2) and of the identity loss (section 5.2)."""
    return (images - originals).abs().mean()


def consistency(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of a classifier's answers (n×classes) on translations with their photos' classes (n, int64).

    Semantic consistency: Hoffman et al., CyCADA (arXiv 1711.03213), eq. 4, with the photo's label in place of the
    classifier's own answer, since photos have labels here.
    """
    return functional.cross_entropy(logits.float(), labels)


def return_trip(fakes: Tensor, noise_sd: float, round_fakes: bool) -> Tensor:
    """A translation (-1…1) as its way back may read it: noise of `noise_sd` 8-bit levels, clipped, rounded to 8 bits.

    Without this the generators hide the photo in contrast that nobody can see and 8 bits do not keep (Chu et al.,
    CycleGAN, a master of steganography, arXiv 1712.02950). Gradients pass clipping and rounding unchanged
    (straight-through: Bengio et al., arXiv 1308.3432).
    """
    noisy = fakes + torch.randn_like(fakes) * (noise_sd * 2 / 255) if noise_sd else fakes
    if not round_fakes:
        return noisy
    stored = ((noisy.detach().clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1
    return noisy + (stored - noisy.detach())
