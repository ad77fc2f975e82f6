// 16 outputs of a step are two registers: AVX2 and FMA. Included inside an unnamed namespace by the
// paths that have them.

struct Vector {
    __m256 low, high;
};

struct Integers {
    __m256i low, high;
};

// Keeps the compiler from reordering a pass: with all broadcasts first, accumulators would no
// longer fit the 16 registers (GCC 12 then spills ten of them, at twice the time).
template <class Pair>
inline Pair in_registers(Pair p) {
    asm volatile("" : "+x"(p.low), "+x"(p.high));
    return p;
}

inline __m256i load256(const void* at) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(at));
}

inline __m128i load128(const void* at) {
    return _mm_loadu_si128(static_cast<const __m128i*>(at));
}

inline void store256(void* at, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(at), v); }

inline Vector load_scale(const uint16_t* at) {
    const auto wide = [](const uint16_t* half) {
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load128(half)), 16));
    };
    return {wide(at), wide(at + 8)};
}

inline Vector offset_of(const int16_t* sums, Vector scale) {
    const auto times = [](const int16_t* at, __m256 by) {
        const __m256 real = _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(load128(at)));
        return _mm256_sub_ps(_mm256_setzero_ps(), _mm256_mul_ps(real, by));
    };
    return {times(sums, scale.low), times(sums + 8, scale.high)};
}

// 64 levels of a block, as bytes.
template <int bits>
inline Integers levels_of(const uint8_t* at) {
    if constexpr (bits == 8) return {load256(at), load256(at + 32)};
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i packed = load256(at);
    const __m256i low = _mm256_and_si256(packed, nibble);
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(packed, 4), nibble);
    if constexpr (bits == 4) return {low, high};
    const __m256i pairs = _mm256_broadcastsi128_si256(load128(at + 32));
    const __m256i mask = _mm256_set1_epi8(0x30);
    const __m256i first = _mm256_sllv_epi64(pairs, _mm256_set_epi64x(2, 2, 4, 4));
    const __m256i second = _mm256_srlv_epi64(pairs, _mm256_set_epi64x(2, 2, 0, 0));
    return {_mm256_or_si256(low, _mm256_and_si256(first, mask)),
            _mm256_or_si256(high, _mm256_and_si256(second, mask))};
}

// The 16 zero points of a group, as bytes.
inline __m128i zeros_of(const uint8_t* zeros, int middle) {
    return zeros ? load128(zeros) : _mm_set1_epi8(static_cast<char>(middle));
}

// What bytes and words have in common: sums of 32-bit integers.
struct IntegerSums : SumsInMemory {
    static constexpr bool integer = true;
    using Operand = Integers;
    using Acc = Integers;
    using Sum = Integers;
    static Operand load_operand(const uint8_t* at) { return {load256(at), load256(at + 32)}; }
    static void store_operand(uint8_t* at, Operand v) {
        store256(at, v.low);
        store256(at + 32, v.high);
    }
    static Sum load(const int32_t* at) { return {load256(at), load256(at + 8)}; }
    static void store(int32_t* at, Sum s) {
        store256(at, s.low);
        store256(at + 8, s.high);
    }
    static Sum add(Sum a, Sum b) {
        return {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
    }
    static void finish(float* real, Sum s, Vector scale) {
        const auto one = [](float* at, __m256i sum, __m256 by) {
            _mm256_store_ps(at, _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), by, _mm256_load_ps(at)));
        };
        one(real, s.low, scale.low);
        one(real + 8, s.high, scale.high);
    }
    static void finish(float* real, Sum s, Vector scale, Vector offset, TokenGrid grid) {
        const __m256 zero = _mm256_set1_ps(grid.zero_point), step = _mm256_set1_ps(grid.scale);
        const auto one = [&](float* at, __m256i sum, __m256 by, __m256 off) {
            const __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(sum), by);
            const __m256 centred = _mm256_fmadd_ps(zero, off, product);
            _mm256_store_ps(at, _mm256_fmadd_ps(step, centred, _mm256_load_ps(at)));
        };
        one(real, s.low, scale.low, offset.low);
        one(real + 8, s.high, scale.high, offset.high);
    }
};

