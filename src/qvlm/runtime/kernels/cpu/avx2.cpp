// x86-64 with AVX2 and FMA.
#include "isa.h"
#include "scalar.h"
#include "sums.h"

#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

#include <cstring>
#include <limits>

namespace qvlm {
namespace {

#include "avx2.inl"

// `maddubs` of unsigned activations and signed weights, summed in 16 bits.
struct Pairs {
    static constexpr bool narrow = true;
    static Integers mac(Integers acc, const Integers& v, __m256i q) {
        return in_registers(Integers{_mm256_add_epi16(acc.low, _mm256_maddubs_epi16(q, v.low)),
                                     _mm256_add_epi16(acc.high, _mm256_maddubs_epi16(q, v.high))});
    }
    static Integers sum(Integers acc) {
        const __m256i ones = _mm256_set1_epi16(1);
        return {_mm256_madd_epi16(acc.low, ones), _mm256_madd_epi16(acc.high, ones)};
    }
};

using Bytes = BytesBy<Pairs>;
constexpr int kStream = 4, kTile = 6, kPanelsEach = 1;
#include "multiply.inl"
#include "round.inl"

const Isa kIsa = {"avx2", kPanelsEach, kTokens, tile_of, round_tile, multiply};

}  // namespace

const Isa* avx2_isa() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? &kIsa : nullptr;
}

}  // namespace qvlm

#else

namespace qvlm {
const Isa* avx2_isa() { return nullptr; }
}  // namespace qvlm

#endif
