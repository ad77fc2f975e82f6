// What the processor allows. Arithmetic: independent accumulators, operands from the L1 cache, in the
// instruction mix of the kernels; GOP/s of one thread, 0 where the processor lacks the instructions.
// Reading: GB/s of 512 MiB with all threads, prefetched. Usage: peak THREADS; prints
// bytes words reals vnni amx read.
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

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

template <class F>
double best_seconds(const F& run) {
    double best = 1e9;
    for (int round = 0; round < 7; ++round) {
        const auto start = std::chrono::steady_clock::now();
        run();
        const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
        if (spent.count() < best) best = spent.count();
    }
    return best;
}

#define DOT(a) "vpdpbusd %%zmm0,%%zmm1,%%zmm" #a "\n"
double vnni() {
    if (!__builtin_cpu_supports("avx512vnni")) return 0;
    const long runs = 500000;
    const double seconds = best_seconds([] {
        long left = runs;
        asm volatile("1:" DOT(16) DOT(17) DOT(18) DOT(19) DOT(20) DOT(21) DOT(22) DOT(23) DOT(24)
                         DOT(25) DOT(26) DOT(27) "dec %0\n jnz 1b\n"
                     : "+r"(left));  // -mavx2 leaves registers 16 to 31 alone
    });
    return runs * 12 * 128.0 / 1e9 / seconds;
}

struct alignas(64) Tiles {
    uint8_t palette, start, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

__attribute__((target("amx-tile,amx-int8"))) double amx() {
    unsigned a = 7, b, c = 0, d;
    asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    if (!(d >> 25 & 1) || syscall(SYS_arch_prctl, 0x1023, 18) != 0) return 0;
    Tiles tiles = {};
    tiles.palette = 1;
    for (int i = 0; i < 8; ++i) tiles.rows[i] = 16, tiles.row_bytes[i] = 64;
    _tile_loadconfig(&tiles);
    const long runs = 100000;
    const double seconds = best_seconds([] {
        for (long i = 0; i < runs; ++i)
            asm volatile("tdpbusd %%tmm6, %%tmm4, %%tmm0\n tdpbusd %%tmm7, %%tmm4, %%tmm1\n"
                         "tdpbusd %%tmm6, %%tmm5, %%tmm2\n tdpbusd %%tmm7, %%tmm5, %%tmm3" ::);
    });
    _tile_release();
    return runs * 4 * 32768.0 / 1e9 / seconds;
}

double read_rate(int threads) {
    const size_t size = size_t{512} << 20, each = size / threads / 256 * 256;
    char* const data = static_cast<char*>(std::aligned_alloc(4096, size));
    std::memset(data, 1, size);
    const double seconds = best_seconds([&] {
        std::vector<std::thread> readers;
        for (int t = 0; t < threads; ++t)
            readers.emplace_back([=] {
                const char* const from = data + t * each;
                for (size_t i = 0; i < each; i += 64) {
                    __builtin_prefetch(from + i + 2048);
                    asm volatile("vmovdqa (%0), %%ymm0\n vmovdqa 32(%0), %%ymm1" ::"r"(from + i)
                                 : "xmm0", "xmm1");
                }
            });
        for (auto& reader : readers) reader.join();
    });
    std::free(data);
    return each * threads / seconds / 1e9;
}

int main(int count, char** arguments) {
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
    const int threads = count > 1 ? std::atoi(arguments[1]) : 1;
    std::printf("%.1f %.1f %.1f", vnni(), amx(), read_rate(threads));
}
