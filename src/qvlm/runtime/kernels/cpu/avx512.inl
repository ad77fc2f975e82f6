// 16 outputs of a step are one register: AVX-512 (F, BW, VL, DQ) and VNNI. Included inside an unnamed
// namespace by the paths that have it.

using Vector = __m512;

inline __m512i load512(const void* at) { return _mm512_loadu_si512(at); }

inline __m256i load256(const void* at) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(at));
}

inline __m128i load128(const void* at) {
    return _mm_loadu_si128(static_cast<const __m128i*>(at));
}

inline Vector load_scale(const uint16_t* at) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load256(at)), 16));
}

inline Vector offset_of(const int16_t* sums, Vector scale) {
    const Vector real = _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(load256(sums)));
    return _mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(real, scale));
}

// 64 levels of a block, as bytes.
template <int bits>
inline __m512i levels_of(const uint8_t* at) {
    if constexpr (bits == 8) return load512(at);
    const __m256i packed = load256(at);
    const __m512i both = _mm512_inserti64x4(_mm512_castsi256_si512(packed),
                                            _mm256_srli_epi16(packed, 4), 1);
    const __m512i low = _mm512_and_si512(both, _mm512_set1_epi8(15));
    if constexpr (bits == 4) return low;
    // Quarter j takes bits 2j and 2j + 1 of 16 bytes to bits 4 and 5.
    const __m512i pairs = _mm512_broadcast_i32x4(load128(at + 32));
    const __m512i left = _mm512_sllv_epi64(pairs, _mm512_set_epi64(0, 0, 0, 0, 2, 2, 4, 4));
    const __m512i moved = _mm512_srlv_epi64(left, _mm512_set_epi64(2, 2, 0, 0, 0, 0, 0, 0));
    return _mm512_or_si512(low, _mm512_and_si512(moved, _mm512_set1_epi8(0x30)));
}

// The 16 zero points of a group, 32 bits each.
inline __m512i zeros_of(const uint8_t* zeros, int middle) {
    return zeros ? _mm512_cvtepu8_epi32(load128(zeros)) : _mm512_set1_epi32(middle);
}

// A token's word in all lanes.
inline __m512i all(const uint32_t* word) {
    return _mm512_set1_epi32(static_cast<int>(*word));
}

// Sums over groups stay in registers: through memory, each group would wait for the one before.
struct RealSums {
    using Real = Vector;
    static Real open(float* at) { return _mm512_load_ps(at); }
    static void close(float* at, Real real) { _mm512_store_ps(at, real); }
};

struct IntegerSums : RealSums {
    static constexpr bool integer = true;
    using Operand = __m512i;
    using Acc = __m512i;
    using Sum = __m512i;
    static Operand load_operand(const uint8_t* at) { return load512(at); }
    static void store_operand(uint8_t* at, Operand v) { _mm512_storeu_si512(at, v); }
    static Sum sum(Acc acc) { return acc; }
    static Sum add(Sum a, Sum b) { return _mm512_add_epi32(a, b); }
    static Sum load(const int32_t* at) { return load512(at); }
    static void store(int32_t* at, Sum s) { _mm512_storeu_si512(at, s); }
    static void finish(Vector& real, Sum s, Vector scale) {
        real = _mm512_fmadd_ps(_mm512_cvtepi32_ps(s), scale, real);
    }
    static void finish(Vector& real, Sum s, Vector scale, Vector offset, TokenGrid grid) {
        const Vector product = _mm512_mul_ps(_mm512_cvtepi32_ps(s), scale);
        const Vector centred = _mm512_fmadd_ps(_mm512_set1_ps(grid.zero_point), offset, product);
        real = _mm512_fmadd_ps(_mm512_set1_ps(grid.scale), centred, real);
    }
};

// 4 channels a step.
struct Bytes : IntegerSums {
    static constexpr int steps = 1;
    static constexpr bool narrow = false;
    static Acc mac(Acc acc, Operand v, const uint32_t* word) {
        asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(all(word)), "v"(v));
        return acc;
    }
    template <int bits>
    struct Stream {
        const uint8_t* at;
        __m512i zero;
        explicit Stream(const uint8_t* from) : at(from), zero() {}
        void group(const uint8_t* zeros, int middle) {
            zero = _mm512_mullo_epi32(zeros_of(zeros, middle), _mm512_set1_epi32(0x01010101));
        }
        void fetch() const { prefetch(at); }
        void next() {}
        Operand operand(int) const { return _mm512_sub_epi8(levels_of<bits>(at), zero); }
        void done() { at += block_bytes(bits); }
    };
};

