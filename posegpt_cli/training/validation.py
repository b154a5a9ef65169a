"""What `posegpt train` adds to a validation: clips as video, generated motion judged, curves redrawn."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Self

from data.actions import STYLE_PREFIX
from models.training.config import GPTRun, RunConfig
from posegpt_cli.console import warn
from posegpt_cli.output import RenderOptions, save_motion
from posegpt_cli.output.pictures import read_picture
from posegpt_cli.rendering.sheet import grid_shape

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from models.evaluation.in_training.fid import ValidationJudge
    from models.evaluation.in_training.previews import Preview
    from models.networks.vqvae import VQVAE
    from models.sampling.generate import Generator
    from models.training.data_source import TrainingData

SAMPLES = "samples"
"""Folder in a run: step_000500.mp4 with its still, and the stills as TensorBoard events."""
_CELL = (240, 320)
"""Pixels of one clip, width and height."""
_SHEET_FRAMES = 6
"""Moments in the still."""
_TITLE_LENGTH = 40
"""Characters that fit above a clip."""


class ValidationObserver:
    """Called by the training loop at each validation, in the first process, with the averaged network.

    Pictures are drawn in a thread of their own while training goes on. One that cannot be drawn is a warning,
    not the end of the run.
    """

    def __init__(self, run: RunConfig, folder: Path, data: "TrainingData") -> None:
        """Raises PoseGPTError if the classifier of eval_classif cannot judge this data."""
        self.run = run
        self.folder = folder
        self.info = data.info
        # Pictures need the first batch only; a judge sees as many as the validation itself.
        is_judged = isinstance(run, GPTRun) and (run.eval_fid or run.eval_classif)
        n_batches = run.eval_batches if is_judged else 1
        self.batches = list(islice(data.val.eval_batches(), n_batches))
        self.judge = self._open_judge() if is_judged else None
        self._vqvae: VQVAE | None = None
        self._painter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="pictures")
        self._drawing: Future[Any] | None = None
        self._board: SummaryWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        # The last picture is finished before the run ends.
        self._wait()
        self._painter.shutdown()
        if self._board:
            self._board.close()

    def __call__(self, network: Any, step: int) -> dict[str, float]:
        """Have this step's clips drawn; returns further figures of this validation."""
        if isinstance(self.run, GPTRun):
            network = self._as_generator(network)
        if self.run.n_visu_to_save and self._is_due(step, self.run.visu_every):
            self.draw(_draw_clips, self._preview(network), self._open_board(step), step)
        if self.judge and isinstance(self.run, GPTRun) and self._is_due(step, self.run.fid_every):
            return self.judge.figures(network, self.run.seed)
        return {}

    def _is_due(self, step: int, every: int) -> bool:
        """Whether this validation is an every-th one; the last one always is."""
        number = -(-step // self.run.eval_every)
        return number % every == 0 or step >= self.run.n_steps

    def draw(self, paint: Callable[..., Any], *arguments: Any) -> None:
        """Have a picture drawn by paint(*arguments), once the one before is done."""
        self._wait()
        self._drawing = self._painter.submit(paint, *arguments)

    def _wait(self) -> None:
        if self._drawing and (error := self._drawing.exception()):
            warn(f"no picture: {error}")
        self._drawing = None

    def _preview(self, network: Any) -> "Preview":
        """What the network makes of the first validation windows."""
        from models.evaluation.in_training.previews import classified, first_windows, generated, reconstructed
        from models.networks.vqvae import VQVAE
        from models.sampling.generate import Generator

        if isinstance(network, Generator):
            batch = first_windows(self.batches[0], self.run.n_visu_to_save)
            return generated(network, batch, self.run.seed)
        device = next(network.parameters()).device
        batch = first_windows(self.batches[0], self.run.n_visu_to_save).to(device)
        if isinstance(network, VQVAE):
            return reconstructed(network, batch, self.info)
        return classified(network, batch, self.info)

    def _as_generator(self, network: Any) -> "Generator":
        """The network with the tokenizer it is trained for."""
        from models.checkpoint import find_checkpoint, load_vqvae
        from models.sampling.generate import Generator

        assert isinstance(self.run, GPTRun)
        info = self.info
        device = str(next(network.parameters()).device)
        # Loaded once, and only if a validation comes.
        if self._vqvae is None:
            self._vqvae, _ = load_vqvae(find_checkpoint(self.run.vqvae, "vqvae"), device)
        return Generator(network, self._vqvae, info.labels, info.fps, info.body_type, device)

    def _open_board(self, step: int) -> "SummaryWriter":
        """TensorBoard's events in the folder of samples; those of a run that went back are overwritten."""
        from torch.utils.tensorboard import SummaryWriter

        if self._board is None:
            self._board = SummaryWriter(str(self.folder / SAMPLES), purge_step=step)
        return self._board

    def _open_judge(self) -> "ValidationJudge":
        from models.evaluation.in_training.fid import ValidationJudge
        from models.evaluation.judge import load_judge

        assert isinstance(self.run, GPTRun)
        judge = load_judge(self.run.classifier, self.run.device)
        # Its features are defined for any motion, but were learned without these actions.
        unknown = [label for label in self.info.labels if label not in judge.info.labels]
        if unknown:
            warn(
                f"the classifier does not know {', '.join(map(repr, unknown[:3]))}: its FID says little of "
                "them; train one on this data (posegpt train classifier) and give it as --classifier"
            )
        return ValidationJudge.of(judge, self.batches, self.info, self.run.eval_fid, self.run.eval_classif)


def _draw_clips(preview: "Preview", board: "SummaryWriter", step: int) -> None:
    """A video of all clips side by side, and a still of it in a file and for TensorBoard."""
    if not preview.motions:
        return
    columns, rows = grid_shape(len(preview.motions))
    titles = [title.replace(STYLE_PREFIX, "") for title in preview.titles]
    options = RenderOptions(
        size=(_CELL[0] * columns, _CELL[1] * rows),
        renderer="skeleton",
        sheet_frames=_SHEET_FRAMES,
        titles=tuple(shorten(title, _TITLE_LENGTH, placeholder="…") for title in titles),
    )
    # The still is what TensorBoard shows beside the curves.
    path = Path(board.log_dir) / f"step_{step:06d}.mp4"
    save_motion(preview.motions, path, options)
    still = path.with_suffix(".png")
    save_motion(preview.motions, still, options)
    board.add_image("clips", read_picture(still), step, dataformats="HWC")
