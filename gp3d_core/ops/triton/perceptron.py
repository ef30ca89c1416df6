"""The decoder's two layers inside kernels: features to colour and raw density and back.

Letters: N points of a block, C channels and W hidden units, padded to powers of two of at least 16 for the matrix
units; the padding is 0 and stays 0.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import triton
import triton.language as tl

from gp3d_core.ops.triton.density import leaky, leaky_slope


class Layers(NamedTuple):
    """Weights as kernels take them, contiguous: hidden [W,C] and [W], output [4,W] and [4]; gains are in them."""

    hidden_weight: torch.Tensor
    hidden_bias: torch.Tensor
    output_weight: torch.Tensor
    output_bias: torch.Tensor


class Loaded(NamedTuple):
    """Weights on chip: hidden [C,W] and its bias [W], the four rows [W] of the output and their biases."""

    hidden: tl.tensor
    bias: tl.tensor
    red: tl.tensor
    green: tl.tensor
    blue: tl.tensor
    raw: tl.tensor
    red_bias: tl.tensor
    green_bias: tl.tensor
    blue_bias: tl.tensor
    raw_bias: tl.tensor


@triton.jit
def load_layers(
    layers: Layers, CHANNELS: tl.constexpr, WIDTH: tl.constexpr, C: tl.constexpr, W: tl.constexpr
) -> Loaded:
    """The weights, padded."""
    c, w = tl.arange(0, C), tl.arange(0, W)
    real = w < WIDTH
    hidden = tl.load(
        layers.hidden_weight + w[None, :] * CHANNELS + c[:, None],
        mask=real[None, :] & (c < CHANNELS)[:, None],
        other=0.0,
    )
    return Loaded(
        hidden,
        tl.load(layers.hidden_bias + w, mask=real, other=0.0),
        tl.load(layers.output_weight + w, mask=real, other=0.0),
        tl.load(layers.output_weight + WIDTH + w, mask=real, other=0.0),
        tl.load(layers.output_weight + 2 * WIDTH + w, mask=real, other=0.0),
        tl.load(layers.output_weight + 3 * WIDTH + w, mask=real, other=0.0),
        tl.load(layers.output_bias),
        tl.load(layers.output_bias + 1),
        tl.load(layers.output_bias + 2),
        tl.load(layers.output_bias + 3),
    )


@triton.jit
def hidden_units(features: tl.tensor, net: Loaded, PRECISION: tl.constexpr) -> tl.tensor:
    """The hidden layer [N,W] before its activation."""
    return tl.dot(features, net.hidden, input_precision=PRECISION) + net.bias[None, :]


@triton.jit
def outputs(before: tl.tensor, net: Loaded) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """Red, green, blue (not yet bounded) and raw density [N] from the hidden layer before its activation."""
    units = leaky(before)
    return (
        tl.sum(units * net.red[None, :], axis=1) + net.red_bias,
        tl.sum(units * net.green[None, :], axis=1) + net.green_bias,
        tl.sum(units * net.blue[None, :], axis=1) + net.blue_bias,
        tl.sum(units * net.raw[None, :], axis=1) + net.raw_bias,
    )


@triton.jit
def hidden_slope(
    before: tl.tensor, net: Loaded, red: tl.tensor, green: tl.tensor, blue: tl.tensor, raw: tl.tensor
) -> tl.tensor:
    """Gradient [N,W] to the hidden layer before its activation, from gradients [N] to the four outputs."""
    slope = red[:, None] * net.red[None, :] + green[:, None] * net.green[None, :]
    slope += blue[:, None] * net.blue[None, :] + raw[:, None] * net.raw[None, :]
    return slope * leaky_slope(before)


@triton.jit
def store_layers(
    partial: tl.tensor,
    hidden: tl.tensor,
    bias: tl.tensor,
    output: tl.tensor,
    output_bias: tl.tensor,
    C: tl.constexpr,
    W: tl.constexpr,
) -> None:
    """Writes one program's sum of gradients: hidden [W,C] and [W], output [4,W] and [4], one after the other."""
    c, w, four = tl.arange(0, C), tl.arange(0, W), tl.arange(0, 4)
    tl.store(partial + w[:, None] * C + c[None, :], hidden)
    tl.store(partial + W * C + w, bias)
    tl.store(partial + W * C + W + four[:, None] * W + w[None, :], output)
    tl.store(partial + W * C + 5 * W + four, output_bias)


@triton.jit
def output_slopes(
    units: tl.tensor, red: tl.tensor, green: tl.tensor, blue: tl.tensor, raw: tl.tensor, W: tl.constexpr
) -> tuple[tl.tensor, tl.tensor]:
    """Gradients [4,W] and [4] to the output layer of one block, from the activated units [N,W]."""
    row = tl.arange(0, 4)
    weight, bias = tl.zeros([4, W], tl.float32), tl.zeros([4], tl.float32)
    for k in tl.static_range(4):
        slope = red if k == 0 else (green if k == 1 else (blue if k == 2 else raw))
        weight += tl.where(row[:, None] == k, tl.sum(units * slope[:, None], axis=0)[None, :], 0.0)
        bias += tl.where(row == k, tl.sum(slope, axis=0), 0.0)
    return weight, bias
