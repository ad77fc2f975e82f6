// The product, once for every processor path. Included by each of them inside an unnamed
// namespace, after it has defined
//
//   Bytes, Words, Reals   one struct per arithmetic:
//     Operand               16 outputs of one step, Acc: 16 accumulators of one token
//     Sum                   16 accumulators, 32 bits each
//     mac(acc, operand, word), sum(acc), add(sum, sum), finish(real, sum, scale), load, store
//     Real, open, close     16 floats of a token while a pass adds to them: registers, or where they
//                           lie
//     integer               whether Sum is one of integers
//     narrow                whether Acc is 16 bits wide, so that it holds only `run` steps
//     Stream<bits>          reads packed levels: group(zero points), next(), operand(step)
//   Vector, load_scale      16 floats, and how they come from bfloat16
//   offset_of(sums, scale)  -s B of a group; finish(real, sum, scale, offset, grid) of a token adds
//                           D (s A - z s B)
//
// and, of each path,
//
//   kStream                 tokens up to which weights come straight from memory
//   kTile                   tokens of a tile where they are more
//   kPanelsEach             panels that a pass over unpacked weights serves
//
// One pass (`pass`) multiplies a tile of tokens with a panel or several side by side. Its weights come
// straight from memory (`Stream`: few tokens, bound by reading) or from a buffer in the L1 cache
// that a stream was unpacked to (`Buffer`: many tokens, bound by arithmetic).

// Part of a panel's channels: whole groups, or some blocks of the only group.
struct Span {
    int64_t first_group, last_group;
    int64_t first_block, last_block;  // within each group
    bool opens, closes;               // whether the groups begin and end in it
};

// Accumulators of a tile.
template <int P, int rows>
struct Cells {
    alignas(64) float real[P][rows][kPanel];
    alignas(64) int32_t sum[P][rows][kPanel];
};

// Unpacked weights: of each step the operands of P panels.
template <class A, int P>
struct Buffer {
    static constexpr int64_t size = sizeof(typename A::Operand);
    const uint8_t* at;
    typename A::Operand operand(int i) const { return A::load_operand(at + i * size); }
    void group(const uint8_t*, int) {}
    void fetch() {}
    void next() {}
    void done() { at += A::steps * P * size; }
};

template <class A, int R, int P, class Source>
inline __attribute__((always_inline)) const uint32_t* accumulate(
    Source& from, const uint32_t* words, int64_t blocks, typename A::Acc (&acc)[P][R]) {
    Source source = from;  // a copy, so that its position stays in a register
    const uint32_t* const end = words + blocks * A::steps * R;
#pragma GCC unroll 1
    while (words != end) {
        source.fetch();
        source.next();
#pragma GCC unroll 4
        for (int step = 0; step < A::steps; ++step) {
            typename A::Operand operand[P];
#pragma GCC unroll 4
            for (int p = 0; p < P; ++p) operand[p] = source.operand(step * P + p);
#pragma GCC unroll 16
            for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
                for (int p = 0; p < P; ++p) acc[p][r] = A::mac(acc[p][r], operand[p], words + r);
            words += R;
        }
        source.done();
    }
    from = source;
    return end;
}

inline int tile_tokens(const Inputs& in) {
    return in.tokens <= kStream ? static_cast<int>(in.tokens) : kTile;
}

inline TileShape tile_of(const Weights& w, const Inputs& in) {
    const int tokens = tile_tokens(in);
    return {tokens, tokens * w.blocks() * steps_per_block(w.arithmetic)};
}

inline int rows_of(const Inputs& in, int64_t tile) {
    const int tokens = tile_tokens(in);
    const int64_t left = in.tokens - tile * tokens;
    return left < tokens ? static_cast<int>(left) : tokens;
}

// Inputs that have a grid per token and group: those of a tile, and what their zero points need.
struct Groups {
    const TokenGrid* grids;     // [tokens of the tile][groups], or null
    const int16_t* sums;        // [groups][16] of the panel
    int64_t count;
};

