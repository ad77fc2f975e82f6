// What the processor's arithmetic allows: 12 independent accumulators, operands from the L1 cache,
// in the instruction mix of the AVX2 kernels. Prints GOP/s of one thread: bytes words reals.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#define ROW(offset, a, b, MULTIPLY, ADD)                                          \
    "vpbroadcastd " #offset "(%0),%%ymm13\n" MULTIPLY " %%ymm0,%%ymm13,%%ymm15\n" \
    MULTIPLY " %%ymm1,%%ymm13,%%ymm14\n" ADD " %%ymm15,%%ymm" #a ",%%ymm" #a "\n" \
    ADD " %%ymm14,%%ymm" #b ",%%ymm" #b "\n"
#define FMA(offset, a, b)                                                     \
    "vbroadcastss " #offset "(%0),%%ymm13\n vfmadd231ps %%ymm0,%%ymm13,%%ymm" #a \
    "\n vfmadd231ps %%ymm1,%%ymm13,%%ymm" #b "\n"
#define LOOP(BODY)                                                                     \
    asm volatile("1: vmovdqa (%1),%%ymm0\n vmovdqa 32(%1),%%ymm1\n" BODY               \
                 "add $24,%0\n add $64,%1\n dec %2\n jnz 1b\n"                          \
                 : "+r"(a), "+r"(b), "+r"(steps)                                       \
                 :                                                                     \
                 : "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", \
                   "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")
#define INTEGERS(M, A) \
    ROW(0, 2, 3, M, A) ROW(4, 4, 5, M, A) ROW(8, 6, 7, M, A) ROW(12, 8, 9, M, A) \
    ROW(16, 10, 11, M, A) ROW(20, 12, 12, M, A)

int main() {
    char* const x = static_cast<char*>(std::aligned_alloc(64, 1 << 16));
    char* const w = static_cast<char*>(std::aligned_alloc(64, 1 << 16));
    std::memset(x, 0, 1 << 16);
    std::memset(w, 0, 1 << 16);
    const int each[] = {64, 32, 16};
    for (int kind = 0; kind < 3; ++kind) {
        double best = 0;
        for (int round = 0; round < 5; ++round) {
            const auto start = std::chrono::steady_clock::now();
            const long runs = 20000;
            for (long i = 0; i < runs; ++i) {
                char *a = x, *b = w;
                long steps = 256;
                if (kind == 0) LOOP(INTEGERS("vpmaddubsw", "vpaddw"));
                if (kind == 1) LOOP(INTEGERS("vpmaddwd", "vpaddd"));
                if (kind == 2)
                    LOOP(FMA(0, 2, 3) FMA(4, 4, 5) FMA(8, 6, 7) FMA(12, 8, 9) FMA(16, 10, 11)
                         FMA(20, 12, 14));
            }
            const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
            const double rate = runs * 256.0 * 12 * each[kind] / spent.count() / 1e9;
            if (rate > best) best = rate;
        }
        std::printf("%.1f ", best);
    }
}
