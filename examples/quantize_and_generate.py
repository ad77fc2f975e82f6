"""Quantize a LLaVA to 4 bits, load it into the integer runtime and ask it one question.

python examples/quantize_and_generate.py pico-llava picoscience pico-q4
python examples/quantize_and_generate.py MODEL_DIR scienceqa:SCIENCEQA_DIR OUTPUT_DIR
"""

import sys

import qvlm
from qvlm.data import open_source
from qvlm.evaluation import HuggingFaceGenerator

model_name, calibration, output, *overrides = sys.argv[1:]

result = qvlm.quantize(
    model_name, recipe="w4a4", calibration=calibration, output=output, overrides=overrides
)
sizes = result.sizes
print(f"{len(result.layers)} layers: {sizes.float32_bytes} -> {sizes.quantized_bytes} bytes")

model, processor = qvlm.load(output)  # a Transformers model whose linears run in integers
sample = open_source(calibration, "test")[0]
(answer,) = HuggingFaceGenerator(model, processor).generate([sample])
print(f"{sample.question} -> {answer!r}")