// 4 channels a step; Dot says how products of bytes are added up, in sums that may be `narrow`.
template <class Dot>
struct BytesBy : IntegerSums {
    static constexpr int steps = 1;
    static constexpr bool narrow = Dot::narrow;
    static Acc mac(Acc acc, const Operand& v, const uint32_t* word) {
        const __m256i q = _mm256_set1_epi32(static_cast<int>(*word));
        return Dot::mac(acc, v, q);
    }
    static Sum sum(Acc acc) { return Dot::sum(acc); }

    template <int bits>
    struct Stream {
        const uint8_t* at;
        Integers zero, centred;
        explicit Stream(const uint8_t* from) : at(from), zero(), centred() {}
        void group(const uint8_t* zeros, int middle) {
            const __m256i all = _mm256_broadcastsi128_si256(zeros_of(zeros, middle));
            const __m256i fours = _mm256_setr_epi8(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4,
                                                   4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7);
            zero.low = _mm256_shuffle_epi8(all, fours);
            zero.high = _mm256_shuffle_epi8(all, _mm256_add_epi8(fours, _mm256_set1_epi8(8)));
        }
        void fetch() const { prefetch(at); }
        void next() {
            const Integers levels = levels_of<bits>(at);
            centred.low = _mm256_sub_epi8(levels.low, zero.low);
            centred.high = _mm256_sub_epi8(levels.high, zero.high);
        }
        Operand operand(int) const { return centred; }
        void done() { at += block_bytes(bits); }
    };
};

// 2 channels a step: `madd` of 16-bit levels, exact at any width.
struct Words : IntegerSums {
    static constexpr int steps = 2;
    static constexpr bool narrow = false;
    static Acc mac(Acc acc, const Operand& v, const uint32_t* word) {
        const __m256i q = _mm256_set1_epi32(static_cast<int>(*word));
        return in_registers(Acc{_mm256_add_epi32(acc.low, _mm256_madd_epi16(q, v.low)),
                             _mm256_add_epi32(acc.high, _mm256_madd_epi16(q, v.high))});
    }
    static Sum sum(Acc acc) { return acc; }

    template <int bits>
    struct Stream {
        static_assert(bits == 8, "words are stored as bytes");
        const uint8_t* at;
        Integers zero;
        explicit Stream(const uint8_t* from) : at(from), zero() {}
        void group(const uint8_t* zeros, int middle) {
            const __m128i all = zeros_of(zeros, middle);
            const __m128i twos = _mm_unpacklo_epi8(all, all), more = _mm_unpackhi_epi8(all, all);
            zero = {_mm256_cvtepu8_epi16(twos), _mm256_cvtepu8_epi16(more)};
        }
        void fetch() const { prefetch(at); }
        void next() {}
        Operand operand(int step) const {
            const auto wide = [](const uint8_t* from) { return _mm256_cvtepu8_epi16(load128(from)); };
            return {_mm256_sub_epi16(wide(at + step * 32), zero.low),
                    _mm256_sub_epi16(wide(at + step * 32 + 16), zero.high)};
        }
        void done() { at += block_bytes(bits); }
    };
};

// 1 channel a step: floats.
struct Reals : SumsInMemory {
    static constexpr bool integer = false;
    static constexpr int steps = 4;
    static constexpr bool narrow = false;
    using Operand = Vector;
    using Acc = Vector;
    using Sum = Vector;