inline Groups groups_of(const Weights& w, const Inputs& in, const Outputs& out,
                        const TokenGrid* grids, int64_t tile, int64_t panel) {
    if (in.grid != Grid::per_group) return {nullptr, nullptr, 0};
    return {grids + tile * tile_tokens(in) * w.groups(), out.group_sums + panel * w.groups() * kPanel,
            w.groups()};
}

template <class A, int R, int P, int rows, class Source>
void pass(Source source, const Weights& w, int64_t panel, const Span& span, const uint32_t* words,
          const Groups& groups, Cells<P, rows>& cells) {
    const int64_t blocks = span.last_block - span.first_block;
    const int64_t run = A::narrow ? w.run : blocks;
    const bool whole = span.opens && span.closes && blocks <= run;
    const int64_t first = panel * w.groups() * kPanel, next = w.groups() * kPanel;
    const uint16_t* scales = w.scale + first;
    const uint8_t* zeros = w.zero_point ? w.zero_point + first : nullptr;
    typename A::Real real[P][R];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) real[p][r] = A::open(cells.real[p][r]);
    // Adds the sums of a group to the outputs.
    const auto finish = [&](int64_t g, const auto& sum) __attribute__((always_inline)) {
        Vector scale[P];
#pragma GCC unroll 4
        for (int p = 0; p < P; ++p) scale[p] = load_scale(scales + p * next + g * kPanel);
        if constexpr (A::integer) {
            if (groups.grids) {
                Vector offset[P];
#pragma GCC unroll 4
                for (int p = 0; p < P; ++p)
                    offset[p] = offset_of(groups.sums + p * next + g * kPanel, scale[p]);
#pragma GCC unroll 16
                for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
                    for (int p = 0; p < P; ++p)
                        A::finish(real[p][r], sum(p, r), scale[p], offset[p],
                                  groups.grids[r * groups.count + g]);
                return;
            }
        }
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
            for (int p = 0; p < P; ++p) A::finish(real[p][r], sum(p, r), scale[p]);
    };
    for (int64_t g = span.first_group; g < span.last_group; ++g) {
        source.group(zeros ? zeros + g * kPanel : nullptr, w.middle);
        if (whole) {
            typename A::Acc acc[P][R] = {};
            words = accumulate<A, R, P>(source, words, blocks, acc);
            finish(g, [&](int p, int r) { return A::sum(acc[p][r]); });
            continue;
        }
        if (span.opens)
            for (int p = 0; p < P; ++p)
                for (int r = 0; r < R; ++r) A::store(cells.sum[p][r], typename A::Sum{});
        for (int64_t left = blocks; left > 0; left -= run) {
            typename A::Acc acc[P][R] = {};
            words = accumulate<A, R, P>(source, words, left < run ? left : run, acc);
#pragma GCC unroll 4
            for (int p = 0; p < P; ++p)
#pragma GCC unroll 16
                for (int r = 0; r < R; ++r) {
                    int32_t* const sum = cells.sum[p][r];
                    A::store(sum, A::add(A::load(sum), A::sum(acc[p][r])));
                }
        }
        if (span.closes) finish(g, [&](int p, int r) { return A::load(cells.sum[p][r]); });
    }
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p)
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) A::close(cells.real[p][r], real[p][r]);
}

// Output columns of a panel that exist.
inline int columns(const Weights& w, int64_t panel) {
    const int64_t left = w.out_features - panel * kPanel;
    return left < kPanel ? static_cast<int>(left) : kPanel;
}

// A full panel has a constant width, which makes each row one, two or four vectors.
template <class Row>
inline void for_rows(const Weights& w, const Outputs& out, int64_t token, int64_t panel, int rows,
                     const Row& row) {
    const int n = columns(w, panel);
    float* y = out.y + token * w.out_features + panel * kPanel;
    for (int r = 0; r < rows; ++r, y += w.out_features) {
        if (n == kPanel)
            row(r, y, kPanel);
        else
            row(r, y, n);
    }
}

