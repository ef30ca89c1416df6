"""Factorised codebook on the unit sphere (ViT-VQGAN §3.2): nearest by cosine, straight-through, dead codes revived.

Letters: B batch, N tokens, c width of a code, K codes, T = B·N.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gp3d_core.vq3d.config import CodebookConfig

_NOISE = 0.01  # added to revived codes, so that no two begin alike


class Codebook(nn.Module):
    """K codes; `uses` counts, while training, how often each was chosen since the last revival."""

    uses: Tensor
    started: Tensor

    def __init__(self, config: CodebookConfig) -> None:
        super().__init__()
        self.commitment = config.commitment
        self.codes = nn.Parameter(torch.randn(config.size, config.width))
        self.register_buffer("uses", torch.zeros(config.size, dtype=torch.long))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))
        self._known_started = False
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    def unit_codes(self) -> Tensor:
        """The codes [K,c] on the sphere."""
        return F.normalize(self.codes, dim=-1)

    def forward(self, points: Tensor, *, rounded: bool = True) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Codes [B,N], quantised and continuous unit vectors [B,N,c], and the VQ loss of `points` [B,N,c].

        Gradients of the quantised vectors go to the continuous ones unchanged. The loss is ‖sg(z) − e‖² +
        commitment · ‖z − sg(e)‖², as means over tokens and dimensions. With `rounded` False vectors pass as they are
        and the loss is 0.
        """
        with torch.autocast(points.device.type, enabled=False):
            z, table = F.normalize(points.float(), dim=-1), self.unit_codes().float()
            with torch.no_grad():
                codes = (z @ table.T).argmax(dim=-1)
                if self.training:  # bincount would wait for the device
                    used = codes.flatten()
                    self.uses.scatter_add_(0, used, torch.ones_like(used))
            if not rounded:
                return codes, z, z, z.new_zeros(())
            chosen = F.embedding(codes, table)
            to_codes = (z.detach() - chosen).square().mean()
            to_points = (z - chosen.detach()).square().mean()
            return codes, z + (chosen - z).detach(), z, to_codes + self.commitment * to_points

    def look_up(self, codes: Tensor) -> Tensor:
        """Unit vectors [...,c] of `codes` [...]. Raises ValueError for codes outside 0 … K − 1."""
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < len(self.codes):
            raise ValueError(
                f"expected codes from 0 to {len(self.codes) - 1}, found {int(codes.min())} to {int(codes.max())}"
            )
        return F.embedding(codes, self.unit_codes())

    def awaits_start(self) -> bool:
        """Whether `start` has yet to come. The device, which must finish its work to answer, is asked until it has."""
        self._known_started = self._known_started or bool(self.started)
        return not self._known_started

    @torch.no_grad()
    def start(self, points: Tensor, generator: torch.Generator) -> None:
        """Lets every code begin as a random one of `points` [B,N,c], once; without it most codes are never chosen."""
        if self.awaits_start():
            self.codes.copy_(_draw(points, len(self.codes), generator))
            self.started.fill_(True)
            self._known_started = True

    @torch.no_grad()
    def revive(self, points: Tensor, generator: torch.Generator, optimizer: torch.optim.Optimizer) -> int:
        """Codes unused since the last revival begin again as random ones of `points` [B,N,c]; returns how many.

        The moments that `optimizer` keeps of them begin again as well.
        """
        dead = torch.nonzero(self.uses == 0).flatten()
        self.codes[dead] = _draw(points, len(dead), generator)
        for moment in optimizer.state.get(self.codes, {}).values():
            if torch.is_tensor(moment) and moment.shape == self.codes.shape:
                moment[dead] = 0.0
        self.uses.zero_()
        return len(dead)


def _forget(book: Codebook, _keys: object) -> None:
    """What was loaded may be of before the start."""
    book._known_started = False


def _draw(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` random `points` [B,N,c] on the sphere, [count,c], with a little noise; none twice while they last."""
    rows = F.normalize(points.detach().float().flatten(0, -2), dim=-1)
    order = [
        torch.randperm(len(rows), generator=generator, device=rows.device)
        for _ in range(-(-count // len(rows)))
    ]
    picked = rows[torch.cat(order)[:count]] if order else rows[:0]
    noise = torch.randn(picked.shape, generator=generator, device=rows.device)
    return F.normalize(picked + _NOISE * noise, dim=-1)


def usage(codes: Tensor, size: int) -> tuple[float, float]:
    """Share of the `size` codes that occur in `codes`, and their perplexity, exp of the entropy in nats."""
    share = torch.bincount(codes.flatten(), minlength=size).double()
    share = share / share.sum()
    entropy = -(share * share.clamp(min=1e-300).log()).sum()
    return float((share > 0).double().mean()), float(entropy.exp())
