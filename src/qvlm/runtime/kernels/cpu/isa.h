// What a processor path offers: two functions behind one table.
#pragma once

#include "layout.h"

namespace qvlm {

// Dynamic grid of a token, or of one of its groups, kept for the epilogue.
struct TokenGrid {
    float scale;
    float zero_point;
};

// A rectangle of the output, and the memory that computing it needs.
struct Task {
    int64_t first_tile, last_tile;    // of Isa::tile each
    int64_t first_panel, last_panel;
    void* buffer;                     // buffer_bytes(), aligned to 64
};

// Unpacked weights that the passes of a task share: more than half an L1 cache costs less than
// storing and loading the accumulators more often (on a busy machine 16 KiB was about 5 % slower than
// 24 and 48 KiB; 32 itself was not timed).
constexpr int64_t kSpanBytes = 32 * 1024;

// A group is not cut where there are several, so one larger than a span needs more. No path unpacks a
// level to more than 4 bytes, of two panels at most; AMX adds up to 16 blocks of zeros.
inline int64_t buffer_bytes(const Weights& w) {
    const int64_t group = (w.group_blocks() + 16) * kLevels * 4 * 2;
    return group < kSpanBytes ? kSpanBytes : group;
}

struct TileShape {
    int tokens;
    int64_t words;                    // of the tile
};

struct Isa {
    const char* name;
    int panels;                       // that a pass serves at a time
    int64_t tokens;                   // of a task: what they have of one span is half an L2 cache
    TileShape (*tile)(const Weights&, const Inputs&);
    // Rounds the tokens of one tile into words[steps][tokens of the tile]; grids[token], or
    // grids[token][group]. `row` has room for the words of one token and, where groups have
    // grids of their own, for its floats and grids.
    void (*round_tile)(const Weights&, const Inputs&, int64_t tile, uint32_t* words,
                       TokenGrid* grids, uint32_t* row);
    // Multiplies; words holds all tiles, of TileShape words each.
    void (*multiply)(const Weights&, const Inputs&, const Outputs&, const uint32_t* words,
                     const TokenGrid* grids, const Task&);
};

constexpr int64_t kTokens = 120;      // where a span is 512 steps and the cache 512 KiB

const Isa* portable_isa();
const Isa* avx2_isa();      // null where not compiled in or the processor lacks it
const Isa* avx_vnni_isa();
const Isa* avx512_isa();
const Isa* amx_isa();
const Isa* neon_isa();

}  // namespace qvlm
