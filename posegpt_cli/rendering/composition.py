"""What a picture or video shows: animations side by side in one picture, with their titles and captions."""

from collections.abc import Iterator, Sequence
from itertools import tee

import numpy as np

from models.motion import Motion
from posegpt_cli.rendering.contact_marks import mark_contacts
from posegpt_cli.rendering.options import BETWEEN_TITLES, RenderOptions
from posegpt_cli.rendering.people import make_people
from posegpt_cli.rendering.renderer import Renderer
from posegpt_cli.rendering.scene import Animation, Picture
from posegpt_cli.rendering.sheet import cell_grid, tile, write_text


class Composition:
    """Animations side by side in one picture, or one animation with everybody in it."""

    def __init__(self, motions: Sequence[Motion], options: RenderOptions) -> None:
        self.options = options
        self.motions = motions
        people = make_people(motions, options)
        groups = [people] if options.layout == "row" else [[person] for person in people]
        # Whole pixels per cell: what does not divide evenly is padded in the end.
        columns, rows = cell_grid(len(groups), options.size)
        self.columns = columns
        self.cell_size = (options.size[0] // columns, options.size[1] // rows)
        self.animations = [Animation(group, options, self.cell_size) for group in groups]

    def __len__(self) -> int:
        return max(len(animation) for animation in self.animations)

    def picture(self, renderer: Renderer, frame: int) -> Picture:
        """(H, W, 3): every animation at a frame, with titles and captions."""
        return next(self.pictures(renderer, [frame]))

    def pictures(self, renderer: Renderer, frames: Sequence[int]) -> Iterator[Picture]:
        """`picture` of one frame after the other, of which the renderer may draw some ahead."""
        cells = [self._cells(renderer, animation, frames) for animation in self.animations]
        for frame, drawn in zip(frames, zip(*cells, strict=True), strict=True):
            yield self._assemble(drawn, frame)

    def stills(self, renderer: Renderer, n: int) -> Iterator[Picture]:
        """n pictures from the first frame to the last; their times below, unless captions number them."""
        frames = np.linspace(0, len(self) - 1, n).round().astype(int).tolist()
        for frame, picture in zip(frames, self.pictures(renderer, frames), strict=True):
            if self.options.captions:
                yield picture
            else:
                yield write_text(picture, f"{frame / self.options.fps:.2f} s")

    def _cells(self, renderer: Renderer, animation: Animation, frames: Sequence[int]) -> Iterator[Picture]:
        """One animation's pictures; after its last frame it holds that."""
        shown = [min(frame, len(animation) - 1) for frame in frames]
        scenes = map(animation.scene, shown)
        if not self.options.contacts:
            return renderer.draw_all(scenes)
        drawn, marked = tee(scenes)
        return map(mark_contacts, renderer.draw_all(drawn), marked)

    def trail(self, renderer: Renderer) -> Picture:
        """(H, W, 3): the trail of every animation, with titles and captions."""
        drawn = []
        for animation in self.animations:
            scene = animation.trail(self.options.trail)
            picture = renderer.draw(scene)
            drawn.append(mark_contacts(picture, scene) if self.options.contacts else picture)
        return self._assemble(drawn, None)

    def _assemble(self, cells: Sequence[Picture], frame: int | None) -> Picture:
        """The whole picture of a frame or (None) of all, from those of the animations."""
        written = [self._write(k, cell, frame) for k, cell in enumerate(cells)]
        return pad(tile(written, self.columns, gap=0), self.options.size)

    def _write(self, cell: int, picture: Picture, frame: int | None) -> Picture:
        """An animation's picture with its title and caption."""
        title = self._title(cell, frame)
        if title:
            picture = write_text(picture, title, "upper middle")
        if self.options.captions:
            picture = write_text(picture, self._caption(cell, frame))
        return picture

    def _title(self, cell: int, frame: int | None) -> str:
        """The line above a cell: its title, or the part that has begun by this frame; all for no frame."""
        options = self.options
        if options.layout == "row" and options.titles:
            return BETWEEN_TITLES.join(options.titles)
        if cell < len(options.titles):
            return options.titles[cell]
        if not options.captions:
            return ""
        parts = self.motions[cell].parts
        if frame is None:
            return ", ".join(" + ".join(part.labels) for part in parts)
        begun = [part for part in parts if frame / options.fps >= part.start - 1e-6]
        return " + ".join(begun[-1].labels) if begun else ""

    def _caption(self, cell: int, frame: int | None) -> str:
        """The labels, unless several people share the cell, and the number of the frame.

        Of a timeline it is the label of the moment, which stands above the cell already.
        """
        motion = self.motions[cell]
        is_alone = self.options.layout == "grid" and not (motion.parts and frame is not None)
        labels = ", ".join(motion.labels) if is_alone else ""
        return labels if frame is None else f"{labels}   {frame}".strip()


def pad(picture: Picture, size: tuple[int, int]) -> Picture:
    """The picture at this size: cells of a size that does not divide evenly leave a few pixels over.

    They repeat the edge, at the right and below.
    """
    bottom = size[1] - picture.shape[0]
    right = size[0] - picture.shape[1]
    if not bottom and not right:
        return picture
    return np.pad(picture, ((0, bottom), (0, right), (0, 0)), mode="edge")
