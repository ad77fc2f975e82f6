// What the kernels stream: the layout of prepacked weights and of quantized inputs.
//
// A panel is 16 outputs. A block is 4 input channels of a panel: 64 levels. Groups of channels
// that share a scale are padded to whole blocks. The order of the levels inside a block, and the
// words that a token's channels become, depend on the arithmetic:
//
//   arithmetic  a step covers  order in a block      a token's word of a step (32 bits)
//   bytes       4 channels     [output][channel 0-3] 4 levels of 8 bits
//   words       2 channels     [pair][output][0-1]   2 levels of 16 bits
//   reals       1 channel      [channel][output]     1 float
//
// Levels of a block are stored in planes: 4 bits: byte j holds levels j and j + 32; 6 bits: those
// four low bits, then 16 bytes with the two high bits of levels j, j + 16, j + 32, j + 48; 8 bits:
// as they are.
#pragma once

#include <cstdint>

namespace qvlm {

constexpr int kPanel = 16;
constexpr int kBlock = 4;
constexpr int kLevels = kPanel * kBlock;


enum class Arithmetic : int { bytes = 0, words = 1, reals = 2 };

constexpr int steps_per_block(Arithmetic a) {
    return a == Arithmetic::bytes ? 1 : a == Arithmetic::words ? 2 : 4;
}

constexpr int block_bytes(int stored_bits) { return kLevels * stored_bits / 8; }

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Asks for weights so far ahead that they are there when their turn comes: a core on its own keeps too
// few reads under way to use all that memory offers.
inline void prefetch(const uint8_t* at) { __builtin_prefetch(at + 4096); }

// A prepacked weight matrix; w^ = scale (level - zero_point).
struct Weights {
    Arithmetic arithmetic;
    int stored_bits;             // 4, 6 or 8
    int run;                     // bytes: steps whose sum of products fits 16 bits
    int64_t out_features;
    int64_t in_features;
    int64_t group_size;          // channels that share a scale
    const uint8_t* levels;       // [panels][blocks][block_bytes]
    const uint16_t* scale;       // [panels][groups][16], bfloat16
    const uint8_t* zero_point;   // [panels][groups][16], or null: `middle` throughout
    int middle;                  // zero point of symmetric weights

    int64_t panels() const { return ceil_div(out_features, kPanel); }
    int64_t groups() const { return in_features / group_size; }
    int64_t group_blocks() const { return ceil_div(group_size, kBlock); }
    int64_t blocks() const { return groups() * group_blocks(); }
    int64_t panel_bytes() const { return blocks() * block_bytes(stored_bits); }
};

// per_group: of a token and a group of channels that share a weight scale.
enum class Grid : int { per_channel = 0, per_tensor = 1, per_token = 2, none = 3, per_group = 4 };

// The inputs of a call and how they are rounded (numerics/affine.py is the definition).
struct Inputs {
    const float* x;              // [tokens, in]
    int64_t tokens;
    Grid grid;
    int top;                     // highest level, 2^bits - 1
    bool symmetric;              // per token and per group only
    bool rotate;                 // per group only: Hadamard transform of each group first
    const float* scale;          // [in] or [1]; null where not static
    const float* zero_point;     // as scale
};

// y = (SUM_g s A_g - z token_sums) D + constant; D = 1 and z = 0 unless per token. Per group
// y = SUM_g s D_g (A_g - z_g group_sums_g) + constant.
struct Outputs {
    float* y;                    // [tokens, out]
    const float* constant;       // [out] or null
    const float* token_sums;     // [out]; per token only
    const int16_t* group_sums;   // [panels][groups][16]; per group only
};

}  // namespace qvlm
