"""What one CT slice looks like, in figures: densities, noise, texture, skull, edges, symmetry.

Every function takes Hounsfield units (rows × columns) and square pixels' side in mm. A figure that a slice does not
have (no closed skull, no cerebrospinal fluid in it) is NaN, never 0. None of them knows how phantoms are drawn.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from evaluation.floors import inside_skull

Array = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]

BONE = 300.0  # HU
DENSE = (50.0, 90.0)  # HU of fresh blood, as the floor has it
LEAST_BRAIN = 40.0  # cm² within the skull; less is base or vertex, where figures of brain mean nothing
BANDS = ((0.02, 0.05), (0.05, 0.1), (0.1, 0.2), (0.2, 0.4), (0.4, 1.0))  # cycles per mm
SPECTRUM = np.linspace(0.01, 1.05, 53)  # edges of its rings, cycles per mm
HISTOGRAM = np.arange(-20, 91)  # HU; edges
PATCH = 20  # pixels; 9 mm
LEAST_PATCHES = 8


def head_mask(hu: Array) -> Mask:
    """Where the head is: the largest connected part above -300 HU, holes filled (a head rest is another part)."""
    regions, count = ndimage.label(ndimage.binary_opening(hu > -300, iterations=2))
    if not count:
        return np.zeros(hu.shape, np.bool_)
    sizes = np.bincount(regions.ravel())
    sizes[0] = 0
    return np.asarray(ndimage.binary_fill_holes(regions == sizes.argmax()), np.bool_)


def brain_mask(hu: Array, spacing: float) -> Mask:
    """Inside the skull (bone from 300 HU), 2 mm off it, 0 … 90 HU after a 3×3 median."""
    inside = inside_skull(hu.astype(np.float64), BONE, max(1, round(2 / spacing)))
    smooth = ndimage.median_filter(hu, 3)
    return np.asarray(inside & (smooth >= 0) & (smooth <= 90), np.bool_)


def slice_figures(hu: Array, spacing: float) -> dict[str, float]:
    """All figures of one slice, by name; NaN or missing where it has none.

    Lengths are in mm, areas in cm², densities in HU, powers in log10 of HU² mm²; `_share` is of 1, `above_50` and
    `hyperdense` are per mille.
    """
    head = head_mask(hu)
    brain = brain_mask(hu, spacing)
    area = float(brain.sum()) * spacing**2 / 100
    found = {"brain_area": area, "brain_share": float(brain.sum() / max(1, head.sum()))}
    found |= outside(hu, head, spacing)
    if area < LEAST_BRAIN:
        return found
    smooth = ndimage.gaussian_filter(ndimage.median_filter(hu, 3), 1.0)
    inside = inside_skull(hu.astype(np.float64), BONE, 0)
    depth = ndimage.distance_transform_edt(inside) * spacing
    return (
        found
        | tissue(hu, smooth, brain, depth)
        | noise(hu, brain)
        | textures(hu, brain, spacing)
        | skull(hu, head, inside, spacing)
        | edges(hu, head, inside, spacing)
        | shape(smooth, brain, head, spacing)
        | ridges(smooth, brain, depth, spacing)
    )


def tissue(hu: Array, smooth: Array, brain: Mask, depth: Array) -> dict[str, float]:
    """Densities of the brain, 3 mm off the skull.

    White and grey: means of two Gaussians of one width (`tissue_sd`) fitted to 17 … 48 HU of the denoised brain. CSF:
    mean of denoised brain below 15 HU, one pixel inside such parts. Cupping: median of the brain's outer 3 … 8 mm less
    that of what lies deeper than 20 mm. `hyperdense`: the floor's area, per mille of the slice.
    """
    deep = brain & (depth > 3)
    values = smooth[deep & (smooth > 17) & (smooth < 48)]
    low, high, spread, share = two_gaussians(values)
    fluid = ndimage.binary_erosion(deep & (smooth < 15))
    whole = hu[brain]
    rim, core = smooth[brain & (depth > 3) & (depth < 8)], smooth[brain & (depth > 20)]
    dense = brain & (hu >= DENSE[0]) & (hu <= DENSE[1])
    return {
        "brain_median": float(np.median(whole)),
        "brain_sd": float(whole.std()),
        "white": low,
        "grey": high,
        "grey_white": high - low,
        "tissue_sd": spread,
        "grey_share": share,
        "csf": float(smooth[fluid].mean()) if fluid.sum() >= 40 else np.nan,
        "csf_share": float((smooth[deep] < 15).mean()),
        "above_50": float((smooth[deep] > 50).mean() * 1000),
        "cupping": float(np.median(rim) - np.median(core)) if len(rim) and len(core) else np.nan,
        "hyperdense": 1000 * float(dense.sum()) / hu.size,
    }


def two_gaussians(values: Array) -> tuple[float, float, float, float]:
    """Means of the lower and the higher of two Gaussians of one width fitted to values, that width, the higher's share.

    By expectation maximisation on bins of 0.25 HU; NaN for fewer than 200 values in 17 … 48 HU.
    """
    counts, cuts = np.histogram(values, bins=np.arange(17, 48.1, 0.25))
    if counts.sum() < 200:
        return np.nan, np.nan, np.nan, np.nan
    x, weight = (cuts[1:] + cuts[:-1]) / 2, counts / counts.sum()
    middle = float((x * weight).sum())
    means, sd, shares = np.array([middle - 4, middle + 4]), 2.5, np.array([0.5, 0.5])
    for _ in range(200):
        density = shares * np.exp(-0.5 * ((x[:, None] - means) / sd) ** 2) + 1e-12
        part = density / density.sum(axis=1, keepdims=True) * weight[:, None]
        shares = part.sum(axis=0)
        means = (part * x[:, None]).sum(axis=0) / shares
        sd = float(np.sqrt((part * (x[:, None] - means) ** 2).sum()).clip(0.5))
    first, second = np.argsort(means)
    return float(means[first]), float(means[second]), sd, float(shares[second])


def noise(hu: Array, brain: Mask) -> dict[str, float]:
    """Noise in the quarter of the brain's 20×20 patches with the least spread, a plane taken off each.

    Choice and plane take the slowest part of the noise away: the standard deviation comes out some 10 % too low and
    correlations 0.05 … 0.1, of real and of drawn slices alike.

    Standard deviation in HU, correlation with the pixel 1 and 2 to the right and below, and the share by which noise
    in the patches of the middle third is stronger than in the outer ones.
    """
    patches, places = [], []
    for top in range(0, hu.shape[0] - PATCH, PATCH // 2):
        for left in range(0, hu.shape[1] - PATCH, PATCH // 2):
            cut = slice(top, top + PATCH), slice(left, left + PATCH)
            if brain[cut].all():
                patches.append(hu[cut])
                places.append((top, left))
    names = ("noise_sd", "lag1_x", "lag1_y", "lag2_x", "lag2_y", "lag3", "noise_kurtosis", "noise_middle")
    if len(patches) < LEAST_PATCHES:
        return dict.fromkeys(names, np.nan)
    stack = np.stack(patches).astype(np.float64)
    y, x = np.mgrid[:PATCH, :PATCH]
    plane = np.stack([np.ones(PATCH * PATCH), x.ravel(), y.ravel()], axis=1)
    flat = stack.reshape(len(stack), -1)
    rest = flat - flat @ plane @ np.linalg.inv(plane.T @ plane) @ plane.T
    sds = rest.std(axis=1)
    chosen = rest[np.argsort(sds)[: max(LEAST_PATCHES, len(sds) // 4)]].reshape(-1, PATCH, PATCH)
    variance = float((chosen**2).mean())

    def lag(down: int, right: int) -> float:
        a, b = chosen[:, : PATCH - down, : PATCH - right], chosen[:, down:, right:]
        return float((a * b).mean()) / variance

    from_middle = np.hypot(*(np.array(places) - np.mean(places, axis=0)).T)
    inner, outer = sds[from_middle <= np.quantile(from_middle, 0.33)], sds[from_middle > np.quantile(from_middle, 0.67)]
    values = (
        *(variance**0.5, lag(0, 1), lag(1, 0), lag(0, 2), lag(2, 0), (lag(0, 3) + lag(3, 0)) / 2),
        float((chosen**4).mean() / variance**2),
        float(np.quantile(inner, 0.25) / np.quantile(outer, 0.25)),
    )
    return dict(zip(names, values, strict=True))


def spectrum(hu: Array, brain: Mask, spacing: float) -> Array:
    """Radial power spectrum of the brain: mean power (HU² mm²) in each ring between SPECTRUM's frequencies.

    A square of 256 pixels about the brain's middle; what is no brain is set to the brain's mean; Hann window.
    """
    middle = [round(v) for v in ndimage.center_of_mass(brain)]
    top, left = (int(np.clip(m - 128, 0, n - 256)) for m, n in zip(middle, hu.shape, strict=True))
    cut = slice(top, top + 256), slice(left, left + 256)
    window = np.outer(np.hanning(256), np.hanning(256))
    part = np.where(brain[cut], hu[cut] - hu[brain].mean(), 0) * window
    power = np.abs(np.fft.fft2(part)) ** 2 * spacing**2 / (window**2 * brain[cut]).sum()
    at = np.fft.fftfreq(256, spacing)
    ring = np.digitize(np.hypot(at[:, None], at[None, :]).ravel(), SPECTRUM)
    total = np.bincount(ring, power.ravel(), len(SPECTRUM) + 1)[1:-1]
    return np.asarray(total / np.bincount(ring, minlength=len(SPECTRUM) + 1)[1:-1].clip(1))


def textures(hu: Array, brain: Mask, spacing: float) -> dict[str, float]:
    """Power in five bands of the brain's spectrum (log10 of HU² mm²); spread of the brain between two blurs (HU)."""
    power, at = spectrum(hu, brain, spacing), (SPECTRUM[1:] + SPECTRUM[:-1]) / 2
    found = {f"power_{low:g}": float(np.log10(power[(at >= low) & (at < high)].mean() + 1e-9)) for low, high in BANDS}
    weight = brain.astype(np.float32)
    blurred = []
    for mm in (0.5, 1, 2, 4, 8):
        soft = ndimage.gaussian_filter(weight, mm / spacing)
        blurred.append(ndimage.gaussian_filter(np.where(brain, hu, 0), mm / spacing) / soft.clip(1e-3))
    for mm, fine, coarse in zip((0.5, 1, 2, 4), blurred[:-1], blurred[1:], strict=True):
        band = (fine - coarse)[brain]
        found[f"detail_{mm:g}"] = float(band.std())
        found[f"skew_{mm:g}"] = float(((band - band.mean()) ** 3).mean() / band.std() ** 3)
    return found


