// Runs a task on several threads, on the pool that PyTorch uses.
#pragma once

#include <cstdint>

namespace qvlm {

// Calls task(context, i) once for each i of 0 .. count - 1, in any order, on up to `threads`
// threads; returns when all are done.
void parallel(int threads, int64_t count, void (*task)(void* context, int64_t i), void* context);

// Which pool: "openmp" (that of PyTorch) or "std::thread".
const char* thread_pool();

}  // namespace qvlm
