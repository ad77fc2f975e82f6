// Python's view of the kernels: names of the paths that run here, and one call.
//
// Tensors arrive as addresses. The caller (runtime/kernels/ops.py) has checked types, shapes and
// contiguity; what is checked here is what would make a kernel read or write out of bounds.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "linear.h"
#include "threads.h"

namespace nb = nanobind;

namespace {

using namespace qvlm;

// Fastest first.
std::vector<const Isa*> isas() {
    std::vector<const Isa*> found;
    for (const Isa* isa : {amx_isa(), avx512_isa(), avx_vnni_isa(), avx2_isa(), neon_isa(),
                           portable_isa()})
        if (isa) found.push_back(isa);
    return found;
}

const Isa& isa_of(const std::string& name) {
    static const std::vector<const Isa*> known = isas();
    for (const Isa* isa : known)
        if (name == isa->name) return *isa;
    throw std::invalid_argument("kernel path '" + name + "' does not run here");
}

std::vector<std::string> paths() {
    std::vector<std::string> names;
    for (const Isa* isa : isas()) names.emplace_back(isa->name);
    return names;
}

template <class T>
const T* at(uintptr_t address) {
    return reinterpret_cast<const T*>(address);
}

void check(bool right, const char* what) {
    if (!right) throw std::invalid_argument(what);
}

void call(const std::string& path, int arithmetic, int stored_bits, int run, int64_t out_features,
          int64_t in_features, int64_t group_size, int middle, uintptr_t levels,
          int64_t levels_bytes, uintptr_t scale, uintptr_t zero_point, uintptr_t x, int64_t tokens,
          int grid, int top, bool symmetric, bool rotate, uintptr_t input_scale,
          uintptr_t input_zero_point, uintptr_t constant, uintptr_t token_sums,
          uintptr_t group_sums, uintptr_t y, int threads) {
    check(arithmetic >= 0 && arithmetic <= 2, "unknown arithmetic");
    check(stored_bits == 4 || stored_bits == 6 || stored_bits == 8, "unknown width of levels");
    check(arithmetic != static_cast<int>(Arithmetic::words) || stored_bits == 8,
          "16-bit products need levels stored as bytes");
    check(out_features > 0 && in_features > 0 && tokens >= 0, "empty matrix");
    check(group_size > 0 && in_features % group_size == 0, "groups do not divide the channels");
    check(run > 0 && top > 0 && top <= 255 && threads > 0, "count out of range");
    const bool rounds = arithmetic != static_cast<int>(Arithmetic::reals);
    check(grid >= 0 && grid <= 4 && (grid != static_cast<int>(Grid::none)) == rounds,
          "grid and arithmetic do not fit");
    const bool per_token = grid == static_cast<int>(Grid::per_token);
    const bool per_group = grid == static_cast<int>(Grid::per_group);
    check(!rotate || (per_group && (group_size & (group_size - 1)) == 0),
          "rotation needs groups of a power of two");
    check(!per_group == !group_sums, "group sums belong to per-group grids");
    check(!rounds || per_token || per_group || (input_scale && input_zero_point), "a static grid needs scales");
    check(!per_token == !token_sums, "token sums belong to per-token grids");
    const Weights weights = {static_cast<Arithmetic>(arithmetic),
                             stored_bits,
                             run,
                             out_features,
                             in_features,
                             group_size,
                             at<uint8_t>(levels),
                             at<uint16_t>(scale),
                             at<uint8_t>(zero_point),
                             middle};
    check(levels_bytes == weights.panels() * weights.panel_bytes(), "levels have another size");
    const Inputs inputs = {at<float>(x),  tokens,    static_cast<Grid>(grid),
                           top,           symmetric, rotate,
                           at<float>(input_scale), at<float>(input_zero_point)};
    const Outputs outputs = {reinterpret_cast<float*>(y), at<float>(constant),
                             at<float>(token_sums), at<int16_t>(group_sums)};
    linear(isa_of(path), weights, inputs, outputs, threads);
}

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "CPU kernels of qvlm: call them through qvlm.runtime.kernels.";
    m.def("paths", &paths, "Names of the kernel paths that run on this processor, fastest first.");
    m.def("thread_pool", [] { return std::string(thread_pool()); },
          "Which threads work: those of PyTorch's OpenMP, or some started for each call.");
    m.def("linear", &call, nb::call_guard<nb::gil_scoped_release>(), nb::arg("path"),
          nb::arg("arithmetic"), nb::arg("stored_bits"), nb::arg("run"), nb::arg("out_features"),
          nb::arg("in_features"), nb::arg("group_size"), nb::arg("middle"), nb::arg("levels"),
          nb::arg("levels_bytes"), nb::arg("scale"), nb::arg("zero_point"), nb::arg("x"),
          nb::arg("tokens"), nb::arg("grid"), nb::arg("top"), nb::arg("symmetric"),
          nb::arg("rotate"),
          nb::arg("input_scale"), nb::arg("input_zero_point"), nb::arg("constant"),
          nb::arg("token_sums"), nb::arg("group_sums"), nb::arg("y"), nb::arg("threads"),
          "y = quantized linear of x; every tensor is an address, 0 where it is absent.");
}
