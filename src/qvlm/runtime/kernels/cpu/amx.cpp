// x86-64 with AMX: a tile of 16 tokens meets a panel of 16 outputs in matrix registers.
//
// A block of the layout is a row of an AMX operand: 16 outputs by 4 channels. Levels of 16 tokens lie
// side by side, a product's worth at a time. Sums are exact in 32 bits, like those of other paths.
#include "isa.h"
#include "scalar.h"

#if defined(__AMX_INT8__) && defined(__AVX512VNNI__) && defined(__linux__)
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <limits>
#include <utility>

namespace qvlm {
namespace {

#include "avx512.inl"

constexpr int kRows = 16;          // tokens of a tile
constexpr int kDeep = 16;          // blocks that one product takes at most: 64 channels
constexpr int kFew = 4;            // tokens, which wait for memory whichever way they are multiplied
constexpr int kAhead = 2;          // products that are begun before sums of a group become floats
constexpr int64_t kNear = 16 * 1024;  // unpacked weights of a span: a third of an L1 cache

// Whether s (A - z B) is exact in a float, so that the sum of (q - z) (v - u) gives the bits of the
// definition's fused operations: scales have 8 bits, so 16 are left.
inline bool exact(const Weights& w, const Inputs& in) {
    const int64_t weight = (w.zero_point ? 1 << w.stored_bits : 1 << w.stored_bits >> 1);
    return w.group_size * in.top * weight < (1 << 16) && in.top < 128;
}

inline bool takes(const Weights& w, const Inputs& in) {
    return w.arithmetic == Arithmetic::bytes && in.tokens > kFew &&
           (in.grid != Grid::per_group || exact(w, in));
}

inline int rows_of_tile(const Inputs& in, int64_t tile) {
    const int64_t left = in.tokens - tile * kRows;
    return left < kRows ? static_cast<int>(left) : kRows;
}

// How a group is cut into products of equal depth; its last one ends with zero weights.
struct Cut {
    int blocks, products;
    explicit Cut(const Weights& w) {
        const auto group = static_cast<int>(w.group_blocks());
        blocks = group < kDeep ? group : kDeep;
        products = (group + blocks - 1) / blocks;
    }
    int64_t bytes() const { return int64_t{blocks} * products * kLevels; }  // of a panel's group
    int64_t words() const { return int64_t{blocks} * products * kRows; }   // of a tile's group
};

TileShape amx_tile(const Weights& w, const Inputs& in) {
    if (!takes(w, in)) return tile_of(w, in);
    return {kRows, w.groups() * Cut(w).words()};
}

// Words [group][product][16 tokens][blocks]; steps of groups lie side by side for the tokens of a
// tile, as floats [tile][group][16].
void amx_round(const Weights& w, const Inputs& in, int64_t tile, uint32_t* words, TokenGrid* grids,
               uint32_t* row) {
    if (!takes(w, in)) return round_tile(w, in, tile, words, grids, row);
    const Cut cut(w);
    const int64_t groups = w.groups(), blocks = w.group_blocks(), first = tile * kRows;
    const bool grouped = in.grid == Grid::per_group;
    auto* const room = reinterpret_cast<float*>(row + w.blocks());
    auto* const own = reinterpret_cast<TokenGrid*>(room + w.in_features);
    float* const step = reinterpret_cast<float*>(grids) + first * groups;
    for (int r = 0; r < rows_of_tile(in, tile); ++r) {
        round_token(w, in, first + r, row, grouped ? own : grids + first + r, room, grouped);
        uint32_t* to = words + r * cut.blocks;
        for (int64_t g = 0; g < groups; ++g) {
            for (int64_t at = 0; at < blocks; at += cut.blocks, to += kRows * cut.blocks) {
                const int64_t n = blocks - at < cut.blocks ? blocks - at : cut.blocks;
                std::memcpy(to, row + g * blocks + at, n * sizeof *to);
            }
            if (grouped) step[g * kRows + r] = own[g].scale;
        }
    }
}

struct alignas(64) TileConfig {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

// Registers 0 to 3 are sums, 4 and 5 tokens, 6 and 7 weights of so many blocks.
void configure(int blocks) {
    TileConfig config = {};
    config.palette = 1;
    for (int i = 0; i < 8; ++i) {
        config.rows[i] = static_cast<uint8_t>(i < 6 ? kRows : blocks);
        config.row_bytes[i] = static_cast<uint16_t>(i == 4 || i == 5 ? blocks * kBlock : 64);
    }
    _tile_loadconfig(&config);
}

#include "amx.inl"

template <int bits>
void multiply_tiles(const Job& job, const Task& task) {
    const Weights& w = job.w;
    auto* const buffer = static_cast<uint8_t*>(task.buffer);
    const bool grouped = job.in.grid == Grid::per_group;
    configure(job.cut.blocks);
    if (w.groups() == 1 && !grouped) {
        for (int64_t panel = task.first_panel; panel < task.last_panel; panel += 2) {
            const int panels = task.last_panel - panel > 1 ? 2 : 1;
            for (int p = 0; p < panels; ++p)
                unpack_groups<bits>(w, panel + p, 0, 1, job.cut, buffer + p * job.cut.bytes());
            for (int64_t tile = task.first_tile; tile < task.last_tile; tile += 2)
                multiply_whole(job, tile, task.last_tile - tile > 1 ? 2 : 1, panel, panels, buffer);
        }
    } else {
        const int64_t fit = kNear / job.cut.bytes(), per = fit > 0 ? fit : 1;
        for (int64_t at = 0; at < w.groups(); at += per) {
            const int64_t end = at + per < w.groups() ? at + per : w.groups();
            for (int64_t panel = task.first_panel; panel < task.last_panel; ++panel) {
                unpack_groups<bits>(w, panel, at, end, job.cut, buffer);
                for (int64_t tile = task.first_tile; tile < task.last_tile; ++tile)
                    if (grouped)
                        multiply_groups<true>(job, tile, panel, at, end, buffer);
                    else
                        multiply_groups<false>(job, tile, panel, at, end, buffer);
            }
        }
    }
    _tile_release();
}

void amx_multiply(const Weights& w, const Inputs& in, const Outputs& out, const uint32_t* words,
                  const TokenGrid* grids, const Task& task) {
    if (!takes(w, in)) return multiply(w, in, out, words, grids, task);
    const Job job = {w, in, out, words, grids, Cut(w)};
    switch (w.stored_bits) {
        case 4: return multiply_tiles<4>(job, task);
        case 6: return multiply_tiles<6>(job, task);
        default: return multiply_tiles<8>(job, task);
    }
}

const Isa kIsa = {"amx", 1, kTokens, amx_tile, amx_round, amx_multiply};

// Linux hands the registers out to processes that ask.
bool granted() {
    constexpr int kRequest = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM
    return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

bool has_amx() {
    unsigned eax = 7, ebx, ecx = 0, edx;
    asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
    return (edx >> 24 & 1) && (edx >> 25 & 1);  // tiles, and products of bytes
}

}  // namespace

const Isa* amx_isa() {
    static const bool runs = avx512_isa() && has_amx() && granted();
    return runs ? &kIsa : nullptr;
}

}  // namespace qvlm

#else

namespace qvlm {
const Isa* amx_isa() { return nullptr; }
}  // namespace qvlm

#endif
