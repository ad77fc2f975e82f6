// Rounds a token group by group, each on a grid of its own. Included by each processor path inside
// an unnamed namespace, before round.inl and after it has defined
//
//   Lanes   vectors of `width` floats: scalar.h says what they can do; within(v) transforms a
//           vector by itself, put(v, to) writes whole numbers as levels
//
// Sums and their order are those of numerics/hadamard.py: the widest butterflies first.

// A group of count vectors, transformed in registers.
template <class L, int count>
inline void transform_held(const float* x, float* to) {
    typename L::V v[count];
#pragma GCC unroll 8
    for (int i = 0; i < count; ++i) v[i] = L::load(x + i * L::width);
#pragma GCC unroll 4
    for (int half = count / 2; half > 0; half /= 2)
#pragma GCC unroll 8
        for (int i = 0; i < count; ++i)
            if (!(i & half)) {
                const typename L::V a = v[i], b = v[i + half];
                v[i] = L::add(a, b);
                v[i + half] = L::sub(a, b);
            }
#pragma GCC unroll 8
    for (int i = 0; i < count; ++i) L::store(to + i * L::width, L::within(v[i]));
}

// Butterflies of vectors that are at least `least` floats apart.
template <class L>
inline void butterflies(float* x, int64_t n, int64_t least) {
    for (int64_t half = n / 2; half >= least; half /= 2)
        for (int64_t at = 0; at < n; at += 2 * half)
            for (int64_t i = at; i < at + half; i += L::width) {
                const typename L::V a = L::load(x + i), b = L::load(x + i + half);
                L::store(x + i, L::add(a, b));
                L::store(x + i + half, L::sub(a, b));
            }
}

// Hadamard transform of a group, from x to another place.
inline void transform(const float* x, int64_t n, float* to) {
    using L = Lanes;
    switch (n / L::width) {
        case 0:
            std::memcpy(to, x, n * sizeof *x);
            return butterflies<Scalar>(to, n, 1);
        case 1: return transform_held<L, 1>(x, to);
        case 2: return transform_held<L, 2>(x, to);
        case 4: return transform_held<L, 4>(x, to);
        case 8: return transform_held<L, 8>(x, to);
    }
    std::memcpy(to, x, n * sizeof *x);
    butterflies<L>(to, n, L::width);
    for (int64_t i = 0; i < n; i += L::width) L::store(to + i, L::within(L::load(to + i)));
}

// Least and greatest value, 0 among them; NaN where one is.
inline TokenGrid extremes(const float* x, int64_t n) {
    using L = Lanes;
    const int64_t whole = n / L::width * L::width;
    typename L::V low = L::all(0.0f), high = low, odd = low;
    for (int64_t i = 0; i < whole; i += L::width) {
        const typename L::V v = L::load(x + i);
        low = L::min(v, low);
        high = L::max(v, high);
        odd = L::add(odd, L::sub(v, v));  // NaN where v is, or is infinite
    }
    float least = L::lowest(low), most = L::highest(high);
    bool strange = false;
    if (L::strange(odd))
        for (int64_t i = 0; i < whole; ++i) strange |= x[i] != x[i];
    for (int64_t i = whole; i < n; ++i) {
        least = Scalar::min(x[i], least);
        most = Scalar::max(x[i], most);
        strange |= x[i] != x[i];
    }
    if (strange) return {std::numeric_limits<float>::quiet_NaN(), 0.0f};
    return {least, most};
}

// Levels, or levels less the zero point, of n values whose first lies on a whole vector.
template <class L, class Level>
inline void levels_to(const float* x, TokenGrid grid, int top, int64_t n, bool centred, Level* to) {
    const auto scale = L::all(grid.scale), z = L::all(centred ? 0.0f : grid.zero_point);
    const auto low = L::all(-grid.zero_point);
    const auto high = L::all(static_cast<float>(top) - grid.zero_point);
    const auto rounder = L::all(kRounder);
    for (int64_t i = 0; i + L::width <= n; i += L::width) {
        const auto t = L::min(L::max(L::div(L::load(x + i), scale), low), high);
        L::put(L::add(L::sub(L::add(t, rounder), rounder), z), to + i);
    }
}

template <class Level>
inline void round_group(const float* x, TokenGrid grid, int top, int64_t n, bool centred, Level* to) {
    levels_to<Lanes>(x, grid, top, n, centred, to);
    const int64_t whole = n / Lanes::width * Lanes::width;
    levels_to<Scalar>(x + whole, grid, top, n - whole, centred, to + whole);
}

// Levels of a group begin `stride` bytes after those of the one before; `room` holds a token.
// Where `centred`, what is written is a level less its zero point, in two's complement.
// Three walks over the token, so that no group waits for the divisions of its own grid.
void round_groups(const Weights& w, const Inputs& in, const float* x, TokenGrid* grids, uint8_t* to,
                  int64_t stride, float* room, bool centred) {
    const int64_t n = w.group_size, groups = w.groups();
    if (in.rotate)
        for (int64_t g = 0; g < groups; ++g) transform(x + g * n, n, room + g * n);
    const float* const from = in.rotate ? room : x;
    for (int64_t g = 0; g < groups; ++g) grids[g] = extremes(from + g * n, n);
    for (int64_t g = 0; g < groups; ++g)
        grids[g] = grid_of(grids[g].scale, grids[g].zero_point, in.top, in.symmetric);
    for (int64_t g = 0; g < groups; ++g, to += stride)
        if (w.arithmetic == Arithmetic::bytes)
            round_group(from + g * n, grids[g], in.top, n, centred, to);
        else
            round_group(from + g * n, grids[g], in.top, n, centred, reinterpret_cast<uint16_t*>(to));
}