// 2 channels a step.
struct Words : IntegerSums {
    static constexpr int steps = 2;
    static constexpr bool narrow = false;
    static Acc mac(Acc acc, Operand v, const uint32_t* word) {
        asm("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(all(word)), "v"(v));
        return acc;
    }
    template <int bits>
    struct Stream {
        static_assert(bits == 8, "words are stored as bytes");
        const uint8_t* at;
        __m512i zero;
        explicit Stream(const uint8_t* from) : at(from), zero() {}
        void group(const uint8_t* zeros, int middle) {
            zero = _mm512_mullo_epi32(zeros_of(zeros, middle), _mm512_set1_epi32(0x00010001));
        }
        void fetch() const { prefetch(at); }
        void next() {}
        Operand operand(int step) const {
            return _mm512_sub_epi16(_mm512_cvtepu8_epi16(load256(at + step * 32)), zero);
        }
        void done() { at += block_bytes(bits); }
    };
};

// 1 channel a step.
struct Reals : RealSums {
    static constexpr bool integer = false;
    static constexpr int steps = 4;
    static constexpr bool narrow = false;
    using Operand = Vector;
    using Acc = Vector;
    using Sum = Vector;
    static Operand load_operand(const uint8_t* at) { return _mm512_loadu_ps(at); }
    static void store_operand(uint8_t* at, Operand v) { _mm512_storeu_ps(at, v); }
    static Acc mac(Acc acc, Operand v, const uint32_t* word) {
        asm("vfmadd231ps %2, %1, %0" : "+v"(acc) : "v"(all(word)), "v"(v));
        return acc;
    }
    static Sum sum(Acc acc) { return acc; }
    static Sum add(Sum a, Sum b) { return _mm512_add_ps(a, b); }
    static Sum load(const int32_t* at) { return _mm512_loadu_ps(at); }
    static void store(int32_t* at, Sum s) { _mm512_storeu_ps(at, s); }
    static void finish(Vector& real, Sum s, Vector scale) {
        real = _mm512_fmadd_ps(s, scale, real);
    }
    template <int bits>
    struct Stream {
        const uint8_t* at;
        __m512i zero;
        alignas(64) uint8_t levels[kLevels];
        explicit Stream(const uint8_t* from) : at(from), zero() {}
        void group(const uint8_t* zeros, int middle) { zero = zeros_of(zeros, middle); }
        void fetch() const { prefetch(at); }
        void next() { _mm512_store_si512(levels, levels_of<bits>(at)); }
        Operand operand(int step) const {
            const __m512i wide = _mm512_cvtepu8_epi32(load128(levels + step * kPanel));
            return _mm512_cvtepi32_ps(_mm512_sub_epi32(wide, zero));
        }
        void done() { at += block_bytes(bits); }
    };
};

struct Lanes {
    static constexpr int width = 16;
    using V = __m512;
    static V load(const float* at) { return _mm512_loadu_ps(at); }
    static void store(float* at, V v) { _mm512_storeu_ps(at, v); }
    static V all(float v) { return _mm512_set1_ps(v); }
    static V add(V a, V b) { return _mm512_add_ps(a, b); }
    static V sub(V a, V b) { return _mm512_sub_ps(a, b); }
    static V div(V a, V b) { return _mm512_div_ps(a, b); }
    static V min(V a, V b) { return _mm512_min_ps(a, b); }
    static V max(V a, V b) { return _mm512_max_ps(a, b); }
    // The partner of each float plus it, or less it where the mask says so: a + b and a - b.
    static V within(V v) {
        const auto step = [&](V partner, __mmask16 less) {
            v = _mm512_mask_sub_ps(_mm512_add_ps(partner, v), less, partner, v);
        };
        step(_mm512_shuffle_f32x4(v, v, 0x4e), 0xff00);
        step(_mm512_shuffle_f32x4(v, v, 0xb1), 0xf0f0);
        step(_mm512_permute_ps(v, 0x4e), 0xcccc);
        step(_mm512_permute_ps(v, 0xb1), 0xaaaa);
        return v;
    }
    static float lowest(V v) { return _mm512_reduce_min_ps(v); }
    static float highest(V v) { return _mm512_reduce_max_ps(v); }
    static bool strange(V v) { return _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q) != 0; }
    static void put(V v, uint8_t* to) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                         _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(v)));
    }
    static void put(V v, uint16_t* to) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                            _mm512_cvtepi32_epi16(_mm512_cvttps_epi32(v)));
    }
};

constexpr int kStream = 16, kTile = 6, kPanelsEach = 2;
#include "multiply.inl"
#include "round.inl"
