// x86-64 with AVX2, FMA and AVX-VNNI: processors that multiply bytes by fours, but have no AVX-512.
#include "isa.h"
#include "scalar.h"
#include "sums.h"

#if defined(__AVXVNNI__) && defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

#include <cstring>
#include <limits>

namespace qvlm {
namespace {

#include "avx2.inl"

// Four products of bytes, summed in 32 bits. In assembly, as GCC copies accumulators otherwise.
struct Fours {
    static constexpr bool narrow = false;
    static Integers mac(Integers acc, const Integers& v, __m256i q) {
        asm volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc.low) : "x"(q), "x"(v.low));
        asm volatile("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc.high) : "x"(q), "x"(v.high));
        return acc;
    }
    static Integers sum(Integers acc) { return acc; }
};

using Bytes = BytesBy<Fours>;
constexpr int kStream = 4, kTile = 6, kPanelsEach = 1;
#include "multiply.inl"
#include "round.inl"

const Isa kIsa = {"avx_vnni", kPanelsEach, kTokens, tile_of, round_tile, multiply};

}  // namespace

const Isa* avx_vnni_isa() {
    unsigned eax = 7, ebx, ecx = 1, edx;
    asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return avx2_isa() && (eax >> 4 & 1) ? &kIsa : nullptr;
}

}  // namespace qvlm

#else

namespace qvlm {
const Isa* avx_vnni_isa() { return nullptr; }
}  // namespace qvlm

#endif