def skull(hu: Array, head: Mask, inside: Mask, spacing: float) -> dict[str, float]:
    """Bone round the inside: thickness (mm; from each point of the inner table to the nearest point outside bone and
    inside), its quartiles, and the bone's HU.
    """
    shell = ndimage.binary_closing((hu > BONE) & head, iterations=2) | inside
    solid = ndimage.binary_fill_holes(shell)
    thickness = ndimage.distance_transform_edt(solid) * spacing
    border = inside & ~ndimage.binary_erosion(inside)
    values = thickness[border]
    bone = hu[(hu > BONE) & head]
    diploe = thickness[border] > 4
    return {
        "skull_thickness": float(np.median(values)),
        "skull_p10": float(np.quantile(values, 0.1)),
        "skull_p90": float(np.quantile(values, 0.9)),
        "skull_thick_share": float(diploe.mean()),
        "bone_median": float(np.median(bone)),
        "bone_p95": float(np.quantile(bone, 0.95)),
        "bone_low_share": float((bone < 600).mean()),
    }


def _profiles(hu: Array, middle: tuple[float, float], spacing: float) -> Array:
    """HU along 180 rays from the middle outwards, every 0.1 mm, 130 mm far."""
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)[:, None]
    r = np.arange(0, 130, 0.1)[None, :] / spacing
    return np.asarray(
        ndimage.map_coordinates(
            hu.astype(np.float32), [middle[0] + r * np.sin(angle), middle[1] + r * np.cos(angle)], order=1, cval=-1000.0
        )
    )


