// One float at a time, in the form in which groups.inl takes the vectors of a path.
#pragma once

#include <cstdint>

namespace qvlm {

struct Scalar {
    static constexpr int width = 1;
    using V = float;
    static V load(const float* at) { return *at; }
    static void store(float* at, V v) { *at = v; }
    static V all(float v) { return v; }
    static V add(V a, V b) { return a + b; }
    static V sub(V a, V b) { return a - b; }
    static V div(V a, V b) { return a / b; }
    static V min(V a, V b) { return a < b ? a : b; }  // b where one is NaN
    static V max(V a, V b) { return a > b ? a : b; }
    static V within(V v) { return v; }
    static float lowest(V v) { return v; }
    static float highest(V v) { return v; }
    static bool strange(V v) { return v != v; }
    template <class Level>
    static void put(V v, Level* to) {
        *to = static_cast<Level>(static_cast<int32_t>(v));
    }
};

}  // namespace qvlm
