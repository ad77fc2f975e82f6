// Products of tiles and panels in AMX registers. Included by amx.cpp, inside its unnamed namespace.

template <int bits>
void unpack_groups(const Weights& w, int64_t panel, int64_t first, int64_t last, Cut cut,
                   uint8_t* to) {
    Bytes::Stream<bits> stream{w.levels + panel * w.panel_bytes() +
                               first * w.group_blocks() * block_bytes(bits)};
    const uint8_t* zeros = w.zero_point ? w.zero_point + panel * w.groups() * kPanel : nullptr;
    for (int64_t g = first; g < last; ++g, to += cut.bytes()) {
        stream.group(zeros ? zeros + g * kPanel : nullptr, w.middle);
        for (int64_t b = 0; b < w.group_blocks(); ++b, stream.done())
            Bytes::store_operand(to + b * kLevels, stream.operand(0));
        const int64_t used = w.group_blocks() * kLevels;
        std::memset(to + used, 0, cut.bytes() - used);
    }
    asm volatile("" ::: "memory");  // the compiler does not see what tile loads read
}

inline __mmask16 columns_mask(const Weights& w, int64_t panel) {
    return static_cast<__mmask16>((1u << columns(w, panel)) - 1);
}

// Outputs of one token and panel: as put_final.
inline void put_row(const Outputs& out, float* y, __mmask16 mask, int64_t column, Vector value,
                    TokenGrid grid) {
    if (out.token_sums) {
        const Vector sums = _mm512_maskz_loadu_ps(mask, out.token_sums + column);
        value = _mm512_sub_ps(value, _mm512_mul_ps(_mm512_set1_ps(grid.zero_point), sums));
        value = _mm512_mul_ps(value, _mm512_set1_ps(grid.scale));
    }
    if (out.constant)
        value = _mm512_add_ps(value, _mm512_maskz_loadu_ps(mask, out.constant + column));
    _mm512_mask_storeu_ps(y, mask, value);
}

struct Job {
    const Weights& w;
    const Inputs& in;
    const Outputs& out;
    const uint32_t* words;
    const TokenGrid* grids;
    Cut cut;
    int64_t stride() const { return int64_t{cut.blocks} * kBlock; }  // from token to token
    const uint8_t* levels(int64_t tile) const {
        return reinterpret_cast<const uint8_t*>(words + tile * w.groups() * cut.words());
    }
};

// Sums of one group, in registers that take turns.
template <bool grouped, int turn>
inline void group_sums(const uint8_t* levels, int64_t stride, const uint8_t* weights, Cut cut,
                       int32_t* to) {
#define QVLM_SUM(SUM, LEVELS, WEIGHTS, MULTIPLY)                                         \
    _tile_zero(SUM);                                                                     \
    for (int p = 0; p < cut.products; ++p) {                                             \
        _tile_loadd(LEVELS, levels + p * stride * kRows, stride);                            \
        _tile_loadd(WEIGHTS, weights + int64_t{p} * cut.blocks * kLevels, kLevels);      \
        MULTIPLY(SUM, LEVELS, WEIGHTS);                                                  \
    }                                                                                    \
    _tile_stored(SUM, to, kPanel * 4);
    if constexpr (grouped && turn == 0) {
        QVLM_SUM(0, 4, 6, _tile_dpbssd)
    } else if constexpr (grouped) {
        QVLM_SUM(1, 5, 7, _tile_dpbssd)
    } else if constexpr (turn == 0) {
        QVLM_SUM(0, 4, 6, _tile_dpbusd)
    } else {
        QVLM_SUM(1, 5, 7, _tile_dpbusd)
    }
#undef QVLM_SUM
}

// Calls f of every row as a constant, so that an array of vectors stays in registers.
template <class F, int... r>
inline __attribute__((always_inline)) void rows_of_panel(const F& f,
                                                         std::integer_sequence<int, r...>) {
    (f(std::integral_constant<int, r>{}), ...);
}
constexpr auto kAllRows = std::make_integer_sequence<int, kRows>{};

