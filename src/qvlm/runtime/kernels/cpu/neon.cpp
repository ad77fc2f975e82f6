// 64-bit Arm with the dot product extension.
#include "isa.h"
#include "scalar.h"
#include "sums.h"

#if defined(__aarch64__) && defined(__ARM_FEATURE_DOTPROD)
#include <arm_neon.h>
#if defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include <cstring>
#include <limits>

namespace qvlm {
namespace {

template <class Lane>
struct Four {
    Lane at[4];
};
using Vector = Four<float32x4_t>;
using Integers = Four<int32x4_t>;
using Codes = Four<uint8x16_t>;

inline Vector load_scale(const uint16_t* at) {
    Vector v;
    for (int i = 0; i < 4; ++i)
        v.at[i] = vreinterpretq_f32_u32(vshlq_n_u32(vmovl_u16(vld1_u16(at + 4 * i)), 16));
    return v;
}

// 64 levels of a block, as bytes.
template <int bits>
inline Codes levels_of(const uint8_t* at) {
    Codes v;
    if constexpr (bits == 8) {
        for (int i = 0; i < 4; ++i) v.at[i] = vld1q_u8(at + 16 * i);
        return v;
    }
    for (int i = 0; i < 2; ++i) {
        const uint8x16_t packed = vld1q_u8(at + 16 * i);
        v.at[i] = vandq_u8(packed, vdupq_n_u8(15));
        v.at[i + 2] = vshrq_n_u8(packed, 4);
    }
    if constexpr (bits == 6) {
        const uint8x16_t pairs = vld1q_u8(at + 32), mask = vdupq_n_u8(0x30);
        v.at[0] = vorrq_u8(v.at[0], vandq_u8(vshlq_n_u8(pairs, 4), mask));
        v.at[1] = vorrq_u8(v.at[1], vandq_u8(vshlq_n_u8(pairs, 2), mask));
        v.at[2] = vorrq_u8(v.at[2], vandq_u8(pairs, mask));
        v.at[3] = vorrq_u8(v.at[3], vandq_u8(vshrq_n_u8(pairs, 2), mask));
    }
    return v;
}

inline uint8x16_t zeros_of(const uint8_t* zeros, int middle) {
    return zeros ? vld1q_u8(zeros) : vdupq_n_u8(static_cast<uint8_t>(middle));
}

// 16 bytes as 16 integers.
inline Integers wide_of(uint8x16_t v) {
    const uint16x8_t low = vmovl_u8(vget_low_u8(v)), high = vmovl_u8(vget_high_u8(v));
    return {{vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(low))),
             vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(low))),
             vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(high))),
             vreinterpretq_s32_u32(vmovl_u16(vget_high_u16(high)))}};
}

inline Vector offset_of(const int16_t* sums, Vector scale) {
    for (int i = 0; i < 4; ++i) {
        const float32x4_t real = vcvtq_f32_s32(vmovl_s16(vld1_s16(sums + 4 * i)));
        scale.at[i] = vnegq_f32(vmulq_f32(real, scale.at[i]));
    }
    return scale;
}

struct IntegerSums : SumsInMemory {
    static constexpr bool integer = true;
    using Acc = Integers;
    using Sum = Integers;
    static Sum sum(Acc acc) { return acc; }
    static Sum add(Sum a, Sum b) {
        for (int i = 0; i < 4; ++i) a.at[i] = vaddq_s32(a.at[i], b.at[i]);
        return a;
    }
    static Sum load(const int32_t* at) {
        return {{vld1q_s32(at), vld1q_s32(at + 4), vld1q_s32(at + 8), vld1q_s32(at + 12)}};
    }
    static void store(int32_t* at, Sum s) {
        for (int i = 0; i < 4; ++i) vst1q_s32(at + 4 * i, s.at[i]);
    }
    static void finish(float* real, Sum s, Vector scale) {
        for (int i = 0; i < 4; ++i)
            vst1q_f32(real + 4 * i, vfmaq_f32(vld1q_f32(real + 4 * i), vcvtq_f32_s32(s.at[i]),
                                              scale.at[i]));
    }
    static void finish(float* real, Sum s, Vector scale, Vector offset, TokenGrid grid) {
        for (int i = 0; i < 4; ++i) {
            const float32x4_t product = vmulq_f32(vcvtq_f32_s32(s.at[i]), scale.at[i]);
            const float32x4_t centred = vfmaq_n_f32(product, offset.at[i], grid.zero_point);
            vst1q_f32(real + 4 * i, vfmaq_n_f32(vld1q_f32(real + 4 * i), centred, grid.scale));
        }
    }
};

