# One virtual environment for everything; `make demo` and `make test` need python3 and make only.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CPU := src/qvlm/runtime/kernels/cpu
export OMP_NUM_THREADS ?= 2
export HF_HUB_OFFLINE ?= 1

.PHONY: demo test test-vllm test-llm-compressor lint check format bench parity kernels asan arm triton reference reference-smol clean

$(READY): pyproject.toml constraints.txt
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: $(READY) ## Quantize the bundled LVLM to 4 bits and compare methods
	$(BIN)/qvlm compare pico-llava --recipe w4a4 --limit 300 --output runs/demo --overwrite
	$(BIN)/qvlm inspect runs/demo/recipe

test: $(READY) ## All fast tests, a process per core
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --dist loadfile -m 'not slow'

lint: $(READY) ## Formatter, linter, type checker, import contracts
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/mypy src
	$(BIN)/lint-imports

kernels: $(READY) ## Compile the CPU kernels again after a change to their C++
	rm -f $(CPU)/_native*.so
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps -e .
	@ls $(CPU)/_native*.so >/dev/null 2>&1 || { echo "error: the kernels do not compile: $(BIN)/pip install -v --no-deps -e . says why" >&2; exit 2; }

SANITIZED := -std=c++17 -O1 -g -fsanitize=address,undefined -ffp-contract=off
AVX512 := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma
asan: ## Every kernel path that runs here under AddressSanitizer
	mkdir -p build/asan
	$(CXX) $(SANITIZED) -mavx2 -mfma -c $(CPU)/avx2.cpp -o build/asan/avx2.o
	$(CXX) $(SANITIZED) -mavx2 -mfma -mavxvnni -c $(CPU)/avx_vnni.cpp -o build/asan/avx_vnni.o
	$(CXX) $(SANITIZED) $(AVX512) -c $(CPU)/avx512.cpp -o build/asan/avx512.o
	$(CXX) $(SANITIZED) $(AVX512) -mamx-tile -mamx-int8 -c $(CPU)/amx.cpp -o build/asan/amx.o
	$(CXX) $(SANITIZED) -I$(CPU) tests/native/compare_paths.cpp \
	    $(addprefix $(CPU)/,linear.cpp threads.cpp portable.cpp neon.cpp) \
	    $(addprefix build/asan/,avx2.o avx_vnni.o avx512.o amx.o) -o build/asan/compare_paths -lpthread -ldl
	build/asan/compare_paths

CROSS ?= aarch64-linux-gnu-g++
arm: ## The Arm kernels in an emulator (Debian: g++-aarch64-linux-gnu, qemu-user)
	mkdir -p build/arm
	$(CROSS) -std=c++17 -O2 -ffp-contract=off -march=armv8.2-a+dotprod -c $(CPU)/neon.cpp -o build/arm/neon.o
	$(CROSS) -std=c++17 -O2 -ffp-contract=off -static -I$(CPU) tests/native/compare_paths.cpp \
	    $(filter-out $(CPU)/module.cpp $(CPU)/neon.cpp,$(wildcard $(CPU)/*.cpp)) \
	    build/arm/neon.o -o build/arm/compare_paths -lpthread -ldl
	qemu-aarch64 -cpu max build/arm/compare_paths

triton: $(READY) ## The Triton kernels in Triton's interpreter, and compiled for Ampere and Hopper
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[triton]'
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/runtime/kernels tests/benchmarks/test_gpu.py -k 'triton or gpu or width'

check: lint test ## What has to pass before a change goes in

format: $(READY) ## Rewrite files as the formatter wants them
	$(BIN)/ruff format src tests benchmarks examples
	$(BIN)/ruff check --fix src tests benchmarks examples

bench: $(READY) ## Slow tests and the figures in benchmarks/
	$(BIN)/pytest -m slow
	$(BIN)/python benchmarks/accuracy/run.py
	$(BIN)/python benchmarks/equality/run.py
	$(BIN)/python benchmarks/analysis/run.py

parity: $(READY) ## The scorers beside the published ones (0.4 GB of packages in build/)
	test -d build/parity || $(BIN)/pip install --quiet --disable-pip-version-check --no-deps \
	    --target build/parity -r benchmarks/parity/requirements.txt
	PYTHONPATH=build/parity $(BIN)/python -W ignore benchmarks/parity/run.py

VLLM ?= .venv-vllm
test-vllm: $(READY) ## Ask exported checkpoints through the real vLLM (builds its environment, 3 GB)
	PYTHON=$(PYTHON) benchmarks/serving/environment.sh $(VLLM)
	$(BIN)/python benchmarks/serving/run.py pico-llava --vllm $(VLLM)
	test -z "$(FASHION_MNIST)" || \
	    $(BIN)/python benchmarks/serving/run.py smol-llava --vllm $(VLLM) --source smolqa:$(FASHION_MNIST)

LLM_COMPRESSOR ?= .venv-llm-compressor
test-llm-compressor: ## Read checkpoints that the real llm-compressor makes (an environment of its own, 2 GB)
	test -d $(LLM_COMPRESSOR) || $(PYTHON) -m venv $(LLM_COMPRESSOR)
	$(LLM_COMPRESSOR)/bin/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,rivals]'
	OMP_NUM_THREADS=1 $(LLM_COMPRESSOR)/bin/pytest tests/e2e/test_llm_compressor.py

reference: $(READY) ## Train pico-llava again (under an hour on 2 cores)
	$(BIN)/python -m qvlm.reference.train --output runs/reference --seed 0

reference-smol: $(READY) ## Train smol-llava's own parts again (about 80 minutes of one core)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,smol]'
	OMP_NUM_THREADS=1 $(BIN)/python -m qvlm.reference.smol.train --output runs/smol-llava --seed 0

clean:
	rm -rf $(VENV) $(VLLM) build runs