def _width(profile: Array, low: float, high: float) -> float:
    """Samples between the last one below 10 % and the first one above 90 % of a rising profile; NaN if it has none."""
    ten, ninety = low + 0.1 * (high - low), low + 0.9 * (high - low)
    above = np.flatnonzero(profile >= ninety)
    if not len(above):
        return np.nan
    below = np.flatnonzero(profile[: above[0]] <= ten)
    return float(above[0] - below[-1]) if len(below) else np.nan


def edges(hu: Array, head: Mask, inside: Mask, spacing: float) -> dict[str, float]:
    """Widths of edges from 10 to 90 % (mm, medians over rays from the brain's middle) and the scalp's thickness.

    Skin: from air to the tissue 2.5 mm inside. Inner table: from the brain 4 mm before it to the first peak of bone
    within 6 mm.
    """
    middle = ndimage.center_of_mass(inside)
    rays = _profiles(hu, (float(middle[0]), float(middle[1])), spacing)
    skin, table, scalp = [], [], []
    for ray in rays:
        tissue_at, bone_at = np.flatnonzero(ray > -500), np.flatnonzero(ray > BONE)
        if not len(tissue_at) or not len(bone_at):
            continue
        last = tissue_at[-1]
        if last + 40 < len(ray) and last > 60:
            skin.append(_width(ray[last - 25 : last + 40][::-1], float(ray[last + 40]), float(ray[last - 25])))
            scalp.append((last - bone_at[-1]) / 10)
        first = bone_at[0]
        if first > 60 and first + 60 < len(ray):
            part = ray[first - 40 : first + 60]
            table.append(_width(part, float(np.median(ray[first - 60 : first - 30])), float(part.max())))

    def middle_of(values: list[float]) -> float:
        kept = [v for v in values if np.isfinite(v)]
        return float(np.median(kept)) if kept else np.nan

    return {"skin_edge": middle_of(skin) / 10, "table_edge": middle_of(table) / 10, "scalp": middle_of(scalp)}