// The same with operands of bytes or words, which lie in the buffer as in registers.
template <class Register>
struct IntegersOf : IntegerSums {
    using Operand = Four<Register>;
    static Operand load_operand(const uint8_t* at) {
        Operand v;
        std::memcpy(&v, at, sizeof v);
        return v;
    }
    static void store_operand(uint8_t* at, Operand v) { std::memcpy(at, &v, sizeof v); }
};

// 4 channels a step. The dot product reads signed bytes: the eighth bit of an activation, where
// there is one, is added on its own.
struct Bytes : IntegersOf<int8x16_t> {
    static constexpr int steps = 1;
    static constexpr bool narrow = false;
    static Acc mac(Acc acc, const Operand& v, const uint32_t* word) {
        const int8x16_t low = vreinterpretq_s8_u32(vdupq_n_u32(*word & 0x7f7f7f7fu));
        for (int i = 0; i < 4; ++i) acc.at[i] = vdotq_s32(acc.at[i], v.at[i], low);
        if (const uint32_t high = *word >> 7 & 0x01010101u) {
            const int8x16_t eighth = vreinterpretq_s8_u32(vdupq_n_u32(high));
            for (int i = 0; i < 4; ++i) {
                const int32x4_t dot = vdotq_s32(vdupq_n_s32(0), v.at[i], eighth);
                acc.at[i] = vaddq_s32(acc.at[i], vshlq_n_s32(dot, 7));
            }
        }
        return acc;
    }

    template <int bits>
    struct Stream {
        const uint8_t* at;
        Codes zero;
        explicit Stream(const uint8_t* from) : at(from), zero() {}
        void group(const uint8_t* zeros, int middle) {
            static const uint8_t fours[16] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3};
            const uint8x16_t all = zeros_of(zeros, middle);
            for (int i = 0; i < 4; ++i)
                zero.at[i] = vqtbl1q_u8(
                    all, vaddq_u8(vld1q_u8(fours), vdupq_n_u8(static_cast<uint8_t>(4 * i))));
        }
        void fetch() const { prefetch(at); }
        void next() {}
        Operand operand(int) const {
            const Codes levels = levels_of<bits>(at);
            Operand v;
            for (int i = 0; i < 4; ++i)
                v.at[i] = vreinterpretq_s8_u8(vsubq_u8(levels.at[i], zero.at[i]));
            return v;
        }
        void done() { at += block_bytes(bits); }
    };
};

// 2 channels a step.
struct Words : IntegersOf<int16x8_t> {
    static constexpr int steps = 2;
    static constexpr bool narrow = false;
    static Acc mac(Acc acc, const Operand& v, const uint32_t* word) {
        const int16x8_t q = vreinterpretq_s16_u32(vdupq_n_u32(*word));
        for (int i = 0; i < 4; ++i) {
            const int32x4_t low = vmull_s16(vget_low_s16(v.at[i]), vget_low_s16(q));
            const int32x4_t high = vmull_high_s16(v.at[i], q);
            acc.at[i] = vaddq_s32(acc.at[i], vpaddq_s32(low, high));
        }
        return acc;
    }