    static Operand load_operand(const uint8_t* at) {
        const auto* from = reinterpret_cast<const float*>(at);
        return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)};
    }
    static void store_operand(uint8_t* at, Operand v) {
        auto* to = reinterpret_cast<float*>(at);
        _mm256_storeu_ps(to, v.low);
        _mm256_storeu_ps(to + 8, v.high);
    }
    static Acc mac(Acc acc, const Operand& v, const uint32_t* word) {
        const __m256 x = _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(*word)));
        return in_registers(Acc{_mm256_fmadd_ps(x, v.low, acc.low), _mm256_fmadd_ps(x, v.high, acc.high)});
    }
    static Sum sum(Acc acc) { return acc; }
    static Sum add(Sum a, Sum b) {
        return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
    }
    static Sum load(const int32_t* at) {
        return {_mm256_castsi256_ps(load256(at)), _mm256_castsi256_ps(load256(at + 8))};
    }
    static void store(int32_t* at, Sum s) {
        store256(at, _mm256_castps_si256(s.low));
        store256(at + 8, _mm256_castps_si256(s.high));
    }
    static void finish(float* real, Sum s, Vector scale) {
        _mm256_store_ps(real, _mm256_fmadd_ps(s.low, scale.low, _mm256_load_ps(real)));
        _mm256_store_ps(real + 8, _mm256_fmadd_ps(s.high, scale.high, _mm256_load_ps(real + 8)));
    }

    template <int bits>
    struct Stream {
        const uint8_t* at;
        Integers zero;
        alignas(32) uint8_t levels[kLevels];
        explicit Stream(const uint8_t* from) : at(from), zero() {}
        void group(const uint8_t* zeros, int middle) {
            const __m128i all = zeros_of(zeros, middle);
            zero = {_mm256_cvtepu8_epi32(all), _mm256_cvtepu8_epi32(_mm_srli_si128(all, 8))};
        }
        void fetch() const { prefetch(at); }
        void next() {
            if constexpr (bits < 8) {
                const Integers found = levels_of<bits>(at);
                store256(levels, found.low);
                store256(levels + 32, found.high);
            }
        }
        Operand operand(int step) const {
            const uint8_t* from = (bits < 8 ? levels : at) + step * kPanel;
            const auto real = [](const uint8_t* eight, __m256i u) {
                const auto* low = reinterpret_cast<const __m128i*>(eight);
                const __m256i v = _mm256_cvtepu8_epi32(_mm_loadl_epi64(low));
                return _mm256_cvtepi32_ps(_mm256_sub_epi32(v, u));
            };
            return {real(from, zero.low), real(from + 8, zero.high)};
        }
        void done() { at += block_bytes(bits); }
    };
};

struct Lanes {
    static constexpr int width = 8;
    using V = __m256;
    static V load(const float* at) { return _mm256_loadu_ps(at); }
    static void store(float* at, V v) { _mm256_storeu_ps(at, v); }
    static V all(float v) { return _mm256_set1_ps(v); }
    static V add(V a, V b) { return _mm256_add_ps(a, b); }
    static V sub(V a, V b) { return _mm256_sub_ps(a, b); }
    static V div(V a, V b) { return _mm256_div_ps(a, b); }
    static V min(V a, V b) { return _mm256_min_ps(a, b); }
    static V max(V a, V b) { return _mm256_max_ps(a, b); }
    // The partner of each float, and it or its negative: a + b and a - b.
    static V within(V v) {
        const __m256 sign = _mm256_set1_ps(-0.0f), none = _mm256_setzero_ps();
        const auto step = [&](V partner, V negative) {
            v = _mm256_add_ps(partner, _mm256_xor_ps(v, negative));
        };
        step(_mm256_permute2f128_ps(v, v, 1), _mm256_blend_ps(none, sign, 0xf0));
        step(_mm256_permute_ps(v, 0x4e), _mm256_blend_ps(none, sign, 0xcc));
        step(_mm256_permute_ps(v, 0xb1), _mm256_blend_ps(none, sign, 0xaa));
        return v;
    }
    static float lowest(V v) {
        __m128 four = _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
        four = _mm_min_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_min_ss(four, _mm_movehdup_ps(four)));
    }
    static float highest(V v) {
        __m128 four = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
        four = _mm_max_ps(four, _mm_movehl_ps(four, four));
        return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
    }
    static bool strange(V v) {
        return _mm256_movemask_ps(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)) != 0;
    }
    static void put(V v, uint16_t* to) {
        const __m256i wide = _mm256_cvttps_epi32(v);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                         _mm_packus_epi32(_mm256_castsi256_si128(wide),
                                          _mm256_extracti128_si256(wide, 1)));
    }
    static void put(V v, uint8_t* to) {
        const __m256i wide = _mm256_cvttps_epi32(v);
        const __m128i half = _mm_packus_epi32(_mm256_castsi256_si128(wide),
                                              _mm256_extracti128_si256(wide, 1));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(half, half));
    }
};
