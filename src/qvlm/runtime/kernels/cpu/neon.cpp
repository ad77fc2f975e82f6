namespace qvlm { struct Isa; const Isa* neon_isa() { return nullptr; } }