inline void put_final(const Weights& w, const Outputs& out, const TokenGrid* grids, int64_t token,
                      int64_t panel, int rows, const float (*real)[kPanel]) {
    const int64_t column = panel * kPanel;
    const float* constant = out.constant ? out.constant + column : nullptr;
    const float* token_sums = out.token_sums ? out.token_sums + column : nullptr;
    for_rows(w, out, token, panel, rows, [&](int r, float* y, int n) {
        float value[kPanel];
        for (int o = 0; o < n; ++o) value[o] = real[r][o];
        if (token_sums) {
            const TokenGrid grid = grids[token + r];
            for (int o = 0; o < n; ++o)
                value[o] = (value[o] - grid.zero_point * token_sums[o]) * grid.scale;
        }
        if (constant)
            for (int o = 0; o < n; ++o) value[o] += constant[o];
        for (int o = 0; o < n; ++o) y[o] = value[o];
    });
}

// The pass of as many tokens as the tile has: at most `most`.
template <class A, int most, int P, int rows, class Source>
void pass_rows(int r, const Source& source, const Weights& w, int64_t panel, const Span& span,
               const uint32_t* words, const Groups& groups, Cells<P, rows>& cells) {
    if (r == most) return pass<A, most>(source, w, panel, span, words, groups, cells);
    if constexpr (most > 1)
        pass_rows<A, most - 1>(r, source, w, panel, span, words, groups, cells);
}

// Few tokens: every panel is read once, unpacked in registers.
template <class A, int bits>
void multiply_stream(const Weights& w, const Inputs& in, const Outputs& out, const uint32_t* words,
                     const TokenGrid* grids, const Task& task) {
    const Span all = {0, w.groups(), 0, w.group_blocks(), true, true};
    const auto rows = static_cast<int>(in.tokens);
    Cells<1, kStream> cells;
    for (int64_t panel = task.first_panel; panel < task.last_panel; ++panel) {
        std::memset(cells.real, 0, sizeof cells.real);
        typename A::template Stream<bits> stream{w.levels + panel * w.panel_bytes()};
        pass_rows<A, kStream>(rows, stream, w, panel, all, words,
                              groups_of(w, in, out, grids, 0, panel), cells);
        put_final(w, out, grids, 0, panel, rows, cells.real[0]);
    }
}

// Operand i of the buffer's panel goes to to[i * stride].
template <class A, int bits>
void unpack(const Weights& w, int64_t panel, const Span& span, uint8_t* to, int64_t stride) {
    const int64_t first = span.first_group * w.group_blocks() + span.first_block;
    typename A::template Stream<bits> stream{w.levels + panel * w.panel_bytes() +
                                             first * block_bytes(bits)};
    const uint8_t* zeros = w.zero_point ? w.zero_point + panel * w.groups() * kPanel : nullptr;
    for (int64_t g = span.first_group; g < span.last_group; ++g) {
        stream.group(zeros ? zeros + g * kPanel : nullptr, w.middle);
        for (int64_t b = span.first_block; b < span.last_block; ++b) {
            stream.fetch();
            stream.next();
#pragma GCC unroll 4
            for (int step = 0; step < A::steps; ++step, to += stride)
                A::store_operand(to, stream.operand(step));
            stream.done();
        }
    }
}

