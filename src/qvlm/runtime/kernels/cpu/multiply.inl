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
// One pass (`pass`) multiplies a tile of up to kTile tokens with one panel. Its weights come
// straight from memory (`Stream`: few tokens, bound by reading) or from a buffer in the L1 cache
// that a stream was unpacked to (`Buffer`: many tokens, bound by arithmetic).

// Part of a panel's channels: whole groups, or some blocks of the only group.
struct Span {
    int64_t first_group, last_group;
    int64_t first_block, last_block;  // within each group
    bool opens, closes;               // whether the groups begin and end in it
};

// Accumulators of a tile.
struct Cells {
    alignas(64) float real[kTile][kPanel];
    alignas(64) int32_t sum[kTile][kPanel];
};

template <class A>
struct Buffer {
    const uint8_t* at;
    typename A::Operand operand(int step) const {
        return A::load_operand(at + step * static_cast<int64_t>(sizeof(typename A::Operand)));
    }
    void group(const uint8_t*, int) {}
    void fetch() {}
    void next() {}
    void done() { at += A::steps * static_cast<int64_t>(sizeof(typename A::Operand)); }
};

template <class A, int R, class Source>
inline __attribute__((always_inline)) const uint32_t* accumulate(
    Source& from, const uint32_t* words, int64_t blocks, typename A::Acc (&acc)[R]) {
    Source source = from;  // a copy, so that its position stays in a register
    const uint32_t* const end = words + blocks * A::steps * R;
#pragma GCC unroll 1
    while (words != end) {
        source.fetch();
        source.next();
#pragma GCC unroll 4
        for (int step = 0; step < A::steps; ++step) {
            const typename A::Operand operand = source.operand(step);
#pragma GCC unroll 6
            for (int r = 0; r < R; ++r) acc[r] = A::mac(acc[r], operand, words + r);
            words += R;
        }
        source.done();
    }
    from = source;
    return end;
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
    return {grids + tile * kTile * w.groups(), out.group_sums + panel * w.groups() * kPanel,
            w.groups()};
}

template <class A, int R, class Source>
void pass(Source source, const Weights& w, int64_t panel, const Span& span, const uint32_t* words,
          const Groups& groups, Cells& cells) {
    const int64_t blocks = span.last_block - span.first_block;
    const int64_t run = A::narrow ? w.run : blocks;
    const bool whole = span.opens && span.closes && blocks <= run;
    const uint16_t* scales = w.scale + panel * w.groups() * kPanel;
    const uint8_t* zeros = w.zero_point ? w.zero_point + panel * w.groups() * kPanel : nullptr;
    typename A::Real real[R];
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) real[r] = A::open(cells.real[r]);
    for (int64_t g = span.first_group; g < span.last_group; ++g) {
        source.group(zeros ? zeros + g * kPanel : nullptr, w.middle);
        if (whole) {
            typename A::Acc acc[R] = {};
            words = accumulate<A, R>(source, words, blocks, acc);
            if constexpr (A::integer) {
                if (groups.grids) {
                    const Vector scale = load_scale(scales + g * kPanel);
                    const Vector offset = offset_of(groups.sums + g * kPanel, scale);
#pragma GCC unroll 6
                    for (int r = 0; r < R; ++r)
                        A::finish(real[r], A::sum(acc[r]), scale, offset,
                                  groups.grids[r * groups.count + g]);
                    continue;
                }
            }
            const Vector scale = load_scale(scales + g * kPanel);
#pragma GCC unroll 6
            for (int r = 0; r < R; ++r) A::finish(real[r], A::sum(acc[r]), scale);
            continue;
        }
        if (span.opens)
            for (int r = 0; r < R; ++r) A::store(cells.sum[r], typename A::Sum{});
        for (int64_t left = blocks; left > 0; left -= run) {
            typename A::Acc acc[R] = {};
            words = accumulate<A, R>(source, words, left < run ? left : run, acc);
#pragma GCC unroll 6
            for (int r = 0; r < R; ++r)
                A::store(cells.sum[r], A::add(A::load(cells.sum[r]), A::sum(acc[r])));
        }
        if (span.closes) {
            if constexpr (A::integer) {
                if (groups.grids) {
                    const Vector scale = load_scale(scales + g * kPanel);
                    const Vector offset = offset_of(groups.sums + g * kPanel, scale);
#pragma GCC unroll 6
                    for (int r = 0; r < R; ++r)
                        A::finish(real[r], A::load(cells.sum[r]), scale, offset,
                                  groups.grids[r * groups.count + g]);
                    continue;
                }
            }
            const Vector scale = load_scale(scales + g * kPanel);
#pragma GCC unroll 6
            for (int r = 0; r < R; ++r) A::finish(real[r], A::load(cells.sum[r]), scale);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) A::close(cells.real[r], real[r]);
}

// Output columns of a panel that exist.
inline int columns(const Weights& w, int64_t panel) {
    const int64_t left = w.out_features - panel * kPanel;
    return left < kPanel ? static_cast<int>(left) : kPanel;
}

