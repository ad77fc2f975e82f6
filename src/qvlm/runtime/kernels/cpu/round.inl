// Rounds inputs to levels, as numerics/affine.py defines it: q = clamp(round(x / D) + z, 0, top),
// halves to even. Included by each processor path inside an unnamed namespace; plain loops that
// the compiler turns into vectors.
//
// Clamping first to the integers -z and top - z gives the same level, and then adding and taking
// off 1.5 * 2^23 rounds to the nearest even integer. NaN becomes level 0.

constexpr float kRounder = 12582912.0f;

inline float rounded(float t, float low, float high) {
    t = t > low ? t : low;
    t = t < high ? t : high;
    return (t + kRounder) - kRounder;
}

template <class Level>
void round_each(const float* x, const float* scale, const float* zero_point, int top, int64_t n,
                    Level* to) {
    for (int64_t c = 0; c < n; ++c) {
        const float z = zero_point[c];
        to[c] = static_cast<Level>(
            static_cast<int32_t>(rounded(x[c] / scale[c], -z, static_cast<float>(top) - z) + z));
    }
}

template <class Level>
void round_alike(const float* x, TokenGrid grid, int top, int64_t n, Level* to) {
    const float z = grid.zero_point, scale = grid.scale;
    const float low = -z, high = static_cast<float>(top) - z;
    for (int64_t c = 0; c < n; ++c)
        to[c] = static_cast<Level>(static_cast<int32_t>(rounded(x[c] / scale, low, high) + z));
}

// Grid of a token or group that reaches from low to high (numerics/affine.py, grid_from_range). NaN
// gives a NaN scale.
inline TokenGrid grid_of(float low, float high, int top, bool symmetric) {
    if (low != low) return {low, 0.0f};
    const auto usable = [](float d) { return d < std::numeric_limits<float>::min() ? 1.0f : d; };
    if (symmetric) {
        const float half = static_cast<float>((top + 1) / 2);
        return {usable((-low > high ? -low : high) / (half - 1.0f)), half};
    }
    const float scale = usable((high - low) / static_cast<float>(top));
    return {scale, rounded(-low / scale, 0.0f, static_cast<float>(top))};
}

#include "groups.inl"

// Channels [c, c + n) of a token as the bits that words are made of.
void round_channels_of(const Weights& w, const Inputs& in, const float* x, int64_t c, int64_t n,
                       TokenGrid grid, uint8_t* to) {
    if (in.grid == Grid::none) {
        std::memcpy(to, x + c, n * sizeof(float));
    } else if (w.arithmetic == Arithmetic::bytes) {
        if (in.grid == Grid::per_channel)
            round_each(x + c, in.scale + c, in.zero_point + c, in.top, n, to);
        else
            round_alike(x + c, grid, in.top, n, to);
    } else {
        auto* levels = reinterpret_cast<uint16_t*>(to);
        if (in.grid == Grid::per_channel)
            round_each(x + c, in.scale + c, in.zero_point + c, in.top, n, levels);
        else
            round_alike(x + c, grid, in.top, n, levels);
    }
}

// One token's words, in the order of its channels; its grid, or those of its groups, go to `grids`.
// `room` holds the floats of a token.
void round_token(const Weights& w, const Inputs& in, int64_t token, uint32_t* words, TokenGrid* grids,
                 float* room, bool centred) {
    const int64_t channel_bytes =
        w.arithmetic == Arithmetic::bytes ? 1 : w.arithmetic == Arithmetic::words ? 2 : 4;
    const int64_t padded = w.group_blocks() * kBlock;
    // Where no group is padded, all channels are one stretch.
    const bool grouped = in.grid == Grid::per_group;
    const bool dense = padded == w.group_size;
    const int64_t stretch = dense && !grouped ? w.in_features : w.group_size;
    const float* x = in.x + token * w.in_features;
    if (!dense)
        std::memset(words, 0, w.blocks() * steps_per_block(w.arithmetic) * sizeof *words);
    TokenGrid grid = {1.0f, 0.0f};
    if (in.grid == Grid::per_tensor) grid = {in.scale[0], in.zero_point[0]};
    if (in.grid == Grid::per_token) {
        const TokenGrid range = extremes(x, w.in_features);
        grid = grid_of(range.scale, range.zero_point, in.top, in.symmetric);
        *grids = grid;
    }
    auto* to = reinterpret_cast<uint8_t*>(words);
    if (grouped)
        return round_groups(w, in, x, grids, to, padded * channel_bytes, room, centred);
    for (int64_t c = 0; c < w.in_features; c += stretch, to += padded * channel_bytes)
        round_channels_of(w, in, x, c, stretch, grid, to);
}

void round_tile(const Weights& w, const Inputs& in, int64_t tile, uint32_t* words, TokenGrid* grids,
                uint32_t* row) {
    const int rows = rows_of(in, tile);
    const int64_t steps = w.blocks() * steps_per_block(w.arithmetic);
    const int64_t each = in.grid == Grid::per_group ? w.groups() : 1;
    for (int r = 0; r < rows; ++r) {
        const int64_t token = tile * tile_tokens(in) + r;
        round_token(w, in, token, row, grids + token * each, reinterpret_cast<float*>(row + steps),
                    false);
        for (int64_t step = 0; step < steps; ++step) words[step * rows + r] = row[step];
    }
}