    template <int bits>
    struct Stream {
        static_assert(bits == 8, "words are stored as bytes");
        const uint8_t* at;
        Operand zero;
        explicit Stream(const uint8_t* from) : at(from), zero() {}
        void group(const uint8_t* zeros, int middle) {
            const uint8x16_t all = zeros_of(zeros, middle);
            const Codes twos = {{vzip1q_u8(all, all), vzip2q_u8(all, all), all, all}};
            for (int i = 0; i < 4; ++i) zero.at[i] = wide16(twos.at[i / 2], i % 2);
        }
        void fetch() const { prefetch(at); }
        void next() {}
        Operand operand(int step) const {
            Operand v;
            for (int i = 0; i < 4; ++i) {
                const uint8x16_t sixteen = vld1q_u8(at + step * 32 + i / 2 * 16);
                v.at[i] = vsubq_s16(wide16(sixteen, i % 2), zero.at[i]);
            }
            return v;
        }
        void done() { at += block_bytes(bits); }
        static int16x8_t wide16(uint8x16_t v, int half) {
            return vreinterpretq_s16_u16(vmovl_u8(half ? vget_high_u8(v) : vget_low_u8(v)));
        }
    };
};

// 1 channel a step.
struct Reals : SumsInMemory {
    static constexpr bool integer = false;
    static constexpr int steps = 4;
    static constexpr bool narrow = false;
    using Operand = Vector;
    using Acc = Vector;
    using Sum = Vector;

    static Operand load_operand(const uint8_t* at) {
        Operand v;
        std::memcpy(&v, at, sizeof v);
        return v;
    }
    static void store_operand(uint8_t* at, Operand v) { std::memcpy(at, &v, sizeof v); }
    static Acc mac(Acc acc, const Operand& v, const uint32_t* word) {
        float x;
        std::memcpy(&x, word, sizeof x);
        for (int i = 0; i < 4; ++i) acc.at[i] = vfmaq_n_f32(acc.at[i], v.at[i], x);
        return acc;
    }
    static Sum sum(Acc acc) { return acc; }
    static Sum add(Sum a, Sum b) {
        for (int i = 0; i < 4; ++i) a.at[i] = vaddq_f32(a.at[i], b.at[i]);
        return a;
    }
    static Sum load(const int32_t* at) {
        Sum s;
        std::memcpy(&s, at, sizeof s);
        return s;
    }
    static void store(int32_t* at, Sum s) { std::memcpy(at, &s, sizeof s); }
    static void finish(float* real, Sum s, Vector scale) {
        for (int i = 0; i < 4; ++i)
            vst1q_f32(real + 4 * i,
                      vfmaq_f32(vld1q_f32(real + 4 * i), s.at[i], scale.at[i]));
    }

    template <int bits>
    struct Stream {
        const uint8_t* at;
        Integers zero;
        Codes levels;
        explicit Stream(const uint8_t* from) : at(from), zero(), levels() {}
        void group(const uint8_t* zeros, int middle) { zero = wide_of(zeros_of(zeros, middle)); }
        void fetch() const { prefetch(at); }
        void next() { levels = levels_of<bits>(at); }
        Operand operand(int step) const {
            const Integers wide = wide_of(levels.at[step]);
            Operand v;
            for (int i = 0; i < 4; ++i) v.at[i] = vcvtq_f32_s32(vsubq_s32(wide.at[i], zero.at[i]));
            return v;
        }
        void done() { at += block_bytes(bits); }
    };
};

using Lanes = Scalar;

constexpr int kStream = 4, kTile = 6, kPanelsEach = 1;
#include "multiply.inl"
#include "round.inl"

const Isa kIsa = {"neon", kPanelsEach, kTokens, tile_of, round_tile, multiply};

}  // namespace

const Isa* neon_isa() {
#if defined(__linux__)
    return getauxval(AT_HWCAP) & HWCAP_ASIMDDP ? &kIsa : nullptr;
#else
    return &kIsa;  // every 64-bit Apple processor since 2020 has it
#endif
}

}  // namespace qvlm

#else

namespace qvlm {
const Isa* neon_isa() { return nullptr; }
}  // namespace qvlm

#endif
