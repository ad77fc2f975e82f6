// Any processor: plain C++, 16 outputs side by side so that a compiler can use what vectors it has.
#include <cmath>
#include <cstring>
#include <limits>

#include "isa.h"
#include "scalar.h"
#include "sums.h"

namespace qvlm {
namespace {

struct Vector {
    float at[kPanel];
};

struct Integers {
    int32_t at[kPanel];
};

inline Vector load_scale(const uint16_t* at) {
    Vector v;
    for (int o = 0; o < kPanel; ++o) {
        const uint32_t bits = static_cast<uint32_t>(at[o]) << 16;
        std::memcpy(&v.at[o], &bits, sizeof bits);
    }
    return v;
}

inline Vector offset_of(const int16_t* sums, Vector scale) {
    for (int o = 0; o < kPanel; ++o) scale.at[o] *= static_cast<float>(-sums[o]);
    return scale;
}

// Levels minus zero points of the block at `at`, in the order of the layout: [first][16 outputs]
// [last] levels share the zero point of their output.
template <int bits, int last>
inline void centred_of(const uint8_t* at, const uint8_t* zeros, int middle, int16_t (&to)[kLevels]) {
    for (int j = 0; j < kLevels; ++j) {
        int level = at[j % block_bytes(bits)];
        if constexpr (bits < 8) level = at[j % 32] >> (j < 32 ? 0 : 4) & 15;
        if constexpr (bits == 6) level |= (at[32 + j % 16] >> (2 * (j / 16)) & 3) << 4;
        to[j] = static_cast<int16_t>(level - (zeros ? zeros[j / last % kPanel] : middle));
    }
}

// `last` channels a step; Value is what a channel of a word is.
template <class Value, class Total, int last>
struct Plain : SumsInMemory {
    static constexpr int steps = kBlock / last;
    static constexpr bool integer = last > 1;
    static constexpr bool narrow = false;  // always by way of the buffer: less code to compile
    struct Operand {
        Total at[kPanel * last];
    };
    struct Acc {
        Total at[kPanel];
    };
    using Sum = Acc;

    static Operand load_operand(const uint8_t* at) {
        Operand v;
        std::memcpy(&v, at, sizeof v);
        return v;
    }
    static void store_operand(uint8_t* at, const Operand& v) { std::memcpy(at, &v, sizeof v); }
    static Acc mac(Acc acc, const Operand& v, const uint32_t* word) {
        Value q[last];
        std::memcpy(q, word, sizeof q);
        for (int o = 0; o < kPanel; ++o)
            for (int c = 0; c < last; ++c) acc.at[o] += static_cast<Total>(q[c]) * v.at[o * last + c];
        return acc;
    }
    static Sum sum(Acc acc) { return acc; }
    static Sum add(Sum a, Sum b) {
        for (int o = 0; o < kPanel; ++o) a.at[o] += b.at[o];
        return a;
    }
    static Sum load(const int32_t* at) {
        Sum s;
        std::memcpy(&s, at, sizeof s);
        return s;
    }
    static void store(int32_t* at, Sum s) { std::memcpy(at, &s, sizeof s); }
    static void finish(float* real, Sum s, Vector scale) {
        for (int o = 0; o < kPanel; ++o) real[o] += static_cast<float>(s.at[o]) * scale.at[o];
    }
    static void finish(float* real, Sum s, Vector scale, Vector offset, TokenGrid grid) {
        for (int o = 0; o < kPanel; ++o) {
            const float product = static_cast<float>(s.at[o]) * scale.at[o];
            real[o] = std::fma(grid.scale, std::fma(grid.zero_point, offset.at[o], product), real[o]);
        }
    }

    template <int bits>
    struct Stream {
        const uint8_t* at;
        const uint8_t* zeros = nullptr;
        int middle = 0;
        int16_t centred[kLevels] = {};
        explicit Stream(const uint8_t* from) : at(from) {}
        void group(const uint8_t* from, int all) {
            zeros = from;
            middle = all;
        }
        void fetch() const { prefetch(at); }
        void next() { centred_of<bits, last>(at, zeros, middle, centred); }
        Operand operand(int step) const {
            Operand v;
            for (int j = 0; j < kPanel * last; ++j)
                v.at[j] = static_cast<Total>(centred[step * kPanel * last + j]);
            return v;
        }
        void done() { at += block_bytes(bits); }
    };
};

using Bytes = Plain<uint8_t, int32_t, 4>;
using Words = Plain<uint16_t, int32_t, 2>;
using Reals = Plain<float, float, 1>;

using Lanes = Scalar;

// Always by way of the buffer: less code to compile.
constexpr int kStream = 0, kTile = 6, kPanelsEach = 1;
#include "multiply.inl"
#include "round.inl"

const Isa kIsa = {"portable", kPanelsEach, kTokens, tile_of, round_tile, multiply};

}  // namespace

const Isa* portable_isa() { return &kIsa; }

}  // namespace qvlm
