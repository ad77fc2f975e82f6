"""What second-order rounding did, site by site."""

from __future__ import annotations

from qvlm.artefacts.plan import Verdict
from qvlm.schemes.layer import Frozen


class SiteRounding(Frozen):
    """Rounding of the linears that read one input."""

    site: str
    nearest_loss: float | None
    """SUM_t w_t ||(V - V^) x_t||^2 over the tokens seen, weights rounded to nearest."""
    rounded_loss: float | None
    """The same as rounded in the end; never above `nearest_loss`."""
    nearest_rows: int
    """Outputs that stay rounded to nearest because it was no worse."""
    dead_channels: int
    """Input channels that were zero at every token; their weights are zero now."""
    damping: float | None
    """Share of the mean diagonal that was added to the Hessian's diagonal."""

    @classmethod
    def untouched(cls, site: str, outputs: int) -> SiteRounding:
        """A site whose inputs hold NaN or infinity: everything stays rounded to nearest."""
        return cls(
            site=site,
            nearest_loss=None,
            rounded_loss=None,
            nearest_rows=outputs,
            dead_channels=0,
            damping=None,
        )


class RoundingGuard(Frozen):
    """Verdict of samples that the Hessians did not see."""

    samples: int
    nearest: Verdict
    rounded: Verdict
    fell_back: bool
    """True where the rounded model was surely worse, so that every weight is rounded to nearest."""


class RoundingSeconds(Frozen):
    """Where the time went."""

    forwards: float
    """Layers run, Hessians included."""
    hessians: float
    factorizations: float
    columns: float
    """The columns themselves, with the losses before and after."""
    guard: float


class RoundingOutcome(Frozen):
    """Rounding of a model."""

    sites: tuple[SiteRounding, ...]
    """As they came out of the rounding, whatever the guard said of it afterwards."""
    guard: RoundingGuard | None
    forward_equivalents: float
    seconds: float
    parts: RoundingSeconds
