// x86-64 with AVX-512 (F, BW, VL, DQ) and VNNI.
#include "isa.h"
#include "scalar.h"

#if defined(__AVX512VNNI__) && defined(__AVX512BW__)
#include <immintrin.h>

#include <cstring>
#include <limits>

namespace qvlm {
namespace {

#include "avx512.inl"

// Processors with AVX-512 have 1 MiB or more of L2, and a span of two panels is 256 steps.
constexpr int64_t kManyTokens = 512;

const Isa kIsa = {"avx512", kPanelsEach, kManyTokens, tile_of, round_tile, multiply};

}  // namespace

const Isa* avx512_isa() {
    const bool runs = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vnni");
    return runs ? &kIsa : nullptr;
}

}  // namespace qvlm

#else

namespace qvlm {
const Isa* avx512_isa() { return nullptr; }
}  // namespace qvlm

#endif
