// Every kernel path that runs here against a few loops of its own, on blocks of memory without a
// byte to spare: under AddressSanitizer (`make asan`) a read or write outside them ends the program.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "linear.h"

using namespace qvlm;

namespace {

std::mt19937 random_bits(7);

int below(int n) { return static_cast<int>(random_bits() % static_cast<unsigned>(n)); }

// Exactly as long as it says, on the heap.
template <class T>
std::unique_ptr<T[]> exact(int64_t n) {
    return std::unique_ptr<T[]>(new T[n]());
}

struct Case {
    Arithmetic arithmetic;
    int bits;
    int activation_bits;
    int64_t tokens, in, out, group;
    Grid grid;
    bool symmetric;
};

// Place of a level inside its block, and how it is written there: layout.h.
void put_level(const Weights& w, uint8_t* block, int output, int channel, int level) {
    const int last = kBlock / steps_per_block(w.arithmetic);
    const int place = (channel / last * kPanel + output) * last + channel % last;
    if (w.stored_bits == 8) {
        block[place] = static_cast<uint8_t>(level);
        return;
    }
    block[place % 32] |= static_cast<uint8_t>((level & 15) << (place < 32 ? 0 : 4));
    if (w.stored_bits == 6)
        block[32 + place % 16] |= static_cast<uint8_t>((level >> 4) << (2 * (place / 16)));
}

// Hadamard transform, widest butterflies first.
void transform(float* x, int64_t n) {
    for (int64_t half = n / 2; half > 0; half /= 2)
        for (int64_t i = 0; i < n; ++i)
            if (!(i & half)) {
                const float a = x[i], b = x[i + half];
                x[i] = a + b;
                x[i + half] = a - b;
            }
}

double worst(const Isa& isa, const Case& c, int threads) {
    const int top = (1 << c.activation_bits) - 1, levels = 1 << c.bits;
    Weights w = {c.arithmetic, c.bits, 1, c.out, c.in, c.group, nullptr, nullptr, nullptr,
                 levels / 2};
    const int largest = c.symmetric ? levels / 2 : levels - 1;
    if (c.arithmetic == Arithmetic::bytes) w.run = std::max(1, 32767 / (2 * top * largest));
    const int64_t groups = w.groups(), padded = w.panels() * kPanel;
    auto packed = exact<uint8_t>(w.panels() * w.panel_bytes());
    auto scale = exact<uint16_t>(padded * groups);
    auto zero = exact<uint8_t>(padded * groups);
    std::vector<int> centred(c.out * c.in);
    std::vector<float> scales(c.out * groups);
    for (int64_t o = 0; o < c.out; ++o)
        for (int64_t g = 0; g < groups; ++g) {
            const int64_t at = (o / kPanel * groups + g) * kPanel + o % kPanel;
            scale[at] = static_cast<uint16_t>(0x3f00 + below(128));
            const uint32_t wide = static_cast<uint32_t>(scale[at]) << 16;
            std::memcpy(&scales[o * groups + g], &wide, sizeof wide);
            zero[at] = static_cast<uint8_t>(c.symmetric ? levels / 2 : below(levels));
            for (int64_t i = 0; i < c.group; ++i) {
                const int level = below(levels);
                const int64_t block = g * w.group_blocks() + i / kBlock;
                put_level(w, packed.get() + o / kPanel * w.panel_bytes() +
                                 block * block_bytes(c.bits),
                          static_cast<int>(o % kPanel), static_cast<int>(i % kBlock), level);
                centred[o * c.in + g * c.group + i] = level - zero[at];
            }
        }
    w.levels = packed.get();
    w.scale = scale.get();
    w.zero_point = c.symmetric ? nullptr : zero.get();
    auto group_sums = exact<int16_t>(padded * groups);
    for (int64_t o = 0; o < c.out; ++o)
        for (int64_t i = 0; i < c.in; ++i)
            group_sums[(o / kPanel * groups + i / c.group) * kPanel + o % kPanel] +=
                static_cast<int16_t>(centred[o * c.in + i]);

    auto x = exact<float>(c.tokens * c.in);
    for (int64_t i = 0; i < c.tokens * c.in; ++i)
        x[i] = static_cast<float>(below(2001) - 1000) / 250.0f;
    const int64_t width = c.grid == Grid::per_channel ? c.in : 1;
    auto steps = exact<float>(width), zeros = exact<float>(width);
    for (int64_t i = 0; i < width; ++i) {
        steps[i] = 0.1f + static_cast<float>(below(100)) / 100.0f;
        zeros[i] = static_cast<float>(below(top + 1));
    }
    auto y = exact<float>(c.tokens * c.out);
    auto sums = exact<float>(c.out);
    const bool per_token = c.grid == Grid::per_token, real = c.grid == Grid::none;
    const bool per_group = c.grid == Grid::per_group, fixed = !(per_token || per_group || real);
    const bool rotate = per_group && (c.group & (c.group - 1)) == 0;
    const Inputs in = {x.get(), c.tokens, c.grid, top, false, rotate,
                       fixed ? steps.get() : nullptr, fixed ? zeros.get() : nullptr};
    linear(isa, w, in, {y.get(), nullptr, per_token ? sums.get() : nullptr,
                        per_group ? group_sums.get() : nullptr}, threads);
    // From here on as they are rounded; sums of a few multiples of 1 / 250 in the paths' order.
    for (int64_t at = 0; rotate && at < c.tokens * c.in; at += c.group) transform(&x[at], c.group);

    double error = 0;
    const int64_t stretch = per_group ? c.group : c.in;
    for (int64_t t = 0; t < c.tokens; ++t) {
        std::vector<float> stretch_steps, middles;
        for (int64_t at = 0; at < c.in; at += stretch) {
            float low = 0, high = 0;
            for (int64_t i = at; i < at + stretch; ++i) {
                low = std::fmin(low, x[t * c.in + i]);
                high = std::fmax(high, x[t * c.in + i]);
            }
            const float step = high > low ? (high - low) / static_cast<float>(top) : 1.0f;
            stretch_steps.push_back(step);
            middles.push_back(std::nearbyint(-low / step));
        }
        const float step = per_token ? stretch_steps[0] : 1.0f;
        double span = 1e-30;
        std::vector<double> expected(c.out);
        for (int64_t o = 0; o < c.out; ++o) {
            double total = 0, size = 0;
            for (int64_t i = 0; i < c.in; ++i) {
                const float v = x[t * c.in + i];
                const int64_t at = c.grid == Grid::per_channel ? i : 0;
                const bool dynamic = per_token || per_group;
                const float by = dynamic ? stretch_steps[i / stretch] : steps[at];
                const float z = dynamic ? middles[i / stretch] : zeros[at];
                const double q = real ? v : std::fmin(std::fmax(std::nearbyint(v / by) + z, 0.0f),
                                                      static_cast<float>(top));
                const double term = (per_group ? (q - z) * by : q) * centred[o * c.in + i] *
                                    scales[o * groups + i / c.group];
                total += term;
                size += std::fabs(term);
            }
            expected[o] = per_token ? total * step : total;
            span = std::fmax(span, per_token ? size * step : size);
        }
        for (int64_t o = 0; o < c.out; ++o)
            error = std::fmax(error, std::fabs(y[t * c.out + o] - expected[o]) / span);
    }
    return error;
}

}  // namespace

