namespace qvlm { struct Isa; const Isa* avx512_isa() { return nullptr; } }
