"""An actor as one surface in our world frame: its mesh, bent by an animation where one is asked for, and its props."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from synthetic.layouts.shapenet import BrokenModelError
from synthetic.library.zeroad.actors import Animation, Variant, combine, definitions, read_actor
from synthetic.library.zeroad.package import Package
from synthetic.library.zeroad.pmd import Mesh, read_pmd
from synthetic.library.zeroad.psa import bend, read_psa
from synthetic.library.zeroad.textures import Alpha, Color, texture_member, write_texture
from synthetic.staging.surface import Material, Part, Surface, Texture, face_normals, merge

Floats = npt.NDArray[np.float64]

_DEEPEST = 6  # of props that have props
_MOST_PARTS = 500


@dataclass(frozen=True)
class Pose:
    """A moment of an animation: the clip, and how much of it has passed, in [0, 1)."""

    clip: Animation
    phase: float


@dataclass(frozen=True)
class Wishes:
    """How an actor is put together: its pose (None: as modelled) and the colour of the player that it belongs to."""

    pose: Pose | None
    color: Color


@dataclass
class Assembly:
    """An actor being put together; `members` are the package's files that it was made from.

    Textures are written into `workspace`; `random` chooses among the variants of props.
    """

    package: Package
    wishes: Wishes
    workspace: Path
    random: np.random.Generator
    members: set[str] = field(default_factory=set)
    _parts: list[Part] = field(default_factory=list)
    _materials: dict[tuple[str, Alpha, Color], Material] = field(default_factory=dict)

    def surface(self, look: Variant, material: str) -> Surface:
        """The surface of a look and all that hangs on it.

        Raises BrokenModelError where it has no mesh, or where a file of it or of its props is missing or damaged.
        """
        if not look.mesh:
            raise BrokenModelError("has no mesh")
        self._add(look, material, np.eye(4), 0)
        return merge(self._parts, list(self._materials.values()))

    def _add(self, look: Variant, material: str, place: Floats, depth: int) -> None:
        """Adds a mesh and its props, in the coordinates that `place` [4,4] leads to."""
        if len(self._parts) >= _MOST_PARTS or depth > _DEEPEST:
            raise BrokenModelError(f"has more than {_MOST_PARTS} props, or props of props {_DEEPEST} deep")
        mesh = self._bent(read_pmd(*self._file(mesh_member(self.package, look.mesh))), look, depth)
        number = self._material(look, material)
        self._parts.append(as_part(mesh, place, number))
        for prop in look.props:
            if not prop.actor or prop.point not in {"root", *mesh.points}:
                continue  # nothing, or on a point that this mesh lacks: the game leaves it out, too
            actor = read_actor(self.package, prop.actor)
            self.members.add(f"art/actors/{prop.actor}")
            chosen = combine([_by_chance(group, self.random) for group in actor.groups])
            if chosen.mesh:  # else smoke, sounds, a picture on the ground
                self._add(chosen, actor.material, place @ stand_of(mesh, prop.point), depth + 1)

    def _bent(self, mesh: Mesh, look: Variant, depth: int) -> Mesh:
        """The mesh in the pose that is wished for; a prop takes part if it has bones and a clip of that action."""
        pose = self.wishes.pose
        if pose is None:
            return mesh
        clip = pose.clip
        if depth:
            clips = [own for own in look.animations if own.action == clip.action]
            if not clips or not len(mesh.rest):
                return mesh
            clip = next((own for own in clips if own.file == clip.file), clips[0])
        content, name = self._file(animation_member(self.package, clip.file))
        frames = read_psa(content, name)
        try:
            return bend(mesh, frames[int(pose.phase * len(frames))])
        except BrokenModelError as error:
            raise BrokenModelError(f"{name}: {error}") from None

    def _file(self, member: str) -> tuple[bytes, str]:
        self.members.add(member)
        return self.package.read(member), member

    def _material(self, look: Variant, material: str) -> int:
        """The number of the material of a look, whose texture is written once."""
        if "baseTex" not in look.textures:
            raise BrokenModelError(f"{look.mesh}: has no colour texture")
        defined = definitions(self.package, material)
        alpha: Alpha = "opaque"
        color: Color = (255, 255, 255)
        if "USE_TRANSPARENT" in defined:
            alpha = "cut"
        elif "USE_PLAYERCOLOR" in defined:
            alpha, color = "colored", self.wishes.color
        elif "USE_OBJECTCOLOR" in defined and len(look.color) == 3:
            red, green, blue = (min(value, 255) for value in look.color)
            alpha, color = "colored", (red, green, blue)
        member = texture_member(self.package, look.textures["baseTex"])
        self.members.add(member)
        key = (member, alpha, color)
        if key not in self._materials:
            path = self.workspace / f"texture{len(self._materials)}.png"
            write_texture(self.package, member, alpha, color, path)
            stem = PurePosixPath(look.textures["baseTex"]).stem
            self._materials[key] = Material(
                f"{len(self._materials)}_{''.join(c if c.isalnum() else '_' for c in stem)}",
                color=(1.0, 1.0, 1.0),
                color_texture=Texture(path),
                alpha="mask" if alpha == "cut" else "opaque",
            )
        return list(self._materials).index(key)


def stand_of(mesh: Mesh, name: str) -> Floats:
    """[4,4] where a prop stands on the mesh; the root is where the mesh is, unless it says otherwise."""
    point = mesh.points.get(name)
    if point is None:
        return np.eye(4)
    return point.local if point.bone is None else mesh.rest[point.bone] @ point.local


def mesh_member(package: Package, file: str) -> str:
    """The name in the package of a mesh that actors call FILE; the released game has it beside its source's name.

    Raises BrokenModelError where there is none.
    """
    return _member(package, f"art/meshes/{file}", "pmd", "mesh")


def animation_member(package: Package, file: str) -> str:
    """The same for an animation."""
    return _member(package, f"art/animation/{file}", "psa", "animation")


def _member(package: Package, asked: str, suffix: str, what: str) -> str:
    stem = PurePosixPath(asked).with_suffix("")
    for name in (f"{asked}.cached.{suffix}", f"{stem}.dae.cached.{suffix}", f"{stem}.{suffix}"):
        if name in package.names:
            return name
    raise BrokenModelError(f"{asked}: this {what} is missing in the package")


def _by_chance(group: tuple[Variant, ...], random: np.random.Generator) -> Variant:
    """One of a group by frequency; the first where all frequencies are 0."""
    shares = np.array([float(variant.frequency) for variant in group])
    if not shares.any():
        return group[0]
    return group[int(random.choice(len(group), p=shares / shares.sum()))]


def as_part(mesh: Mesh, place: Floats, material: int) -> Part:
    """A mesh moved by `place` [4,4], in our frame: the game's z turned round, so that it is right-handed.

    Triangles look the same in both, counter-clockwise, so their corners keep their order. Vertices that the file keeps
    apart for their UV or normals become one.
    """
    points = (mesh.positions @ place[:3, :3].T + place[:3, 3]) * (1, 1, -1)
    welded, number = np.unique(points, axis=0, return_inverse=True)
    triangles = number.reshape(-1)[mesh.triangles]
    normals = (mesh.normals @ place[:3, :3].T) * (1, 1, -1)
    length = np.linalg.norm(normals, axis=1)[mesh.triangles][..., None]
    flat = np.repeat(face_normals(welded, triangles)[:, None], 3, axis=1)
    smooth = np.divide(normals[mesh.triangles], length, out=flat, where=length > 1e-6)
    return Part(
        welded,
        triangles,
        np.full(len(triangles), material, np.int32),
        (mesh.uvs[0][mesh.triangles],),
        normals=smooth.astype(np.float32),
    )