def shape(smooth: Array, brain: Mask, head: Mask, spacing: float) -> dict[str, float]:
    """The head's length and width (mm), and how far its halves are alike: correlation of the brain with its mirror
    image about the best axis (blurred by 3 mm, turned by up to 20°).
    """
    rows, columns = np.flatnonzero(head.any(axis=1)), np.flatnonzero(head.any(axis=0))
    blurred = ndimage.gaussian_filter(np.where(brain, smooth, smooth[brain].mean()), 3 / spacing)[::4, ::4]
    mask, best = brain[::4, ::4], -1.0
    middle = np.array(ndimage.center_of_mass(mask))
    grid = np.indices(mask.shape).reshape(2, -1) - middle[:, None]
    for degrees in range(-20, 21, 2):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        across = grid[1] * c + grid[0] * s
        for off in (-2, 0, 2):
            far = 2 * (off - across)
            at = [(grid[0] + far * s + middle[0]), (grid[1] + far * c + middle[1])]
            mirrored = ndimage.map_coordinates(blurred, at, order=1, mode="nearest")
            both = mask.ravel() & (ndimage.map_coordinates(mask.astype(np.float32), at, order=0) > 0.5)
            if both.sum() > 100:
                best = max(best, float(np.corrcoef(blurred.ravel()[both], mirrored[both])[0, 1]))
    return {
        "head_length": float(rows[-1] - rows[0]) * spacing,
        "head_width": float(columns[-1] - columns[0]) * spacing,
        "mirror": best,
    }


def ridges(smooth: Array, brain: Mask, depth: Array, spacing: float) -> dict[str, float]:
    """Sulci: dark lines narrower than 5 mm and darker by 5 HU than both sides, at least 5 mm long, in the outer 25 mm.

    Their number and share of the rim's area, and how much darker they are.
    """
    size = round(5 / spacing)
    filled = np.where(brain, smooth, np.median(smooth[brain]))
    dark = ndimage.grey_closing(filled, size) - filled
    rim = brain & (depth > 3) & (depth < 25)
    lines, count = ndimage.label((dark > 5) & rim)
    sizes = np.bincount(lines.ravel(), minlength=count + 1)[1:] * spacing**2
    long = sizes >= 7.5
    chosen = np.isin(lines, np.flatnonzero(long) + 1)
    return {
        "sulci": float(long.sum()),
        "sulci_share": float(chosen.sum() / max(1, rim.sum())),
        "sulci_depth": float(dark[chosen].mean()) if chosen.any() else np.nan,
    }


def outside(hu: Array, head: Mask, spacing: float) -> dict[str, float]:
    """What lies round the head within the scanner's circle: air's median and spread (HU), and things in it (cm²).

    And of the head's parts outside the brain: the share of fat (-130 … -50 HU) among its soft tissue (-130 … 80).
    """
    y, x = np.indices(hu.shape)
    circle = np.hypot(y - hu.shape[0] / 2, x - hu.shape[1] / 2) < 0.48 * hu.shape[0]
    away = circle & ~ndimage.binary_dilation(head, iterations=round(4 / spacing))
    air = hu[away & (hu < -900)]
    wall = head & ~inside_skull(hu.astype(np.float64), BONE, 0)
    soft = hu[wall & (hu > -130) & (hu < 80)]
    return {
        "air": float(np.median(air)) if len(air) > 100 else np.nan,
        "air_sd": float(air.std()) if len(air) > 100 else np.nan,
        "things_outside": float((away & (hu > -500)).sum()) * spacing**2 / 100,
        "fat_share": float((soft < -50).mean()) if len(soft) > 100 else np.nan,
        "fat": float(np.median(soft[soft < -50])) if (soft < -50).sum() > 100 else np.nan,
    }


def auc(positive: Array, negative: Array) -> float:
    """Chance that a positive has the higher score (Mann–Whitney); NaN without both kinds."""
    if not len(positive) or not len(negative):
        return np.nan
    order = np.concatenate([positive, negative])
    ranks = np.empty(len(order))
    _, place, counts = np.unique(order, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    won = ranks[: len(positive)].sum() - len(positive) * (len(positive) + 1) / 2
    return float(won / len(positive) / len(negative))
