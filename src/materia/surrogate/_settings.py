"""Settings of the surrogate: the network, its training, where it runs."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

DEFAULT_ARCHITECTURE: dict[str, int | float] = {
    "channels": 32,
    "layers": 2,
    "cutoff": 5.0,
    "radial": 8,
    "pooling_heads": 3,
    "replicas": 4,
}


class SurrogateSettings(BaseModel):
    """What is trained, and how. The defaults fine-tune the shipped weights on a few hundred structures;
    from random weights (``pretrained: null``) use some 100 epochs and a rate of 4e-3.

    The architecture fields (``channels`` to ``replicas``) are null by default: those of the pretrained weights
    where such are used, else ``DEFAULT_ARCHITECTURE``. Asking for another shape than the pretrained weights
    have is refused by :func:`materia.surrogate.train`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    readout: Literal["network", "gaussian_process"] = Field(
        "network",
        description="what learns from the labels: network: the pretrained networks are trained on; gaussian_process: a "
        "process over what they make of each structure, in seconds; of the other settings it heeds pretrained, folds, "
        "trees, device and threads",
    )
    trees: int = Field(
        100,
        ge=0,
        le=1000,
        description="extremely randomised trees beside the Gaussian process, believed as much as they deserve; 0: none",
    )
    channels: int | None = Field(None, ge=4, le=256, description="features of each order l per atom")
    layers: int | None = Field(None, ge=1, le=6)
    cutoff: float | None = Field(None, ge=3.0, le=8.0, description="neighbours up to here, Å")
    radial: int | None = Field(None, ge=4, le=16, description="Bessel functions of the distance")
    pooling_heads: int | None = Field(None, ge=1, le=8, description="attention heads of the readout, besides the mean")
    replicas: int | None = Field(None, ge=1, le=16, description="bootstrapped copies of each head within a member")

    towers: tuple[tuple[str, ...], ...] | None = Field(
        None,
        description="quantities that each network of a member learns; the first that learns a quantity predicts it. "
        "null: one network learns all",
    )
    members: int = Field(5, ge=1, le=20, description="networks in the ensemble; member k leaves out fold k")
    folds: int | None = Field(
        None, ge=2, le=50, description="folds of the formulas; default: as many as members; 10 for a Gaussian process"
    )
    left_out_by: int = Field(
        1,
        ge=1,
        le=2,
        description="members that leave out each of those folds; with 2 (and folds of at least four times as many as "
        "members) intervals are calibrated on what the mean of two errs, and are narrower",
    )
    balance: float = Field(
        0.0, ge=0, le=1, description="0: every label counts alike; 1: every quantity does, however few labels it has"
    )
    epochs: int = Field(15, ge=1)
    batch_size: int = Field(16, ge=1)
    learning_rate: float = Field(2e-3, gt=0)
    trunk_rate: float = Field(0.2, gt=0, le=1, description="learning rate of pretrained layers over that of heads")
    weight_decay: float = Field(1e-2, ge=0)
    warmup: float = Field(0.05, ge=0, lt=1, description="fraction of the steps with a rising rate")
    ema: float = Field(0.99, ge=0, lt=1, description="decay of the averaged weights, which are the ones kept")
    strain: float = Field(0.01, ge=0, le=0.1, description="random strain of the inputs in training (std)")
    rattle: float = Field(0.02, ge=0, le=0.2, description="random displacement of atoms in training (std, Å)")
    warm_epochs: int | None = Field(
        None,
        ge=1,
        description="epochs of a round that goes on from the model of the round before; null: every round begins anew",
    )
    patience: int | None = Field(
        None, ge=1, description="stop early after this many epochs without progress on a tenth of the formulas"
    )

    pretrained: str | None = Field("base", description="'base' (shipped weights), a model folder, or null")
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int = Field(1, ge=1, description="passed to Lightning")
    precision: Literal["32-true", "64-true", "bf16-mixed", "16-mixed"] = "32-true"
    threads: int = Field(1, ge=1, description="CPU threads; small networks gain little from more than one")
    compile: bool = Field(False, description="torch.compile the network: half a minute first, then up to twice as fast")
    checkpoint_every: int = Field(10, ge=1, description="epochs between checkpoints")

    @model_validator(mode="after")
    def _something_to_read_out(self) -> SurrogateSettings:
        if self.readout == "gaussian_process" and self.pretrained is None:
            raise ValueError(
                "readout: gaussian_process reads out trained networks, and pretrained is null: "
                "leave pretrained out (the shipped weights), or name a model folder"
            )
        return self

    def architecture(self) -> dict[str, Any]:
        """The fields that fix the shapes of the weights, defaults filled in."""
        asked = {name: getattr(self, name) for name in DEFAULT_ARCHITECTURE}
        return {name: DEFAULT_ARCHITECTURE[name] if value is None else value for name, value in asked.items()}