// Between spans the accumulators rest in y: floats, or the bits of the only group's sums. A full
// panel has a constant width, which makes each row two or four vectors.
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
                      int64_t panel, int rows, const Cells& cells) {
    const int64_t column = panel * kPanel;
    const float* constant = out.constant ? out.constant + column : nullptr;
    const float* token_sums = out.token_sums ? out.token_sums + column : nullptr;
    for_rows(w, out, token, panel, rows, [&](int r, float* y, int n) {
        const float* real = cells.real[r];
        float value[kPanel];
        for (int o = 0; o < n; ++o) value[o] = real[o];
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

template <class A, int most, class Source>
void pass_rows(int rows, const Source& source, const Weights& w, int64_t panel, const Span& span,
               const uint32_t* words, const Groups& groups, Cells& cells) {
    switch (rows) {
        case 1: return pass<A, 1>(source, w, panel, span, words, groups, cells);
        case 2: return pass<A, 2>(source, w, panel, span, words, groups, cells);
        case 3: return pass<A, 3>(source, w, panel, span, words, groups, cells);
        case 4: return pass<A, 4>(source, w, panel, span, words, groups, cells);
    }
    if constexpr (most > 4) {
        if (rows == 5) return pass<A, 5>(source, w, panel, span, words, groups, cells);
        return pass<A, 6>(source, w, panel, span, words, groups, cells);
    }
}

inline TileShape tile_of(const Weights& w, const Inputs&) {
    return {kTile, kTile * w.blocks() * steps_per_block(w.arithmetic)};
}

inline int rows_of(const Inputs& in, int64_t tile) {
    const int64_t left = in.tokens - tile * kTile;
    return left < kTile ? static_cast<int>(left) : kTile;
}

// Few tokens: every panel is read once, unpacked in registers.
template <class A, int bits>
void multiply_stream(const Weights& w, const Inputs& in, const Outputs& out, const uint32_t* words,
                     const TokenGrid* grids, const Task& task) {
    const Span all = {0, w.groups(), 0, w.group_blocks(), true, true};
    const int rows = rows_of(in, task.first_tile);
    Cells cells;
    for (int64_t panel = task.first_panel; panel < task.last_panel; ++panel) {
        std::memset(cells.real, 0, sizeof cells.real);
        typename A::template Stream<bits> stream{w.levels + panel * w.panel_bytes()};
        pass_rows<A, A::stream_tokens>(rows, stream, w, panel, all, words,
                                       groups_of(w, in, out, grids, task.first_tile, panel), cells);
        put_final(w, out, grids, task.first_tile * kTile, panel, rows, cells);
    }
}

template <class A, int bits>
void unpack(const Weights& w, int64_t panel, const Span& span, void* buffer) {
    const int64_t first = span.first_group * w.group_blocks() + span.first_block;
    typename A::template Stream<bits> stream{w.levels + panel * w.panel_bytes() +
                                             first * block_bytes(bits)};
    auto* to = static_cast<uint8_t*>(buffer);
    const uint8_t* zeros = w.zero_point ? w.zero_point + panel * w.groups() * kPanel : nullptr;
    for (int64_t g = span.first_group; g < span.last_group; ++g) {
        stream.group(zeros ? zeros + g * kPanel : nullptr, w.middle);
        for (int64_t b = span.first_block; b < span.last_block; ++b) {
            stream.next();
#pragma GCC unroll 4
            for (int step = 0; step < A::steps; ++step, to += sizeof(typename A::Operand))
                A::store_operand(to, stream.operand(step));
            stream.done();
        }
    }
}

// Many tokens: a span of a panel is unpacked once and serves all tiles of the task.
template <class A, int bits>
void multiply_buffer(const Weights& w, const Inputs& in, const Outputs& out, const uint32_t* words,
                     const TokenGrid* grids, const Task& task) {
    const int64_t tile_words = w.blocks() * A::steps * kTile;
    const int64_t fit = kSpanBytes / (A::steps * static_cast<int64_t>(sizeof(typename A::Operand)));
    const bool split = w.groups() == 1;  // only then may a group be cut
    const int64_t size = split ? w.group_blocks() : w.groups();
    const int64_t per = split ? fit : fit / w.group_blocks() > 0 ? fit / w.group_blocks() : 1;
    for (int64_t at = 0; at < size; at += per) {
        const int64_t end = at + per < size ? at + per : size;
        const bool first = at == 0, last = end == size;
        const Span span = split ? Span{0, 1, at, end, first, last}
                                : Span{at, end, 0, w.group_blocks(), true, true};
        const int64_t before = (split ? at : at * w.group_blocks()) * A::steps;
        for (int64_t panel = task.first_panel; panel < task.last_panel; ++panel) {
            unpack<A, bits>(w, panel, span, task.buffer);
            for (int64_t tile = task.first_tile; tile < task.last_tile; ++tile) {
                const int rows = rows_of(in, tile);
                const int64_t token = tile * kTile;
                Cells cells;
                if (first || split) std::memset(cells.real, 0, sizeof cells.real);
                auto* const kept = split ? &cells.sum[0][0]
                                         : reinterpret_cast<int32_t*>(&cells.real[0][0]);
                if (!first)
                    for_rows(w, out, token, panel, rows, [&](int r, float* y, int n) {
                        std::memcpy(kept + r * kPanel, y, n * sizeof *y);
                    });
                const Buffer<A> buffer{static_cast<const uint8_t*>(task.buffer)};
                pass_rows<A, kTile>(rows, buffer, w, panel, span,
                             words + tile * tile_words + before * rows,
                             groups_of(w, in, out, grids, tile, panel), cells);
                if (last)
                    put_final(w, out, grids, token, panel, rows, cells);
                else
                    for_rows(w, out, token, panel, rows, [&](int r, float* y, int n) {
                        std::memcpy(y, kept + r * kPanel, n * sizeof *y);
                    });
            }
        }
    }
}

template <class A, int bits>
void multiply_bits(const Weights& w, const Inputs& in, const Outputs& out, const uint32_t* words,
                   const TokenGrid* grids, const Task& task) {
    if constexpr (A::stream_tokens > 0)
        if (in.tokens <= A::stream_tokens)
            return multiply_stream<A, bits>(w, in, out, words, grids, task);
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
