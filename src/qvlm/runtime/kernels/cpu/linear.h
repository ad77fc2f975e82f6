// A quantized linear, from float inputs to float outputs.
#pragma once

#include "isa.h"

namespace qvlm {

void linear(const Isa&, const Weights&, const Inputs&, const Outputs&, int threads);

}  // namespace qvlm