// Several groups of one tile and one panel; totals stay in registers, and rest in y between spans.
template <bool grouped>
void multiply_groups(const Job& job, int64_t tile, int64_t panel, int64_t first, int64_t last,
                     const uint8_t* weights) {
    const Weights& w = job.w;
    const Cut cut = job.cut;
    const int rows = rows_of_tile(job.in, tile);
    const __mmask16 mask = columns_mask(w, panel);
    const int64_t groups = w.groups(), width = w.out_features, stride = job.stride();
    const int64_t group_bytes = cut.words() * 4;
    float* const y = job.out.y + tile * kRows * width + panel * kPanel;
    alignas(64) int32_t sums[2 * kAhead][kRows * kPanel];
    alignas(64) float kept[kRows][kPanel] = {};
    for (int r = 0; first > 0 && r < rows; ++r)
        _mm512_store_ps(kept[r], _mm512_maskz_loadu_ps(mask, y + r * width));
    Vector total[kRows];
    rows_of_panel([&](auto r) { total[r] = _mm512_load_ps(kept[r]); }, kAllRows);
    const uint8_t* levels = job.levels(tile) + first * group_bytes;
    const uint16_t* scales = w.scale + (panel * groups + first) * kPanel;
    const float* steps = reinterpret_cast<const float*>(job.grids) + (tile * groups + first) * kRows;
    const auto add = [&](const int32_t* found) __attribute__((always_inline)) {
        const Vector scale = load_scale(scales);
        const auto one = [&](auto r) __attribute__((always_inline)) {
            const Vector sum = _mm512_cvtepi32_ps(_mm512_load_si512(found + r * kPanel));
            if constexpr (grouped)
                total[r] = _mm512_fmadd_ps(_mm512_set1_ps(steps[r]), _mm512_mul_ps(sum, scale),
                                           total[r]);
            else
                total[r] = _mm512_fmadd_ps(sum, scale, total[r]);
        };
        rows_of_panel(one, kAllRows);
        scales += kPanel;
        steps += kRows;
    };
    const int64_t count = last - first;
    const auto product = [&](int64_t g) {
        int32_t* const to = sums[g % (2 * kAhead)];
        // Registers take turns, so that two products are under way.
        if (g % 2 == 0)
            group_sums<grouped, 0>(levels, stride, weights, cut, to);
        else
            group_sums<grouped, 1>(levels, stride, weights, cut, to);
        levels += group_bytes;
        weights += cut.bytes();
    };
    for (int64_t g = 0; g < kAhead && g < count; ++g) product(g);
    for (int64_t g = 0; g < count; ++g) {
        if (g + kAhead < count) product(g + kAhead);
        add(sums[g % (2 * kAhead)]);
    }
    rows_of_panel([&](auto r) { _mm512_store_ps(kept[r], total[r]); }, kAllRows);
    for (int r = 0; r < rows; ++r) {
        if (last < groups)
            _mm512_mask_storeu_ps(y + r * width, mask, _mm512_load_ps(kept[r]));
        else
            put_row(job.out, y + r * width, mask, panel * kPanel, _mm512_load_ps(kept[r]),
                    job.out.token_sums ? job.grids[tile * kRows + r] : TokenGrid{1.0f, 0.0f});
    }
}

// The only group of up to two tiles and two panels.
void multiply_whole(const Job& job, int64_t tile, int tiles, int64_t panel, int panels,
                    const uint8_t* weights) {
    const Weights& w = job.w;
    const Cut cut = job.cut;
    alignas(64) int32_t sums[4][kRows * kPanel];
    // Where there is no second one, the first is taken twice.
    const uint8_t* const a0 = job.levels(tile);
    const uint8_t* const a1 = tiles > 1 ? job.levels(tile + 1) : a0;
    const uint8_t* const b1 = panels > 1 ? weights + cut.bytes() : weights;
    const int64_t stride = job.stride();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int p = 0; p < cut.products; ++p) {
        const int64_t a = p * stride * kRows, b = int64_t{p} * cut.blocks * kLevels;
        _tile_loadd(4, a0 + a, stride);
        _tile_loadd(6, weights + b, kLevels);
        _tile_dpbusd(0, 4, 6);
        _tile_loadd(7, b1 + b, kLevels);
        _tile_dpbusd(1, 4, 7);
        _tile_loadd(5, a1 + a, stride);
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    }
    _tile_stored(0, sums[0], kPanel * 4);
    _tile_stored(1, sums[1], kPanel * 4);
    _tile_stored(2, sums[2], kPanel * 4);
    _tile_stored(3, sums[3], kPanel * 4);
    for (int t = 0; t < tiles; ++t)
        for (int p = 0; p < panels; ++p) {
            const Vector scale = load_scale(w.scale + (panel + p) * kPanel);
            const __mmask16 mask = columns_mask(w, panel + p);
            const int64_t column = (panel + p) * kPanel, first = (tile + t) * kRows;
            const int rows = rows_of_tile(job.in, tile + t);
            for (int r = 0; r < rows; ++r) {
                const Vector sum = _mm512_cvtepi32_ps(_mm512_load_si512(sums[2 * t + p] + r * kPanel));
                put_row(job.out, job.out.y + (first + r) * w.out_features + column, mask, column,
                        _mm512_fmadd_ps(sum, scale, _mm512_setzero_ps()),
                        job.out.token_sums ? job.grids[first + r] : TokenGrid{1.0f, 0.0f});
            }
        }
}
