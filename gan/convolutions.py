"""Convolutions that compute what the textbook's layers compute in less time; weights and their names are a Conv2d's.

Measured on two CPU cores in fp32, forward and backward (`benchmarks/translator.py` has the whole step).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class UpsampledConv2d(nn.Conv2d):
    """Nearest ×2 upsampling, reflect padding and a 3×3 convolution in one: n×C×H×W → n×O×2H×2W.

    An upsampled image holds every pixel four times, so each of the four output phases is a 2×2 convolution at the low
    resolution whose weights are sums of the 3×3 ones: 16 products for a low-resolution pixel in place of 36. All four
    phases together are one transposed convolution of stride 2, whose 4×4 kernel is the 3×3 kernel spread by the 2×2
    box. Border: the upsampled rows are x₀ x₀ x₁ x₁ …, reflecting them puts x₀ in front, and that is what repeating the
    low-resolution border gives.
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(channels, out, 3)

    def forward(self, x: Tensor) -> Tensor:
        kernel = functional.pad(self.weight.flip(2, 3).transpose(0, 1), (1, 1, 1, 1))
        kernel = kernel[:, :, 1:] + kernel[:, :, :-1]
        kernel = kernel[..., 1:] + kernel[..., :-1]
        return functional.conv_transpose2d(_border_repeated(x), kernel, self.bias, stride=2, padding=3)


class RowsConv2d(nn.Conv2d):
    """A k×k convolution of stride 1 over the reflected border (k odd), from or to very few channels: n×C×H×W → n×O×H×W.

    A CPU's convolution fills its vectors with channels, so that one channel costs as much as eight. Here the k rows of
    the kernel are channels: few inputs are stacked in k shifts, few outputs are added up from k shifts, and a
    convolution of 1×k is left. On another device, and in a compiled network, it is the plain convolution.
    """

    def __init__(self, channels: int, out: int, kernel: int) -> None:
        super().__init__(channels, out, kernel, padding=kernel // 2, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        if not _by_hand(x):
            return super().forward(x)
        k, height = self.kernel_size[0], x.shape[2]
        x = functional.pad(x, (k // 2,) * 4, mode="reflect")
        if self.in_channels < self.out_channels:
            stacked = torch.cat([x[:, :, row : row + height] for row in range(k)], 1)
            kernel = self.weight.transpose(1, 2).reshape(self.out_channels, k * self.in_channels, 1, k)
            return functional.conv2d(stacked, kernel, self.bias)
        kernel = self.weight.permute(2, 0, 1, 3).reshape(k * self.out_channels, self.in_channels, 1, k)
        # Summed in fp32 also under autocast: a bf16 sum of seven rows would be coarser than the convolution's.
        rows = functional.conv2d(x, kernel).float()
        rows = rows.reshape(len(x), k, self.out_channels, *rows.shape[2:])
        out = rows[:, 0, :, :height]
        for row in range(1, k):
            out = out + rows[:, row, :, row : row + height]
        assert self.bias is not None
        return out + self.bias[:, None, None]


class NarrowConv2d(nn.Conv2d):
    """A zero-padded convolution of stride 1 to very few channels, for small images: n×C×H×W → n×O×H'×W'.

    One matrix product makes every tap's contribution (O·k² channels), and folding adds them up where they belong. On
    another device, and in a compiled network, it is the plain convolution.
    """

    def __init__(self, channels: int, out: int, kernel: int, padding: int) -> None:
        super().__init__(channels, out, kernel, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        if not _by_hand(x):
            return super().forward(x)
        kernel, padding = self.kernel_size[0], int(self.padding[0])
        taps = self.weight.flip(2, 3).permute(0, 2, 3, 1).reshape(-1, self.in_channels, 1, 1)
        parts = functional.conv2d(x, taps).float()  # summed in fp32 also under autocast
        size = tuple(side + 2 * padding - kernel + 1 for side in x.shape[2:])
        summed = functional.fold(parts.flatten(2), size, kernel, padding=kernel - 1 - padding)
        assert self.bias is not None
        return summed + self.bias[:, None, None]


def _by_hand(x: Tensor) -> bool:
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def _border_repeated(x: Tensor) -> Tensor:
    """n×C×H×W → n×C×(H+2)×(W+2), the outermost rows and columns twice."""
    if not torch.compiler.is_compiling():
        return functional.pad(x, (1, 1, 1, 1), mode="replicate")
    # torch 2.14 expects another memory layout of replicate padding's gradient than it gets, and stops.
    x = torch.cat([x[:, :, :1], x, x[:, :, -1:]], 2)
    return torch.cat([x[..., :1], x, x[..., -1:]], 3)
