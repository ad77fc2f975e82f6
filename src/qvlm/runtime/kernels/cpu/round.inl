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

// Grid of a token's own extremes (numerics/affine.py, grid_from_range). NaN gives a NaN scale.
TokenGrid token_grid(const float* x, int64_t n, int top, bool symmetric) {
    constexpr int kLanes = 32;
    float low[kLanes] = {}, high[kLanes] = {};
    int strange[kLanes] = {};
    int64_t c = 0;
    for (; c + kLanes <= n; c += kLanes)
        for (int i = 0; i < kLanes; ++i) {
            const float v = x[c + i];
            low[i] = v < low[i] ? v : low[i];
            high[i] = v > high[i] ? v : high[i];
            strange[i] |= v != v;
        }
    for (; c < n; ++c) {
        low[0] = x[c] < low[0] ? x[c] : low[0];
        high[0] = x[c] > high[0] ? x[c] : high[0];
        strange[0] |= x[c] != x[c];
    }
    for (int i = 1; i < kLanes; ++i) {
        low[0] = low[i] < low[0] ? low[i] : low[0];
        high[0] = high[i] > high[0] ? high[i] : high[0];
        strange[0] |= strange[i];
    }
    if (strange[0]) return {std::numeric_limits<float>::quiet_NaN(), 0.0f};
    const auto usable = [](float d) { return d < std::numeric_limits<float>::min() ? 1.0f : d; };
    if (symmetric) {
        const float half = static_cast<float>((top + 1) / 2);
        const float extent = -low[0] > high[0] ? -low[0] : high[0];
        return {usable(extent / (half - 1.0f)), half};
    }
    const float scale = usable((high[0] - low[0]) / static_cast<float>(top));
    return {scale, rounded(-low[0] / scale, 0.0f, static_cast<float>(top))};
}

// Hadamard transform in place, as numerics/hadamard.py defines it: the widest butterflies first.
inline void transform(float* x, int64_t n) {
    for (int64_t half = n / 2; half > 0; half /= 2)
        for (int64_t at = 0; at < n; at += 2 * half)
            for (int64_t i = at; i < at + half; ++i) {
                const float a = x[i], b = x[i + half];
                x[i] = a + b;
                x[i + half] = a - b;
            }
}

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

// A token group by group, each on a grid of its own; `room` holds a transformed group.
void round_groups(const Weights& w, const Inputs& in, const float* x, TokenGrid* grids, uint8_t* to,
                  int64_t stride, float* room) {
    const int64_t n = w.group_size;
    for (int64_t g = 0; g < w.groups(); ++g, x += n, to += stride) {
        const float* from = x;
        if (in.rotate) {
            std::memcpy(room, x, n * sizeof *x);
            transform(room, n);
            from = room;
        }
        grids[g] = token_grid(from, n, in.top, in.symmetric);
        round_channels_of(w, in, from, 0, n, grids[g], to);
    }
}

void round_tile(const Weights& w, const Inputs& in, int64_t tile, uint32_t* words, TokenGrid* grids,
                uint32_t* row) {
    const int rows = rows_of(in, tile);
    const int64_t channel_bytes =
        w.arithmetic == Arithmetic::bytes ? 1 : w.arithmetic == Arithmetic::words ? 2 : 4;
    const int64_t padded = w.group_blocks() * kBlock;
    // Where no group is padded, all channels are one stretch.
    const bool grouped = in.grid == Grid::per_group;
    const bool dense = padded == w.group_size;
    const int64_t stretch = dense && !grouped ? w.in_features : w.group_size;
    const int64_t steps = w.blocks() * steps_per_block(w.arithmetic);
    if (!dense) std::memset(row, 0, steps * sizeof *row);
    for (int r = 0; r < rows; ++r) {
        const int64_t token = tile * kTile + r;
        const float* x = in.x + token * w.in_features;
        TokenGrid grid = {1.0f, 0.0f};
        if (in.grid == Grid::per_tensor) grid = {in.scale[0], in.zero_point[0]};
        if (in.grid == Grid::per_token) {
            grid = token_grid(x, w.in_features, in.top, in.symmetric);
            grids[token] = grid;
        }
        auto* to = reinterpret_cast<uint8_t*>(row);
        if (grouped)
            round_groups(w, in, x, grids + token * w.groups(), to, padded * channel_bytes,
                         reinterpret_cast<float*>(row + steps));
        else for (int64_t c = 0; c < w.in_features; c += stretch, to += padded * channel_bytes)
            round_channels_of(w, in, x, c, stretch, grid, to);
        for (int64_t step = 0; step < steps; ++step) words[step * rows + r] = row[step];
    }
}
