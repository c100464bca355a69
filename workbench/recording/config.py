"""What a user may say about records; imports no TensorFlow."""

from dataclasses import dataclass

from workbench.core.config import register


@register("recorder", "standard", builder="workbench.recording.recorder:build")
@dataclass
class RecorderConfig:
    """Which records a run keeps besides its numbers."""

    # Scalars and hyper-parameters for TensorBoard.
    tensorboard: bool = True
    # Learning curves as PNG.
    plots: bool = True
    # A progress bar on a terminal, lines elsewhere.
    progress: bool = True