// A span of P panels, from `panel` on, with all tiles of the task. Between spans the accumulators
// rest in y: floats, or the bits of the only group's sums.
template <class A, int bits, int P>
void multiply_span(const Weights& w, const Inputs& in, const Outputs& out, const uint32_t* words,
                   const TokenGrid* grids, const Task& task, int64_t panel, const Span& span,
                   bool begins, bool ends) {
    auto* const buffer = static_cast<uint8_t*>(task.buffer);
    constexpr int64_t size = sizeof(typename A::Operand);
    for (int p = 0; p < P; ++p) unpack<A, bits>(w, panel + p, span, buffer + p * size, P * size);
    const bool split = w.groups() == 1;
    const int64_t before = (span.first_group * w.group_blocks() + span.first_block) * A::steps;
    const int64_t tile_words = tile_of(w, in).words;
    for (int64_t tile = task.first_tile; tile < task.last_tile; ++tile) {
        const int rows = rows_of(in, tile);
        const int64_t token = tile * kTile;
        Cells<P, kTile> cells;
        if (begins || split) std::memset(cells.real, 0, sizeof cells.real);
        const auto kept = [&](int p, int r) {
            return split ? cells.sum[p][r] : reinterpret_cast<int32_t*>(cells.real[p][r]);
        };
        if (!begins)
            for (int p = 0; p < P; ++p)
                for_rows(w, out, token, panel + p, rows, [&](int r, const float* y, int n) {
                    std::memcpy(kept(p, r), y, n * sizeof *y);
                });
        // The next tile's outputs lie a row of y apart each, where no processor looks ahead by itself.
        if (tile + 1 < task.last_tile)
            for (int r = 0; r < rows_of(in, tile + 1); ++r)
                for (int p = 0; p < P; ++p) {
                    const int64_t row = token + kTile + r, column = (panel + p) * kPanel;
                    __builtin_prefetch(out.y + row * w.out_features + column, 1);
                }
        pass_rows<A, kTile>(rows, Buffer<A, P>{buffer}, w, panel, span,
                            words + tile * tile_words + before * rows,
                            groups_of(w, in, out, grids, tile, panel), cells);
        for (int p = 0; p < P; ++p) {
            if (ends)
                put_final(w, out, grids, token, panel + p, rows, cells.real[p]);
            else
                for_rows(w, out, token, panel + p, rows, [&](int r, float* y, int n) {
                    std::memcpy(y, kept(p, r), n * sizeof *y);
                });
        }
    }
}

// Many tokens: a span of panels is unpacked once and serves all tiles of the task.
template <class A, int bits>
void multiply_buffer(const Weights& w, const Inputs& in, const Outputs& out, const uint32_t* words,
                     const TokenGrid* grids, const Task& task) {
    constexpr int64_t block = A::steps * kPanelsEach * static_cast<int64_t>(sizeof(typename A::Operand));
    const int64_t fit = kSpanBytes / block;
    const bool split = w.groups() == 1;  // only then may a group be cut
    const int64_t size = split ? w.group_blocks() : w.groups();
    const int64_t per = split ? fit : fit / w.group_blocks() > 0 ? fit / w.group_blocks() : 1;
    for (int64_t at = 0; at < size; at += per) {
        const int64_t end = at + per < size ? at + per : size;
        const bool begins = at == 0, ends = end == size;
        const Span span = split ? Span{0, 1, at, end, begins, ends}
                                : Span{at, end, 0, w.group_blocks(), true, true};
        int64_t panel = task.first_panel;
        for (; panel + kPanelsEach <= task.last_panel; panel += kPanelsEach)
            multiply_span<A, bits, kPanelsEach>(w, in, out, words, grids, task, panel, span, begins,
                                                ends);
        for (; panel < task.last_panel; ++panel)
            multiply_span<A, bits, 1>(w, in, out, words, grids, task, panel, span, begins, ends);
    }
}

template <class A, int bits>
void multiply_bits(const Weights& w, const Inputs& in, const Outputs& out, const uint32_t* words,
                   const TokenGrid* grids, const Task& task) {
    if constexpr (kStream > 0)
        if (in.tokens <= kStream) return multiply_stream<A, bits>(w, in, out, words, grids, task);
    multiply_buffer<A, bits>(w, in, out, words, grids, task);
}

void multiply(const Weights& w, const Inputs& in, const Outputs& out, const uint32_t* words,
              const TokenGrid* grids, const Task& task) {
    if (w.arithmetic == Arithmetic::words)
        return multiply_bits<Words, 8>(w, in, out, words, grids, task);
    const bool bytes = w.arithmetic == Arithmetic::bytes;
    switch (w.stored_bits) {
        case 4:
            return bytes ? multiply_bits<Bytes, 4>(w, in, out, words, grids, task)
                         : multiply_bits<Reals, 4>(w, in, out, words, grids, task);
        case 6:
            return bytes ? multiply_bits<Bytes, 6>(w, in, out, words, grids, task)
                         : multiply_bits<Reals, 6>(w, in, out, words, grids, task);
        default:
            return bytes ? multiply_bits<Bytes, 8>(w, in, out, words, grids, task)
                         : multiply_bits<Reals, 8>(w, in, out, words, grids, task);
    }
}
