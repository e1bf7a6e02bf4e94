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


class NarrowConv2d(nn.Conv2d):
    """A convolution of stride 1 to very few channels: n×C×H×W → n×O×H'×W', with zero or reflect padding.

    A CPU's convolution fills its vectors with output channels, so that one channel costs as much as eight. Here one
    matrix product makes every tap's contribution (O·k² channels), and folding adds them up where they belong. On
    another device, and in a compiled network, it is the plain convolution.
    """

    def __init__(self, channels: int, out: int, kernel: int, padding: int, reflect: bool = False) -> None:
        super().__init__(channels, out, kernel, padding=padding, padding_mode="reflect" if reflect else "zeros")

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return super().forward(x)
        kernel, padding = self.kernel_size[0], int(self.padding[0])
        taps = self.weight.flip(2, 3).permute(0, 2, 3, 1).reshape(-1, self.in_channels, 1, 1)
        # Summed in fp32 also under autocast: bf16 sums of 49 taps would be coarser than the convolution's.
        parts = functional.conv2d(x, taps).float()
        size = tuple(side + 2 * padding - kernel + 1 for side in x.shape[2:])
        if self.padding_mode == "reflect":  # of the parts: a product with one pixel commutes with padding
            parts, padding = functional.pad(parts, (padding,) * 4, mode="reflect"), 0
        summed = functional.fold(parts.flatten(2), size, kernel, padding=kernel - 1 - padding)
        assert self.bias is not None
        return summed + self.bias[:, None, None]


def _border_repeated(x: Tensor) -> Tensor:
    """n×C×H×W → n×C×(H+2)×(W+2), the outermost rows and columns twice."""
    if not torch.compiler.is_compiling():
        return functional.pad(x, (1, 1, 1, 1), mode="replicate")
    # torch 2.14 expects another memory layout of replicate padding's gradient than it gets, and stops.
    x = torch.cat([x[:, :, :1], x, x[:, :, -1:]], 2)
    return torch.cat([x[..., :1], x, x[..., -1:]], 3)
