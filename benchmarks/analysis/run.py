"""What joint search gains on a model, and how well entropy and quantization error foretell it.

Runs `qvlm analyze` and keeps the figures, the page's tables and the most telling plots in
NAME/ beside this script. Arguments: NAME, then those of `qvlm analyze` without --output; by default

    pico-llava-w4a4 pico-llava --recipe w4a4-static

which takes about 2 minutes of processor time on one core.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
KEPT = (
    "analysis.json",
    "correlations.csv",
    "sweeps.csv",
    "ded.png",
    "ded-entropy.png",
    "ded-quantization-error.png",
    "dependency.png",
    "depth-errors.png",
    "ranges.png",
)


def main() -> None:
    name, *arguments = sys.argv[1:] or ["pico-llava-w4a4", "pico-llava", "--recipe", "w4a4-static"]
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "analysis"
        program = "from qvlm.cli.main import run; run()"
        command = [sys.executable, "-c", program, "analyze", *arguments, "--output", str(output)]
        subprocess.run(command, check=True)
        keep(output, HERE / name, f"qvlm analyze {' '.join(arguments)}")


def keep(output: Path, target: Path, command: str) -> None:
    target.mkdir(exist_ok=True)
    for file in KEPT:
        if (output / file).is_file():
            shutil.copy(output / file, target / file)
    # The page without the plots that are not kept.
    first, *sections = re.split(r"^(?=## )", (output / "index.md").read_text(), flags=re.MULTILINE)
    tables = "**" + sections[-1].partition("\n**")[2]
    sections[-1] = sections[-1].partition("\n**")[0]
    shown = [s for s in sections if any(f"({file})" in s for file in KEPT)]
    (target / "README.md").write_text(f"{first}    {command}\n\n{''.join(shown)}\n{tables}")


if __name__ == "__main__":
    main()