int main() {
    const struct { Arithmetic arithmetic; int bits, activation_bits; bool symmetric; } widths[] = {
        {Arithmetic::bytes, 4, 4, false}, {Arithmetic::bytes, 4, 8, false},
        {Arithmetic::bytes, 6, 6, false}, {Arithmetic::bytes, 8, 6, true},
        {Arithmetic::words, 8, 8, false}, {Arithmetic::words, 8, 8, true},
        {Arithmetic::reals, 4, 8, false}, {Arithmetic::reals, 6, 8, false},
        {Arithmetic::reals, 8, 8, false}, {Arithmetic::bytes, 8, 8, true}};
    const struct { int64_t tokens, in, out, group; } shapes[] = {
        {1, 1, 1, 1},      {1, 64, 17, 32},  {3, 96, 40, 96},     {4, 128, 16, 16},
        {5, 33, 15, 33},   {6, 128, 31, 64}, {13, 90, 50, 6},     {7, 2304, 20, 2304},
        {9, 3000, 18, 1500}, {40, 256, 129, 128}, {19, 2208, 50, 32}, {33, 4160, 33, 4160}};
    const Isa* const isas[] = {portable_isa(), avx2_isa(), avx_vnni_isa(), avx512_isa(), amx_isa(),
                               neon_isa()};
    int runs = 0, failures = 0;
    for (const Isa* isa : isas) {
        if (!isa) continue;
        for (const auto& width : widths)
            for (const auto& shape : shapes)
                for (const Grid grid : {Grid::per_channel, Grid::per_tensor, Grid::per_token,
                                        Grid::per_group}) {
                    if (grid == Grid::per_group && shape.group * (1 << width.bits) > 32767)
                        continue;  // their sums of weights do not fit: kernels/plan.py refuses
                    const bool real = width.arithmetic == Arithmetic::reals;
                    const bool wide = isa == avx_vnni_isa() || isa == avx512_isa() || isa == amx_isa();
                    if (width.arithmetic == Arithmetic::bytes && width.activation_bits == 8 &&
                        width.bits == 8 && !wide)
                        continue;  // pairs of products do not fit the 16 bits of these paths
                    const Case c = {width.arithmetic, width.bits,   width.activation_bits,
                                    shape.tokens,     shape.in,     shape.out,
                                    shape.group,      real ? Grid::none : grid, width.symmetric};
                    const double error = worst(*isa, c, 2);
                    ++runs;
                    if (!(error < 1e-6)) {
                        ++failures;
                        std::printf("%s: W%dA%d %ldx%ldx%ld group %ld grid %d: %g\n", isa->name,
                                    c.bits, c.activation_bits, static_cast<long>(c.tokens),
                                    static_cast<long>(c.in), static_cast<long>(c.out),
                                    static_cast<long>(c.group), static_cast<int>(c.grid), error);
                    }
                }
        std::printf("%s ran\n", isa->name);
    }
    std::printf("%d passed, %d failed\n", runs - failures, failures);
    return failures ? 1 : 0;
}
