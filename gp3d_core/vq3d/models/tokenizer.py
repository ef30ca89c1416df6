"""Stage 1 of VQ3D: a picture becomes codes, codes become tri-planes, planes become views.

Letters: B batch, N tokens of a picture, c width of a code, C channels and P resolution of a plane.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gp3d_core.ops.checks import check_shape
from gp3d_core.ops.precision import half_precision
from gp3d_core.rendering.patches import Patches
from gp3d_core.vq3d.config import Vq3dConfig
from gp3d_core.vq3d.models.codebook import Codebook
from gp3d_core.vq3d.models.field import FieldDecoder, SceneField
from gp3d_core.vq3d.models.planes import PlaneDecoder
from gp3d_core.vq3d.models.vit import Encoder
from gp3d_core.vq3d.rendering.views import View, render


class Encoding(NamedTuple):
    """What a picture becomes: codes [B,N] int64, and their unit vectors [B,N,c] with straight-through gradients.

    `continuous` [B,N,c] are the unit vectors before quantisation; `loss` is the scalar VQ loss.
    """

    codes: Tensor
    quantised: Tensor
    continuous: Tensor
    loss: Tensor


class Tokenizer(nn.Module):
    """Encoder, codebook, plane decoder and field decoder."""

    def __init__(self, config: Vq3dConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.codebook = Codebook(config.codebook)
        self.plane_decoder = PlaneDecoder(config)
        self.field_decoder = FieldDecoder(config.decoder)

    def encode(self, images: Tensor, *, rounded: bool = True) -> Encoding:
        """Codes of `images` [B,3,R,R] in [-1, 1], R = training.resolution; tokens in raster order.

        With `rounded` False vectors are not moved to their codes, as early in training.
        """
        resolution = self.config.training.resolution
        check_shape("images", images, f"B 3 {resolution} {resolution}")
        with self._half(images):
            points = self.encoder(images)
        return Encoding(*self.codebook(points, rounded=rounded))

    def embed(self, codes: Tensor) -> Tensor:
        """Unit vectors [B,N,c] of `codes` [B,N]; ValueError for a code that the codebook does not have."""
        check_shape("codes", codes, f"B {self.config.tokens}")
        return self.codebook.look_up(codes)

    def decode(self, tokens: Tensor) -> Tensor:
        """Planes [B,3,C,P,P] of codes [B,N] (int64) or of quantised vectors [B,N,c]."""
        if not tokens.is_floating_point():
            tokens = self.embed(tokens)
        check_shape("tokens", tokens, f"B {self.config.tokens} {self.config.codebook.width}")
        with self._half(tokens):
            planes: Tensor = self.plane_decoder(tokens)
        return planes.float()

    def _half(self, like: Tensor) -> torch.autocast:
        """Transformers may run in half precision; codes, rays and colours never do."""
        return half_precision(like.device, self.config.training.precision, training=self.training)

    def field(self, planes: Tensor) -> SceneField:
        """The scenes of `planes` as a function of world points, see SceneField."""
        return SceneField(planes, self.field_decoder)

    def render(
        self,
        planes: Tensor,
        poses: Tensor,
        *,
        resolution: int | None = None,
        patches: Patches | None = None,
        generator: torch.Generator | None = None,
        chunk: int | None = None,
    ) -> View:
        """The views of `planes` [B,3,C,P,P] from cameras with `poses` [B,4,4], see `views.orbit` and `views.render`."""
        size = self.config.training.resolution if resolution is None else resolution
        return render(
            self.field(planes),
            poses,
            self.config.camera,
            self.config.render,
            size,
            patches=patches,
            generator=generator,
            chunk=chunk,
        )
