// Where a pass adds up the groups of a token, for paths with too few registers to keep them there.
#pragma once

namespace qvlm {

struct SumsInMemory {
    using Real = float*;
    static Real open(float* at) { return at; }
    static void close(float*, Real) {}
};

}  // namespace qvlm
