"""The options that ``lossgap measure`` and ``lossgap watch`` share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from lossgap.watch.watcher import Measuring

Data = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="MODULE:FUNCTION",
        help="Function that returns the training data: (x, y), (x, y, sample_weight), a dataset, "
        "or a dict with train and validation.",
    ),
]
CodePath = Annotated[
    Path,
    typer.Option("--path", file_okay=False, help="Folder that modules are imported from."),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODULE:FUNCTION|FILE",
        help="For checkpoints of weights alone: function that returns the compiled model, or a "
        ".keras file of it.",
    ),
]
Log = Annotated[
    Path | None,
    typer.Option("--log", dir_okay=False, help="File of CSVLogger, for the reported loss."),
]
Trackers = Annotated[
    list[str] | None,
    typer.Option(
        "--tracker",
        metavar="NAME[:PLACE]",
        help="Where to log: mlflow[:URI], tensorboard[:FOLDER], wandb[:ENTITY/PROJECT]. May be "
        "given several times.",
    ),
]
RunId = Annotated[
    str | None,
    typer.Option("--run-id", help="The training's run in MLflow or W&B, which isn't ended."),
]
Pattern = Annotated[
    str | None,
    typer.Option(
        "--pattern",
        help="How checkpoints are named, as in ModelCheckpoint: 'model-{epoch:02d}.keras'. By "
        "default the number after 'epoch', or the only whole number in the name.",
    ),
]
FirstEpoch = Annotated[
    int,
    typer.Option("--first-epoch", min=0, help="Number of the first epoch in names."),
]
NoParts = Annotated[bool, typer.Option("--no-parts", help="Don't look for the causes of the gap.")]
BatchSize = Annotated[
    int | None,
    typer.Option("--batch-size", min=1, help="The training's batch size; Keras's 32 by default."),
]


def measuring(
    data: str,
    path: Path,
    model: str | None,
    log: Path | None,
    *,
    parts: bool,
    batch_size: int | None,
) -> "Measuring":
    """Import the module of the data, and say how checkpoints are measured."""
    from lossgap.watch.functions import load_data
    from lossgap.watch.models import Models
    from lossgap.watch.watcher import Measuring

    found = load_data(data, path)
    options: dict[str, Any] = {"parts": parts, "batch_size": batch_size}
    return Measuring(Models(model, path), found, options, log)
